"""The sign of life of ``steelyard run``: one small file in the state folder."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from steelyard.gateways.files import private_folder, write_whole

STALE_AFTER = timedelta(minutes=5)
"""Silence after which the process counts as gone or stuck; it beats every few seconds."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life.

    Attributes:
        at: When it was given (UTC).
        next_bar: When the next bar is looked for (UTC); None during a round.
        failures: Rounds that failed since the last good one.
        process: Id of the process.
    """

    at: datetime
    next_bar: datetime | None
    failures: int
    process: int

    def is_stale(self, now: datetime) -> bool:
        """Return whether the last sign is too old."""
        return now - self.at > STALE_AFTER

    def words(self, now: datetime) -> str:
        """Return its age and what comes next, in one line."""
        age = max((now - self.at) / timedelta(seconds=1), 0.0)
        upcoming = f", next bar {self.next_bar:%Y-%m-%d %H:%M:%S} UTC" if self.next_bar else ""
        failed = f", {self.failures} rounds failed in a row" if self.failures else ""
        return f"last sign of life {age:,.0f} s ago{upcoming}{failed}"


class Heartbeat:
    """The file with the last sign of life.

    Args:
        folder: State folder that the lineages of a home share.
        alive: Called with each sign; tells the service manager, too.
    """

    def __init__(self, folder: Path, alive: Callable[[], None] = lambda: None) -> None:
        self._file = folder / "run.json"
        self._alive = alive

    def beat(self, next_bar: datetime | None = None, failures: int = 0) -> None:
        """Give a sign of life.

        Args:
            next_bar: When the next bar is looked for (UTC); None during a round.
            failures: Rounds that failed since the last good one.
        """
        private_folder(self._file.parent)
        content = {
            "at": datetime.now(UTC).isoformat(),
            "next_bar": next_bar.isoformat() if next_bar else None,
            "failures": failures,
            "process": os.getpid(),
        }
        write_whole(self._file, json.dumps(content))
        self._alive()

    def last(self) -> Beat | None:
        """Return the last sign; None if there never was one, or its file cannot be read."""
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            following = content["next_bar"]
            return Beat(
                datetime.fromisoformat(content["at"]),
                datetime.fromisoformat(following) if following else None,
                int(content["failures"]),
                int(content["process"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
