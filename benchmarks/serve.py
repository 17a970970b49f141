"""Latency of ``steelyard serve`` at 200 requests per second, next to a bare Starlette route.

One worker each; every request carries a new bar. Both answer in turns of one second, so that what
else the machine does reaches both alike: quiet, beside a process that computes on another core, and
beside one on the same core, as a training does.
"""

import http.client
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from evaluate import BARS, FIRST, open_session, random_walk, train_model
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.desk.bar_buffer import BarBuffer
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.recorder import Recorder
from steelyard.desk.service import Desk, run, service
from steelyard.environment import go_offline
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.spool import Spool
from steelyard.market.strategy import TrendStrategy

RATE, TURN, TOKEN = 200, 200, "a-long-enough-token"
REQUESTS = (BARS - FIRST - 1) // TURN * TURN
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
COLUMNS = ("open", "high", "low", "close", "volume")


def main() -> None:
    """Print percentiles of both, counted from each request's due time, so that a queue counts."""
    go_offline()
    for load, core in (("quiet", None), ("beside a training on the other core", 1),
                       ("beside a training on the same core", 0)):  # fmt: skip
        with started(bare_route) as bare, started(steelyard) as served, training_on(core):
            floor, taken = measure((bare, served))
        print_row(f"{load}: bare Starlette and msgspec", floor, floor)
        print_row(f"{load}: POST /evaluate", taken, floor)


@contextmanager
def started(serve: Callable[[Any], None]) -> Iterator[http.client.HTTPConnection]:
    """Start a service in a process of its own on core 0 and yield a connection to it."""
    sender, receiver = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(sender,))
    process.start()
    os.sched_setaffinity(process.pid or 0, {0})
    host, port = receiver.recv().removeprefix("http://").split(":")
    yield http.client.HTTPConnection(host, int(port))
    process.terminate()
    process.join(20)


@contextmanager
def training_on(core: int | None) -> Iterator[None]:
    """Compute on a core meanwhile; None for none."""
    process = multiprocessing.Process(target=compute_for_ever)
    if core is not None:
        process.start()
        os.sched_setaffinity(process.pid or 0, {core})
    yield
    if core is not None:
        process.terminate()
        process.join()


def compute_for_ever() -> None:
    """Sort numbers."""
    while True:
        sorted(range(100_000), key=lambda number: -number)


def measure(services: tuple[http.client.HTTPConnection, ...]) -> tuple[list[float], ...]:
    """Return the time from each request's due time to its answer, milliseconds, per service."""
    bodies = [json.dumps(body).encode() for body in requests()]
    taken: tuple[list[float], ...] = tuple([] for _ in services)
    for first in range(0, REQUESTS, TURN):
        for connection, milliseconds in zip(services, taken, strict=True):
            milliseconds += send_turn(connection, bodies[first : first + TURN])
    return tuple(milliseconds[TURN:] for milliseconds in taken)


def send_turn(connection: http.client.HTTPConnection, bodies: list[bytes]) -> list[float]:
    """Send requests at ``RATE`` and return the time of each, milliseconds.

    Args:
        connection: Connection to a service.
        bodies: One body per request.
    """
    milliseconds = []
    started_at = time.perf_counter() + 0.01
    for number, body in enumerate(bodies):
        due = started_at + number / RATE
        time.sleep(max(due - time.perf_counter(), 0))
        connection.request("POST", "/evaluate", body, HEADERS)
        answer = connection.getresponse()
        content = answer.read()
        milliseconds.append((time.perf_counter() - due) * 1e3)
        if answer.status != 200:
            sys.exit(f"request {number}: {answer.status} {content.decode()[:300]}")
        FALLBACKS.append(b'"fallback_reason":"' in content)
    return milliseconds


FALLBACKS: list[bool] = []


def print_row(name: str, milliseconds: list[float], floor: list[float]) -> None:
    """Print one line of the table.

    Args:
        name: Label of the line.
        milliseconds: Time of each request.
        floor: The same of the bare route.
    """
    mine, bare = (statistics.quantiles(times, n=100) for times in (milliseconds, floor))
    print(
        f"{name:68} p50 {mine[49]:6.2f} ms ({mine[49] / bare[49]:4.1f} ×)   "
        f"p99 {mine[98]:6.2f} ms ({mine[98] / bare[98]:4.1f} ×)   max {max(milliseconds):6.1f}"
    )


def requests() -> list[dict[str, Any]]:
    """Return the body of every request: one signal and one bar."""
    bars = random_walk()
    stamps = pd.to_datetime(bars.timestamp, utc=True).strftime("%Y-%m-%dT%H:%M:%SZ")
    scores = dict.fromkeys(TrendStrategy.score_names, 50.0)
    return [
        {
            "symbol": "X",
            "side": "buy",
            "timestamp": stamps[at],
            "confidence": 71.0,
            "scores": scores,
            "bars": [
                {
                    "symbol": "X",
                    "timestamp": stamps[at],
                    **{name: float(getattr(bars, name)[at]) for name in COLUMNS},
                }
            ],
        }
        for at in range(FIRST, FIRST + REQUESTS)
    ]


def steelyard(sender: Any) -> None:
    """Serve as ``steelyard serve`` does, over a model of 300 trees."""
    history = random_walk()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{folder}/ledger.db", "signal-confidence")
        recorder = Recorder(ledger, Spool(Path(folder, "spool")), TrendStrategy.score_names)
        session = open_session(train_model({"X": history}), Path(folder), recorder.start())
        desk = Desk(session, BarBuffer({"X": history[:FIRST]}, pd.Timedelta("1h")), ledger.signal)
        run(service(desk, TOKEN, DeskPolicy()), "127.0.0.1", 0, sender.send)


def bare_route(sender: Any) -> None:
    """Serve the framework alone: decode, encode."""

    async def evaluate(request: Request) -> Response:
        return Response(msgspec.json.encode(msgspec.json.decode(await request.body())))

    app = Starlette(routes=[Route("/evaluate", evaluate, methods=["POST"])])
    run(app, "127.0.0.1", 0, sender.send)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
