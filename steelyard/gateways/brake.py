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
    """The file ``brake.json`` in a home's state folder; the brake is pulled while it exists."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "brake.json"

    @property
    def pulled(self) -> bool:
        """Whether the weight is 0; True also if the file cannot be looked up."""
        try:
            self._file.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    @property
    def operator(self) -> str:
        """Who pulled it; "unknown" if the file cannot be read."""
        return self._operator_and_reason()[0]

    @property
    def words(self) -> str:
        """Who pulled it, and why."""
        return ": ".join(self._operator_and_reason())

    def _operator_and_reason(self) -> tuple[str, ...]:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            return str(content["operator"]), str(content["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return ("unknown",)

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
