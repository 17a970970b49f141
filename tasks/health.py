"""Steps that look after the model in service: what its predictions look like, and whether something fell silent."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from steelyard.errors import CollectMoreData, RestoreService
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.market.bars import by_symbol
from steelyard.market.strategy import signals
from steelyard.monitoring.health import UNKNOWN, Figure, Health, Silence, Trained, Usual, health, silences
from steelyard.tasks.step import step
from steelyard.weight.state import State

CALENDAR = 1.6
"""Calendar days in which 48 daily bars of an exchange come, over 48; weekends and holidays included."""


def model_health(home: Home, state: State, as_of: datetime) -> dict[str, Any]:
    """Return the health of the last window as plain JSON values; without bars the predictions count as the signals."""
    start = max(state.began, as_of - timedelta(days=home.settings.weight.window_days))
    return _health(home, _champion(home, state), start, as_of).to_dict()


@step()
def alarming_figures(home: Home, as_of: datetime) -> tuple[Figure, ...]:
    """Return the figures of the champion that miss their target by more than chance explains; none without a champion.

    It is held to what was decided since it serves, in the last window and up to a day ago: what is younger may still be
    on its way.
    """
    state, _ = home.journal.verified()
    champion = _champion(home, state) if state else None
    if champion is None:
        return ()
    end, since = as_of - timedelta(days=1), champion.serving_since or champion.as_of
    start = max(since, as_of - timedelta(days=home.settings.weight.window_days))
    figures = _health(home, champion, start, end).figures if start < end else ()
    return tuple(figure for figure in figures if figure.alarming)


def _health(home: Home, champion: Version | None, start: datetime, end: datetime) -> Health:
    predictions, proposed = home.ledger.predictions(start, end), emitted(home, start, end)
    count = len(predictions) if proposed is None else len(proposed)
    usual = Usual(home.settings.books.threshold, 2 * home.settings.brackets.slippage_bps)
    return health(predictions, count, start, end, _trained(home, champion) if champion else UNKNOWN, usual)


@step()
def fell_silent(home: Home, as_of: datetime) -> tuple[Silence, ...]:
    """Return what should have been written by ``as_of`` and was not; without a lineage or bars nothing is expected."""
    state, _ = home.journal.verified()
    if state is None:
        return ()
    since = max(state.began, as_of - timedelta(days=home.settings.weight.window_max_days))
    proposed = emitted(home, since, as_of)
    if proposed is None:
        return ()
    overdue = CALENDAR * home.settings.brackets.time_limit_bars * home.lake.bar_size
    recent = proposed[(proposed["decided_at"] > as_of - timedelta(days=1)).to_numpy(dtype=bool)]
    known = home.ledger.predictions(since, as_of)
    late = proposed.drop(recent.index)  # today's may still be on their way through settle
    found = silences(late, known, as_of - timedelta(days=1), overdue)
    return tuple(one for one in found if one.code != "quiet" or recent.empty)


def emitted(home: Home, since: datetime, until: datetime) -> pd.DataFrame | None:
    """Return the existing system's signals decided in (since, until]; None without bars."""
    try:
        bars = by_symbol(home.lake.read(until=pd.Timestamp(until)), home.lake.bar_size)
    except CollectMoreData:
        return None
    found = signals(bars, home.strategy)
    return found[(found["decided_at"] > since).to_numpy(dtype=bool)].reset_index(drop=True)


def _champion(home: Home, state: State) -> Version | None:
    """Return the version that serves; None where there is none or it cannot be looked up."""
    try:
        return home.registry.version(state.champion) if state.champion else None
    except RestoreService:
        return None


def _trained(home: Home, champion: Version) -> Trained:
    nan, metrics, importance = float("nan"), champion.metrics, home.registry.importance(champion)
    return Trained(
        metrics.get("train_accuracy", nan),
        metrics.get("holdout_accuracy", nan),
        int(metrics.get("holdout_signals", 0)),
        importance.get("gain", {}),
        importance.get("shap", {}),
    )
