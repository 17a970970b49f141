"""Steps of a replay: past days run through the steps of the scheduled flows, with a past clock."""

import json
import time
from datetime import UTC, datetime
from itertools import islice

import pandas as pd

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.gateways.files import private_folder
from steelyard.home import Home
from steelyard.progress import report_progress
from steelyard.queries.history import known_history
from steelyard.queries.replay import DAY, REPLAY_NOTE, ReplayDays, Timeline, first_day
from steelyard.tasks.illustrations import illustrate_life
from steelyard.tasks.predictions import record_opinions, record_outcomes, watch_streak
from steelyard.tasks.step import step
from steelyard.tasks.training import compare_with_champion, settled_samples, trained_version
from steelyard.tasks.weight import ensure_lineage, evaluate_weight, guard_weight, review_gates
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

STRETCH_DAYS = 30
"""Days lived between two times at which the state is written to MLflow."""


@step()
def claim_home(
    home: Home,
    days: ReplayDays,
    bars: str,
    strategy: str | None,
    trials: int | None,
    evidence: str | None,
) -> None:
    """Write down what this home replays, so that no other replay is mixed into it.

    Args:
        home: Home of the replay.
        days: Days of the replay; a later end continues the same replay.
        bars: Source of the bars, as asked for.
        strategy: Trading system; None as configured.
        trials: Trials per search; None as configured.
        evidence: Rule of evidence; None as configured.

    Raises:
        FixConfiguration: If the home replays something else.
    """
    arguments = {
        "bars": bars,
        "strategy": strategy,
        "trials": trials,
        "retrain_days": days.retrain_days,
        "start": str(days.start),
        **({"evidence": evidence} if evidence else {}),
    }
    note, content = home.state_folder / REPLAY_NOTE, json.dumps(arguments, sort_keys=True)
    if not note.exists():
        private_folder(note.parent)
        note.write_text(content, encoding="utf-8")
    elif note.read_text(encoding="utf-8") != content:
        raise FixConfiguration(
            f"{home.folder} holds a different replay ({note}); pass an empty --home"
        )


@step()
def read_log_history(recorded: Home) -> pd.DataFrame:
    """Return the history of a log as if every signal had come before its outcome.

    Args:
        recorded: Home whose ledger has the signals.
    """
    return known_history(recorded, datetime.now(UTC)).assign(earns=True)


@step()
def share_bars(home: Home, recorded: Home) -> None:
    """Let a replay read the bars of the home whose log it replays.

    Args:
        home: Home of the replay.
        recorded: Home with the bars; there may be none.
    """
    lake = home.shared_folder / "lake"
    if recorded.has_source and not home.settings.services.lake and not lake.exists():
        lake.symlink_to(recorded.shared_folder / "lake", target_is_directory=True)


@step()
def live_through(home: Home, history: pd.DataFrame, days: ReplayDays) -> float:
    """Replay every day; a home that was replayed in part continues after its last day.

    Args:
        home: Home of the replay.
        history: One row per signal with features and outcome, as ``known_history`` returns it.
        days: Days of the replay.

    Returns:
        Duration in seconds.

    Raises:
        CollectMoreData: If there were too few settled signals on every training day.
    """
    started, timeline = time.perf_counter(), Timeline.of(history)
    refused: CollectMoreData | None = None
    left = days.days_from(first_day(home, days))
    with home.quality.parts_of(history, history[list(home.feature_names)]):
        while stretch := tuple(islice(left, STRETCH_DAYS)):
            with home.journal.alone():
                for day in stretch:
                    refused = _live_day(home, timeline, days, day) or refused
    illustrate_life(home)
    if refused is not None and not home.registry.versions():
        raise refused
    return time.perf_counter() - started


def _live_day(
    home: Home, timeline: Timeline, days: ReplayDays, day: datetime
) -> CollectMoreData | None:
    """Settle, train if it is time, and decide; return why there is too little to train on."""
    state = ensure_lineage(home, day)
    _settle_day(home, timeline, state, day)
    refused = _retrain(home, timeline, day) if days.retrains_on(day) else None
    _decide(home, timeline, day)
    caption = f"{day:%Y-%m-%d} {state.phase} {state.weight:.0%}"
    report_progress("replay", *days.progress(day), caption)
    return refused


def _settle_day(home: Home, timeline: Timeline, state: State, day: datetime) -> None:
    new_rows = timeline.new_rows(day - DAY, day)
    if len(new_rows):
        record_opinions(home, new_rows, state)
        if record_outcomes(home, new_rows, since=day - DAY):
            watch_streak(home, day)


def _retrain(home: Home, timeline: Timeline, day: datetime) -> CollectMoreData | None:
    """Train and compare; return the error if there is too little history yet."""
    history = timeline.known(day)
    try:
        samples = settled_samples(home, history)
        version = trained_version(home, history, samples, day)
    except CollectMoreData as error:
        return error
    compare_with_champion(home, samples, version, day)
    return None


def _decide(home: Home, timeline: Timeline, day: datetime) -> None:
    policy, yesterday = home.settings.weight, day - DAY
    guard_weight(home, day)
    if period_end(day, policy.evaluation_days) > yesterday:
        evaluate_weight(home, day)
    if period_end(day, policy.review_days) > yesterday:
        review_gates(home, day, timeline.settled_count(day))
