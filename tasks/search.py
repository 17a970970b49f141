"""A search while it runs: how far it is, and when each trial began and ended."""

from datetime import UTC, datetime

from steelyard.gateways.registry import Trial
from steelyard.learning.search import TrialRow
from steelyard.progress import tell


class Watched:
    """Notes every trial as it ends; they run one after the other, the first from now on.

    Args:
        total: Trials there will be.
    """

    def __init__(self, total: int) -> None:
        self.trials: list[Trial] = []
        self._total = total
        self._began = datetime.now(UTC)

    def __call__(self, row: TrialRow) -> None:
        """Note a trial that has just ended."""
        ended = datetime.now(UTC)
        self.trials.append(Trial(row, self._began, ended))
        self._began = ended
        tell("tuning", row.number + 1, self._total, row.family)
