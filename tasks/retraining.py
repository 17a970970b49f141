"""The step that asks for a new model once the present one is out, and what starts a training."""

from datetime import datetime, timedelta

from httpx import HTTPError
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from steelyard.environment import prefect_server_configured
from steelyard.home import Home
from steelyard.tasks.recording import server_answers
from steelyard.tasks.step import step
from steelyard.weight.gates import pilot_failed
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

TRAINING = "train/weekly"
"""Deployment that trains, of several lineages with the name of one; it is started if a Prefect
server knows it."""


@step()
def replace_model(home: Home, as_of: datetime) -> str | None:
    """Start the training deployment if the model is out, or its pilot failed its gate twice.

    A breaker, a rollback and a pilot each start one training, whichever run notices first.

    Args:
        home: Opened home.
        as_of: Check as of this time (UTC).

    Returns:
        What was started or has to be started by hand; None if no new model is needed.
    """
    state = home.journal.state()
    if state is None:
        return None
    if state.retrain_required:
        reason = f"the model is out since {state.evidence_since:%Y-%m-%d %H:%M} UTC"
        return start_training(home, reason, f"{state.lineage}:out:{state.evidence_since}")
    if _pilot_failed_twice(home, state, as_of):
        reason = f"the pilot since {state.phase_since:%Y-%m-%d} failed its gate twice"
        return start_training(home, reason, f"{state.lineage}:pilot:{state.phase_since}")
    return None


def _pilot_failed_twice(home: Home, state: State, as_of: datetime) -> bool:
    """Return whether the last two whole periods ended with a review that the pilot failed."""
    days = home.settings.weight.review_days
    last = period_end(as_of, days)
    reviews = [home.journal.decided("gates", end) for end in (last, last - timedelta(days=days))]
    return state.phase == "pilot" and all(
        review is not None and pilot_failed(review.decision, state) for review in reviews
    )


def start_training(home: Home, reason: str, key: str) -> str:
    """Start the training deployment, once per key.

    Args:
        home: Opened home.
        reason: Why, for the run's parameters and the version's record.
        key: Idempotency key: a second call returns the run of the first.

    Returns:
        What was started or has to be started by hand.
    """
    if not prefect_server_configured():
        return "no Prefect server is configured; run steelyard train"
    command = "steelyard train" + (f" --lineage {home.lineage}" if home.lineage else "")
    if not server_answers():
        return f"no Prefect server answers; run {command}"
    deployment = f"{TRAINING}-{home.lineage}" if home.lineage else TRAINING
    parameters = {
        "home": str(home.folder),
        "conf": str(home.conf) if home.conf else None,
        "lineage": home.lineage,
        "request": {"reason": reason[:500]},
    }
    try:
        run = run_deployment(
            deployment, parameters=parameters, timeout=0, as_subflow=False, idempotency_key=key
        )
    except ObjectNotFound:
        return f"the Prefect server knows no deployment {deployment}; run {command}"
    except (HTTPError, RuntimeError) as error:  # no training is worth a failed guard or rollback
        return f"the Prefect server gave no answer ({error}); run {command}"
    return f"training started: {getattr(run, 'name', deployment)}"
