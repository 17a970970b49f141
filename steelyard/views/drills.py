"""Results of fire drills: what had to be noticed, by which safeguard, and whether in time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from steelyard.evaluation.books import finite_or_none


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that a safeguard had to notice.

    Attributes:
        what: What had to be noticed or kept.
        by: The safeguard.
        bound: Longest time allowed, in ``unit``.
        after: Time until it was noticed, in ``unit``; NaN for never.
        unit: Simulated days, or seconds of the wall clock.
        words: Details, such as figures.
    """

    what: str
    by: str
    bound: float
    after: float
    unit: Literal["days", "seconds"] = "days"
    words: str = ""

    @property
    def in_time(self) -> bool:
        """Whether it was noticed within the bound."""
        return self.after <= self.bound

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; None stands for never."""
        return {
            "what": self.what,
            "by": self.by,
            "bound": self.bound,
            "after": finite_or_none(self.after),
            "unit": self.unit,
            "words": self.words,
            "in_time": self.in_time,
        }


@dataclass(frozen=True, slots=True)
class DrillResult:
    """Result of one drill.

    Attributes:
        notices: What had to be noticed, in order.
        weights: Times (UTC) and the weight that trading could use from then on; the first is from
            before the fault.
        words: Further remarks, such as the cost of the fault.
    """

    notices: tuple[Notice, ...]
    weights: tuple[tuple[datetime, float], ...]
    words: tuple[str, ...] = ()

    @property
    def noticed(self) -> bool:
        """Whether there are notices and all were in time."""
        return bool(self.notices) and all(notice.in_time for notice in self.notices)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "noticed": self.noticed,
            "notices": [notice.to_dict() for notice in self.notices],
            "weights": [{"at": at.isoformat(), "weight": weight} for at, weight in self.weights],
            "words": list(self.words),
        }


@dataclass(frozen=True, slots=True)
class FireDrill:
    """One drill as it was run.

    Attributes:
        scenario: Name of the scenario.
        story: Description of the fault.
        result: What had to be noticed, and the course of the weight.
        home: Folder of its home.
        seconds: Duration.
    """

    scenario: str
    story: str
    result: DrillResult
    home: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "scenario": self.scenario,
            "story": self.story,
            **self.result.to_dict(),
            "home": self.home,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class FireDrills:
    """All drills of a run, and the folder of their homes."""

    home: str
    drills: tuple[FireDrill, ...]

    @property
    def noticed(self) -> bool:
        """Whether every drill was noticed in time."""
        return all(drill.result.noticed for drill in self.drills)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "home": self.home,
            "noticed": self.noticed,
            "drills": [drill.to_dict() for drill in self.drills],
        }
