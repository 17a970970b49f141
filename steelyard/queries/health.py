"""The health of the model in service: its predictions compared with their targets."""

from datetime import datetime, timedelta

import pandas as pd

from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.market.exits import longest_trade
from steelyard.monitoring.health import (
    UNKNOWN,
    BaselineTrading,
    Figure,
    ModelHealth,
    Silence,
    TrainingFigures,
    health,
    silences,
)
from steelyard.queries.history import recent_signals
from steelyard.queries.versions import serving_version
from steelyard.weight.state import State

UNTOLD = pd.Timedelta("30D")
"""Age from which an outcome is overdue that only the program which logs the signals can tell."""
CALENDAR_DAYS_PER_BAR = 1.6
"""Calendar days per daily bar of an exchange over 48 bars, weekends and holidays included."""


def model_health(
    home: Home, state: State, as_of: datetime, proposed: pd.DataFrame | None
) -> ModelHealth:
    """Return the health of the last window.

    Args:
        home: Opened home.
        state: State in force; nothing before ``began`` counts.
        as_of: End of the window (UTC).
        proposed: The existing system's signals of at least the window, one row each, from
            ``signals_between``; None without bars.
    """
    start = max(state.began, as_of - timedelta(days=home.settings.weight.window_days))
    return health_between(home, serving_version(home, state), start, as_of, proposed)


def proposed_lately(home: Home, as_of: datetime) -> pd.DataFrame | None:
    """Return the existing system's signals of the longest window that is ever judged.

    Args:
        home: Opened home.
        as_of: End of the window (UTC).

    Returns:
        One row per signal, as ``recent_signals`` returns it; None without bars.
    """
    longest = timedelta(days=home.settings.weight.window_max_days)
    return recent_signals(home, as_of - longest, as_of)


def health_between(
    home: Home,
    champion: Version | None,
    start: datetime,
    end: datetime,
    proposed: pd.DataFrame | None,
) -> ModelHealth:
    """Return the health of the predictions decided in (start, end].

    Args:
        home: Opened home.
        champion: Version in service, whose training gives the expected figures; None without one.
        start: Begin of the window (UTC), excluded.
        end: End of the window (UTC).
        proposed: The existing system's signals of at least the window, one row each; None without
            bars: then every signal counts as predicted.
    """
    predictions = home.ledger.predictions(start, end)
    count = len(predictions)
    if proposed is not None:
        count = int(((proposed["decided_at"] > start) & (proposed["decided_at"] <= end)).sum())
    sizing, brackets = home.settings.books, home.settings.brackets
    baseline = BaselineTrading(sizing.threshold, 2 * brackets.slippage_bps)
    return health(
        predictions, count, start, end, _trained(home, champion) if champion else UNKNOWN, baseline
    )


def health_alerts(home: Home, as_of: datetime, proposed: pd.DataFrame | None) -> tuple[Figure, ...]:
    """Return the champion's figures that miss their target by more than chance explains.

    Judged is what was decided since the champion serves, within the last window and up to one day
    before ``as_of``: later predictions may still be on their way.

    Args:
        home: Opened home.
        as_of: Check as of this time (UTC).
        proposed: One row per signal, as ``proposed_lately`` returns it; None without bars.

    Returns:
        Alarming figures; empty without a champion.
    """
    state, _ = home.journal.verified()
    champion = serving_version(home, state) if state else None
    if champion is None:
        return ()
    end, since = as_of - timedelta(days=1), champion.serving_since or champion.as_of
    start = max(since, as_of - timedelta(days=home.settings.weight.window_days))
    if start >= end:
        return ()
    figures = health_between(home, champion, start, end, proposed).figures
    return tuple(figure for figure in figures if figure.alarming)


def silence_alerts(
    home: Home, as_of: datetime, proposed: pd.DataFrame | None
) -> tuple[Silence, ...]:
    """Return which records should exist by ``as_of`` and do not.

    Args:
        home: Opened home.
        as_of: Check as of this time (UTC).
        proposed: One row per signal, as ``proposed_lately`` returns it; None without bars.

    Returns:
        Missing predictions, overdue outcomes, missing signals; empty without a lineage or bars.
    """
    state, _ = home.journal.verified()
    if state is None or proposed is None:
        return ()
    since = max(state.began, as_of - timedelta(days=home.settings.weight.window_max_days))
    proposed = proposed[(proposed["decided_at"] > since).to_numpy(dtype=bool)]
    yesterday = as_of - timedelta(days=1)
    recent = proposed[(proposed["decided_at"] > yesterday).to_numpy(dtype=bool)]
    due = proposed.drop(recent.index)  # settle may not have seen the recent ones yet
    longest = longest_trade(proposed, home.settings.brackets.time_limit_bars)
    overdue = UNTOLD
    if home.has_source:
        overdue = CALENDAR_DAYS_PER_BAR * longest * home.lake.bar_size
    missing = silences(due, home.ledger.predictions(since, as_of), yesterday, overdue)
    return tuple(silence for silence in missing if silence.code != "quiet" or recent.empty)


def _trained(home: Home, champion: Version) -> TrainingFigures:
    nan, metrics, importance = float("nan"), champion.metrics, home.registry.importance(champion)
    return TrainingFigures(
        metrics.get("train_accuracy", nan),
        metrics.get("holdout_accuracy", nan),
        int(metrics.get("holdout_signals", 0)),
        importance.get("gain", {}),
        importance.get("shap", {}),
    )
