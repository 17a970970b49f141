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


def responses_to(
    count: int, path: str, headers: dict[str, str], rate: int = 5
) -> list[httpx.Response]:
    async def send_all() -> list[httpx.Response]:
        transport = httpx.ASGITransport(AccessMiddleware(welcome, "right", rate, 1000))
        async with httpx.AsyncClient(transport=transport, base_url="http://steelyard") as client:
            return [await client.get(path, headers=headers) for _ in range(count)]

    return asyncio.run(send_all())


@pytest.mark.parametrize(("path", "headers"), [("/state", RIGHT), ("/healthz", {})])
def test_more_requests_than_allowed_are_told_to_come_back(
    path: str, headers: dict[str, str]
) -> None:
    """At most the rate within any clock second; twenty requests at once span at most two."""
    responses = responses_to(20, path, headers)
    busy = [response for response in responses if response.status_code == 429]

    assert 5 <= sum(response.status_code == 200 for response in responses) <= 10
    assert {response.headers["Retry-After"] for response in busy} == {"1"}


def test_wrong_tokens_have_a_rate_of_their_own() -> None:
    """Wrong tokens do not use up the rate of the right one."""
    responses = responses_to(
        3 * WRONG_TOKENS_PER_SECOND, "/state", {"Authorization": "Bearer left"}, rate=1000
    )

    assert {response.status_code for response in responses} == {401, 429}
