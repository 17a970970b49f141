"""The brake: a file that takes the weight away from every trading process of a home, MLflow or no MLflow.

A rollback pulls it before anything else and lets go once the rollback is in the journal. Where MLflow cannot be reached it
stays pulled: the weight is 0 until a rollback was recorded.
"""

import json
from pathlib import Path

from steelyard.errors import RestoreService
from steelyard.gateways.files import write_whole


class Brake:
    """The file ``brake.json`` in the state folder of a home; that it is there is what counts."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "brake.json"

    @property
    def pulled(self) -> bool:
        """Whether the weight is taken away; true also where the file cannot be looked for."""
        try:
            self._file.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    @property
    def operator(self) -> str:
        """Who pulled it; "unknown" where that cannot be read."""
        return self._told()[0]

    @property
    def words(self) -> str:
        """Who pulled it, and why."""
        return ": ".join(self._told())

    def _told(self) -> tuple[str, ...]:
        try:
            pulled = json.loads(self._file.read_text(encoding="utf-8"))
            return str(pulled["operator"]), str(pulled["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return ("unknown",)

    def pull(self, operator: str, reason: str) -> None:
        """Take the weight away, at the latest when the trading process looks again.

        Raises:
            RestoreService: If the file cannot be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, json.dumps({"operator": operator, "reason": reason}))
        except OSError as error:
            raise RestoreService(
                f"{self._file} cannot be written ({error}); stop the trading process by hand"
            ) from error

    def release(self) -> None:
        """Let go; safe to repeat."""
        self._file.unlink(missing_ok=True)
