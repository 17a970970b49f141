"""The streak breaker: too many ML losses in a row take the weight away at once, with or without MLflow (SPEC §6)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import current_losing_streak
from steelyard.gateways.brake import Brake
from steelyard.weight.decision import Entry
from steelyard.weight.limits import streak_breaker
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.state import State

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger
    from steelyard.gateways.registry import Journal

OPERATOR = "streak breaker"
"""Who pulled the brake; only that pull is let go here."""


class StreakBreaker:
    """Looks at the settled outcomes of a lineage, whenever one came.

    Args:
        ledger: Where outcomes are.
        journal: Where the decision belongs.
        brake: What works before the journal is written, and where it cannot be.
        policy: The longest streak that is borne.
        sizing: What the ml book takes.
        pulled: Is called once the brake is pulled, so that its own process need not wait for the next look.
    """

    def __init__(
        self,
        ledger: "Ledger",
        journal: "Journal",
        brake: Brake,
        policy: WeightPolicy,
        sizing: SizingPolicy,
        pulled: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._brake = brake
        self._policy = policy
        self._sizing = sizing
        self._pulled = pulled

    def check(self, state: State | None, as_of: datetime) -> bool:
        """Pull the brake where the outcomes known at ``as_of`` break the limit; returns whether they do.

        Raises:
            RestoreService: If the ledger cannot be read or the brake not be pulled.
        """
        streak = self._streak(state, as_of)
        if streak <= self._policy.limits.breaker_streak:
            return False
        self._brake.pull(OPERATOR, f"{streak} ML losses in a row by {as_of:%Y-%m-%d %H:%M}")
        self._pulled()
        return True

    def look(self, as_of: datetime) -> Entry | None:
        """Check, and disable the model in the journal where the limit is broken; the brake is let go once that is recorded.

        Raises:
            RestoreService: If ledger or MLflow cannot be reached; a brake that was pulled stays pulled then.
            VerifyState: If the state does not follow from the journal; likewise.
        """
        entry = self._disabled(as_of) if self.check(self._journal.state(), as_of) else None
        if self._brake.operator == OPERATOR:
            self._brake.release()
        return entry

    def _disabled(self, as_of: datetime) -> Entry | None:
        with self._journal.deciding():
            state, _ = self._journal.verified()  # somebody may have disabled it meanwhile
            streak = self._streak(state, as_of)
            decision = streak_breaker(state, streak, self._policy, as_of) if state else None
            return self._journal.append(decision) if decision else None

    def _streak(self, state: State | None, as_of: datetime) -> int:
        """Return the latest ML losses in a row since the evidence began; 0 where there is no model to disable."""
        if state is None or state.phase == "foundation" or as_of < state.as_of:
            return 0
        since = max(state.evidence_since, as_of - timedelta(days=self._policy.window_max_days))
        settled = self._ledger.settled_predictions(since, as_of)
        return current_losing_streak(
            settled[(settled["decided_at"] >= since).to_numpy(dtype=bool)], self._sizing
        )
