"""Streak breaker: sets the weight to 0 after too many ML losses in a row, also without MLflow.

SPEC §6; it also runs inside the trading process, on every settled outcome.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from steelyard.errors import RestoreService
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import current_losing_days, current_losing_streak
from steelyard.evaluation.positions import LEAD, PositionLimits, take_positions
from steelyard.evaluation.skill import measure_skill
from steelyard.gateways.brake import Brake
from steelyard.weight.decision import Decision, Entry
from steelyard.weight.limits import Streaks, streak_breaker
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.sequential import allowed_streak
from steelyard.weight.state import State

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger
    from steelyard.gateways.registry import Journal

OPERATOR = "streak breaker"
"""Recorded as the operator of the brake; only a brake pulled under this name is released here."""


class StreakBreaker:
    """Checks the losing streak of a lineage after every settled outcome.

    Args:
        ledger: Source of the outcomes.
        journal: Receives the decision.
        brake: Takes effect before the journal is written, and if it cannot be; so does the brake
            in the ledger, which holds if the file is removed.
        policy: Bound of the streak and length of the window.
        sizing: Signals the ml book wants, and their size.
        limits: Positions it holds at most.
        on_pull: Called once the brake is pulled, so that the own process notices it at once.
    """

    def __init__(
        self,
        ledger: "Ledger",
        journal: "Journal",
        brake: Brake,
        policy: WeightPolicy,
        sizing: SizingPolicy,
        limits: PositionLimits,
        on_pull: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._brake = brake
        self._policy = policy
        self._sizing = sizing
        self._limits = limits
        self._on_pull = on_pull

    def check(self, state: State | None, as_of: datetime) -> bool:
        """Pull the brake if the limit is broken; returns whether it is.

        Args:
            state: State of the lineage; None or phase foundation breaks no limit.
            as_of: Only outcomes known by then count, aware.

        Raises:
            RestoreService: If the ledger cannot be read or the brake cannot be pulled.
        """
        decision = self._decide(state, as_of)
        if state is None or decision is None:
            return False
        reason = f"{'; '.join(decision.reasons)} by {as_of:%Y-%m-%d %H:%M}"
        self._brake.pull(OPERATOR, reason)
        self._on_pull()
        with suppress(RestoreService):
            self._ledger.pull_brake(state.lineage, OPERATOR, reason)
        return True

    def enforce(self, as_of: datetime) -> Entry | None:
        """Pull the brake and disable the model in the journal if the limit is broken.

        The brake is released once the decision is recorded.

        Raises:
            RestoreService: If ledger or MLflow cannot be reached; a pulled brake stays pulled.
            VerifyState: If the state does not follow from the journal; a pulled brake stays pulled.
        """
        state = self._journal.state()
        entry = self._disable(as_of) if self.check(state, as_of) else None
        if self._brake.operator == OPERATOR:
            self._brake.release()
        if state is not None and (self._ledger.brake(state.lineage) or "").startswith(OPERATOR):
            self._ledger.release_brake(state.lineage)
        return entry

    def _disable(self, as_of: datetime) -> Entry | None:
        with self._journal.deciding():
            state, _ = self._journal.verified()  # another process may have disabled it
            decision = self._decide(state, as_of)
            return self._journal.append(decision) if decision else None

    def _decide(self, state: State | None, as_of: datetime) -> Decision | None:
        """Return the decision that the latest ML losses force; None if they force none."""
        if state is None or state.phase == "foundation" or as_of < state.as_of:
            return None
        since = max(state.evidence_since, as_of - timedelta(days=self._policy.window_max_days))
        settled = self._ledger.settled_predictions(since - LEAD, as_of)
        held = take_positions(settled, self._sizing, self._limits)
        judged = (held["settled_at"] > since) & (held["decided_at"] >= since)
        recent = held[judged.to_numpy(dtype=bool)]
        losses = current_losing_streak(recent)
        streaks = Streaks(
            losses,
            current_losing_days(recent, as_of),
            self._allowed_losses(state, losses, as_of),
        )
        return streak_breaker(state, streaks, self._policy, as_of)

    def _allowed_losses(self, state: State, losses: int, as_of: datetime) -> int:
        """Return the bound on losses in a row; the life is read only if the plain one is broken."""
        if losses <= self._policy.limits.breaker_streak:
            return self._policy.limits.breaker_streak
        opinions = self._ledger.opinions(state.skill_since, as_of)
        held = take_positions(opinions, self._sizing, self._limits, ("baseline", "ml"))
        lifetime = measure_skill(held, as_of, state.origin, self._policy.sequential.bets)
        return allowed_streak(lifetime, self._policy)
