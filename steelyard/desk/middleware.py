"""Checks token, rate and size of a request before the service reads it."""

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from starlette.responses import JSONResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/healthz",)
WRONG_TOKENS_PER_SECOND = 10


class AccessMiddleware:
    """Passes requests with the right token on, up to a rate and a size.

    Args:
        app: Application behind it.
        token: Token that ``Authorization: Bearer …`` must carry; ``/healthz`` needs none.
        requests_per_second: Limit over all clients with the token; wrong tokens have their own.
        max_bytes: Largest body of a request, bytes.
    """

    def __init__(self, app: App, token: str, requests_per_second: int, max_bytes: int) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._open, self._right = _Rate(requests_per_second), _Rate(requests_per_second)
        self._wrong = _Rate(WRONG_TOKENS_PER_SECOND)
        self._max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer in place of the application if the request is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, dict(scope["headers"]))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    def _refusal(self, scope: Message, headers: dict[bytes, bytes]) -> JSONResponse | None:
        if scope["path"] in OPEN:
            return None if self._open.allows() else _busy()
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            if not self._wrong.allows():
                return _busy()
            detail = (
                "token missing or wrong; send the header Authorization: Bearer with the value of "
                "STEELYARD_TOKEN"
            )
            return JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})
        if not self._right.allows():
            return _busy()
        declared_bytes = int(headers.get(b"content-length", b"0") or 0)
        return self._too_large() if declared_bytes > self._max_bytes else None

    def _too_large(self) -> JSONResponse:
        detail = f"the request is larger than {self._max_bytes} bytes; send fewer bars at once"
        return JSONResponse({"detail": detail}, 413)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on; if it is larger than declared, discard the application's answer."""
        received_bytes = 0

        async def counted_receive() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._max_bytes:
                raise _TooLarge
            return message

        async def send_unless_large(message: Message) -> None:
            if received_bytes <= self._max_bytes:
                await send(message)

        with suppress(_TooLarge):
            await self._app(scope, counted_receive, send_unless_large)
        if received_bytes > self._max_bytes:
            await self._too_large()(scope, receive, send)


class _Rate:
    """Counts the requests of each second, up to a limit."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = self._count = 0

    def allows(self) -> bool:
        """Return whether one more request is within the limit, and count it."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= self._per_second


class _TooLarge(Exception):  # ends the reading; the middleware answers
    """The body exceeds the limit."""


def _busy() -> JSONResponse:
    detail = "too many requests per second; retry after one second"
    return JSONResponse({"detail": detail}, 429, {"Retry-After": "1"})
