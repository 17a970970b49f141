"""Which predictions are read from the ledger."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from steelyard.gateways.ledger.tables import Prediction, UtcTime


@dataclass(frozen=True, slots=True)
class Window:
    """Which predictions are read. Times after are exclusive, until inclusive; None for no bound.

    Attributes:
        settled_after: Leaves out what is not settled, as ``settled_until`` does.
        with_opinion: Leave out what the model gave no opinion of.
    """

    decided_after: datetime | None = None
    decided_until: datetime | None = None
    settled_after: datetime | None = None
    settled_until: datetime | None = None
    with_opinion: bool = False

    def __post_init__(self) -> None:
        """Refuse a time without a zone.

        Raises:
            NaiveMoment: If there is one.
        """
        for bound in (
            self.decided_after,
            self.decided_until,
            self.settled_after,
            self.settled_until,
        ):
            UtcTime().process_bind_param(bound, None)

    def conditions(self) -> list[Any]:
        """Return the window as conditions on rows of ``ml_predictions``."""
        bounds = [
            (Prediction.decided_at.__gt__, self.decided_after),
            (Prediction.decided_at.__le__, self.decided_until),
            (Prediction.settled_at.__gt__, self.settled_after),
            (Prediction.settled_at.__le__, self.settled_until),
        ]
        conditions = [holds(bound) for holds, bound in bounds if bound is not None]
        return [*conditions, Prediction.p_win.is_not(None)] if self.with_opinion else conditions

    def meets(self, block: Any) -> bool:
        """Return whether some rows of a block, told by its ``BOUNDS``, may lie inside."""
        return block.rows > 0 and (
            (self.decided_after is None or block.decided_until > self.decided_after)
            and (self.decided_until is None or block.decided_from <= self.decided_until)
            and (self.settled_after is None or block.settled_until > self.settled_after)
            and (self.settled_until is None or block.settled_from <= self.settled_until)
        )
