"""Sizes of the tests that hurt on purpose: small in ``make test``, in full by ``make soak``.

A test marked ``@sized`` takes ``size`` and runs once in each of the two.
"""

from dataclasses import dataclass

import pytest

from factories.living import DAY


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything.

    Attributes:
        deaths: Deaths of a process in one run of the journal's model.
        days: Days of a life whose every command suffers every harm before it is repeated.
        trains: Whether a model is trained on each of these days.
        locked_seconds: How long another process holds the databases.
        places: Places in which the same life is lived again.
        load_seconds: How long the service gets 1,000 requests a second.
    """

    deaths: int
    days: int
    trains: bool
    locked_seconds: float
    places: int
    load_seconds: float

    @property
    def names(self) -> list[str]:
        """Commands of a day, in their order."""
        return [name for name in DAY if name != "train" or self.trains]


CI = Size(deaths=1, days=1, trains=False, locked_seconds=1, places=1, load_seconds=2)
FULL = Size(deaths=3, days=8, trains=True, locked_seconds=60, places=3, load_seconds=30)

sized = pytest.mark.parametrize(
    "size",
    [pytest.param(CI, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.soak)],
)
