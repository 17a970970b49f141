"""The state of a lineage: weight, phase and what limits their next change."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, model_validator

from steelyard.evaluation.skill import Origin
from steelyard.values import FrozenModel
from steelyard.weight.policy import PHASES, Phase, WeightPolicy

CLOCK_TOLERANCE = timedelta(minutes=1)
"""Difference between two clocks that is no fault."""


class State(FrozenModel):
    """Weight and phase of a lineage, and what limits their next change.

    Examples:
        >>> from datetime import UTC, datetime
        >>> State.holding(0.45, datetime(2026, 1, 1, tzinfo=UTC)).phase
        'optimization'

    Attributes:
        lineage: Lineage it belongs to.
        weight: Share of the model in the blended confidence, in [0, 0.70].
        phase: Phase in force.
        base: Floor of the phase.
        bonus: What steps and cuts added to the floor; negative after a cut below it.
        sequence: Number of the decision that wrote this state; 0 before the first.
        began: When the lineage began; signals decided earlier are training history.
        as_of: Moment of the last decision.
        phase_since: When the phase was entered.
        evidence_since: Outcomes of predictions made before this moment no longer count in the
            monthly figures: a breaker fired, or the lineage requalifies with a new champion.
        skill_since: Outcomes of predictions made before this moment no longer count as evidence of
            skill; a streak breaker keeps it (SPEC §6).
        head_start: Capital the evidence of skill began with, from the champion's holdout.
        hold_days: Mean hold of a signal in whole days when the evidence of skill began.
        cut_at: When the weight was last cut; None before the first cut. Gates count from here.
        lease_until: After this moment the trading side uses weight 0.
        decision_run_id: MLflow run of the last decision; None before the first.
        decision_hash: Hash the journal recorded for it; None likewise.
        champion: Version that serves; None before the first.
        latches: Cuts that fired and are not released, with the moment they fired.
        clear: Those of them whose limit is kept again, with the moment since which it is.
        retrain_required: A breaker fired: only a champion trained afterwards may leave shadow.
        held: An operator holds the weight; limits still lower it.
        digests: Number of the last digest of settled predictions in the ledger; 0 before the first.
        digest_head: Head of the chain of these digests; None before the first.

    All moments are in UTC.
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
    skill_since: AwareDatetime
    head_start: Annotated[float, Field(gt=0)] = 1.0
    hold_days: Annotated[int, Field(ge=1)] = 2
    cut_at: AwareDatetime | None = None
    lease_until: AwareDatetime
    decision_run_id: str | None = None
    decision_hash: str | None = None
    champion: str | None = None
    latches: dict[str, AwareDatetime] = Field(default_factory=dict)
    clear: dict[str, AwareDatetime] = Field(default_factory=dict)
    retrain_required: bool = False
    held: bool = False
    digests: Annotated[int, Field(ge=0)] = 0
    digest_head: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_states(cls, document: Any) -> Any:
        """Read states written before the evidence of skill had a begin of its own."""
        if isinstance(document, dict) and "evidence_since" in document:
            return {"skill_since": document["evidence_since"], **document}
        return document

    @classmethod
    def holding(cls, weight: float, since: datetime, policy: WeightPolicy | None = None) -> "State":
        """Return a state to begin with: a weight, and the phase that holds it.

        Examples:
            >>> from datetime import UTC, datetime
            >>> state = State.holding(0.15, datetime(2026, 1, 1, tzinfo=UTC))
            >>> state.phase, state.base, state.weight
            ('pilot', 0.1, 0.15)

        Args:
            weight: Weight in force, 0 to the ceiling of the policy.
            since: When its evidence begins, with a zone.
            policy: Bounds of the weight; None for the default.

        Raises:
            ValueError: If the weight lies outside the policy's bounds, or ``since`` has no zone.
        """
        policy = policy or WeightPolicy()
        if not 0 <= weight <= policy.ceiling:
            raise ValueError(f"weight {weight} must lie in [0, {policy.ceiling:.2f}]")
        if since.tzinfo is None:
            raise ValueError(f"since {since} has no zone; give one, such as datetime.UTC")
        phase = policy.phase_holding(weight, PHASES[-1])
        base = policy.band(phase).floor
        weighted = {"weight": weight, "phase": phase, "base": base, "bonus": weight - base}
        return initial_state("signal-confidence", since).model_copy(update=weighted)

    @property
    def judged_since(self) -> datetime:
        """When the figures of a gate begin: with the phase, with the evidence, or with a cut."""
        return max(self.phase_since, self.evidence_since, self.cut_at or self.evidence_since)

    @property
    def origin(self) -> Origin:
        """Where the evidence of skill begins."""
        return Origin(self.skill_since, self.head_start, self.hold_days)

    def weight_in_force(self, at: datetime) -> float:
        """Return the weight the trading side may use at ``at``; 0 once the lease has expired."""
        return self.weight if at <= self.lease_until else 0.0

    def lease_is_too_long(self, at: datetime, lease_days: int) -> bool:
        """Return whether no guard run by ``at`` can have set the lease: its clock was ahead.

        Args:
            at: Present time (UTC).
            lease_days: Length of a lease, days.
        """
        return self.lease_until > at + timedelta(days=lease_days) + CLOCK_TOLERANCE


def initial_state(lineage: str, as_of: datetime) -> State:
    """Return the state of a new lineage: foundation, weight 0.

    Args:
        lineage: Name of the lineage.
        as_of: When it begins (UTC).
    """
    return State(
        lineage=lineage,
        began=as_of,
        as_of=as_of,
        phase_since=as_of,
        evidence_since=as_of,
        skill_since=as_of,
        lease_until=as_of,
    )
