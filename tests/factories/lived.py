"""What the browser tests look at: five months of a simulated market whose edge the model found."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from factories.running_up import Up

BEGAN, END = datetime(2021, 6, 1, tzinfo=UTC), datetime(2021, 11, 7, tzinfo=UTC)


@dataclass
class Lived:
    """A home in which the model earned weight, run by ``steelyard up``."""

    up: Up
    report: Path
    answer: str
