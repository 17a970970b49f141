"""What a check for drift compares: training rows, recent rows, and performance before and now."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.market.history import as_known
from steelyard.monitoring.drift import PREDICTION, Drift, Performance, drift
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.queries.history import known_history
from steelyard.views.drift import JudgedDrift

if TYPE_CHECKING:
    from steelyard.learning.model import Model

SHOWN = 12
"""Latest checks that are searched and drawn."""


@dataclass(frozen=True, slots=True)
class DriftInputs:
    """Rows and figures a check compares.

    Attributes:
        reference: The champion's training rows: one column per feature and ``p_win``, which is NaN
            for rows the champion was fitted on.
        current: Recent rows with the same columns, as they were recorded at the decision.
        importance: Share of the champion's gain by feature.
        before: Performance on the holdout.
        recent: Performance on recently settled signals.
    """

    reference: pd.DataFrame
    current: pd.DataFrame
    importance: dict[str, float]
    before: Performance
    recent: Performance

    def measure(self, home: Home) -> Drift:
        """Return effect sizes and verdict under the policy of the home."""
        performance = self.before, self.recent
        return drift(
            self.reference, self.current, self.importance, performance, home.settings.drift
        )


def drift_inputs(home: Home, champion: Version, as_of: datetime) -> DriftInputs:
    """Return what a check of the champion compares.

    Args:
        home: Opened home.
        champion: Version in service.
        as_of: Check as of this time (UTC).

    Raises:
        CollectMoreData: If there are no bars yet.
    """
    model = home.model(champion.number)
    gains = model.learner.gain(len(model.feature_names)).tolist()
    return DriftInputs(
        reference=_training_rows(home, champion, as_of),
        current=_recent_rows(home, champion, as_of),
        importance=dict(zip(model.feature_names, gains, strict=True)),
        before=_holdout_performance(champion),
        recent=_recent_performance(home, champion, as_of),
    )


def _training_rows(home: Home, champion: Version, as_of: datetime) -> pd.DataFrame:
    history = as_known(known_history(home, as_of), pd.Timestamp(champion.as_of))
    settled = history[history["won"].notna().to_numpy(dtype=bool)]
    trained_through = pd.Timestamp(champion.trained_through, tz="UTC")
    unseen = (settled["settled_at"] > trained_through).to_numpy(dtype=bool)
    return _with_predictions(home.model(champion.number), settled, unseen)


def _recent_rows(home: Home, champion: Version, as_of: datetime) -> pd.DataFrame:
    """Return the recorded features of the window, extended back until there are enough rows."""
    policy, model = home.settings.drift, home.model(champion.number)
    since = max(champion.as_of, as_of - timedelta(days=policy.most_days))
    recorded = home.ledger.frozen_features(since, as_of)
    window_start = max(since, as_of - timedelta(days=policy.window_days))
    in_window = len(home.ledger.frozen_features(window_start, as_of))
    latest = recorded.tail(max(in_window, policy.least_rows))
    rows = latest.reindex(columns=list(model.feature_names))
    return _with_predictions(model, rows, np.ones(len(rows), dtype=bool))


def _with_predictions(
    model: "Model", rows: pd.DataFrame, predicted: NDArray[np.bool_]
) -> pd.DataFrame:
    features = rows[list(model.feature_names)].to_numpy(dtype=np.float64)
    p_win = np.full(len(features), np.nan)
    if predicted.any():
        p_win[predicted] = model.predict(features[predicted])[0]
    columns = list(model.feature_names)
    return pd.DataFrame(features, columns=columns).assign(**{PREDICTION: p_win})


def _holdout_performance(champion: Version) -> Performance:
    metrics = champion.metrics
    return Performance(
        outcomes=int(metrics.get("holdout_signals", 0)),
        accuracy=metrics.get("holdout_accuracy", np.nan),
        log_loss=metrics.get("holdout_log_loss", np.nan),
    )


def _recent_performance(home: Home, champion: Version, as_of: datetime) -> Performance:
    policy = home.settings.drift
    settled = home.ledger.settled_predictions(as_of - timedelta(days=policy.most_days), as_of)
    own = settled[(settled["model_version"] == champion.number).to_numpy(dtype=bool)]
    in_window = int((own["settled_at"] > as_of - timedelta(days=policy.window_days)).sum())
    latest = own.tail(max(in_window, policy.least_outcomes))
    p_win, won = latest["p_win"], latest["won"]
    return Performance.of(p_win.to_numpy(dtype=np.float64), won.to_numpy(dtype=bool))


def may_ask_for_training(home: Home, as_of: datetime) -> bool:
    """Return whether no check asked for a training within the cooldown.

    Args:
        home: Opened home.
        as_of: End of the cooldown (UTC).
    """
    cooldown_days = home.settings.drift.cooldown_days
    cooldown_start = as_of - timedelta(days=cooldown_days)
    checks = home.ledger.drift_checks(cooldown_days + 1)
    return not any(check.asked and check.as_of > cooldown_start for check in checks)


def recorded_check(home: Home, key: str) -> DriftRecord | None:
    """Return the check recorded under ``key``; None if it is not among the latest.

    Args:
        home: Opened home.
        key: Lineage, version and day of the check.
    """
    return next((check for check in home.ledger.drift_checks(SHOWN) if check.key == key), None)


def checks_of_version(home: Home, number: str) -> list[DriftRecord]:
    """Return the latest checks of a version, oldest first.

    Args:
        home: Opened home.
        number: Version number.
    """
    checks = home.ledger.drift_checks(SHOWN)
    return [check for check in reversed(checks) if check.model_version == number]


def last_drift(home: Home) -> DriftRecord | None:
    """Return the latest check for drift; None before the first."""
    return next(iter(home.ledger.drift_checks(1)), None)


def judged_drift(home: Home, check: DriftRecord, *, new: bool) -> JudgedDrift:
    """Return a check with the address of its page in MLflow.

    Args:
        home: Opened home.
        check: The check as the ledger holds it.
        new: Whether this run made the check.
    """
    observations, pages = home.registry.observations, home.settings.services.pages.rstrip("/")
    return JudgedDrift(check, f"{pages}{observations.page(check.run_id)}", new)
