"""Leakage canaries: silent over honest markets, whatever the seed; singing where training rows know their future."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factories.bars import FOUR_HOURS
from steelyard.errors import FixData
from steelyard.learning.canaries import (
    Canary,
    _block_skill,
    _check_shuffled,
    _make_setup,
    parse_signals,
    run_canaries,
)
from steelyard.learning.policy import Family, LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import BracketPolicy, decision_bars, side_signs
from steelyard.market.features import FEATURES, feature_names
from steelyard.market.history import history
from steelyard.market.simulated import Edge, SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy

POLICY = LearningPolicy()
STRATEGY = TrendStrategy()
Market = tuple[Samples, dict[str, Bars]]


def market(edge: Edge = "none", seed: int = 1, strength: float = 0.2, months: int = 6) -> Market:
    end = pd.Timestamp("2020-01-01", tz="UTC") + pd.DateOffset(months=months)
    made = SimulatedMarket(
        edge=edge, seed=seed, strength=strength, symbols=6, end=end.to_pydatetime()
    )
    bars = by_symbol(simulate(made), FOUR_HOURS)
    return Samples.from_history(
        history(bars, STRATEGY, BracketPolicy()), feature_names(STRATEGY)
    ), bars


@pytest.fixture(scope="module")
def plain() -> Market:
    return market()


def heard(
    found: Market, family: Family = "lightgbm", policy: LearningPolicy = POLICY
) -> dict[str, Canary]:
    return {one.name: one for one in run_canaries(*found, STRATEGY, family, policy)}


def singing(found: Mapping[str, Canary]) -> list[str]:
    return [name for name, one in found.items() if one.failed]


@pytest.mark.parametrize(
    ("edge", "seed", "strength", "family"),
    [
        pytest.param("none", 2, 0.2, "lightgbm", id="no edge"),
        pytest.param("none", 3, 0.2, "xgboost", id="no edge, the other family"),
        pytest.param("hidden", 4, 0.2, "lightgbm", id="an edge"),
        pytest.param("hidden", 5, 0.2, "xgboost", id="an edge, the other family"),
        pytest.param("hidden", 6, 0.3, "lightgbm", id="a stronger edge than any market has"),
    ],
)
def test_honest_markets_pass(edge: Edge, seed: int, strength: float, family: Family) -> None:
    """No canary sings, every planted leak is caught, and recomputed features are the stored ones to the last bit."""
    found = heard(market(edge, seed, strength, months=5), family)

    assert singing(found) == []
    assert found["planted"].figure == 4
    assert found["prefix"].figure == 0


def changed(samples: Samples, name: str, values: np.ndarray) -> Samples:
    x = samples.x.copy()
    x[:, samples.feature_names.index(name)] = values
    return replace(samples, x=x)


def of_the_next_bar(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    """The change of one bar, computed with shift(-1)."""
    signals, moves = parse_signals(samples), np.zeros(len(samples))
    for symbol, rows in signals.groupby("symbol"):
        at = decision_bars(bars[str(symbol)], rows)
        moves[rows.index] = bars[str(symbol)].close[at + 1] - bars[str(symbol)].close[at]
    return changed(samples, "change1", moves * side_signs(signals))


def scaled_by_the_whole_history(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    values = samples.x[:, samples.feature_names.index("rsi")]
    return changed(samples, "rsi", (values - values.mean()) / values.std())


def with_an_outcome_column(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    held = (samples.settled_at - samples.decided_at) / np.timedelta64(1, "m")
    names = (*samples.feature_names, "hold_minutes")
    return replace(samples, x=np.column_stack([samples.x, held]), feature_names=names)


def with_a_score_that_knows(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    return changed(samples, "score_adx", np.where(samples.won, 80.0, 20.0))


def with_the_rows_of_others(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    return replace(samples, x=np.random.default_rng(0).permutation(samples.x))


@pytest.mark.parametrize(
    ("leak", "words"),
    [
        (of_the_next_bar, "change1 of SIM"),
        (scaled_by_the_whole_history, "rsi of SIM"),
        (with_an_outcome_column, "hold_minutes of SIM"),
        (with_a_score_that_knows, "score_adx of SIM"),
        (with_the_rows_of_others, "of SIM"),
    ],
    ids=lambda leak: getattr(leak, "__name__", None),
)
def test_what_was_not_known_at_the_decision_is_named(
    leak: Callable[..., Samples], words: str, plain: Market
) -> None:
    """Recomputed from the bars up to the decision it is another number, or none."""
    samples, bars = plain
    found = heard((leak(samples, bars), bars))

    assert "prefix" in singing(found)
    assert words in found["prefix"].reason


def test_knowing_more_than_the_next_bars_tell_is_heard_wherever_it_comes_from(
    plain: Market,
) -> None:
    """A system that remembers outcomes gives the same score from any bars; the canary of the future hears it."""
    samples, bars = plain
    leaking = with_a_score_that_knows(samples, bars)
    remembered = dict(
        zip(samples.signal_id, leaking.x[:, samples.feature_names.index("score_adx")], strict=True)
    )

    class Remembering(TrendStrategy):
        def propose(self, bars: Bars) -> object:  # type: ignore[override]
            found = super().propose(bars)
            assert found is not None
            stamp = pd.Timestamp(bars.timestamp[-1]).strftime("%Y-%m-%dT%H:%M:%SZ")
            score = remembered[f"{bars.symbol}:{stamp}:{found.side}"]
            return replace(found, scores={**found.scores, "adx": float(score)})

    found = {
        one.name: one for one in run_canaries(leaking, bars, Remembering(), "lightgbm", POLICY)
    }

    assert singing(found) == ["future"]
    assert "features foresaw more than the next 2 bars themselves tell" in found["future"].reason


def test_outcomes_that_slipped_against_their_features_are_heard(plain: Market) -> None:
    """Outcomes that belong two bars earlier are foreseen by features of two bars ago, better than by the true ones."""
    samples, bars = plain
    signals, before = parse_signals(samples), np.zeros(len(samples))
    for symbol, rows in signals.groupby("symbol"):
        at, close = decision_bars(bars[str(symbol)], rows), bars[str(symbol)].close
        before[rows.index] = close[at - 2] - close[at - 3]
    slipped = replace(samples, won=before * side_signs(signals) > 0)

    assert "stale" in singing(heard((slipped, bars)))


def test_a_split_that_scores_what_it_fitted_is_heard(plain: Market) -> None:
    """Coins cannot be foreseen, only remembered."""
    samples, _ = plain
    setup = _make_setup(samples, "lightgbm", POLICY)
    rows = np.arange(len(samples))
    honest, _ = _check_shuffled(setup, np.random.default_rng(0))
    leaking, _ = _check_shuffled(
        replace(setup, splits=((rows, rows[-300:]),)), np.random.default_rng(0)
    )

    assert not honest.failed
    assert leaking.failed


def test_chance_exceeds_a_bound_no_more_often_than_it_says() -> None:
    """10,000 draws of block coins over very unequal blocks: at 2 deviations at most exp(-2) of them, and some."""
    rng = np.random.default_rng(0)
    block = np.sort(rng.integers(0, 40, 200))
    points = rng.pareto(1.5, 200)
    drawn = [
        _block_skill(points * rng.choice([-1.0, 1.0], 40)[block], block) for _ in range(10_000)
    ]

    for bound in (1.0, 2.0, 3.0):
        assert np.mean(np.array(drawn) > bound) <= np.exp(-(bound**2) / 2)
    assert max(drawn) > 2


def test_checks_that_see_too_little_say_so(plain: Market) -> None:
    """On a holdout of twenty signals no leak can be told from luck: blind, which refuses too."""
    found = heard(plain, policy=LearningPolicy(holdout_min=20, holdout_max=20))

    assert singing(found) == ["planted"]
    assert found["planted"].reason == "the checks are blind: shuffled missed a planted leak"


def test_the_same_rows_give_the_same_answer(plain: Market) -> None:
    """Coins and sampled rows are drawn from the hash of the data."""
    assert heard(plain) == heard(plain)


def test_bars_that_are_gone_are_named(plain: Market) -> None:
    """Without the bars nothing can be recomputed."""
    samples, bars = plain
    with pytest.raises(FixData, match="no bars of SIM00 any more"):
        heard((samples, {name: one for name, one in bars.items() if name != "SIM00"}))


def test_every_feature_can_be_read_from_an_id(plain: Market) -> None:
    """Symbol, decision bar and side come back, also where a symbol has colons."""
    samples, _ = plain
    one = replace(
        samples.take(np.arange(1)), signal_id=np.array(["X:BTC:USD:2020-01-02T04:00:00Z:sell"])
    )
    found = parse_signals(one).iloc[0]

    assert (found["symbol"], found["side"]) == ("X:BTC:USD", "sell")
    assert found["timestamp"] == pd.Timestamp("2020-01-02 04:00", tz="UTC")
    assert samples.feature_names[: len(FEATURES)] == tuple(feature.name for feature in FEATURES)
