"""What a replay looks at: its settings, its days, what was known on each, and what was recorded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.evaluation.books import measure_books
from steelyard.gateways.sources import from_argument
from steelyard.home import Home, home_under
from steelyard.market.history import as_known
from steelyard.market.overlap import SignalCount, signal_uniqueness
from steelyard.queries.books import held_predictions
from steelyard.queries.records import decision_record, version_record
from steelyard.queries.state import current_state
from steelyard.queries.trials import life_worth
from steelyard.settings import ServiceSettings, load, override
from steelyard.views.replay import ReplayResult

DAY = timedelta(days=1)
REPLAY_NOTE = "replay.json"
LOG_OF = "log of "
"""What the bars of a replayed log are called in the note, before the folder of its home."""
Stamps = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole history of a replay, cut to what was known on a day.

    Attributes:
        history: One row per signal with features and outcome, as ``known_history`` returns it.
        decided_at: Decision times, shape (n_signals,), UTC without zone.
        settled_at: Settlement times, shape (n_signals,), UTC without zone; NaT if not settled.
    """

    history: pd.DataFrame
    decided_at: Stamps
    settled_at: Stamps

    @classmethod
    def of(cls, history: pd.DataFrame) -> "Timeline":
        """Return the timeline of a history.

        Args:
            history: One row per signal, with columns ``decided_at`` and ``settled_at``.
        """
        stamps = history[["decided_at", "settled_at"]].astype("datetime64[ns, UTC]")
        decided, settled = (stamps[name].dt.tz_localize(None).to_numpy() for name in stamps)
        return cls(history, decided, settled)

    def known(self, as_of: datetime) -> pd.DataFrame:
        """Return the history as it was known at ``as_of``."""
        return as_known(self.history, pd.Timestamp(as_of))

    def new_rows(self, since: datetime, as_of: datetime) -> pd.DataFrame:
        """Return the rows decided or settled in (since, as_of].

        Args:
            since: Start of the interval (UTC), excluded.
            as_of: End of the interval (UTC); the rows hold what was known then.
        """
        new = _within(self.decided_at, since, as_of) | _within(self.settled_at, since, as_of)
        return as_known(self.history[new], pd.Timestamp(as_of)) if new.any() else self.history[:0]

    def settled_count(self, as_of: datetime) -> SignalCount:
        """Return the number of signals settled by ``as_of``, and what they are worth."""
        settled = self.settled_at <= _naive(as_of)
        return SignalCount.of(signal_uniqueness(self.history[settled]))


def _within(stamps: Stamps, since: datetime, until: datetime) -> NDArray[np.bool_]:
    return (stamps > _naive(since)) & (stamps <= _naive(until))


def _naive(at: datetime) -> np.datetime64:
    return np.datetime64(at.replace(tzinfo=None))


@dataclass(frozen=True, slots=True)
class ReplayDays:
    """The days of a replay, and on which of them it trains.

    Attributes:
        start: First day (UTC).
        end: Last day (UTC), included.
        retrain_days: Days between two trainings.

    Raises:
        FixConfiguration: If the end does not lie after the start.
    """

    start: datetime
    end: datetime
    retrain_days: int

    def __post_init__(self) -> None:
        """Refuse an end that does not lie after the start."""
        if self.end <= self.start:
            raise FixConfiguration(
                f"a replay from {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d} has no day; "
                "pass a later --end"
            )

    def days_from(self, first: datetime) -> Iterator[datetime]:
        """Yield the days from ``first`` to the end."""
        while first <= self.end:
            yield first
            first += DAY

    def retrains_on(self, day: datetime) -> bool:
        """Return whether a training is due on ``day``."""
        return (day - self.start).days % self.retrain_days == 0

    def progress(self, day: datetime) -> tuple[int, int]:
        """Return the number of days replayed by ``day`` and the number of all days."""
        return (day - self.start).days, (self.end - self.start).days


def open_replay_home(
    bars: str,
    strategy: str | None,
    trials: int | None,
    evidence: str | None,
    home: Path,
    conf: str | None,
    lineage: str | None = None,
) -> Home:
    """Return a home under the settings in ``conf``, with the given values in their place.

    Args:
        bars: Source of the bars: ``sample``, ``simulated:EDGE`` or a path.
        strategy: ``trend``, ``reversion`` or ``MODULE:CLASS``; None as configured.
        trials: Trials per search; None as configured.
        evidence: Rule of evidence; None as configured.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage that is replayed; None for the only one.

    Raises:
        FixConfiguration: If a value is out of bounds.
    """
    settings = load(Path(conf) if conf else None, lineage)
    changes: dict[str, Any] = {
        "source": from_argument(bars, settings.source),
        "services": settings.services.model_copy(update={"lake": ""}),
    }
    if strategy:
        changes["strategy"] = override(settings.strategy, "--strategy", system=strategy)
    if trials:
        changes["learning"] = override(settings.learning, "--trials", trials=trials)
    if evidence:
        changes["weight"] = override(settings.weight, "--evidence", evidence=evidence)
    return home_under(settings.model_copy(update=changes), home)


def as_replayed(home: Home) -> Home:
    """Return a home that holds a replay of bars under the settings it was replayed with.

    Any other home is returned as it is: what it holds came from its own settings.

    Args:
        home: Opened home.

    Raises:
        FixConfiguration: If a setting of the replay is out of bounds by now.
    """
    note = home.state_folder / REPLAY_NOTE
    asked = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if asked.get("bars", LOG_OF).startswith(LOG_OF):
        return home
    conf = str(home.conf) if home.conf else None
    replayed = (asked["bars"], asked["strategy"], asked["trials"], asked.get("evidence"))
    return open_replay_home(*replayed, home.folder, conf, home.lineage)


def open_log_replay(
    recorded: Home,
    trials: int | None,
    evidence: str | None,
    home: Path,
    conf: str | None,
    lineage: str | None = None,
) -> Home:
    """Return a home for the replay of another's log, with all its stores in its own folder.

    Args:
        recorded: Home whose log is replayed.
        trials: Trials per search; None as configured.
        evidence: Rule of evidence; None as configured.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage that is replayed; None for the only one.

    Raises:
        FixConfiguration: If the existing system of ``recorded`` is no log, a value is out of
            bounds, or both homes are the same.
    """
    settings = load(Path(conf) if conf else None, lineage)
    if not settings.strategy.is_log:
        raise FixConfiguration(
            f"conf/strategy.yaml names {settings.strategy.system}; replay --log replays the "
            "signals of a log (system: log)"
        )
    if home.resolve() == recorded.folder:
        raise FixConfiguration(f"{home}: a replay needs a home of its own; pass another --home")
    log = settings.strategy.log.model_copy(update={"features": recorded.own_names})
    changes: dict[str, Any] = {
        "strategy": settings.strategy.model_copy(update={"log": log}),
        "services": settings.services.model_copy(
            update=ServiceSettings(lake=recorded.settings.services.lake).model_dump(
                exclude={"lineage"}
            )
        ),
    }
    if trials:
        changes["learning"] = override(settings.learning, "--trials", trials=trials)
    if evidence:
        changes["weight"] = override(settings.weight, "--evidence", evidence=evidence)
    return home_under(settings.model_copy(update=changes), home)


def days_of_log(
    history: pd.DataFrame, start: datetime | None, end: datetime | None, retrain_days: int
) -> ReplayDays:
    """Return the days of a log's replay: those given, else all from the first to the last signal.

    Args:
        history: One row per signal, ordered by decision.
        start: First day (UTC); None for that of the first signal.
        end: Last day (UTC); None for the day after the last outcome.
        retrain_days: Days between two trainings.

    Raises:
        CollectMoreData: If there are no signals.
        FixConfiguration: If the end does not lie after the start.
    """
    if history.empty:
        raise CollectMoreData("the ledger has no signals of a log yet; import or collect some")
    first = history["decided_at"].min().floor("1D").to_pydatetime()
    known = history[["decided_at", "settled_at"]].max().max()
    last = (known.floor("1D") + pd.Timedelta("1D")).to_pydatetime()
    return ReplayDays(start or first, end or last, retrain_days)


def first_day(home: Home, days: ReplayDays) -> datetime:
    """Return the first day that was not replayed yet.

    Args:
        home: Home of the replay.
        days: Days of the replay.
    """
    last = last_guard(home)
    return days.start if last is None else max(days.start, last + DAY)


def last_guard(home: Home) -> datetime | None:
    """Return when the guard last ran, by the lease; None before the first decision."""
    state = home.journal.state()
    if state is None:
        return None
    return state.lease_until - timedelta(days=home.settings.weight.lease_days)


def last_replayed_day(home: Home) -> datetime | None:
    """Return the last day of the replay in this home (UTC); None if it holds none."""
    return last_guard(home) if (home.state_folder / REPLAY_NOTE).exists() else None


def replay_result(home: Home, days: ReplayDays, seconds: float, page: str = "") -> ReplayResult:
    """Return the result of a replay from the records of its home.

    Args:
        home: Home of the replay.
        days: Days of the replay.
        seconds: Duration of the replay.
        page: File of its report; empty without one.
    """
    settled = held_predictions(home, days.start, days.end)
    predictions = home.ledger.predictions(days.start, days.end)
    decisions = [decision_record(entry) for entry in home.journal.entries()]
    state = current_state(home, days.end)
    months = max((days.end - days.start).days / 30.0, 1.0)
    return ReplayResult(
        start=days.start,
        end=days.end,
        signals=len(predictions),
        signals_settled=len(settled),
        signals_with_opinion=int(settled["p_win"].notna().sum()),
        signals_per_month=round(len(predictions) / months, 1),
        trainings=tuple(version_record(version) for version in home.registry.versions()),
        promotions=tuple(record for record in decisions if record.kind == "promotion"),
        decisions=tuple(record for record in decisions if record.kind != "promotion"),
        books=measure_books(settled, days.start, days.end),
        worth=life_worth(home, settled, days.end),
        phase=state.phase,
        weight=state.weight,
        seconds=seconds,
        page=page,
    )
