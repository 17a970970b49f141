"""Systems that only say yes or no: how they are recognised, and what a model can change."""

import numpy as np
import pandas as pd
import pytest

from factories.bars import small_market
from steelyard.errors import FixConfiguration
from steelyard.learning.calibration import fit_scale
from steelyard.market.strategy import Candidate, signals
from steelyard.market.yes_or_no import PLAIN_YES, recognise, require_whole_scale
from steelyard.weight.rules import blend_confidence

P_WIN = np.sort(np.random.default_rng(5).normal(0.5, 0.04, 2000))


@pytest.mark.parametrize(
    ("distinct", "count", "recognised"),
    [(1, 60, True), (2, 60, True), (19, 60, True), (20, 60, False), (1, 49, False)],
)
def test_few_distinct_confidences_are_a_yes_or_no(
    distinct: int, count: int, recognised: bool
) -> None:
    """Under twenty distinct ones, as soon as there are enough signals to tell."""
    found = recognise(pd.Series(np.arange(count) % distinct + 71.0), 70)

    assert (found is not None) == recognised
    assert found is None or f"({distinct} distinct confidences in {count} signals)" in found.words


@pytest.mark.parametrize(
    ("weight", "share"), [(0.05, 0.05), (0.10, 0.10), (0.20, 1 / 6), (0.40, 0.30), (0.70, 0.50)]
)
def test_the_blend_leaves_out_more_of_a_plain_yes_as_the_weight_rises(
    weight: float, share: float
) -> None:
    """A tenth of the trades at 10 %, half of them at 70 %, those the model likes least."""
    yes = np.full(len(P_WIN), PLAIN_YES)
    opinions = fit_scale("matched", P_WIN, yes).apply(P_WIN)
    left = np.array([blend_confidence(weight, PLAIN_YES, opinion) <= 70 for opinion in opinions])

    assert np.all((opinions >= 0) & (opinions <= 100))
    assert np.all(np.diff(opinions) >= 0)
    assert left.mean() == pytest.approx(share if weight >= 0.1 else 0, abs=0.005)
    assert left[: left.sum()].all()


def test_a_no_is_turned_into_a_yes_where_the_model_is_surest() -> None:
    """With yes 75 and no 65, the blend takes some of what the system leaves, the best of it."""
    existing = np.where(np.arange(len(P_WIN)) % 2, 75.0, 65.0)
    opinions = fit_scale("matched", P_WIN, existing).apply(P_WIN)
    shares = {
        weight: np.mean([blend_confidence(weight, 65.0, opinion) > 70 for opinion in opinions])
        for weight in (0.10, 0.20, 0.70)
    }

    assert shares[0.10] == 0
    assert 0.10 < shares[0.20] < 0.20
    assert 0.35 < shares[0.70] < 0.50


def test_a_yes_too_high_to_be_heard_is_told_with_the_weight_from_which_it_is() -> None:
    """At 100 a weight under 30 % changes nothing; at 75 every weight of a pilot counts."""
    certain, plain, never = (
        recognise(pd.Series(np.full(60, value)), 70) for value in (100.0, PLAIN_YES, 65.0)
    )

    assert certain is not None
    assert "with a yes of 100 a weight under 30% changes nothing" in certain.finding
    assert certain.advice == "let a yes be 75, and a no 65"
    assert plain is not None
    assert plain.advice is None
    assert never is not None
    assert "it trades nothing" in never.words


def test_confidences_within_0_to_1_are_refused_with_the_factor() -> None:
    """Five of them are enough; a single 0.8 may be chance."""
    with pytest.raises(FixConfiguration, match=r"within 0 to 1, .* multiply them by 100"):
        require_whole_scale(pd.Series([0.2, 0.8, 0.5, 1.0, 0.9]), "Shares")
    require_whole_scale(pd.Series([0.2]), "Shares")
    require_whole_scale(pd.Series([0.2, 0.8, 0.5, 1.0, 80.0]), "Shares")


class Forgetful:
    """Names a score and does not give it."""

    warmup = 1
    score_names = ("strength",)

    def propose(self, bars: object) -> Candidate | None:
        """Always buy."""
        return Candidate("buy", 80.0, {})


def test_a_score_that_is_not_given_is_one_clear_line() -> None:
    """It names the system, the score and the bar."""
    with pytest.raises(FixConfiguration, match=r"Forgetful gave no score 'strength' for .* at 20"):
        signals(small_market(), Forgetful())
