"""A check for drift as the ledger holds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from steelyard.monitoring.drift import ColumnDrift


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """A check for drift, one per day and version; a row of ``ml_drift``.

    Attributes:
        key: Lineage, version and day.
        as_of: Time of the check (UTC).
        model_version: Number of the version that was checked.
        verdict: ``fine``, ``watch`` or ``retrain``.
        share: Share of the importance that drifted features carry; None if none was judged.
        reasons: One line each, the most important first.
        columns: The features, the most important first, and ``p_win`` last.
        run_id: MLflow run with scores, page and picture; empty before it is recorded.
        asked: Whether the check asks for a training.
    """

    key: str
    as_of: datetime
    model_version: str
    verdict: str
    share: float | None
    reasons: tuple[str, ...]
    columns: tuple[ColumnDrift, ...]
    run_id: str
    asked: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "DriftRecord":
        """Return the record of a row of ``ml_drift``."""
        columns = tuple(ColumnDrift.from_dict(column) for column in row["columns"])
        return cls(**{**row, "reasons": tuple(row["reasons"]), "columns": columns})

    def to_row(self) -> dict[str, Any]:
        """Return the columns of ``ml_drift``."""
        return {
            "key": self.key,
            "as_of": self.as_of,
            "model_version": self.model_version,
            "verdict": self.verdict,
            "share": self.share,
            "reasons": list(self.reasons),
            "columns": [column.to_dict() for column in self.columns],
            "run_id": self.run_id,
            "asked": self.asked,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.to_row() | {"as_of": self.as_of.isoformat()}
