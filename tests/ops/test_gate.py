"""The gate lets a page's own requests in, and nobody else's."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from steelyard.ops.gate import Gate

HOSTS = ("127.0.0.1", "localhost", "::1", "pages.example.org")
LOGIN = "steelyard:secret"
KEY = {"Authorization": "Basic c3RlZWx5YXJkOnNlY3JldA=="}


def client(login: str) -> TestClient:
    async def inside(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("inside")
        await websocket.close()

    routes = [
        Route("/", lambda _: PlainTextResponse("inside"), methods=["GET", "POST"]),
        Route("/health", lambda _: PlainTextResponse("well")),
        WebSocketRoute("/ws", inside),
    ]
    return TestClient(Gate(Starlette(routes=routes), HOSTS, login, health="/health"))


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:4200", "", 200),
        ("localhost:14200", "http://localhost:14200", 200),
        ("[::1]:4200", "http://[::1]:4200", 200),
        ("pages.example.org", "https://pages.example.org", 200),
        ("stranger.example:4200", "", 403),
        ("stranger.example:4200", "http://stranger.example:4200", 403),
        ("127.0.0.1.stranger.example", "", 403),
        ("127.0.0.1:4200", "http://stranger.example", 403),
        ("127.0.0.1:4200", "http://127.0.0.1:8888", 403),
        ("127.0.0.1:4200", "null", 403),
        ("[::1", "", 403),
        ("", "", 403),
    ],
)
def test_only_its_own_host_and_page_come_in(host: str, origin: str, status: int) -> None:
    """A name that resolves here, a foreign page, a page on another port, and no name stay out."""
    headers = {"Host": host, **({"Origin": origin} if origin else {})}

    assert client("").post("/", headers=headers).status_code == status


def test_the_login_is_asked_for_where_the_page_has_none() -> None:
    """The browser asks for it; health needs none."""
    headers = {"Host": "localhost"}
    refused = client(LOGIN).get("/", headers=headers)

    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert client(LOGIN).get("/", headers=headers | KEY).text == "inside"
    bearer = {"Authorization": f"Bearer {LOGIN}"}
    assert client(LOGIN).get("/", headers=headers | bearer).text == "inside"
    assert client(LOGIN).get("/health", headers=headers).text == "well"
    assert client(LOGIN).get("/", headers=headers | {"Authorization": "Basic x"}).status_code == 401


def test_a_websocket_of_another_page_is_closed() -> None:
    """One of the page itself is open."""
    with client("").websocket_connect("/ws", headers={"Host": "localhost"}) as socket:
        assert socket.receive_text() == "inside"
    headers = {"Host": "localhost", "Origin": "http://stranger.example"}
    with (
        pytest.raises(WebSocketDisconnect),
        client("").websocket_connect("/ws", headers=headers),
    ):
        pass
