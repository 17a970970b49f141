"""The health of the model in service: what its predictions look like beside what was expected of them."""

from datetime import datetime, timedelta
from typing import Any

from steelyard.errors import RestoreService
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.monitoring.health import UNKNOWN, Health, Trained, Usual, health
from steelyard.queries.history import signals_between
from steelyard.weight.state import State


def model_health(home: Home, state: State, as_of: datetime) -> dict[str, Any]:
    """Return the health of the last window as plain JSON values; without bars the predictions count as the signals."""
    start = max(state.began, as_of - timedelta(days=home.settings.weight.window_days))
    return health_between(home, serving_version(home, state), start, as_of).to_dict()


def health_between(home: Home, champion: Version | None, start: datetime, end: datetime) -> Health:
    """Return the health of the predictions decided in (start, end].

    Args:
        home: The home.
        champion: The version that serves, whose training says what was expected; None without one.
        start: Begin of the window.
        end: End of the window.
    """
    predictions, proposed = home.ledger.predictions(start, end), signals_between(home, start, end)
    count = len(predictions) if proposed is None else len(proposed)
    usual = Usual(home.settings.books.threshold, 2 * home.settings.brackets.slippage_bps)
    return health(
        predictions, count, start, end, _trained(home, champion) if champion else UNKNOWN, usual
    )


def serving_version(home: Home, state: State) -> Version | None:
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
