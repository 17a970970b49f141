"""The state of a lineage: the one document that says what the model may decide today."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from steelyard.values import FrozenModel
from steelyard.weight.policy import Phase


class State(FrozenModel):
    """Weight and phase of a lineage, and what limits their next change.

    Attributes:
        weight: Share of the model in the blended confidence, 0 to 0.70.
        base: Floor of the phase; ``bonus`` is what steps and cuts have added to it.
        sequence: Number of the decision that wrote this state; 0 before the first.
        began: When the lineage began; signals decided earlier are history to learn from.
        as_of: Moment the last decision spoke for.
        phase_since: When the phase was entered.
        evidence_since: Outcomes of predictions made before this moment are not evidence any more (a breaker fired, or
            the lineage requalifies with a new champion).
        lease_until: After this moment the trading side uses weight 0.
        decision_run_id: MLflow run of the last decision; ``decision_hash`` is what the journal recorded for it.
        champion: Version that serves; None before the first.
        latches: Cuts that fired and have not been released, with the moment they fired.
        retrain_required: A breaker fired: only a champion trained afterwards may leave shadow.
        held: An operator froze the weight; limits still lower it.
    """

    lineage: str
    weight: Annotated[float, Field(ge=0, le=0.70)] = 0.0
    phase: Phase = "foundation"
    base: Annotated[float, Field(ge=0, le=0.70)] = 0.0
    bonus: Annotated[float, Field(ge=-0.70, le=0.70)] = 0.0
    sequence: Annotated[int, Field(ge=0)] = 0
    began: AwareDatetime
    as_of: AwareDatetime
    phase_since: AwareDatetime
    evidence_since: AwareDatetime
    lease_until: AwareDatetime
    decision_run_id: str | None = None
    decision_hash: str | None = None
    champion: str | None = None
    latches: dict[str, AwareDatetime] = Field(default_factory=dict)
    retrain_required: bool = False
    held: bool = False

    def weight_in_force(self, at: datetime) -> float:
        """Return the weight the trading side may use at ``at``: 0 once the lease has run out."""
        return self.weight if at <= self.lease_until else 0.0


def initial_state(lineage: str, as_of: datetime) -> State:
    """Return the state of a lineage that nothing has been decided about."""
    return State(
        lineage=lineage,
        began=as_of,
        as_of=as_of,
        phase_since=as_of,
        evidence_since=as_of,
        lease_until=as_of,
    )
