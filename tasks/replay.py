"""Steps of a replay: past days lived through by the functions the scheduled flows use; only clock and home differ."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.evaluation.books import judge
from steelyard.gateways.sources import from_argument
from steelyard.home import Home, home_under
from steelyard.market.history import as_known
from steelyard.progress import report_progress
from steelyard.queries.records import decision_record, version_record
from steelyard.queries.trials import life_worth
from steelyard.settings import load, override
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.predictions import record_opinions, record_outcomes, watch_streak
from steelyard.tasks.step import step
from steelyard.tasks.training import compare_with_champion, settled_samples, trained_version
from steelyard.tasks.weight import current_state, evaluate_weight, guard_weight, review_gates
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Past:
    """Everything a replay cuts its days from: the whole history, and when each row became known."""

    history: pd.DataFrame
    decided_at: np.ndarray
    settled_at: np.ndarray

    @classmethod
    def of(cls, history: pd.DataFrame) -> "Past":
        """Return the past of ``history``."""
        stamps = history[["decided_at", "settled_at"]].astype("datetime64[ns, UTC]")
        decided, settled = (stamps[name].dt.tz_localize(None).to_numpy() for name in stamps)
        return cls(history, decided, settled)

    def known(self, as_of: datetime) -> pd.DataFrame:
        """Return the history as it was known at ``as_of``."""
        return as_known(self.history, pd.Timestamp(as_of))

    def new_rows(self, since: datetime, as_of: datetime) -> pd.DataFrame:
        """Return the rows decided or settled in (since, as_of], as they were known at ``as_of``."""
        fresh = _within(self.decided_at, since, as_of) | _within(self.settled_at, since, as_of)
        return (
            as_known(self.history[fresh], pd.Timestamp(as_of)) if fresh.any() else self.history[:0]
        )

    def settled_count(self, as_of: datetime) -> int:
        """Return how many signals had settled by ``as_of``."""
        return int((self.settled_at <= _naive(as_of)).sum())


@dataclass(frozen=True, slots=True)
class Schedule:
    """From when to when a replay lives, and how often it retrains."""

    start: datetime
    end: datetime
    retrain_days: int

    def __post_init__(self) -> None:
        """Refuse a course that ends before it starts."""
        if self.end <= self.start:
            raise FixConfiguration(
                f"a replay from {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d} has no day; pass a later --end"
            )

    def days_from(self, first: datetime) -> Iterator[datetime]:
        """Yield the midnights from ``first`` to the end."""
        while first <= self.end:
            yield first
            first += DAY

    def retrains_on(self, day: datetime) -> bool:
        """Whether a training is due on ``day``."""
        return (day - self.start).days % self.retrain_days == 0


@step()
def live_through(home: Home, history: pd.DataFrame, schedule: Schedule) -> float:
    """Live every day of ``schedule``; a home that was lived in already continues where it stands.

    Returns:
        Seconds it took.

    Raises:
        CollectMoreData: If no training date had enough settled signals.
    """
    started, past = time.perf_counter(), Past.of(history)
    refused: CollectMoreData | None = None
    for day in schedule.days_from(_first_day(home, schedule)):
        state = current_state(home, day)
        _settle_day(home, past, state, day)
        if schedule.retrains_on(day):
            refused = _retrain(home, past, day)
        _decide(home, past, day)
        if current_state(home, day).sequence > state.sequence:
            illustrate(home)
        report_progress(
            "replay",
            (day - schedule.start).days,
            (schedule.end - schedule.start).days,
            _words(day, state),
        )
    if refused is not None and not home.registry.versions():
        raise refused
    return time.perf_counter() - started


def _first_day(home: Home, schedule: Schedule) -> datetime:
    """Return the first day not lived yet: the lease tells when the guard last ran."""
    state = home.journal.state()
    if state is None:
        return schedule.start
    return max(
        schedule.start, state.lease_until - timedelta(days=home.settings.weight.lease_days) + DAY
    )


def _settle_day(home: Home, past: Past, state: State, day: datetime) -> None:
    new_rows = past.new_rows(day - DAY, day)
    if len(new_rows):
        record_opinions(home, new_rows, state)
        if record_outcomes(home, new_rows, since=day - DAY):
            watch_streak(home, day)


def _retrain(home: Home, past: Past, day: datetime) -> CollectMoreData | None:
    """Train and compare; too little history yet is no failure of a replay, only a later start."""
    known = past.known(day)
    try:
        samples = settled_samples(home, known)
        version = trained_version(home, known, samples, day)
    except CollectMoreData as error:
        return error
    compare_with_champion(home, samples, version, day)
    return None


def _decide(home: Home, past: Past, day: datetime) -> None:
    policy, yesterday = home.settings.weight, day - DAY
    guard_weight(home, day)
    if period_end(day, policy.evaluation_days) > yesterday:
        evaluate_weight(home, day)
    if period_end(day, policy.review_days) > yesterday:
        review_gates(home, day, past.settled_count(day))


def replay_stores(
    bars: str,
    strategy: str | None,
    trials: int | None,
    evidence: str | None,
    home: Path,
    conf: str | None,
) -> Home:
    """Return the home of ``home`` under the settings in ``conf``, with what the caller asked for in their place.

    Raises:
        FixConfiguration: If a value is out of bounds.
    """
    settings = load(Path(conf) if conf else None)
    changes: dict[str, Any] = {"source": from_argument(bars, settings.source)}
    if strategy:
        changes["strategy"] = override(settings.strategy, "--strategy", system=strategy)
    if trials:
        changes["learning"] = override(settings.learning, "--trials", trials=trials)
    if evidence:
        changes["weight"] = override(settings.weight, "--evidence", evidence=evidence)
    return home_under(settings.model_copy(update=changes), home)


def claim_home(home: Home, **arguments: Any) -> None:
    """Note what this home replays, so that a different replay cannot be mixed into it.

    Raises:
        FixConfiguration: If the home replays something else.
    """
    note = home.state_folder / "replay.json"
    wanted = json.dumps(arguments, sort_keys=True)
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(wanted, encoding="utf-8")
    elif note.read_text(encoding="utf-8") != wanted:
        raise FixConfiguration(
            f"{home.folder} holds a different replay ({note}); pass an empty --home"
        )


@step()
def replay_document(home: Home, schedule: Schedule, seconds: float) -> dict[str, Any]:
    """Return what the replay gave, from what is recorded in the home."""
    settled = home.ledger.settled_predictions(schedule.start, schedule.end)
    predictions = home.ledger.predictions(schedule.start, schedule.end)
    entries = home.journal.entries()
    state = current_state(home, schedule.end)
    months = max((schedule.end - schedule.start).days / 30.0, 1.0)
    books = judge(settled, schedule.start, schedule.end, home.settings.books)
    return {
        "start": schedule.start.isoformat(),
        "end": schedule.end.isoformat(),
        "signals": len(predictions),
        "signals_settled": len(settled),
        "signals_with_opinion": int(settled["p_win"].notna().sum()),
        "signals_per_month": round(len(predictions) / months, 1),
        "trainings": [version_record(version) for version in home.registry.versions()],
        "promotions": [
            decision_record(entry) for entry in entries if entry.decision.kind == "promotion"
        ],
        "decisions": [
            decision_record(entry) for entry in entries if entry.decision.kind != "promotion"
        ],
        "books": books.as_dict(),
        "worth": life_worth(home, settled, schedule.end),
        "final": {"phase": state.phase, "weight": state.weight},
        "timing": {"lived_seconds": round(seconds, 2)},
    }


def _words(day: datetime, state: State) -> str:
    return f"{day:%Y-%m-%d} {state.phase} {state.weight:.0%}"


def _within(stamps: np.ndarray, since: datetime, until: datetime) -> np.ndarray:
    return (stamps > _naive(since)) & (stamps <= _naive(until))


def _naive(at: datetime) -> np.datetime64:
    return np.datetime64(at.replace(tzinfo=None))
