"""Latency of ``steelyard serve`` at 200 requests per second, next to a bare Starlette route.

One worker each; every request carries a new bar, and the existing system is asked about the signal.
Both get their requests at the same time, so that what else the machine does reaches both alike:
quiet, beside a process that computes on another core, and beside one on the same core.
"""

import http.client
import json
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from evaluate import FIRST, open_session, random_walk, train_model
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.desk.bar_buffer import BarBuffer
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.recorder import Recorder
from steelyard.desk.service import Desk, run, service
from steelyard.desk.signals import Signal
from steelyard.environment import go_offline
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.service_manager import ServiceManager
from steelyard.gateways.spool import Spool
from steelyard.market.bars import Bars
from steelyard.market.strategy import TrendStrategy

RATE, SECONDS, WARM_UP, TOKEN = 200, 16, 600, "a-long-enough-token"
LOADS = {
    "quiet": None,
    "beside a training (nice 10) on the other core": 1,
    "beside a training (nice 10) on the same core": 0,
}
REQUESTS = len(LOADS) * SECONDS * RATE
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
COLUMNS = ("open", "high", "low", "close", "volume")


def main() -> None:
    """Print percentiles of both, counted from each request's due time, so that a queue counts."""
    go_offline()
    bodies = iter([json.dumps(body).encode() for body in requests()])
    with started(bare_route) as bare, started(steelyard) as served:
        for load, core in LOADS.items():
            sent = list(islice(bodies, SECONDS * RATE))
            with training_on(core, (bare, served)), ThreadPoolExecutor() as senders:
                (floor, _), (taken, alone) = senders.map(send, (bare, served), (sent, sent))
            print_row(f"{load}: bare Starlette and msgspec", floor, floor)
            print_row(f"{load}: POST /evaluate, fallbacks {dict(alone) or 'none'}", taken, floor)


@dataclass(frozen=True)
class Service:
    """A running service: its process, and where it listens."""

    process: multiprocessing.Process
    host: str
    port: int


@contextmanager
def started(serve: Callable[[Any], None]) -> Iterator[Service]:
    """Start a service in a process of its own; it sends its URL through a pipe."""
    sender, receiver = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(sender,))
    process.start()
    host, port = receiver.recv().removeprefix("http://").split(":")
    try:
        yield Service(process, host, int(port))
    finally:
        process.terminate()
        process.join(20)


@contextmanager
def training_on(core: int | None, services: tuple[Service, ...]) -> Iterator[None]:
    """Compute on a core meanwhile, with all services on core 0.

    Args:
        core: 0 or 1; None to compute nothing and to bind no service.
        services: Running services.
    """
    if core is None:
        yield
        return
    training = multiprocessing.Process(target=compute_for_ever)
    training.start()
    for process, where in ((training, core), *((running.process, 0) for running in services)):
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {where})
    try:
        yield
    finally:
        training.terminate()
        training.join()


def compute_for_ever() -> None:
    """Sort numbers, and give way to others."""
    os.nice(10)
    while True:
        sorted(range(100_000), key=lambda number: -number)


def send(service: Service, bodies: list[bytes]) -> tuple[list[float], Counter[str]]:
    """Return the time from each request's due time to its answer, milliseconds, and fallbacks.

    Args:
        service: Service.
        bodies: One body per request, sent at ``RATE``; the first ``WARM_UP`` do not count.
    """
    connection = http.client.HTTPConnection(service.host, service.port)
    milliseconds, reasons = [], Counter[str]()
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
        reasons.update(re.findall('"fallback_reason":"([a-z_]+)"', content.decode()))
    connection.close()
    return milliseconds[WARM_UP:], reasons


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
    bars = random_walk(count=FIRST + REQUESTS)
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
        ledger.migrate()
        recorder = Recorder(ledger, Spool(Path(folder, "spool")), TrendStrategy.score_names)
        model, started_recorder = train_model({"X": history}), recorder.start()
        session = open_session(model, Path(folder), started_recorder, asks_the_system)
        desk = Desk(session, BarBuffer({"X": history[:FIRST]}, pd.Timedelta("1h")), ledger.signal)
        run(service(desk, TOKEN, DeskPolicy()), "127.0.0.1", 0, sender.send, ServiceManager(""))


def asks_the_system(_: Signal, bars: Bars) -> bool:
    """Ask the existing system, as ``serve`` does, and believe the signal whatever it says."""
    return TrendStrategy().propose(bars) is None or True


def bare_route(sender: Any) -> None:
    """Serve the framework alone: decode, encode."""

    async def evaluate(request: Request) -> Response:
        return Response(msgspec.json.encode(msgspec.json.decode(await request.body())))

    app = Starlette(routes=[Route("/evaluate", evaluate, methods=["POST"])])
    run(app, "127.0.0.1", 0, sender.send, ServiceManager(""))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
