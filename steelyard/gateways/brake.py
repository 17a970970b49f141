"""The brake: a file that sets the weight of every trading process of a home to 0, without MLflow.

A rollback pulls it first and releases it once the rollback is in the journal. If MLflow cannot be
reached, it stays pulled: the weight is 0 until a rollback is recorded.
"""

import json
from contextlib import suppress
from pathlib import Path

from steelyard.errors import RestoreService
from steelyard.gateways.files import private_folder, write_whole


class Brake:
    """The file ``brake.json`` in a lineage's state folder; the brake is pulled while it exists.

    Args:
        folder: Folder of the lineage's brake, which alone is pulled and released here.
        of_all: Folder of the brake that holds for every lineage of the home; None without one.
    """

    def __init__(self, folder: Path, of_all: Path | None = None) -> None:
        self._file = folder / "brake.json"
        self._of_all = None if of_all is None else of_all / "brake.json"

    @property
    def pulled(self) -> bool:
        """Whether the weight is 0; True also if a file cannot be looked up."""
        return _is_there(self._file) or (self._of_all is not None and _is_there(self._of_all))

    @property
    def operator(self) -> str:
        """Who pulled the lineage's own; "unknown" if the file cannot be read."""
        return _operator_and_reason(self._file)[0]

    @property
    def words(self) -> str:
        """Who pulled it, and why."""
        if self._of_all is not None and not _is_there(self._file):
            return f"all lineages: {': '.join(_operator_and_reason(self._of_all))}"
        return ": ".join(_operator_and_reason(self._file))

    def pull(self, operator: str, reason: str) -> None:
        """Set the weight to 0 from the next time the trading process reads the brake.

        Args:
            operator: Who pulls it: a person or a part of Steelyard.
            reason: Why, in one line.

        Raises:
            RestoreService: If the file cannot be written.
        """
        try:
            private_folder(self._file.parent)
            write_whole(self._file, json.dumps({"operator": operator, "reason": reason}))
        except OSError as error:
            raise RestoreService(
                f"{self._file}: cannot be written ({error}); stop the trading process by hand"
            ) from error

    def release(self) -> None:
        """Release the brake; safe to repeat. One that cannot be removed stays pulled: weight 0."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)


def _is_there(file: Path) -> bool:
    """Whether a brake is pulled; True also if its file cannot be looked up."""
    try:
        file.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _operator_and_reason(file: Path) -> tuple[str, ...]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return str(content["operator"]), str(content["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return ("unknown",)
