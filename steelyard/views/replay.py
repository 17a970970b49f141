"""Results of a replay, a grid and the demo, as values: what the commands return and print."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from steelyard.evaluation.books import Books
from steelyard.views.history import WeightHistory
from steelyard.views.records import DecisionRecord, VersionRecord, decision_documents
from steelyard.views.worth import LifetimeWorth


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Result of a replay, read from the records of its home.

    Attributes:
        start: First day (UTC).
        end: Last day (UTC).
        signals: Signals predicted in this time.
        signals_settled: Settled ones among them.
        signals_with_opinion: Settled ones the model had an opinion on.
        signals_per_month: Signals in 30 days.
        trainings: All versions, in order.
        promotions: Promotions of versions, in order.
        decisions: All other decisions, in order.
        books: Measures of the three books.
        worth: Sharpe ratios after all trials; None before the first settled opinion.
        phase: Phase at the end.
        weight: Weight at the end, as a share.
        seconds: Duration of the replay.
        page: File of its report; empty without one.
    """

    start: datetime
    end: datetime
    signals: int
    signals_settled: int
    signals_with_opinion: int
    signals_per_month: float
    trainings: tuple[VersionRecord, ...]
    promotions: tuple[DecisionRecord, ...]
    decisions: tuple[DecisionRecord, ...]
    books: Books
    worth: LifetimeWorth | None
    phase: str
    weight: float
    seconds: float
    page: str = ""

    @property
    def history(self) -> WeightHistory[DecisionRecord]:
        """The course of the weight."""
        return WeightHistory(self.start, self.end, self.decisions, self.promotions)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "signals": self.signals,
            "signals_settled": self.signals_settled,
            "signals_with_opinion": self.signals_with_opinion,
            "signals_per_month": self.signals_per_month,
            "trainings": [training.to_dict() for training in self.trainings],
            "promotions": decision_documents(self.promotions),
            "decisions": decision_documents(self.decisions),
            "books": self.books.as_dict(),
            "worth": self.worth.to_dict() if self.worth else None,
            "final": {"phase": self.phase, "weight": self.weight},
            "timing": {"lived_seconds": round(self.seconds, 2)},
            "page": self.page,
        }


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One combination of settings of a grid.

    Attributes:
        settings: ``SUBJECT.KEY`` or ``lineage`` → value.
        home: Folder of its replay.
        lineage: Name of the lineage that is replayed; None for the only one.
    """

    settings: Mapping[str, Any]
    home: Path
    lineage: str | None

    @property
    def conf(self) -> Path:
        """Folder of all its settings."""
        return self.home / "conf"


@dataclass(frozen=True, slots=True)
class GridReplay:
    """The replay with one combination of settings of a grid.

    Attributes:
        point: The settings, and where the replay is.
        result: Its result; None if it was refused.
        refused: Why it was refused; empty if it was not.
    """

    point: GridPoint
    result: ReplayResult | None
    refused: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "settings": dict(self.point.settings),
            "home": str(self.point.home),
            "conf": str(self.point.conf),
            "refused": self.refused,
            "replay": self.result.to_dict() if self.result else None,
        }


@dataclass(frozen=True, slots=True)
class GridResult:
    """All replays of a grid, in the order of its combinations."""

    replays: tuple[GridReplay, ...]

    @property
    def complete(self) -> bool:
        """Whether none was refused."""
        return not any(replay.refused for replay in self.replays)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"replays": [replay.to_dict() for replay in self.replays]}


@dataclass(frozen=True, slots=True)
class DrawnReplay:
    """A replay of the demo with its answer in one sentence."""

    result: ReplayResult
    answer: str


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        replays: Title → replay.
        pictures: Files that were drawn.
    """

    replays: Mapping[str, DrawnReplay]
    pictures: tuple[str, ...]

    def __add__(self, later: "DemoResult") -> "DemoResult":
        """Return the results of both, the later ones behind."""
        return DemoResult({**self.replays, **later.replays}, self.pictures + later.pictures)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "replays": {
                title: replay.result.to_dict() | {"answer": replay.answer}
                for title, replay in self.replays.items()
            },
            "pictures": list(self.pictures),
        }
