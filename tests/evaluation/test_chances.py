"""Chances under the normal and the binomial distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from steelyard.evaluation.chances import (
    chance_of_at_most,
    normal_bound,
    normal_share,
    normal_shares,
)


def test_normal_shares_are_those_of_scipy() -> None:
    """Also far out, where 1 − x loses its digits, and for infinities and NaN."""
    bounds = np.array([-np.inf, -30.0, -8.0, -1.5, 0.0, 0.3, 6.0, np.inf, np.nan])

    np.testing.assert_allclose(normal_shares(bounds), special.ndtr(bounds), rtol=1e-12)
    assert normal_share(-8.0) == normal_shares(bounds)[2]


@given(share=st.floats(1e-12, 1 - 1e-12))
def test_a_normal_bound_is_the_inverse(share: float) -> None:
    """The share under the bound is the share that was asked for."""
    assert normal_bound(share) == pytest.approx(special.ndtri(share), rel=1e-9, abs=1e-12)


@given(
    trials=st.integers(1, 3000),
    part=st.floats(0, 1),
    share=st.sampled_from([0, 1e-4, 0.5, 0.93, 1]),
)
def test_binomial_chances_are_those_of_scipy(trials: int, part: float, share: float) -> None:
    """From no hit to all of them."""
    hits = round(part * trials)

    expected = special.bdtr(hits, trials, share)
    assert chance_of_at_most(hits, trials, share) == pytest.approx(expected, rel=1e-9, abs=1e-280)
    assert chance_of_at_most(-1, trials, share) == 0.0
