"""Steps that check the champion for drift and start a training if drift asks for one."""

import json
from dataclasses import replace
from datetime import datetime

from steelyard.evaluation.books import finite_or_none
from steelyard.gateways.registry import RunFigures, Version
from steelyard.home import Home
from steelyard.monitoring.drift import Drift, drift_page
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.queries.drift import (
    DriftInputs,
    checks_of_version,
    drift_inputs,
    judged_drift,
    may_ask_for_training,
    recorded_check,
)
from steelyard.tasks.retraining import start_training
from steelyard.tasks.step import step
from steelyard.views import plots
from steelyard.views.drift import JudgedDrift


@step()
def judge_drift(home: Home, as_of: datetime) -> JudgedDrift | None:
    """Check the champion for drift once per day and version; return None without a champion.

    Args:
        home: Opened home.
        as_of: Check as of this time (UTC).

    Returns:
        The check; ``asked`` is true at most once in ``cooldown_days``.

    Raises:
        CollectMoreData: If there are no bars yet.
    """
    champion = home.registry.champion()
    if champion is None:
        return None
    key = f"{home.settings.services.lineage}/drift/{champion.number}/{as_of:%Y-%m-%d}"
    recorded = recorded_check(home, key)
    if recorded is not None:
        return judged_drift(home, recorded, new=False)
    return judged_drift(home, _check_drift(home, champion, key, as_of), new=True)


def _check_drift(home: Home, champion: Version, key: str, as_of: datetime) -> DriftRecord:
    inputs = drift_inputs(home, champion, as_of)
    measured = inputs.measure(home)
    check = DriftRecord(
        key=key,
        as_of=as_of,
        model_version=champion.number,
        verdict=measured.verdict,
        share=finite_or_none(measured.share),
        reasons=measured.reasons,
        columns=(*measured.columns, measured.prediction),
        run_id="",
        asked=measured.verdict == "retrain" and may_ask_for_training(home, as_of),
    )
    check = replace(check, run_id=_log_check(home, measured, check, inputs))
    home.ledger.record_drift(check)
    return check


def _log_check(home: Home, measured: Drift, check: DriftRecord, inputs: DriftInputs) -> str:
    """Return the id of the MLflow run that holds effect sizes, Evidently's page and a picture."""
    columns = (*measured.columns, measured.prediction)
    psi = {f"psi_{column.name}": column.psi for column in columns if not column.unjudged}
    tags = {
        "verdict": measured.verdict,
        "reasons": "; ".join(measured.reasons),
        "model_version": check.model_version,
    }
    files = {"drift.json": json.dumps(measured.to_dict(), indent=1).encode()}
    page = drift_page(inputs.reference, inputs.current, measured.columns)
    if page:
        checks = [*checks_of_version(home, check.model_version), check]
        files |= {"drift.html": page.encode(), "drift.png": plots.drift_map(checks)}
    figures = RunFigures({"share": measured.share, **psi}, {}, tags)
    name = f"drift {check.as_of:%Y-%m-%d} {check.verdict}"
    description = f"Version {check.model_version}: {'; '.join(measured.reasons) or check.verdict}"
    return home.registry.observations.record(check.key, name, description, figures, files)


@step()
def ask_for_training(home: Home, judged: JudgedDrift) -> str | None:
    """Start the training deployment if a new check asks for it.

    Args:
        home: Opened home.
        judged: Check as ``judge_drift`` returned it.

    Returns:
        What was started or has to be started by hand; None if the check asks for nothing.
    """
    check = judged.check
    if not (judged.new and check.asked):
        return None
    reason = f"drift of {check.as_of:%Y-%m-%d}: {'; '.join(check.reasons)}"
    return start_training(home, reason, check.key)
