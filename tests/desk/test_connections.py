"""Half requests neither block the service nor stay: real sockets, 256 open files."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import httpx
import pytest

SERVER = """
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from fastapi import FastAPI
from steelyard.desk import connections, service
from steelyard.gateways.service_manager import ServiceManager

connections.REQUEST_SECONDS = 2.0
app = FastAPI()

@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(3)
    return "whole"

@app.post("/")
async def back(body: dict[str, str]) -> dict[str, str]:
    return body

announce = lambda address: print(address, flush=True)
service.run(app, "127.0.0.1", 0, announce, ServiceManager(""))
"""
HALF = (
    b"",
    b"POST / HTTP/1.1\r\nHost: here\r\nX: ",
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 99\r\n\r\n{",
)
Address = tuple[str, int]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        matched = re.fullmatch(r"http://(.+):(\d+)", process.stdout.readline().strip())
        assert matched
        yield matched[1], int(matched[2])
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.fixture
def client(address: Address) -> Iterator[httpx.Client]:
    """Opens a connection for each request; made before time counts, because that takes longer."""
    host, port = address
    alone = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"http://{host}:{port}", limits=alone) as made:
        yield made


def answered(client: httpx.Client) -> bool:
    return client.post("/", json={"a": "b"}).json() == {"a": "b"}


def opened(address: Address, sent: bytes) -> socket.socket:
    connection = socket.create_connection(address, timeout=10)
    connection.sendall(sent)
    return connection


def test_300_half_requests_block_nobody(address: Address, client: httpx.Client) -> None:
    """Whole requests are answered at once; half ones end, and with them all that is left."""
    half = [opened(address, HALF[number % 3]) for number in range(300)]
    began_at = time.monotonic()

    assert all(answered(client) for _ in range(20))
    assert time.monotonic() - began_at < 2
    for connection in half:
        with closing(connection):
            assert ended(connection)
    assert answered(client)


def ended(connection: socket.socket) -> bool:
    """Whether the server ends the connection without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_an_answer_may_take_longer_than_a_request(address: Address) -> None:
    """Time is counted while the client is awaited; a second request on the connection is served."""
    host, port = address
    with httpx.Client(base_url=f"http://{host}:{port}") as client:
        assert client.get("/slow").json() == "whole"
        assert client.post("/", json={"a": "b"}).json() == {"a": "b"}


def test_a_byte_at_a_time_is_no_request(address: Address) -> None:
    """Drops do not prolong the time."""
    began_at = time.monotonic()
    with closing(opened(address, HALF[1])) as connection, suppress(OSError):
        while time.monotonic() - began_at < 6:
            connection.sendall(b"X")
            time.sleep(0.1)

    assert time.monotonic() - began_at < 4
