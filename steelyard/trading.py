"""Opens the trading side of a home: state watch, session, recorder and the HTTP service's desk."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from steelyard.desk.background import Alarm
from steelyard.desk.bar_buffer import BarBuffer
from steelyard.desk.logged import LogTerms
from steelyard.desk.recorder import Recorder
from steelyard.desk.served_model import ServedModel
from steelyard.desk.session import Session, proposes
from steelyard.desk.state_watch import Clock, StateListener, StateWatch, system_clock
from steelyard.desk.streak_breaker import StreakBreaker
from steelyard.errors import RestoreService
from steelyard.gateways.calendars import known_times, next_open
from steelyard.gateways.files import set_aside
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.plugins import load_class, load_strategy
from steelyard.gateways.registry import Registry
from steelyard.gateways.spool import Spool
from steelyard.home import (
    Home,
    home_under,
    open_alerts,
    open_brake,
    open_ledger,
    open_registry,
    open_state_file,
    open_witnesses,
    run_url,
)
from steelyard.market.logged import LoggedSystem, own_name
from steelyard.market.strategy import Strategy, own_names
from steelyard.settings import ServiceSettings, Settings, load
from steelyard.views.alerts import distrust, lapse, of_decision, trading_trouble
from steelyard.weight.state import State

if TYPE_CHECKING:
    from steelyard.desk.service import Desk
    from steelyard.gateways.lake import Lake

HAS_MLFLOW = find_spec("mlflow") is not None
"""Whether this process can read MLflow; the light installation cannot."""
NO_BARS = pd.Timedelta("1h")
"""Size of the bars that a home without bars never gets."""
QUIET_DAYS = 14
"""Days within which every market opens again."""
ANSWER_AGE = timedelta(days=3)
"""Age of the answers that the HTTP service loads after a restart."""


def open_watch(home: Path, conf: Path | None = None, *, lineage: str | None = None) -> StateWatch:
    """Return the state watch of a lineage, not started yet.

    It alerts the operator when the lease has expired: the flows that would do so may have stopped.

    Args:
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    settings = load(conf, lineage)
    services = settings.services.at(home)
    return _watch(
        services,
        open_registry(services),
        (),
        system_clock,
        settings.weight.lease_days,
        _alarm(services),
    )


def _watch(
    services: ServiceSettings,
    registry: Registry,
    listeners: tuple[StateListener, ...],
    clock: Clock,
    lease_days: int,
    alarm: Alarm,
) -> StateWatch:
    """Return a watch that starts with the state on disk and stores every new one there."""
    alerts, state_file = open_alerts(services), open_state_file(services)
    ledger = open_ledger(services)

    def alert_on_lapse(state: State, at: datetime) -> None:
        alert = lapse(state, at, lease_days, services.pages)
        if alert:
            alerts.post(alert)

    def alert_on_distrust(fault: str, at: datetime) -> None:
        alerts.post(distrust(services.lineage, fault, at, services.pages))

    def store(state: State, _: datetime) -> None:
        state_file.store(state)

    return StateWatch(
        registry.journal.verified if HAS_MLFLOW else partial(_state_on_disk, services),
        open_brake(services),
        services.refresh_seconds,
        (store, *listeners),
        _whole_state(services, alarm),
        alert_on_lapse,
        clock,
        lease_days,
        alarm,
        lambda: _is_braked(ledger, services.lineage),
        alert_on_distrust,
    )


def stored_state(services: ServiceSettings) -> State | None:
    """Return the state that the last trading process left on disk.

    None if there is none, its seal is wrong, or the ledger has seen a later decision.
    """
    state = open_state_file(services).read()
    return None if open_witnesses(services).testify().fault(state) else state


def _state_on_disk(services: ServiceSettings) -> tuple[State | None, str | None]:
    """Return the state that a process with MLflow has put on disk, and what is wrong with it.

    For the seconds in which the ledger knows of a later decision there is none.
    """
    reading = open_state_file(services).reading()
    lags = open_witnesses(services).testify().fault(reading.state)
    return None if lags else reading.state, reading.fault


def hand_over(home: Home) -> None:
    """Leave model and state on disk, for trading processes without MLflow; the state comes last.

    Raises:
        RestoreService: If MLflow cannot be reached.
        OSError: If the disk cannot be written.
    """
    state, services = home.journal.state(), home.settings.services
    if state is None:
        return
    if state.champion is not None:
        _served_model(services, home.registry).keep(state.champion)
    open_state_file(services).store(state)


def _served_model(services: ServiceSettings, registry: Registry) -> ServedModel:
    load_files, folder = registry.load if HAS_MLFLOW else None, services.own_state / "bundle"
    return ServedModel(load_files, folder, registry.journal.seal.of, load_class)


def _whole_state(services: ServiceSettings, alarm: Alarm) -> State | None:
    """Return the state on disk; a damaged one is set aside and told, and so is a lost seal key."""
    state_file = open_state_file(services)
    try:
        fault = state_file.reading().fault
        if fault:
            alarm(f"{state_file.file} {fault}; it is kept as {set_aside(state_file.file)}")
        return stored_state(services)
    except RestoreService as error:
        alarm(str(error))
        return None


def _is_braked(ledger: Ledger, lineage: str) -> bool | None:
    """Return whether the brake in the ledger is pulled; None if the ledger cannot be read."""
    try:
        return ledger.brake(lineage) is not None
    except RestoreService:
        return None


def _alarm(services: ServiceSettings) -> Alarm:
    """Return the alarm of the process's background threads: an alert, once a day and cause."""
    alerts = open_alerts(services)
    return lambda words: alerts.post(trading_trouble(services.lineage, words, datetime.now(UTC)))


def open_session(
    home: Path,
    conf: Path | None = None,
    clock: Clock = system_clock,
    *,
    checked: bool = False,
    lineage: str | None = None,
) -> Session:
    """Return a running session of a lineage; call ``Session.warm`` before the first trade.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     session = open_session(Path(folder))
        ...     session.status(system_clock()).weight  # a new home has no model yet
        ...     session.close()
        0.0

    While MLflow does not answer it goes on with the last good model and the last state on disk, as
    long as the lease of that state runs; where MLflow is not installed it follows both as the
    flows of the home leave them there.

    Args:
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        clock: Returns the current time, aware: the lease is held against it. A drill and a run
            over past bars pass their own time.
        checked: Whether each signal is held against what the existing system proposes on its bars;
            not needed where the signals are taken from that system.
        lineage: Name of the lineage; None for the only one.

    Raises:
        FixConfiguration: If settings or the existing system cannot be loaded.
        RestoreService: If another process records for this lineage.
    """
    settings: Settings = load(conf, lineage)
    services = settings.services.at(home)
    registry = open_registry(services)
    champion = _served_model(services, registry)
    with suppress(RestoreService):  # without the seal key the model on disk cannot be believed
        champion.restore()
    ledger, system = open_ledger(services), settings.strategy
    strategy = _existing_system(settings, ledger)
    alarm = _alarm(services)
    lease_days, followers = settings.weight.lease_days, (lambda state, _: champion.follow(state),)
    watch = _watch(services, registry, followers, clock, lease_days, alarm)
    enforce = _streak_check(settings, services, registry, watch, clock)
    spool = Spool(services.own_state / "spool")
    own = own_names(strategy)
    recorder = Recorder(
        ledger,
        spool,
        strategy.score_names,
        enforce,
        alarm,
        own,
        freezes_features=not system.is_log,
    )
    return Session(
        watch.start(),
        champion,
        strategy.score_names,
        settings.books.threshold,
        settings.weight.ab_key,
        settings.desk,
        recorder.start(),
        own,
        partial(proposes, strategy) if checked and not system.is_log else None,
        is_log=system.is_log,
        has_bars=settings.has_source,
    )


def _existing_system(settings: Settings, ledger: Ledger) -> Strategy:
    """Return the existing system; of a log, with the features it is known to give."""
    if not settings.strategy.is_log:
        return load_strategy(settings.strategy)
    named = settings.strategy.log.features
    with suppress(RestoreService):
        ledger.migrate()
        return LoggedSystem([own_name(column) for column in named] or ledger.own_names())
    return LoggedSystem(())


def _streak_check(
    settings: Settings,
    services: ServiceSettings,
    registry: Registry,
    watch: StateWatch,
    clock: Clock,
) -> Callable[[], None]:
    """Return the streak check after an outcome: first the brake, then the journal."""
    alerts, journal = open_alerts(services), registry.journal
    breaker = StreakBreaker(
        open_ledger(services),
        journal,
        open_brake(services),
        settings.weight,
        settings.books,
        settings.risk,
        watch.check_brake,
    )

    def enforce() -> None:
        at = clock()
        breaker.check(watch.state, at)
        if not HAS_MLFLOW:  # the brake stays pulled until a flow of the home has written it down
            return
        entry = breaker.enforce(at)
        watch.refresh()
        if entry is not None:
            for alert in of_decision(entry, run_url(services, journal, entry.run_id)):
                alerts.post(alert)
            alerts.deliver()

    return enforce


def open_desk(home: Path, conf: Path | None = None, *, lineage: str | None = None) -> "Desk":
    """Return the session of a lineage for the HTTP service, with its bars and recent answers.

    Args:
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.

    Raises:
        CollectMoreData: If nothing was collected yet.
    """
    from steelyard.desk.service import Desk

    settings = load(conf, lineage)
    services = settings.services.at(home)
    lake = home_under(settings, home).lake if settings.has_source else None
    ledger = open_ledger(services)
    buffer, log = BarBuffer({}, NO_BARS), None
    if lake is not None:
        buffer = BarBuffer(lake.bars(), lake.bar_size, lake.known_after)
    if settings.strategy.is_log:
        log = _log_terms(settings, lake)
    desk = Desk(open_session(home, conf, checked=True, lineage=lineage), buffer, ledger.signal, log)
    with suppress(RestoreService):  # an unreachable ledger does not stop trading
        now = datetime.now(UTC)
        ledger.migrate()
        recent = ledger.predictions(now - ANSWER_AGE, now + ANSWER_AGE)
        desk.remember(cast(list[dict[str, Any]], recent.to_dict("records")))
    return desk


def _log_terms(settings: Settings, lake: "Lake | None") -> LogTerms:
    """Return how signals of a program are taken in, on the bars of the lake if there are any."""
    log, source = settings.strategy.log, settings.source.resolved()
    if lake is None:
        return LogTerms(log, None, lambda closed: closed)

    bar_size, known_after = lake.bar_size, lake.known_after

    @lru_cache(maxsize=64)
    def next_close(closed: datetime) -> datetime:
        at = pd.Timestamp(closed)
        if bar_size < pd.Timedelta("1D"):
            return (next_open(source.calendar, at) + bar_size).to_pydatetime()
        zone, calendar = source.timezone, source.calendar
        coming = known_times(at, QUIET_DAYS, bar_size, known_after, calendar, zone)
        return coming[0].to_pydatetime()

    next_close(datetime.now(UTC))  # loads the calendar, so that no signal waits for it
    return LogTerms(log, known_after, next_close)
