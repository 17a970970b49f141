"""Latency of ``steelyard serve`` at 200 requests per second, next to a bare FastAPI route.

One worker; every request carries a new bar.
"""

import http.client
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from evaluate import BARS, FIRST, market, opened, trained
from fastapi import FastAPI

from steelyard.desk.bar_buffer import BarBuffer
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.recorder import Recorder
from steelyard.desk.service import Desk, SignalIn, run, service
from steelyard.environment import go_offline
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.spool import Spool
from steelyard.market.strategy import TrendStrategy

RATE, TOKEN = 200, "a-long-enough-token"
REQUESTS = BARS - FIRST - 1
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def main() -> None:
    """Print percentiles of both, counted from each request's due time, so that a queue counts."""
    go_offline()
    bare = measure(bare_route, "a route that only checks and returns the request")
    measure(steelyard, "POST /evaluate: bars, features, model, blend, recorded", bare)


def measure(serve: Any, name: str, floor: float | None = None) -> float:
    """Start a service, print its latency and return the median, milliseconds.

    Args:
        serve: Target of the service's process; it sends its URL through a pipe.
        name: Label of the printed line.
        floor: Median of the bare route to compare with, milliseconds; None for no comparison.
    """
    sender, receiver = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(sender,))
    process.start()
    host, port = receiver.recv().removeprefix("http://").split(":")
    milliseconds = send_requests(host, int(port))
    process.terminate()
    process.join(20)
    percentiles = statistics.quantiles(milliseconds, n=100)
    ratio = "" if floor is None else f"   {percentiles[49] / floor:4.1f} × the bare route"
    print(
        f"{name:56} p50 {percentiles[49]:6.2f} ms   p95 {percentiles[94]:6.2f}"
        f"   p99 {percentiles[98]:6.2f}"
        f"   max {max(milliseconds):6.2f}   ({len(milliseconds)} at {RATE}/s){ratio}"
    )
    return percentiles[49]


def send_requests(host: str, port: int) -> list[float]:
    """Return the time from each request's due time to its answer, milliseconds.

    Args:
        host: Address of the service.
        port: Port of the service.
    """
    connection = http.client.HTTPConnection(host, port)
    bodies = [json.dumps(body).encode() for body in requests()]
    milliseconds = []
    started = time.perf_counter()
    for number, body in enumerate(bodies):
        due = started + number / RATE
        time.sleep(max(due - time.perf_counter(), 0))
        connection.request("POST", "/evaluate", body, HEADERS)
        answer = connection.getresponse()
        content = answer.read()
        milliseconds.append((time.perf_counter() - due) * 1e3)
        if answer.status != 200 or b'"fallback_reason":"' in content:
            sys.exit(f"request {number}: {answer.status} {content.decode()[:300]}")
    return milliseconds[100:]


def requests() -> list[dict[str, Any]]:
    """Return the body of every request: one signal and one bar."""
    bars = market()
    stamps = pd.to_datetime(bars.timestamp, utc=True).strftime("%Y-%m-%dT%H:%M:%SZ")
    scores = dict.fromkeys(TrendStrategy.score_names, 50.0)
    columns = ("open", "high", "low", "close", "volume")
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
                    **{name: float(getattr(bars, name)[at]) for name in columns},
                }
            ],
        }
        for at in range(FIRST, FIRST + REQUESTS)
    ]


def steelyard(sender: Any) -> None:
    """Serve as ``steelyard serve`` does, over a model of 300 trees."""
    bars = {"X": market()}
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{folder}/ledger.db", "signal-confidence")
        recorder = Recorder(ledger, Spool(Path(folder, "spool")), TrendStrategy.score_names)
        session = opened(trained(bars), Path(folder), recorder.start())
        desk = Desk(session, BarBuffer({"X": bars["X"][:FIRST]}, pd.Timedelta("1h")), ledger.signal)
        run(service(desk, TOKEN, DeskPolicy()), "127.0.0.1", 0, sender.send)


def bare_route(sender: Any) -> None:
    """Serve the framework alone."""
    app = FastAPI()

    @app.post("/evaluate")
    async def evaluate(proposal: SignalIn) -> SignalIn:
        return proposal

    run(app, "127.0.0.1", 0, sender.send)


if __name__ == "__main__":
    sys.exit(main())
