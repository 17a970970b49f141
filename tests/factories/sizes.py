"""Sizes of the tests that hurt on purpose: small in ``make test``, in full by ``make soak``.

A test marked ``@sized`` takes ``size`` and runs once in each of the two.
"""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything.

    Attributes:
        deaths: Deaths of a process in one run of the journal's model.
    """

    deaths: int


CI = Size(deaths=1)
FULL = Size(deaths=3)

sized = pytest.mark.parametrize(
    "size",
    [pytest.param(CI, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.soak)],
)
