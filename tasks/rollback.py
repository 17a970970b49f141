"""Steps of the operator: take the weight away, freeze it, let it move again; each is in the journal with name and reason."""

from collections.abc import Callable
from datetime import datetime

import pandas as pd

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.evaluation.evidence import Evidence
from steelyard.home import Home
from steelyard.queries.evidence import monthly_evidence
from steelyard.queries.status import last_drift
from steelyard.tasks.step import step
from steelyard.tasks.weight import current_state
from steelyard.views.markdown import Incident, incident
from steelyard.weight.decision import Decision, Entry, Rule
from steelyard.weight.limits import breaker_rules, measure_cuts
from steelyard.weight.rollback import hold, resume, roll_back
from steelyard.weight.state import State

LAST_DECISIONS = 10


@step()
def roll_back_weight(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    """Take the weight to 0 now: first by the brake, then in the journal, with an incident report.

    Raises:
        RestoreService: If MLflow cannot be reached; the brake stays pulled then.
        FixConfiguration: If there is no lineage to roll back.
    """
    home.brake.pull(operator, reason)
    try:
        entry = _rolled_back(home, reason, operator, as_of)
    except RestoreService as error:
        raise RestoreService(
            f"{error}; the brake is pulled, trading processes of {home.folder} use weight 0; "
            "run the rollback again when MLflow is back, to have it in the journal"
        ) from error
    home.brake.release()
    return entry


def _rolled_back(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    with home.journal.deciding(even_without_lock=True):
        state, _ = home.journal.verified()
        if state is None:
            home.brake.release()
            raise FixConfiguration(
                f"{home.folder}: nothing was ever decided here, there is no weight to take away"
            )
        at = max(as_of, state.as_of)
        evidence, settled, trouble = _known(home, state, at)
        decision = roll_back(
            state,
            evidence,
            _limits(home, state, evidence, at),
            reason,
            operator,
            home.settings.weight,
            at,
        )
        text = incident(_incident(home, decision, evidence, settled, trouble))
        entry = home.journal.append(decision, {"incident.md": text.encode()})
    _keep(home, entry, text)
    return entry


def _known(
    home: Home, state: State, as_of: datetime
) -> tuple[Evidence | None, pd.DataFrame | None, str]:
    """Return what the ledger knows; a ledger that is down keeps nobody from rolling back."""
    try:
        evidence = monthly_evidence(home, as_of, state)
        return evidence, home.ledger.settled_predictions(evidence.start, evidence.end), ""
    except RestoreService as error:
        return None, None, str(error)


def _limits(
    home: Home, state: State, evidence: Evidence | None, as_of: datetime
) -> tuple[Rule, ...]:
    if evidence is None:
        return ()
    policy = home.settings.weight
    return (
        *breaker_rules(state, evidence, policy),
        *(c.rule for c in measure_cuts(state, evidence, policy, as_of)),
    )


def _incident(
    home: Home,
    decision: Decision,
    evidence: Evidence | None,
    settled: pd.DataFrame | None,
    trouble: str,
) -> Incident:
    last = home.journal.entries(last=LAST_DECISIONS)
    accuracy = _holdout_accuracy(home, decision.before.champion)
    return Incident(
        decision, evidence, settled, last, accuracy, None if trouble else last_drift(home), trouble
    )


def _holdout_accuracy(home: Home, champion: str | None) -> float | None:
    """Return what the champion reached when it was trained; a version somebody deleted keeps nobody from rolling back."""
    try:
        return home.registry.version(champion).metrics.get("holdout_accuracy") if champion else None
    except RestoreService:
        return None


def _keep(home: Home, entry: Entry, text: str) -> None:
    """Write the report where an operator without MLflow finds it."""
    folder = home.state_folder / "incidents"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{entry.decision.as_of:%Y-%m-%dT%H%M%S}.md").write_text(text, encoding="utf-8")


@step(one_at_a_time=True)
def hold_weight(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    """Freeze the weight; where it is frozen already, the entry that froze it comes back."""
    return _switch(home, reason, operator, as_of, hold, held=True)


@step(one_at_a_time=True)
def resume_weight(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    """Let the weight move again.

    Raises:
        FixConfiguration: If nobody holds it.
    """
    return _switch(home, reason, operator, as_of, resume, held=False)


def _switch(
    home: Home,
    reason: str,
    operator: str,
    as_of: datetime,
    decide: Callable[..., Decision],
    *,
    held: bool,
) -> Entry:
    with home.journal.deciding():
        state = current_state(home, as_of)
        if state.held == held:
            return _last_switch(home, "hold" if held else "resume")
        return home.journal.append(decide(state, reason, operator, home.settings.weight, as_of))


def _last_switch(home: Home, kind: str) -> Entry:
    made = [entry for entry in home.journal.entries() if entry.decision.kind == kind]
    if not made:
        raise FixConfiguration("nobody holds the weight; there is nothing to resume")
    return made[-1]
