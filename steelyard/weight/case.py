"""The case: everything a decision about the weight is judged on, as one value."""

import math
from dataclasses import dataclass
from datetime import datetime

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Kind, Rule, Verdict, make_decision
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.rules import breach_confirmed
from steelyard.weight.state import State


@dataclass(frozen=True, slots=True)
class Case:
    """State, evidence and policy at one moment.

    Attributes:
        state: State in force at ``as_of``.
        evidence: Figures of the window that is judged: the rolling month, for a gate the phase.
        policy: Bounds and steps, from ``conf/weight.yaml``.
        period_end: End of the period that is judged (UTC); for the daily guard ``as_of`` itself.
        as_of: When the decision is made (UTC), not before ``period_end``.
    """

    state: State
    evidence: Evidence
    policy: WeightPolicy
    period_end: datetime
    as_of: datetime

    @property
    def conclusive(self) -> bool:
        """Whether the window holds enough independent predictions to judge its figures."""
        return self.evidence.count.missing(self.policy.min_settled) == 0

    @property
    def decay_evidence(self) -> float:
        """Evidence that the claims no longer hold, months; NaN without lifetime evidence."""
        lifetime = self.evidence.lifetime
        return math.nan if lifetime is None else lifetime.decay_evidence

    def confirms(self, bound: float, *figures: float) -> bool:
        """Return whether a breached limit takes effect.

        Without lifetime evidence every breach does, and so does one on a figure that is NaN.

        Args:
            bound: Months of decay that confirm the breach in sequential mode.
            figures: What the limit compares.
        """
        unknown = any(math.isnan(figure) for figure in figures)
        return breach_confirmed(self.policy.evidence_binds, self.decay_evidence, bound, unknown)

    def decide(
        self,
        kind: Kind,
        verdict: Verdict,
        reasons: tuple[str, ...],
        rules: tuple[Rule, ...],
        after: State,
    ) -> Decision:
        """Return the decision on this case for the record.

        Args:
            kind: Which review decides.
            verdict: What it decides.
            reasons: Why, with figures.
            rules: Every rule that was looked at.
            after: State the decision leaves.
        """
        return make_decision(
            kind,
            self.state,
            after,
            self.policy,
            self.as_of,
            period_end=self.period_end,
            verdict=verdict,
            reasons=reasons,
            rules=rules,
            evidence=self.evidence,
        )
