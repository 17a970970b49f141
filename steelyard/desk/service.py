"""The trading side over HTTP: the same session, the same recorder, for a trader that is not written in Python."""

import math
import socket
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, Field

from steelyard.desk.bar_buffer import Bar, BarBuffer
from steelyard.desk.middleware import AccessMiddleware
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.session import Session
from steelyard.desk.signals import Evaluation, Outcome, Signal
from steelyard.errors import FixConfiguration, RestoreService

REMEMBERED = 10_000
"""Evaluations whose answer a repeated request gets again."""
MAX_BARS = 5_000
SWITCH_SECONDS = 0.0002
"""How long the writer of the ledger keeps the interpreter from a request that waits; Python's own 0.005 costs it 35 ms."""
BUCKETS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)

_DAY = (
    "(?:(?:19[7-9][0-9]|20[0-9]{2})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:19(?:7[26]|8[048]|9[26])|20(?:[02468][048]|[13579][26]))-02-29)"
)
_MOMENT = f"{_DAY}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
_SYMBOL = "[A-Za-z0-9._/=^&+-]{1,40}"

Moment = Annotated[
    str,
    Field(
        pattern=f"^{_MOMENT}$", description="UTC, whole seconds", examples=["2026-01-02T00:00:00Z"]
    ),
]
Symbol = Annotated[str, Field(pattern=f"^{_SYMBOL}$", examples=["AAPL"])]
SignalId = Annotated[
    str,
    Field(
        pattern=f"^{_SYMBOL}:{_MOMENT}:(?:buy|sell)$", examples=["AAPL:2026-01-02T00:00:00Z:buy"]
    ),
]
Price = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class BarIn(_Strict):
    """A closed bar; ``timestamp`` is its open, ``volume`` null where the market has none."""

    symbol: Symbol
    timestamp: Moment
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)] | None = None


class SignalIn(_Strict):
    """A trade the existing system proposes at the close of the bar that opened at ``timestamp``.

    ``bars`` are those of the whole universe that closed since the last request; ones that are known are left.
    """

    symbol: Symbol
    side: Literal["buy", "sell"]
    timestamp: Moment
    confidence: Confidence
    scores: Annotated[dict[str, Number], Field(max_length=100)] = {}
    bars: Annotated[list[BarIn], Field(max_length=MAX_BARS)] = []


class EvaluationOut(BaseModel):
    """What was decided about a signal; ``note`` says what was wrong with bars that were not taken in."""

    signal_id: str
    decision: bool
    blended: float
    confidence_existing: float
    confidence_ml: float | None
    p_win: float | None
    weight: float
    arm: str
    pivotal: bool
    model_version: str
    fallback_reason: str | None
    latency_ms: float
    note: str | None


_ANSWERED = [name for name in EvaluationOut.model_fields if name != "note"]


class OutcomeIn(_Strict):
    """How a signal ended, traded or not; ``net_return`` and ``stop_distance`` are fractions of the entry price."""

    signal_id: SignalId
    settled_at: Moment
    net_return: Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
    exit_reason: Annotated[str, Field(pattern="^[a-z_]{1,20}$", examples=["target"])]
    hold_minutes: Annotated[float, Field(ge=0, le=1e8, allow_inf_nan=False)]
    slippage_bps: Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)] = 0.0
    stop_distance: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class Taken(BaseModel):
    """The outcome is on its way into the ledger."""

    signal_id: str
    won: bool


class StateOut(BaseModel):
    """The weight in force, whose it is, and what is in its way."""

    lineage: str | None
    phase: str | None
    weight: float
    decided_weight: float
    out_of_force: str | None
    champion: str | None
    served_version: str
    as_of: datetime | None
    lease_until: datetime | None
    fallbacks: dict[str, int]
    lost: int
    set_aside: int
    troubles: list[str]


class Health(BaseModel):
    """``degraded`` still decides: the existing system does, or with what was known last."""

    status: Literal["ok", "degraded"]


class Problem(BaseModel):
    """What is wrong, where, and what to do."""

    detail: str


Known = Callable[[str], dict[str, Any] | None]


class Desk:
    """A session, the bars it was sent, and the answers it gave.

    Args:
        session: Evaluates.
        tail: The bars known at the start; ``session`` is warmed up with them.
        known: Returns what the ledger knows of a signal, None where it was never evaluated.
    """

    def __init__(self, session: Session, tail: BarBuffer, known: Known) -> None:
        self.session = session
        self._tail = tail
        self._known = known
        self._answers: OrderedDict[str, EvaluationOut] = OrderedDict()
        self.metrics = CollectorRegistry()
        self._latency = Histogram(
            "steelyard_evaluation_seconds",
            "Time of one evaluation",
            ["decision"],
            registry=self.metrics,
            buckets=BUCKETS,
        )
        self.metrics.register(_SessionCollector(session))
        session.warm(tail.bars)

    def remember(self, rows: Iterable[dict[str, Any]]) -> None:
        """Know answers given before a restart (rows of ``ml_predictions``)."""
        for row in rows:
            self._keep(_answer(row, None))

    def evaluate(self, asked: SignalIn) -> EvaluationOut:
        """Return the decision about a signal; the same signal's a second time is the recorded one.

        Raises:
            HTTPException: 409, if it was decided with another confidence before.
        """
        signal = self._signal(asked)
        given = self._answers.get(signal.signal_id)
        if given is not None:
            return _same(given, asked.confidence)
        note = self._tail.take([_bar(bar) for bar in asked.bars])
        found = self.session.evaluate(signal, self._tail.bars)
        self._latency.labels("trade" if found.decision else "leave").observe(found.latency_ms / 1e3)
        return self._keep(_answer(_fields(found), note))

    def settle(self, told: OutcomeIn) -> Taken:
        """Take an outcome; where the ledger cannot be asked about it now, it is held against it later.

        Raises:
            HTTPException: 404, if the signal was never evaluated; 409, if it ended otherwise before.
        """
        outcome = Outcome(
            **told.model_dump()
            | {"settled_at": datetime.fromisoformat(told.settled_at), "won": told.net_return > 0}
        )
        self._require_new(outcome)
        self.session.settle(outcome)
        return Taken(signal_id=outcome.signal_id, won=outcome.won)

    def state(self, at: datetime) -> StateOut:
        """Return how this process stands."""
        found = self.session.standing(at)
        state = found.state
        return StateOut(
            lineage=state.lineage if state else None,
            phase=state.phase if state else None,
            weight=found.weight,
            decided_weight=state.weight if state else 0.0,
            out_of_force=found.out_of_force,
            champion=state.champion if state else None,
            served_version=found.version,
            as_of=state.as_of if state else None,
            lease_until=state.lease_until if state else None,
            fallbacks=dict(found.fallbacks),
            lost=found.lost,
            set_aside=found.set_aside,
            troubles=list(found.troubles),
        )

    def _require_new(self, outcome: Outcome) -> None:
        try:
            row = self._known(outcome.signal_id)
        except RestoreService:
            return
        if row is None and outcome.signal_id not in self._answers:
            raise HTTPException(404, f"{outcome.signal_id}: no such signal was evaluated here")
        if row is not None and row["settled_at"] is not None and not _as_recorded(row, outcome):
            raise HTTPException(
                409, f"{outcome.signal_id}: it ended otherwise before; an outcome is written once"
            )

    def _keep(self, answer: EvaluationOut) -> EvaluationOut:
        self._answers[answer.signal_id] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    def _signal(self, asked: SignalIn) -> Signal:
        opened = datetime.fromisoformat(asked.timestamp)
        return Signal(
            signal_id=f"{asked.symbol}:{asked.timestamp}:{asked.side}",
            symbol=asked.symbol,
            side=asked.side,
            timestamp=opened,
            decided_at=opened + self._tail.bar_size.to_pytimedelta(),
            confidence=asked.confidence,
            scores=asked.scores,
        )


class _SessionCollector(Collector):
    """What Prometheus is told about the session, read when it asks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def collect(self) -> Iterable[Metric]:
        """Give every metric."""
        now = datetime.now(UTC)
        found = self._session.standing(now)
        fallbacks = CounterMetricFamily(
            "steelyard_fallbacks",
            "Evaluations the existing system decided alone",
            labels=["reason"],
        )
        for reason, count in found.fallbacks.items():
            fallbacks.add_metric([reason], count)
        yield fallbacks
        yield GaugeMetricFamily("steelyard_weight", "Weight in force", found.weight)
        lease = (found.state.lease_until - now).total_seconds() if found.state else math.nan
        yield GaugeMetricFamily(
            "steelyard_lease_seconds", "Until the weight falls to 0 unless a guard renews it", lease
        )
        yield GaugeMetricFamily(
            "steelyard_troubles", "Things that are old or wait", len(found.troubles)
        )
        yield CounterMetricFamily(
            "steelyard_lost", "Evaluations that could not be kept", found.lost
        )
        yield CounterMetricFamily(
            "steelyard_set_aside", "Outcomes that were refused", found.set_aside
        )


def service(desk: Desk, token: str, policy: DeskPolicy) -> FastAPI:
    """Return the application; it closes the session when it stops."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.session.close()

    app = FastAPI(title="Steelyard", version="1", lifespan=life, docs_url=None, redoc_url=None)
    app.add_middleware(
        AccessMiddleware,
        token=token,
        requests_per_second=policy.requests_per_second,
        most_bytes=policy.max_request_bytes,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    guarded: Any = {"dependencies": [Security(HTTPBearer(auto_error=False))]}
    _add_routes(app, desk, guarded)
    return app


def _add_routes(app: FastAPI, desk: Desk, guarded: dict[str, Any]) -> None:
    @app.post("/evaluate", responses=_problems(400, 401, 409, 413, 422, 429), **guarded)
    async def evaluate(asked: SignalIn) -> EvaluationOut:
        """Decide about a signal; asked again about the same one, the same answer."""
        return desk.evaluate(asked)

    @app.post(
        "/outcome",
        status_code=202,
        responses=_problems(400, 401, 404, 409, 413, 422, 429),
        **guarded,
    )
    def outcome(told: OutcomeIn) -> Taken:
        """Tell how a signal ended."""
        return desk.settle(told)

    @app.get("/state", responses=_problems(401, 429), **guarded)
    async def state() -> StateOut:
        """Say how this process stands."""
        return desk.state(datetime.now(UTC))

    @app.get("/healthz", responses=_problems(429))
    async def healthz() -> Health:
        """Say whether all is well; needs no token."""
        return Health(
            status="degraded" if desk.session.standing(datetime.now(UTC)).troubles else "ok"
        )

    text: Any = {
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "Prometheus text",
        }
    }

    @app.get("/metrics", response_class=Response, responses=text | _problems(401, 429), **guarded)
    async def metrics() -> Response:
        """Give Prometheus what it asks for."""
        return Response(generate_latest(desk.metrics), media_type=CONTENT_TYPE_LATEST)


def run(app: FastAPI, host: str, port: int, told: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; ``told`` gets the address once the port is ours.

    Raises:
        FixConfiguration: If the port cannot be had.
    """
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise FixConfiguration(
            f"{host}:{port} cannot be listened at ({error.strerror}); pass another --port"
        ) from error
    told(f"http://{host}:{listening.getsockname()[1]}")
    settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    sys.setswitchinterval(SWITCH_SECONDS)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again once everything is closed
        uvicorn.Server(settings).run(sockets=[listening])


def _invalid(_: Request, error: Exception) -> Response:
    """Say in one line what is wrong with a request."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # what it is registered for
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return JSONResponse({"detail": f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"}, 422)


def _problems(*codes: int) -> Any:
    return {code: {"model": Problem} for code in codes}


def _bar(bar: BarIn) -> Bar:
    volume = math.nan if bar.volume is None else bar.volume
    return Bar(
        bar.symbol,
        np.datetime64(bar.timestamp[:-1], "ns"),
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        volume,
    )


def _fields(found: Evaluation) -> dict[str, Any]:
    return {name: getattr(found, name) for name in _ANSWERED}


def _answer(row: dict[str, Any], note: str | None) -> EvaluationOut:
    known: dict[str, Any] = {name: None if pd.isna(row[name]) else row[name] for name in _ANSWERED}
    return EvaluationOut(**known, note=note)


def _same(given: EvaluationOut, confidence: float) -> EvaluationOut:
    if given.confidence_existing != confidence:
        raise HTTPException(
            409,
            f"{given.signal_id}: decided with confidence {given.confidence_existing:g} before; a signal is decided once",
        )
    return given


def _as_recorded(row: dict[str, Any], outcome: Outcome) -> bool:
    return all(
        getattr(outcome, name) == row[name]
        for name in ("settled_at", "net_return", "exit_reason", "hold_minutes")
    )
