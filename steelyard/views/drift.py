"""The result of a check for drift: what ``steelyard drift`` returns and prints."""

from dataclasses import dataclass
from typing import Any

from steelyard.monitoring.drift_record import DriftRecord


@dataclass(frozen=True, slots=True)
class JudgedDrift:
    """A check for drift and what followed from it.

    Attributes:
        check: The check as the ledger holds it.
        page: Address of its run in MLflow.
        new: Whether this run made the check.
        training: What was started or has to be started by hand; None if nothing is asked for.
    """

    check: DriftRecord
    page: str
    new: bool
    training: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.check.to_dict() | {
            "page": self.page,
            "new": self.new,
            "training": self.training,
        }
