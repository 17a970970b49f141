"""``steelyard serve`` at 200 requests a second on one worker, each with a new bar, next to a bare FastAPI route."""

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
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.spool import Spool
from steelyard.market.strategy import TrendStrategy
from steelyard.settings import go_offline

RATE, TOKEN = 200, "a-long-enough-token"
REQUESTS = BARS - FIRST - 1
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def main() -> None:
    """Print percentiles of both, from the moment a request was due, so that a queue counts."""
    go_offline()
    bare = measured(bare_route, "a route that only checks and returns the request")
    measured(steelyard, "POST /evaluate: bars, features, model, blend, recorded", bare)


def measured(serve: Any, name: str, floor: float | None = None) -> float:
    """Return the median in milliseconds of a service started for it, and print it."""
    tell, told = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(tell,))
    process.start()
    host, port = told.recv().removeprefix("http://").split(":")
    taken = asked(host, int(port))
    process.terminate()
    process.join(20)
    percentiles = statistics.quantiles(taken, n=100)
    ratio = "" if floor is None else f"   {percentiles[49] / floor:4.1f} × the bare route"
    print(
        f"{name:56} p50 {percentiles[49]:6.2f} ms   p95 {percentiles[94]:6.2f}   p99 {percentiles[98]:6.2f}"
        f"   max {max(taken):6.2f}   ({len(taken)} at {RATE}/s){ratio}"
    )
    return percentiles[49]


def asked(host: str, port: int) -> list[float]:
    """Return the milliseconds from when each request was due to its answer."""
    connection = http.client.HTTPConnection(host, port)
    bodies = [json.dumps(body).encode() for body in requests()]
    taken = []
    started = time.perf_counter()
    for number, body in enumerate(bodies):
        due = started + number / RATE
        time.sleep(max(due - time.perf_counter(), 0))
        connection.request("POST", "/evaluate", body, HEADERS)
        answer = connection.getresponse()
        content = answer.read()
        taken.append((time.perf_counter() - due) * 1e3)
        if answer.status != 200 or b'"fallback_reason":"' in content:
            sys.exit(f"request {number}: {answer.status} {content.decode()[:300]}")
    return taken[100:]


def requests() -> list[dict[str, Any]]:
    """Return one signal and one bar for each request."""
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


def steelyard(tell: Any) -> None:
    """Serve as ``steelyard serve`` does, over a model of 300 trees."""
    bars = {"X": market()}
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        recorder = Recorder(ledger, Spool(Path(folder, "spool")), TrendStrategy.score_names)
        session = opened(trained(bars), Path(folder), recorder.start())
        desk = Desk(session, BarBuffer({"X": bars["X"][:FIRST]}, pd.Timedelta("1h")), ledger.signal)
        run(service(desk, TOKEN, DeskPolicy()), "127.0.0.1", 0, tell.send)


def bare_route(tell: Any) -> None:
    """Serve the framework alone."""
    app = FastAPI()

    @app.post("/evaluate")
    async def evaluate(asked: SignalIn) -> SignalIn:
        return asked

    run(app, "127.0.0.1", 0, tell.send)


if __name__ == "__main__":
    sys.exit(main())
