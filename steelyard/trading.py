"""Opens what a trading process needs over a home: the watch, the session, the recorder."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from steelyard.desk.bundle import Champion
from steelyard.desk.recorder import Recorder
from steelyard.desk.session import Session
from steelyard.desk.streak import StreakBreaker
from steelyard.desk.watch import After, Clock, Watch, now
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.registry import Registry
from steelyard.gateways.spool import Spool
from steelyard.notices import lapse, of_decision
from steelyard.services import open_alerts, open_brake, open_ledger, open_registry, page_of
from steelyard.settings import ServiceSettings, Settings, load
from steelyard.weight.state import State


def watch(home: Path, conf: Path | None = None) -> Watch:
    """Return the watch over a home under the settings in ``conf`` (default: the project's), not started yet.

    It tells the operator when the lease has run out: the flows that would say so may be what stopped.
    """
    services = load(conf).services.at(home)
    return _watch(services, open_registry(services), (), now)


def _watch(services: ServiceSettings, registry: Registry, after: tuple[After, ...], clock: Clock) -> Watch:
    """Return a watch that begins with the state on disk and keeps it there."""
    alerts, kept = open_alerts(services), _kept(services)

    def tell(state: State, at: datetime) -> None:
        alert = lapse(state, at, services.pages)
        if alert:
            alerts.post(alert)

    def keep(state: State, _: datetime) -> None:
        new = kept.with_suffix(".new")
        kept.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(registry.journal.sealed(state), encoding="utf-8")
        os.replace(new, kept)

    first, seconds = kept_state(services, registry), services.refresh_seconds
    return Watch(registry.journal.verified, open_brake(services), seconds, (keep, *after), first, tell, clock)


def kept_state(services: ServiceSettings, registry: Registry) -> State | None:
    """Return the state the last trading process left on disk; None without one, or one nobody sealed."""
    kept = _kept(services)
    return registry.journal.unsealed(kept.read_text(encoding="utf-8")).state if kept.exists() else None


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
    champion = Champion(registry.load, state / "bundle", registry.journal.seal)
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
    settings: Settings, services: ServiceSettings, registry: Registry, watching: Watch, clock: Clock
) -> Callable[[], None]:
    """Return what looks at the streak after an outcome: the brake first, by the state at hand, then the journal."""
    alerts, journal = open_alerts(services), registry.journal
    breaker = StreakBreaker(
        open_ledger(services), journal, open_brake(services), settings.weight, settings.books, watching.look_at_brake
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
