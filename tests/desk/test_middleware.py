"""The middleware: requests per second are limited, wrong tokens even more."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse

from steelyard.desk.middleware import WRONG_TOKENS_PER_SECOND, AccessMiddleware

RIGHT = {"Authorization": "Bearer right"}


async def welcome(scope: Any, receive: Any, send: Any) -> None:
    await JSONResponse({"detail": "welcome"})(scope, receive, send)


def asked(count: int, path: str, headers: dict[str, str], rate: int = 5) -> list[httpx.Response]:
    async def all_of_them() -> list[httpx.Response]:
        transport = httpx.ASGITransport(AccessMiddleware(welcome, "right", rate, 1000))
        async with httpx.AsyncClient(transport=transport, base_url="http://steelyard") as client:
            return [await client.get(path, headers=headers) for _ in range(count)]

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(("path", "headers"), [("/state", RIGHT), ("/healthz", {})])
def test_more_requests_than_allowed_are_told_to_come_back(
    path: str, headers: dict[str, str]
) -> None:
    """At most the rate within any clock second; twenty requests at once span at most two."""
    found = asked(20, path, headers)
    busy = [one for one in found if one.status_code == 429]

    assert 5 <= sum(one.status_code == 200 for one in found) <= 10
    assert {one.headers["Retry-After"] for one in busy} == {"1"}


def test_wrong_tokens_have_a_rate_of_their_own() -> None:
    """Wrong tokens do not use up the rate of the right one."""
    found = asked(
        3 * WRONG_TOKENS_PER_SECOND, "/state", {"Authorization": "Bearer left"}, rate=1000
    )

    assert {one.status_code for one in found} == {401, 429}
