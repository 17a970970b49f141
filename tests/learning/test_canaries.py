"""Leakage canaries: pass on honest markets, fail if training rows know their future."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from factories.bars import FOUR_HOURS
from steelyard.errors import FixData
from steelyard.learning.canaries import (
    Canary,
    _block_skill,
    _check_prefix,
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
from steelyard.market.strategy import Scan, TrendStrategy

POLICY = LearningPolicy()
STRATEGY = TrendStrategy()
Market = tuple[Samples, dict[str, Bars]]


def make_market(
    edge: Edge = "none", seed: int = 1, strength: float = 0.2, months: int = 6
) -> Market:
    end = pd.Timestamp("2020-01-01", tz="UTC") + pd.DateOffset(months=months)
    settings = SimulatedMarket(
        edge=edge, seed=seed, strength=strength, symbols=6, end=end.to_pydatetime()
    )
    bars = by_symbol(simulate(settings), FOUR_HOURS)
    return Samples.from_history(
        history(bars, STRATEGY, BracketPolicy()), feature_names(STRATEGY)
    ), bars


@pytest.fixture(scope="module")
def honest_market() -> Market:
    return make_market()


def run_checks(
    market: Market, family: Family = "lightgbm", policy: LearningPolicy = POLICY
) -> dict[str, Canary]:
    return {canary.name: canary for canary in run_canaries(*market, STRATEGY, family, policy)}


def failed_checks(checks: Mapping[str, Canary]) -> list[str]:
    return [name for name, canary in checks.items() if canary.failed]


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
    """No check fails, every planted leak is caught, recomputed features equal the stored ones."""
    checks = run_checks(make_market(edge, seed, strength, months=5), family)

    assert failed_checks(checks) == []
    assert checks["planted"].figure == 5
    assert checks["prefix"].figure == checks["disguised"].figure == 0


def replace_feature(samples: Samples, name: str, values: np.ndarray) -> Samples:
    x = samples.x.copy()
    x[:, samples.feature_names.index(name)] = values
    return replace(samples, x=x)


def of_the_next_bar(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    """Replace ``change1`` by the change of the next bar, as shift(-1) does."""
    signals, moves = parse_signals(samples), np.zeros(len(samples))
    for symbol, rows in signals.groupby("symbol"):
        decision = decision_bars(bars[str(symbol)], rows)
        moves[rows.index] = (
            bars[str(symbol)].close[decision + 1] - bars[str(symbol)].close[decision]
        )
    return replace_feature(samples, "change1", moves * side_signs(signals))


def scaled_by_the_whole_history(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    values = samples.x[:, samples.feature_names.index("rsi")]
    return replace_feature(samples, "rsi", (values - values.mean()) / values.std())


def with_an_outcome_column(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    minutes = (samples.settled_at - samples.decided_at) / np.timedelta64(1, "m")
    names = (*samples.feature_names, "hold_minutes")
    return replace(samples, x=np.column_stack([samples.x, minutes]), feature_names=names)


def with_a_score_that_knows(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    return replace_feature(samples, "score_adx", np.where(samples.won, 80.0, 20.0))


def with_the_rows_of_others(samples: Samples, bars: Mapping[str, Bars]) -> Samples:
    return replace(samples, x=np.random.default_rng(0).permutation(samples.x))


@pytest.mark.parametrize(
    ("leak", "reason"),
    [
        (of_the_next_bar, "change1 of SIM"),
        (scaled_by_the_whole_history, "rsi of SIM"),
        (with_an_outcome_column, "hold_minutes of SIM"),
        (with_a_score_that_knows, "score_adx of SIM"),
        (with_the_rows_of_others, "of SIM"),
    ],
    ids=lambda leak: getattr(leak, "__name__", None),
)
def test_a_feature_not_known_at_the_decision_is_named(
    leak: Callable[..., Samples], reason: str, honest_market: Market
) -> None:
    """Recomputed from the bars up to the decision it differs, or is missing."""
    samples, bars = honest_market
    checks = run_checks((leak(samples, bars), bars))

    assert "prefix" in failed_checks(checks)
    assert reason in checks["prefix"].reason


def test_features_that_know_more_than_the_next_bars_are_caught(
    honest_market: Market,
) -> None:
    """A system that remembers outcomes recomputes the same score; the future check fails."""
    samples, bars = honest_market
    leaking = with_a_score_that_knows(samples, bars)
    remembered = dict(
        zip(samples.signal_id, leaking.x[:, samples.feature_names.index("score_adx")], strict=True)
    )

    class Remembering(TrendStrategy):
        def propose(self, bars: Bars) -> object:  # type: ignore[override]
            candidate = super().propose(bars)
            assert candidate is not None
            stamp = pd.Timestamp(bars.timestamp[-1]).strftime("%Y-%m-%dT%H:%M:%SZ")
            score = remembered[f"{bars.symbol}:{stamp}:{candidate.side}"]
            return replace(candidate, scores={**candidate.scores, "adx": float(score)})

    checks = {
        canary.name: canary
        for canary in run_canaries(leaking, bars, Remembering(), "lightgbm", POLICY)
    }

    assert failed_checks(checks) == ["future", "disguised"]
    assert "advantage of the features over the next 2 bars themselves" in checks["future"].reason


class LookingUp(TrendStrategy):
    """Has a file of closes and looks up that 30 bars ahead."""

    file: ClassVar[Path]

    @classmethod
    @cache
    def later(cls) -> pd.Series:
        closes = pd.read_csv(cls.file, parse_dates=["timestamp"], index_col=["symbol", "timestamp"])
        return closes["close"].groupby("symbol").shift(-30)

    def scan(self, bars: Bars) -> Scan:
        scan = super().scan(bars)
        places = pd.MultiIndex.from_product([[bars.symbol], bars.timestamp])
        later = self.later().reindex(places).to_numpy()
        ahead = np.nan_to_num(later / bars.close - 1)
        hunch = np.clip(50 + 500 * scan.side * ahead, 0, 100)
        return Scan(scan.side, scan.confidence, {**scan.scores, "volume": hunch})


def test_a_system_that_looks_up_later_closes_is_caught(
    honest_market: Market, tmp_path: Path
) -> None:
    """What it knows lies beyond the next bars, and it answers the same whenever it is asked."""
    (_, bars), system = honest_market, LookingUp()
    closes = [
        pd.DataFrame({"symbol": symbol, "timestamp": known.timestamp, "close": known.close})
        for symbol, known in bars.items()
    ]
    LookingUp.file = tmp_path / "closes.csv"
    pd.concat(closes).to_csv(LookingUp.file, index=False)
    rows = history(bars, system, BracketPolicy())
    samples = Samples.from_history(rows, feature_names(system))
    knows = samples.x[:, samples.feature_names.index("score_volume")] > 50
    failed = [c for c in run_canaries(samples, bars, system, "lightgbm", POLICY) if c.failed]

    assert np.mean(knows == samples.won) > 0.7
    assert [canary.name for canary in failed] == ["disguised"]
    assert "LookingUp answers otherwise" in failed[0].reason


def test_outcomes_shifted_against_their_features_are_caught(honest_market: Market) -> None:
    """Outcomes of two bars earlier are predicted better by features two bars old."""
    samples, bars = honest_market
    signals, moves = parse_signals(samples), np.zeros(len(samples))
    for symbol, rows in signals.groupby("symbol"):
        decision, close = decision_bars(bars[str(symbol)], rows), bars[str(symbol)].close
        moves[rows.index] = close[decision - 2] - close[decision - 3]
    slipped = replace(samples, won=moves * side_signs(signals) > 0)

    assert "stale" in failed_checks(run_checks((slipped, bars)))


def test_a_split_that_scores_fitted_rows_is_caught(honest_market: Market) -> None:
    """Coins cannot be predicted, only remembered."""
    samples, _ = honest_market
    setup = _make_setup(samples, "lightgbm", POLICY)
    rows = np.arange(len(samples))
    honest, _ = _check_shuffled(setup, np.random.default_rng(0))
    leaking, _ = _check_shuffled(
        replace(setup, splits=((rows, rows[-300:]),)), np.random.default_rng(0)
    )

    assert not honest.failed
    assert leaking.failed


def test_chance_exceeds_a_bound_at_most_as_often_as_stated() -> None:
    """10,000 draws of coins over unequal blocks: at most exp(−x²/2) of them exceed x."""
    rng = np.random.default_rng(0)
    block = np.sort(rng.integers(0, 40, 200))
    points = rng.pareto(1.5, 200)
    skills = [
        _block_skill(points * rng.choice([-1.0, 1.0], 40)[block], block) for _ in range(10_000)
    ]

    for bound in (1.0, 2.0, 3.0):
        assert np.mean(np.array(skills) > bound) <= np.exp(-(bound**2) / 2)
    assert max(skills) > 2


def test_blind_checks_fail(honest_market: Market) -> None:
    """On a holdout of 20 signals no leak differs from luck: the checks are blind."""
    checks = run_checks(
        honest_market, policy=LearningPolicy(holdout_min=20, holdout_share=0.02, holdout_days=0)
    )

    assert failed_checks(checks) == ["planted"]
    assert checks["planted"].reason == "the checks are blind: shuffled missed a planted leak"


def test_the_same_rows_give_the_same_result(honest_market: Market) -> None:
    """Coins and sampled rows are seeded by the hash of the data."""
    assert run_checks(honest_market) == run_checks(honest_market)


def test_missing_bars_are_named(honest_market: Market) -> None:
    """Without a symbol's bars its rows cannot be recomputed."""
    samples, bars = honest_market
    with pytest.raises(FixData, match="no bars of SIM00 any more"):
        run_checks((samples, {name: series for name, series in bars.items() if name != "SIM00"}))


def test_an_id_gives_symbol_decision_bar_and_side(honest_market: Market) -> None:
    """Also if the symbol contains colons."""
    samples, _ = honest_market
    sample = replace(
        samples.take(np.arange(1)), signal_id=np.array(["X:BTC:USD:2020-01-02T04:00:00Z:sell"])
    )
    signal = parse_signals(sample).iloc[0]

    assert (signal["symbol"], signal["side"]) == ("X:BTC:USD", "sell")
    assert signal["timestamp"] == pd.Timestamp("2020-01-02 04:00", tz="UTC")
    assert samples.feature_names[: len(FEATURES)] == tuple(feature.name for feature in FEATURES)


class Funding(TrendStrategy):
    """Features of its own, one of them known at every other bar only."""

    feature_names = ("funding", "calls")
    calls = 0.0

    def features(self, bars: Bars) -> Mapping[str, float]:
        return {"funding": bars.volume[-1] if len(bars) % 2 else np.nan, "calls": self.calls}


class Counting(Funding):
    """Features that depend on how often they were asked for."""

    def features(self, bars: Bars) -> Mapping[str, float]:
        self.calls += 1
        return super().features(bars)


@pytest.mark.parametrize(("strategy", "failed"), [(Funding(), False), (Counting(), True)])
def test_own_features_are_asked_for_again(
    honest_market: Market, strategy: Funding, failed: bool
) -> None:
    """Missing again is the same; another answer to the same bars is a failure that names it."""
    _, bars = honest_market
    past = history(bars, strategy, BracketPolicy())
    samples = Samples.from_history(past, feature_names(strategy))
    rng = np.random.default_rng(0)
    prefix, caught = _check_prefix(samples, parse_signals(samples), bars, strategy, rng)

    assert caught
    assert prefix.failed == failed
    assert ("own_calls of " in prefix.reason) == failed


def test_a_feature_looked_up_elsewhere_is_the_users_word(honest_market: Market) -> None:
    """It fails in disguise, and is left out once it is named, which the reason repeats."""
    _, bars = honest_market
    strategy = Funding()  # volumes in units, as a file of them would give
    samples = Samples.from_history(
        history(bars, strategy, BracketPolicy()), feature_names(strategy)
    )
    asked, told = (
        run_canaries(samples, bars, strategy, "lightgbm", POLICY, looked_up)[-1]
        for looked_up in ((), ("funding",))
    )

    assert (asked.name, asked.failed) == ("disguised", True)
    assert (told.name, told.failed) == ("disguised", False)
    assert told.reason.endswith("by conf/strategy.yaml looked up elsewhere, and not asked: funding")
