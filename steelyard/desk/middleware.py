"""The gate before the service: the token, the rate and the size of a request, before anything of it is read."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.responses import JSONResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/healthz",)
WRONG_TOKENS_PER_SECOND = 10


class AccessMiddleware:
    """Lets requests with the token through, so many a second and so large; wrong tokens are limited on their own.

    Args:
        app: What is behind it.
        token: What ``Authorization: Bearer …`` must carry; ``/healthz`` needs none.
        requests_per_second: Of all who have the token.
        most_bytes: Of one request's body.
    """

    def __init__(self, app: App, token: str, requests_per_second: int, most_bytes: int) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._rate = RateLimitItemPerSecond(requests_per_second)
        self._wrong_rate = RateLimitItemPerSecond(WRONG_TOKENS_PER_SECOND)
        self._most = most_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer for the app where it must not be asked."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope, dict(scope["headers"]))
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._passed(scope, receive, send)

    def _refused(self, scope: Message, headers: dict[bytes, bytes]) -> JSONResponse | None:
        if scope["path"] in OPEN:
            return None if self._limiter.hit(self._rate, "open") else _busy()
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            if not self._limiter.hit(self._wrong_rate, "wrong"):
                return _busy()
            words = (
                "no or a wrong token; send the header Authorization: Bearer with STEELYARD_TOKEN"
            )
            return JSONResponse({"detail": words}, 401, {"WWW-Authenticate": "Bearer"})
        if not self._limiter.hit(self._rate, "right"):
            return _busy()
        return (
            self._large() if int(headers.get(b"content-length", b"0") or 0) > self._most else None
        )

    def _large(self) -> JSONResponse:
        return JSONResponse(
            {"detail": f"the request is larger than {self._most} bytes; send fewer bars at once"},
            413,
        )

    async def _passed(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on; where it turns out larger than it said, nothing the app answers counts."""
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise _TooLarge
            return message

        async def unless_large(message: Message) -> None:
            if read <= self._most:
                await send(message)

        with suppress(_TooLarge):
            await self._app(scope, counted, unless_large)
        if read > self._most:
            await self._large()(scope, receive, send)


class _TooLarge(Exception):  # stops the reading; the answer is given above
    """More bytes came than may."""


def _busy() -> JSONResponse:
    return JSONResponse(
        {"detail": "too many requests a second; try again in one"}, 429, {"Retry-After": "1"}
    )
