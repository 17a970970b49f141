"""What an incident report is written from."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from steelyard.errors import RestoreService, VerifyState
from steelyard.evaluation.evidence import Evidence
from steelyard.home import Home
from steelyard.queries.drift import last_drift
from steelyard.queries.evidence import monthly_evidence
from steelyard.queries.versions import serving_version
from steelyard.views.markdown import Incident
from steelyard.weight.case import Case
from steelyard.weight.decision import Decision, Rule
from steelyard.weight.limits import measure_limits
from steelyard.weight.state import State

LAST_DECISIONS = 10


@dataclass(frozen=True, slots=True)
class RecordedEvidence:
    """Evidence from the ledger at the time of a rollback, or why there is none.

    Attributes:
        evidence: Evidence of the month; None if the ledger could not be read.
        settled: Settled predictions of the same window; None likewise.
        rules: Limits as measured; empty likewise.
        trouble: Why the ledger could not be read; empty if it was.
    """

    evidence: Evidence | None
    settled: pd.DataFrame | None
    rules: tuple[Rule, ...]
    trouble: str


def recorded_evidence(home: Home, state: State, as_of: datetime) -> RecordedEvidence:
    """Return the evidence for a report; an unreachable ledger does not prevent a rollback.

    Args:
        home: Opened home.
        state: State in force.
        as_of: End of the evidence window (UTC).
    """
    try:
        evidence = monthly_evidence(home, as_of, state)
        settled = home.ledger.settled_predictions(evidence.start, evidence.end)
    except (RestoreService, VerifyState) as error:
        return RecordedEvidence(None, None, (), str(error))
    limits = measure_limits(Case(state, evidence, home.settings.weight, as_of, as_of))
    return RecordedEvidence(evidence, settled, limits.rules, "")


def incident_facts(home: Home, decision: Decision, recorded: RecordedEvidence) -> Incident:
    """Return everything the report on a rollback shows.

    Args:
        home: Opened home.
        decision: The rollback, not yet in the journal.
        recorded: Evidence from the ledger.
    """
    champion = serving_version(home, decision.before)
    return Incident(
        decision,
        recorded.evidence,
        recorded.settled,
        home.journal.entries(last=LAST_DECISIONS),
        champion.metrics.get("holdout_accuracy") if champion else None,
        None if recorded.trouble else last_drift(home),
        recorded.trouble,
        champion.approved if champion else "",
    )
