"""HTTP service of the trading side, for trading systems that are not written in Python."""

import gc
import math
import socket
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
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
from steelyard.desk.connections import ACCEPTED_AT_ONCE, BoundedProtocol
from steelyard.desk.fast_route import FastRoute
from steelyard.desk.logged import LogTerms
from steelyard.desk.middleware import AccessMiddleware
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.session import OTHER_SYSTEM, Session
from steelyard.desk.signals import LoggedSignal, Outcome, Signal
from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.service_manager import ServiceManager
from steelyard.market.bars import Bars
from steelyard.market.features import LARGEST
from steelyard.market.logged import own_name
from steelyard.market.yes_or_no import PLAIN_YES
from steelyard.weight.state import CLOCK_TOLERANCE

MAX_ANSWERS = 10_000
"""Number of evaluations for which a repeated request gets the recorded answer."""
MAX_BARS = 5_000
SWITCH_SECONDS = 0.0002
"""Interpreter switch interval; Python's 0.005 lets the ledger's writer delay a request by 35 ms."""
BUCKETS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)

_DAY = (
    "(?:(?:19[7-9][0-9]|20[0-9]{2})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:19(?:7[26]|8[048]|9[26])|20(?:[02468][048]|[13579][26]))-02-29)"
)
_MOMENT = f"{_DAY}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
_SYMBOL = r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?"

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
MOMENT_FORM = "2026-01-02T00:00:00Z"
NO_LOG = (
    "the existing system is not a log; set system: log in conf/strategy.yaml to send signals of "
    "your own program, or send what the configured system proposes to /evaluate"
)
NOT_PROPOSED = (
    "the existing system does not propose this signal: it decides alone and nothing is recorded; "
    "for signals of a program of your own set system: log in conf/strategy.yaml and POST /signals"
)
Price = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
OwnNumber = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class BarIn(_Strict):
    """A closed bar; ``timestamp`` is its open time, ``volume`` null if the market has none."""

    symbol: Symbol
    timestamp: Moment
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)] | None = None


class SignalIn(_Strict):
    """A trade that the existing system proposes at the close of the bar opened at ``timestamp``.

    ``own``: the user's own features; null, or left out, if not known. ``bars``: the bars of the
    whole universe that closed since the last request; known ones are ignored.
    """

    symbol: Symbol
    side: Literal["buy", "sell"]
    timestamp: Moment
    confidence: Confidence
    scores: Annotated[dict[str, Number], Field(max_length=100)] = {}
    own: Annotated[dict[str, OwnNumber | None], Field(max_length=100)] = {}
    bars: Annotated[list[BarIn], Field(max_length=MAX_BARS)] = []


class LoggedSignalIn(_Strict):
    """A trade that a program of the user's own proposes; for a home with ``system: log``.

    ``timestamp``: time of the decision. ``confidence``: none if the program says only yes. ``own``:
    numbers the model may learn from. ``levels``: where the program leaves the trade. ``bars``: as
    for ``/evaluate``, in a home with bars.
    """

    symbol: Symbol
    side: Literal["buy", "sell"]
    timestamp: Moment
    confidence: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    own: Annotated[dict[str, OwnNumber | None], Field(max_length=100)] = {}
    levels: dict[Literal["stop", "target", "bars", "trail"], Price] = {}
    bars: Annotated[list[BarIn], Field(max_length=MAX_BARS)] = []


class BarsIn(_Strict):
    """Bars that have closed; known ones are ignored."""

    bars: Annotated[list[BarIn], Field(max_length=MAX_BARS)]


class BarsTaken(BaseModel):
    """The bars were taken in; ``note`` says what is wrong with the first that was not."""

    note: str | None


class EvaluationOut(BaseModel):
    """The decision about a signal; ``note`` says what is wrong with the signal or its bars."""

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


_ANSWER_FIELDS = [name for name in EvaluationOut.model_fields if name != "note"]


class OutcomeIn(_Strict):
    """The outcome of a signal, traded or not; returns and distances are fractions of the entry.

    Without ``hold_minutes`` the signal entered at its decision. Only a home with ``system: log``
    can do without ``stop_distance``.
    """

    signal_id: SignalId
    settled_at: Moment
    net_return: Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
    exit_reason: Annotated[str, Field(pattern="^[a-z_]{1,20}$", examples=["target"])] = "reported"
    hold_minutes: Annotated[float, Field(ge=0, le=1e8, allow_inf_nan=False)] | None = None
    slippage_bps: Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)] = 0.0
    stop_distance: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None


class Taken(BaseModel):
    """The outcome was accepted and is being written to the ledger."""

    signal_id: str
    won: bool


class StateOut(BaseModel):
    """Weight in force, phase and versions, and why the decided weight is not in force."""

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
    """``degraded`` still decides: with the existing system alone or with the last known state."""

    status: Literal["ok", "degraded"]


class Problem(BaseModel):
    """What is wrong, where, and how to fix it."""

    detail: str


SignalLookup = Callable[[str], dict[str, Any] | None]


class Desk:
    """A session with the bars it has received and the answers it has given.

    Args:
        session: Evaluates the signals; warmed up with ``buffer``.
        buffer: Bars known at the start.
        find_signal: Returns the ledger's row of a signal id; None if it was never evaluated.
        log: How signals of a program are taken in; None if the existing system is a class.

    Attributes:
        metrics: Prometheus metrics of the service.
    """

    def __init__(
        self,
        session: Session,
        buffer: BarBuffer,
        find_signal: SignalLookup,
        log: LogTerms | None = None,
    ) -> None:
        self.session = session
        self._log = log
        self._buffer = buffer
        self._find_signal = find_signal
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
        session.warm(buffer.bars)

    def remember(self, rows: Iterable[dict[str, Any]]) -> None:
        """Load the answers given before a restart (rows of ``ml_predictions``)."""
        for row in rows:
            self._store_answer(_answer(row, None))

    def evaluate(self, proposal: SignalIn) -> EvaluationOut:
        """Return the decision about a signal; a repeated request gets the recorded one.

        Raises:
            HTTPException: 409 if it was decided with another confidence before, or if the existing
                system is a log.
        """
        if self._log is not None:
            raise HTTPException(409, "the existing system is a log; send its signals to /signals")
        signal = self._signal(proposal)
        answer = self._answers.get(signal.signal_id)
        if answer is not None:
            return _require_same(answer, proposal.confidence)
        answer = self._evaluate(signal, *self._extend(proposal.bars))
        if answer.fallback_reason == OTHER_SYSTEM:
            return answer.model_copy(update={"note": NOT_PROPOSED})
        return self._store_answer(answer)

    def take_in(self, proposal: LoggedSignalIn) -> EvaluationOut:
        """Record a signal of the user's program and return the decision about it.

        Raises:
            HTTPException: 409 if it was decided with another confidence before, or if the existing
                system is no log, or it lies ahead of the clock or off the scale.
        """
        if self._log is None:
            raise HTTPException(409, NO_LOG)
        logged = self._logged(proposal, self._log)
        answer = self._answers.get(logged.signal_id)
        if answer is not None:
            return _require_same(answer, logged.confidence)
        note, news = self._extend(proposal.bars)
        if 0 < logged.confidence <= 1:
            note = f"confidence {logged.confidence:g}: the scale is 0 to 100; log.confidence_factor"
        self.session.take_in(logged)
        signal = self._log.on_bar(logged, self._buffer.bars)
        return self._store_answer(self._evaluate(signal, note, news))

    def on_bars(self, news: BarsIn) -> BarsTaken:
        """Take in bars as they close; their features are ready before a signal asks."""
        note, extended = self._extend(news.bars)
        self.session.on_bars(extended)
        return BarsTaken(note=note)

    def _extend(self, sent: Sequence[BarIn]) -> tuple[str | None, dict[str, Bars]]:
        """Return what is wrong with the first invalid bar, or None, and the extended histories."""
        note, bars = self._buffer.extend([_bar(bar) for bar in sent]), self._buffer.bars
        return note, {bar.symbol: bars[bar.symbol] for bar in sent if bar.symbol in bars}

    @staticmethod
    def _logged(proposal: LoggedSignalIn, log: LogTerms) -> LoggedSignal:
        now, timestamp = datetime.now(UTC), datetime.fromisoformat(proposal.timestamp)
        decided_at, confidence = log.decided_at(timestamp), PLAIN_YES
        if decided_at > now + CLOCK_TOLERANCE:
            raise HTTPException(409, f"timestamp: {proposal.timestamp} lies ahead of this clock")
        if proposal.confidence is not None:
            confidence = proposal.confidence * log.settings.confidence_factor
        if confidence > 100:
            raise HTTPException(409, f"confidence: {confidence:g} is over 100")
        return LoggedSignal(
            signal_id=f"{proposal.symbol}:{proposal.timestamp}:{proposal.side}",
            symbol=proposal.symbol,
            side=proposal.side,
            timestamp=timestamp,
            decided_at=decided_at,
            taken_in_at=now,
            confidence=confidence,
            own={own_name(key): value for key, value in proposal.own.items() if value is not None},
            levels={str(name): price for name, price in proposal.levels.items()} or None,
        )

    def _evaluate(
        self, signal: Signal, note: str | None, news: Mapping[str, Bars]
    ) -> EvaluationOut:
        evaluation = self.session.evaluate(signal, news=news)
        self._latency.labels("trade" if evaluation.decision else "leave").observe(
            evaluation.latency_ms / 1e3
        )
        return _answer({name: getattr(evaluation, name) for name in _ANSWER_FIELDS}, note)

    def settle(self, report: OutcomeIn) -> Taken:
        """Accept an outcome; if the ledger is unreachable now, it is checked when it is written.

        Raises:
            HTTPException: 404 if the signal was never evaluated; 409 if its outcome differs, lies
                before its decision, or names no stop for the system of a class.
        """
        settled_at = datetime.fromisoformat(report.settled_at)
        stamp = datetime.fromisoformat(report.signal_id.rpartition(":")[0][-len(MOMENT_FORM) :])
        held = (settled_at - stamp).total_seconds() / 60
        if held <= 0:
            raise HTTPException(409, f"settled_at: {report.settled_at} is not after the decision")
        stop_distance = report.stop_distance
        if stop_distance is None:
            if self._log is None:
                raise HTTPException(409, "stop_distance: only a log can do without it")
            stop_distance = self._log.settings.stop_distance
        outcome = Outcome(
            signal_id=report.signal_id,
            settled_at=settled_at,
            net_return=report.net_return,
            won=report.net_return > 0,
            exit_reason=report.exit_reason,
            hold_minutes=held if report.hold_minutes is None else report.hold_minutes,
            slippage_bps=report.slippage_bps,
            stop_distance=stop_distance,
        )
        self._require_acceptable(outcome)
        self.session.settle(outcome)
        return Taken(signal_id=outcome.signal_id, won=outcome.won)

    def state(self, at: datetime) -> StateOut:
        """Return weight, phase, versions and problems of this process at ``at``."""
        status = self.session.status(at)
        state = status.state
        return StateOut(
            lineage=state.lineage if state else None,
            phase=state.phase if state else None,
            weight=status.weight,
            decided_weight=state.weight if state else 0.0,
            out_of_force=status.out_of_force,
            champion=state.champion if state else None,
            served_version=status.version,
            as_of=state.as_of if state else None,
            lease_until=state.lease_until if state else None,
            fallbacks=dict(status.fallbacks),
            lost=status.lost,
            set_aside=status.set_aside,
            troubles=list(status.troubles),
        )

    def _require_acceptable(self, outcome: Outcome) -> None:
        try:
            row = self._find_signal(outcome.signal_id)
        except RestoreService:
            return
        if row is None and outcome.signal_id not in self._answers:
            raise HTTPException(404, f"{outcome.signal_id}: no such signal was evaluated here")
        if row is not None and row["settled_at"] is not None and not _agrees(row, outcome):
            raise HTTPException(
                409, f"{outcome.signal_id}: another outcome is recorded; it is written only once"
            )

    def _store_answer(self, answer: EvaluationOut) -> EvaluationOut:
        self._answers[answer.signal_id] = answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        return answer

    def _signal(self, proposal: SignalIn) -> Signal:
        bar_open = datetime.fromisoformat(proposal.timestamp)
        return Signal(
            signal_id=f"{proposal.symbol}:{proposal.timestamp}:{proposal.side}",
            symbol=proposal.symbol,
            side=proposal.side,
            timestamp=bar_open,
            decided_at=bar_open + self._buffer.known_after.to_pytimedelta(),
            confidence=proposal.confidence,
            scores=proposal.scores,
            own={name: value for name, value in proposal.own.items() if value is not None},
        )


class _SessionCollector(Collector):
    """Prometheus metrics of the session, read at every scrape."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def collect(self) -> Iterable[Metric]:
        """Yield every metric."""
        now = datetime.now(UTC)
        status = self._session.status(now)
        fallbacks = CounterMetricFamily(
            "steelyard_fallbacks",
            "Evaluations the existing system decided alone",
            labels=["reason"],
        )
        for reason, count in status.fallbacks.items():
            fallbacks.add_metric([reason], count)
        yield fallbacks
        yield GaugeMetricFamily("steelyard_weight", "Weight in force", status.weight)
        lease = (status.state.lease_until - now).total_seconds() if status.state else math.nan
        yield GaugeMetricFamily(
            "steelyard_lease_seconds", "Until the weight falls to 0 unless a guard renews it", lease
        )
        yield GaugeMetricFamily(
            "steelyard_troubles", "Current problems, see /state", len(status.troubles)
        )
        yield CounterMetricFamily(
            "steelyard_lost", "Evaluations that could not be stored", status.lost
        )
        yield CounterMetricFamily(
            "steelyard_set_aside", "Outcomes that were refused", status.set_aside
        )


def service(desk: Desk, token: str, policy: DeskPolicy) -> FastAPI:
    """Return the application; it closes the session when it stops.

    Args:
        desk: Session with its bars and answers.
        token: Token that every request but ``/healthz`` must carry.
        policy: Limits of rate and size.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.session.close()

    app = FastAPI(title="Steelyard", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(
        AccessMiddleware,
        token=token,
        requests_per_second=policy.requests_per_second,
        max_bytes=policy.max_request_bytes,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.router.route_class = FastRoute
    guarded: Any = {"dependencies": [Security(HTTPBearer(auto_error=False))]}
    _add_routes(app, desk, guarded)
    return app


def _add_routes(app: FastAPI, desk: Desk, guarded: dict[str, Any]) -> None:
    @app.post("/bars", responses=_problems(400, 401, 413, 422, 429), **guarded)
    async def bars(news: BarsIn) -> BarsTaken:
        """Take in bars as they close, so that no signal waits for the features of the universe."""
        return desk.on_bars(news)

    @app.post("/evaluate", responses=_problems(400, 401, 409, 413, 422, 429), **guarded)
    async def evaluate(proposal: SignalIn) -> EvaluationOut:
        """Decide about a signal; a repeated request gets the same answer."""
        return desk.evaluate(proposal)

    @app.post("/signals", responses=_problems(400, 401, 409, 413, 422, 429), **guarded)
    async def signals(proposal: LoggedSignalIn) -> EvaluationOut:
        """Record a signal of your own program and decide about it; a repeat gets one answer."""
        return desk.take_in(proposal)

    @app.post(
        "/outcome",
        status_code=202,
        responses=_problems(400, 401, 404, 409, 413, 422, 429),
        **guarded,
    )
    def outcome(report: OutcomeIn) -> Taken:
        """Record the outcome of a signal."""
        return desk.settle(report)

    @app.get("/state", responses=_problems(401, 429), **guarded)
    async def state() -> StateOut:
        """Return weight, phase, versions and problems of this process."""
        return desk.state(datetime.now(UTC))

    @app.get("/healthz", responses=_problems(429))
    async def healthz() -> Health:
        """Return whether there are problems; needs no token."""
        troubles = desk.session.status(datetime.now(UTC)).troubles
        return Health(status="degraded" if troubles else "ok")

    text: Any = {
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "Prometheus text",
        }
    }

    @app.get("/metrics", response_class=Response, responses=text | _problems(401, 429), **guarded)
    async def metrics() -> Response:
        """Return all metrics in Prometheus' text format."""
        return Response(generate_latest(desk.metrics), media_type=CONTENT_TYPE_LATEST)


def run(
    app: FastAPI,
    host: str,
    port: int,
    announce: Callable[[str], None],
    manager: ServiceManager,
) -> None:
    """Serve until Ctrl-C.

    Args:
        app: Application of ``service``.
        host: Bind address, IPv4 or IPv6.
        port: Port; 0 for any free one.
        announce: Called with the URL once the port is bound.
        manager: Gets a sign of life from the loop that answers requests.

    Raises:
        FixConfiguration: If the port cannot be bound.
    """
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise FixConfiguration(
            f"{host}:{port} cannot be bound ({error.strerror}); pass another --port"
        ) from error
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # or every few thousand requests one waits while half a million objects are walked
    announce(f"http://{host}:{listener.getsockname()[1]}")

    async def alive() -> None:
        manager.alive()

    settings = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        log_level="warning",
        access_log=False,
        server_header=False,
        callback_notify=alive,
        timeout_notify=1,
    )
    with manager, suppress(KeyboardInterrupt):  # uvicorn raises it again after closing everything
        uvicorn.Server(settings).run(sockets=[listener])


def _invalid(_: Request, error: Exception) -> Response:
    """Return what is wrong with a request, in one line."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this type
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


def _answer(row: dict[str, Any], note: str | None) -> EvaluationOut:
    values = ((name, row[name]) for name in _ANSWER_FIELDS)
    fields: dict[str, Any] = {name: value if value == value else None for name, value in values}
    return EvaluationOut(**fields, note=note)  # NaN does not equal itself


def _require_same(answer: EvaluationOut, confidence: float) -> EvaluationOut:
    if answer.confidence_existing != confidence:
        raise HTTPException(
            409,
            f"{answer.signal_id}: already decided with confidence {answer.confidence_existing:g}; "
            "a signal is decided once",
        )
    return answer


def _agrees(row: dict[str, Any], outcome: Outcome) -> bool:
    return all(
        getattr(outcome, name) == row[name]
        for name in ("settled_at", "net_return", "exit_reason", "hold_minutes")
    )
