"""The gate in front of a page: own host names, own pages, and a login where the page has none."""

import base64
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse

from steelyard.desk.middleware import App, Message, Receive, Send

CLOSED_TO_OTHERS = 1008
"""WebSocket's close code for a breach of policy."""


class Gate:
    """Refuses requests for another host, from another page, or without the login.

    A web page that is open in the operator's browser can send requests here, either from its own
    origin or, by giving its own name this address (DNS rebinding), from a host of its own.

    Args:
        app: Application behind it.
        hosts: Names and addresses under which it is reached; ports do not matter.
        login: ``user:password`` that requests must carry, as ``Basic`` (browsers) or as it is,
            as ``Bearer`` (Prometheus); empty if the application asks itself.
        health: Path that answers without login.
    """

    def __init__(self, app: App, hosts: Iterable[str], login: str = "", health: str = "") -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        basic = b"Basic " + base64.b64encode(login.encode())
        self._expected = (basic, f"Bearer {login}".encode()) if login else ()
        self._health = health

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer in place of the application if the request is refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._stranger(headers) or self._without_login(scope, headers)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": CLOSED_TO_OTHERS})
        else:
            await refusal(scope, receive, send)

    def _stranger(self, headers: Mapping[bytes, bytes]) -> PlainTextResponse | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if _hostname(f"//{host}") not in self._hosts:
            return PlainTextResponse(
                f"no page for the host {host!r}; add it to names in conf/up.yaml", 403
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.partition("://")[2] != host:
            return PlainTextResponse("requests from other web pages are refused", 403)
        return None

    def _without_login(
        self, scope: Message, headers: Mapping[bytes, bytes]
    ) -> PlainTextResponse | None:
        if not self._expected or scope["path"] == self._health:
            return None
        given = headers.get(b"authorization", b"")
        if any(hmac.compare_digest(given, expected) for expected in self._expected):
            return None
        ask = {"WWW-Authenticate": 'Basic realm="Steelyard", charset="UTF-8"'}
        return PlainTextResponse("the login is in .steelyard/login of the home", 401, ask)


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # half an IPv6 address
        return None
