"""Steps that ask whether the market has left the world the champion was trained in, and ask for a training where it has."""

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from steelyard.evaluation.books import finite
from steelyard.gateways.registry import Figures, Version
from steelyard.home import Home
from steelyard.learning.model import Model
from steelyard.market.history import as_known
from steelyard.monitoring.drift import PREDICTION, Drift, Performance, drift, drift_page
from steelyard.queries.history import known_history
from steelyard.settings import prefect_server_configured
from steelyard.tasks.step import step
from steelyard.views import plots

TRAINING = "train/weekly"
"""The deployment that trains; drift starts it where a Prefect server knows it."""
SHOWN = 12


@step()
def judge_drift(home: Home, as_of: datetime) -> dict[str, Any] | None:
    """Hold the latest signals against the champion's training rows, once a day and version; None without a champion.

    A check that asks for a training does so once in ``cooldown_days``.
    """
    champion = home.registry.champion()
    if champion is None:
        return None
    key = f"{home.settings.services.lineage}/drift/{champion.number}/{as_of:%Y-%m-%d}"
    done = next((row for row in home.ledger.drift_checks(SHOWN) if row["key"] == key), None)
    return _document(home, done or _checked(home, champion, key, as_of), new=done is None)


def _checked(home: Home, champion: Version, key: str, as_of: datetime) -> dict[str, Any]:
    reference, current = _reference(home, champion, as_of), _current(home, champion, as_of)
    model = home.model(champion.number)
    gains = model.grown.gain(len(model.feature_names))
    importance = dict(zip(model.feature_names, gains.tolist(), strict=True))
    found = drift(
        reference, current, importance, _performance(home, champion, as_of), home.settings.drift
    )
    row = {
        "key": key,
        "as_of": as_of,
        "model_version": champion.number,
        "verdict": found.verdict,
        "share": finite(found.share),
        "reasons": list(found.reasons),
        "columns": [*found.to_dict()["columns"], found.to_dict()["prediction"]],
        "run_id": "",
        "asked": found.verdict == "retrain" and _cooled(home, as_of),
    }
    row["run_id"] = _logged(home, found, row, reference, current)
    home.ledger.record_drift(row)
    return row


def _reference(home: Home, champion: Version, as_of: datetime) -> pd.DataFrame:
    """Return what the champion was trained on: its features by row, with opinions only on rows it was not fitted on."""
    known = as_known(known_history(home, as_of), pd.Timestamp(champion.as_of))
    settled = known[known["won"].notna().to_numpy(dtype=bool)]
    through = pd.Timestamp(champion.trained_through, tz="UTC")
    return _with_opinions(
        home.model(champion.number), settled, (settled["settled_at"] > through).to_numpy(dtype=bool)
    )


def _current(home: Home, champion: Version, as_of: datetime) -> pd.DataFrame:
    """Return the features as they were frozen when decided, reaching back until there are enough of them."""
    policy, model = home.settings.drift, home.model(champion.number)
    since = max(champion.as_of, as_of - timedelta(days=policy.most_days))
    frozen = home.ledger.frozen_features(since, as_of)
    inside = len(
        home.ledger.frozen_features(max(since, as_of - timedelta(days=policy.window_days)), as_of)
    )
    latest = frozen.tail(max(inside, policy.least_rows)).reindex(columns=list(model.feature_names))
    return _with_opinions(model, latest, np.ones(len(latest), dtype=bool))


def _with_opinions(model: Model, rows: pd.DataFrame, asked: np.ndarray) -> pd.DataFrame:
    x = rows[list(model.feature_names)].to_numpy(dtype=np.float64)
    p_win = np.full(len(x), np.nan)
    if asked.any():
        p_win[asked] = model.predict(x[asked])[0]
    return pd.DataFrame(x, columns=list(model.feature_names)).assign(**{PREDICTION: p_win})


def _performance(home: Home, champion: Version, as_of: datetime) -> tuple[Performance, Performance]:
    """Return what the champion reached on its holdout, and on the signals it has judged since."""
    metrics, policy = champion.metrics, home.settings.drift
    before = Performance(
        n=int(metrics.get("holdout_signals", 0)),
        accuracy=metrics.get("holdout_accuracy", np.nan),
        log_loss=metrics.get("holdout_log_loss", np.nan),
    )
    settled = home.ledger.settled_predictions(as_of - timedelta(days=policy.most_days), as_of)
    own = settled[(settled["model_version"] == champion.number).to_numpy(dtype=bool)]
    recent = int((own["settled_at"] > as_of - timedelta(days=policy.window_days)).sum())
    latest = own.tail(max(recent, policy.least_outcomes))
    return before, Performance.of(
        latest["p_win"].to_numpy(dtype=np.float64), latest["won"].to_numpy(dtype=bool)
    )


def _cooled(home: Home, as_of: datetime) -> bool:
    cooldown = timedelta(days=home.settings.drift.cooldown_days)
    checks = home.ledger.drift_checks(home.settings.drift.cooldown_days + 1)
    return not any(row["asked"] and row["as_of"] > as_of - cooldown for row in checks)


def _logged(
    home: Home, found: Drift, row: dict[str, Any], reference: pd.DataFrame, current: pd.DataFrame
) -> str:
    """Return the MLflow run of a check: effect sizes as metrics, Evidently's page, the picture of the last checks."""
    psi = {
        f"psi_{column.name}": column.psi
        for column in (*found.columns, found.prediction)
        if not column.unjudged
    }
    tags = {
        "verdict": found.verdict,
        "reasons": "; ".join(found.reasons),
        "model_version": row["model_version"],
    }
    files = {"drift.json": json.dumps(found.to_dict(), indent=1).encode()}
    page = drift_page(reference, current, found.columns)
    if page:
        earlier = [
            check
            for check in home.ledger.drift_checks(SHOWN)
            if check["model_version"] == row["model_version"]
        ]
        files |= {
            "drift.html": page.encode(),
            "drift.png": plots.drift_map([*reversed(earlier), row]),
        }
    figures = Figures({"share": found.share, **psi}, {}, tags)
    return home.registry.observations.record(
        row["key"], f"drift {row['as_of']:%Y-%m-%d}", figures, files
    )


def _document(home: Home, row: dict[str, Any], *, new: bool) -> dict[str, Any]:
    observations, pages = home.registry.observations, home.settings.services.pages.rstrip("/")
    return {
        **row,
        "as_of": row["as_of"].isoformat(),
        "page": f"{pages}{observations.page(row['run_id'])}",
        "new": new,
    }


@step()
def ask_for_training(home: Home, found: dict[str, Any]) -> str | None:
    """Start the training deployment where a new check asks for it; returns what was done, None for nothing."""
    if not (found["new"] and found["asked"]):
        return None
    if not prefect_server_configured():
        return "no Prefect server is configured; run steelyard train"
    places = {"home": str(home.folder), "conf": str(home.conf) if home.conf else None}
    reason = f"drift of {found['as_of'][:10]}: {'; '.join(found['reasons'])}"[:500]
    parameters = places | {"request": {"reason": reason}}
    try:
        run = run_deployment(TRAINING, parameters=parameters, timeout=0, as_subflow=False)
    except ObjectNotFound:
        return f"the Prefect server knows no deployment {TRAINING}; run steelyard train"
    return f"training started: {getattr(run, 'name', TRAINING)}"
