"""Opens what a trading process needs over a home: watch, session, recorder, and the desk behind ``steelyard serve``."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from steelyard.desk.bar_buffer import BarBuffer
from steelyard.desk.recorder import Recorder
from steelyard.desk.served_model import ServedModel
from steelyard.desk.service import Desk
from steelyard.desk.session import Session
from steelyard.desk.state_watch import After, Clock, StateWatch, now
from steelyard.desk.streak_breaker import StreakBreaker
from steelyard.errors import RestoreService
from steelyard.gateways.files import write_whole
from steelyard.gateways.lake import Lake
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.registry import Registry
from steelyard.gateways.spool import Spool
from steelyard.home import open_alerts, open_brake, open_ledger, open_registry, page_of
from steelyard.market.bars import by_symbol
from steelyard.settings import ServiceSettings, Settings, load
from steelyard.views.alerts import lapse, of_decision
from steelyard.weight.state import State

REMEMBERED_DAYS = timedelta(days=3)


def watch(home: Path, conf: Path | None = None) -> StateWatch:
    """Return the watch over a home under the settings in ``conf`` (default: the project's), not started yet.

    It tells the operator when the lease has run out: the flows that would say so may be what stopped.
    """
    services = load(conf).services.at(home)
    return _watch(services, open_registry(services), (), now)


def _watch(
    services: ServiceSettings, registry: Registry, after: tuple[After, ...], clock: Clock
) -> StateWatch:
    """Return a watch that begins with the state on disk and keeps it there."""
    alerts, kept = open_alerts(services), _kept(services)

    def tell(state: State, at: datetime) -> None:
        alert = lapse(state, at, services.pages)
        if alert:
            alerts.post(alert)

    def keep(state: State, _: datetime) -> None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, registry.journal.sealed(state))

    first, seconds = kept_state(services, registry), services.refresh_seconds
    return StateWatch(
        registry.journal.verified, open_brake(services), seconds, (keep, *after), first, tell, clock
    )


def kept_state(services: ServiceSettings, registry: Registry) -> State | None:
    """Return the state the last trading process left on disk; None without one, or one nobody sealed."""
    kept = _kept(services)
    return (
        registry.journal.unsealed(kept.read_text(encoding="utf-8")).state if kept.exists() else None
    )


def _kept(services: ServiceSettings) -> Path:
    return Path(services.state) / "state.json"


def open_session(home: Path, conf: Path | None = None, clock: Clock = now) -> Session:
    """Return a session over a home, its watch and its recorder running; ``Session.warm`` it before the first trade.

    Without MLflow it starts with the last good model and the last state, as far as that state's lease reaches.

    Args:
        home: The home.
        conf: Folder of the settings.
        clock: Gives the moment it is; another one than the real one in a drill.
    """
    settings: Settings = load(conf)
    services = settings.services.at(home)
    registry, state = open_registry(services), Path(services.state)
    champion = ServedModel(registry.load, state / "bundle", registry.journal.seal)
    champion.restore()
    strategy = load_strategy(settings.strategy)
    watching = _watch(services, registry, (lambda found, _: champion.follow(found),), clock)
    look = _breaker(settings, services, registry, watching, clock)
    recorder = Recorder(open_ledger(services), Spool(state / "spool"), strategy.score_names, look)
    return Session(
        watching.start(),
        champion,
        strategy.score_names,
        settings.books.threshold,
        settings.weight.ab_key,
        settings.desk,
        recorder.start(),
    )


def _breaker(
    settings: Settings,
    services: ServiceSettings,
    registry: Registry,
    watching: StateWatch,
    clock: Clock,
) -> Callable[[], None]:
    """Return what looks at the streak after an outcome: the brake first, by the state at hand, then the journal."""
    alerts, journal = open_alerts(services), registry.journal
    breaker = StreakBreaker(
        open_ledger(services),
        journal,
        open_brake(services),
        settings.weight,
        settings.books,
        watching.look_at_brake,
    )

    def look() -> None:
        at = clock()
        breaker.check(watching.state, at)
        entry = breaker.look(at)
        watching.refresh()
        if entry is not None:
            for alert in of_decision(entry, page_of(services, journal, entry.run_id)):
                alerts.post(alert)
            alerts.deliver()

    return look


def open_desk(home: Path, conf: Path | None = None) -> Desk:
    """Return the session of a home for the service, with the lake's bars and the answers of the last days.

    Raises:
        CollectMoreData: If nothing was collected yet.
    """
    services = load(conf).services.at(home)
    lake, ledger = Lake(Path(services.state) / "lake"), open_ledger(services)
    bars = by_symbol(lake.read(), lake.bar_size)
    desk = Desk(open_session(home, conf), BarBuffer(bars, lake.bar_size), ledger.signal)
    with suppress(RestoreService):  # a ledger that is down keeps nobody from trading
        now = datetime.now(UTC)
        ledger.migrate()
        known = ledger.predictions(now - REMEMBERED_DAYS, now + REMEMBERED_DAYS)
        desk.remember(cast(list[dict[str, Any]], known.to_dict("records")))
    return desk
