"""The course of the weight over time, as pictures and pages draw it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import pandas as pd


class DecisionPoint(Protocol):
    """What a picture shows of a decision."""

    @property
    def as_of(self) -> datetime:
        """When it was made (UTC)."""

    @property
    def kind(self) -> str:
        """Which review or operation decided."""

    @property
    def verdict(self) -> str:
        """What was decided."""

    @property
    def phase(self) -> str:
        """Phase it left."""

    @property
    def weight_after(self) -> float:
        """Weight it left, as a share."""


Point = TypeVar("Point", bound=DecisionPoint)


@dataclass(frozen=True, slots=True)
class WeightHistory(Generic[Point]):
    """The decisions of a stretch of time.

    Attributes:
        start: Begin (UTC); the weight is 0 and the phase foundation.
        end: End (UTC).
        decisions: Decisions in order, promotions of versions left out.
        promotions: Promotions of versions in order.
    """

    start: datetime
    end: datetime
    decisions: Sequence[Point]
    promotions: Sequence[Point]

    @classmethod
    def of(cls, start: datetime, end: datetime, points: Iterable[Point]) -> "WeightHistory[Point]":
        """Return the history of all decisions.

        Args:
            start: Begin (UTC).
            end: End (UTC).
            points: All decisions in order, promotions among them.
        """
        in_order = tuple(points)
        decisions = tuple(point for point in in_order if point.kind != "promotion")
        promotions = tuple(point for point in in_order if point.kind == "promotion")
        return cls(start, end, decisions, promotions)

    def weight_steps(self) -> tuple[list[pd.Timestamp], list[float]]:
        """Return when the weight changed, with start and end, and the weight from each on."""
        moments, weights = [pd.Timestamp(self.start)], [0.0]
        for decision in self.decisions:
            if decision.weight_after != weights[-1]:
                moments.append(pd.Timestamp(decision.as_of))
                weights.append(decision.weight_after)
        return [*moments, pd.Timestamp(self.end)], [*weights, weights[-1]]

    def phase_spans(self) -> list[tuple[str, pd.Timestamp, pd.Timestamp]]:
        """Return each phase in turn with the times it was entered and left, foundation first."""
        entered = [("foundation", pd.Timestamp(self.start))]
        for decision in self.decisions:
            if decision.phase != entered[-1][0]:
                entered.append((decision.phase, pd.Timestamp(decision.as_of)))
        ends = [*(since for _, since in entered[1:]), pd.Timestamp(self.end)]
        return [(phase, since, until) for (phase, since), until in zip(entered, ends, strict=True)]

    def by_verdict(self, verdicts: Iterable[str]) -> dict[str, list[Point]]:
        """Return the decisions of each of ``verdicts`` in turn; without those nobody made."""
        groups = {
            verdict: [decision for decision in self.decisions if decision.verdict == verdict]
            for verdict in verdicts
        }
        return {verdict: group for verdict, group in groups.items() if group}
