"""What the last ``settle`` had seen, so that the guard need not ask the existing system again."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from steelyard.gateways.files import private_folder, write_whole


@dataclass(frozen=True, slots=True)
class Coverage:
    """Inputs of a settlement: with the same, every signal by then is in the ledger.

    Attributes:
        through: Time of the settlement (UTC).
        newest: Symbol → open of its newest bar, ISO 8601.
        logged: Signals that logs had given.
        system: The existing system's settings.
        longest_bars: Bars that the longest of its signals may last.
    """

    through: datetime
    newest: dict[str, str]
    logged: int
    system: str
    longest_bars: int


class CoverageFile:
    """The file with the coverage of the last settlement.

    Args:
        folder: State folder of the lineage.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "settled.json"

    def write(self, coverage: Coverage) -> None:
        """Remember a settlement."""
        private_folder(self._file.parent)
        content: dict[str, Any] = asdict(coverage) | {"through": coverage.through.isoformat()}
        write_whole(self._file, json.dumps(content))

    def read(self) -> Coverage | None:
        """Return the last one; None without one, or if the file cannot be read."""
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            through = datetime.fromisoformat(content["through"])
            return Coverage(**(content | {"through": through}))
        except (OSError, ValueError, LookupError, TypeError):
            return None
