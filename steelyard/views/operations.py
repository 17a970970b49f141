"""What ``up``, ``deploy``, ``verify`` and ``doctor`` return and print, as values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

CheckStatus = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment: name, next run (ISO 8601, UTC; None without one), cron; empty: by hand."""

    name: str
    next_run: str | None
    cron: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything that ``up`` started is found.

    Attributes:
        pages: Service → address.
        login: File with user and password of the pages.
        deployments: The schedules.
        logs: Folder of the logs.
    """

    pages: Mapping[str, str]
    login: str
    deployments: tuple[Deployment, ...]
    logs: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Number of decisions, faults of all stores, faults that were repaired, and what to know."""

    decisions: int
    faults: tuple[str, ...]
    repaired: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "decisions": self.decisions,
            "faults": list(self.faults),
            "repaired": list(self.repaired),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check of the doctor.

    Attributes:
        name: Subject of the check.
        standing: Its status.
        found: Finding in words.
        advice: What to do; empty if all is well.
    """

    name: str
    standing: CheckStatus
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """All checks of the doctor.

    Attributes:
        home: Folder of the home.
        as_of: Time of the checks (UTC).
        rows: The checks, in order.
    """

    home: str
    as_of: datetime
    rows: tuple[Check, ...]

    def count(self, standing: CheckStatus) -> int:
        """Return the number of checks with this status."""
        return sum(row.standing == standing for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "home": self.home,
            "as_of": self.as_of.isoformat(),
            "wrong": self.count("wrong"),
            "warning": self.count("warning"),
            "rows": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class StrategyExamination:
    """All checks of a trading system on past bars.

    Attributes:
        system: Name of the system.
        bars: Source of the bars.
        seconds: Duration of the checks.
        rows: The checks, in order.
    """

    system: str
    bars: str
    seconds: float
    rows: tuple[Check, ...]

    def count(self, standing: CheckStatus) -> int:
        """Return the number of checks with this status."""
        return sum(row.standing == standing for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "system": self.system,
            "bars": self.bars,
            "seconds": round(self.seconds, 1),
            "wrong": self.count("wrong"),
            "warning": self.count("warning"),
            "rows": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Scaffold:
    """Files that were written for the user to go on with, and what to do next.

    Attributes:
        files: The files, in order.
        steps: Commands to go on with, in order.
    """

    files: tuple[str, ...]
    steps: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"files": list(self.files), "steps": list(self.steps)}
