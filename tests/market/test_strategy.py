"""The existing system, and what is asked of one that replaces it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factories.bars import small_market
from steelyard.errors import FixConfiguration
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.sources import SourceSettings, read
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.jumps import explain
from steelyard.market.strategy import (
    WARMUP,
    Candidate,
    ReversionStrategy,
    Scan,
    StrategySettings,
    TrendStrategy,
    signals,
)

FOUND = signals(small_market(), TrendStrategy())


def test_signals_are_ordered_unique_and_warm() -> None:
    """Ids are unique, decisions never go back in time, none comes before the warm-up.

    Each is decided at its bar's close.
    """
    first = {name: bars.timestamp[WARMUP] for name, bars in small_market().items()}

    assert FOUND["signal_id"].is_unique
    assert FOUND["decided_at"].is_monotonic_increasing
    assert (FOUND["decided_at"] - FOUND["timestamp"] == pd.Timedelta("4h")).all()
    assert all(
        row.timestamp >= pd.Timestamp(first[row.symbol], tz="UTC") for row in FOUND.itertuples()
    )
    assert FOUND["signal_id"].iloc[0].startswith(f"{FOUND['symbol'].iloc[0]}:2020-")


def test_a_quarter_to_two_fifths_of_candidates_exceed_70_on_real_bars() -> None:
    """The built-in sample: 25-40 % of the candidates would be traded."""
    sample = read(SourceSettings())
    ordered = sample.frame.sort_values(["symbol", "timestamp"], ignore_index=True)
    bars = by_symbol(explain(ordered, ())[0], sample.bar_size)
    confidence = signals(bars, TrendStrategy())["confidence_existing"]

    assert 0.25 <= (confidence > 70).mean() <= 0.40


@pytest.mark.parametrize("volume", [np.nan, 0.0], ids=["FX: no volume", "index: volume 0"])
def test_a_market_without_volume_has_signals_with_a_neutral_volume_score(volume: float) -> None:
    """The volume score is 50 and everything else works."""
    market = {
        name: replace(bars, volume=np.full(len(bars), volume))
        for name, bars in small_market().items()
    }
    proposed = signals(market, TrendStrategy())

    assert len(proposed) == len(FOUND)
    assert (proposed["score_volume"] == 50).all()


def test_reversion_trades_against_the_last_move() -> None:
    """It buys after falls and sells after rises, with 55-70 % of the candidates over 70."""
    market = small_market()
    proposed = signals(market, ReversionStrategy())
    buys = (proposed["side"] == "buy").to_numpy(dtype=bool)
    moves = [
        market[row.symbol].close[bar] - market[row.symbol].close[bar - 2]
        for row in proposed.itertuples()
        for bar in [
            int(np.searchsorted(market[row.symbol].timestamp, row.timestamp.to_datetime64()))
        ]
    ]

    assert 0.1 < len(proposed) / sum(len(bars) for bars in market.values()) < 0.5
    assert np.array_equal(np.array(moves) < 0, buys)
    assert proposed["confidence_existing"].between(50, 100).all()
    assert 0.55 <= (proposed["confidence_existing"] > 70).mean() <= 0.70


def test_reversion_proposes_nothing_on_frozen_prices() -> None:
    """TA-Lib's RSI of prices that never moved is 0, which is no fall."""
    bars = small_market()["SIM00"]
    frozen = replace(
        bars, **dict.fromkeys(("open", "high", "low", "close"), np.full(len(bars), 5.0))
    )

    assert signals({"SIM00": frozen}, ReversionStrategy()).empty


def test_built_in_systems_have_names() -> None:
    """Trend and reversion in conf/strategy.yaml and behind --strategy; anything else is a class."""
    assert isinstance(load_strategy(StrategySettings(system="trend")), TrendStrategy)
    assert isinstance(load_strategy(StrategySettings(system="reversion")), ReversionStrategy)
    with pytest.raises(ValueError, match="trend, reversion, log or MODULE:CLASS"):
        StrategySettings(system="momentum")


class EveryTenth:
    """A user's own system: buys every tenth bar with a confidence of the bar's number."""

    warmup = 0
    score_names = ("last",)
    seen: int = 0

    def propose(self, bars: Bars) -> Candidate | None:
        type(self).seen = max(self.seen, len(bars))
        return (
            Candidate("buy", 50.0, {"last": float(bars.close[-1])}) if len(bars) % 10 == 0 else None
        )


def test_a_users_system_sees_bars_up_to_the_decision_bar() -> None:
    """Its sub-score, the last close it saw, is the close of the decision bar."""
    market = {"SIM00": small_market()["SIM00"][:300]}
    proposed = signals(market, EveryTenth())
    closes = dict(
        zip(pd.to_datetime(market["SIM00"].timestamp, utc=True), market["SIM00"].close, strict=True)
    )

    assert len(proposed) == 18
    assert [closes[stamp] for stamp in proposed["timestamp"]] == proposed["score_last"].tolist()


class Peeking(TrendStrategy):
    """A scan that knows the next bar."""

    def scan(self, bars: Bars) -> Scan:
        side = np.sign(np.diff(bars.close, append=bars.close[-1])).astype(np.int64)
        return Scan(
            side,
            np.full(len(bars), 60.0),
            {name: np.full(len(bars), 60.0) for name in self.score_names},
        )


class Boasting(EveryTenth):
    """A confidence over 100."""

    def propose(self, bars: Bars) -> Candidate | None:
        return Candidate("buy", 101.0, {"last": 1.0})


class Sideways(EveryTenth):
    """A side that does not exist."""

    def propose(self, bars: Bars) -> Candidate | None:
        return Candidate("hold", 50.0, {"last": 1.0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Peeking(), "scan sees past"),
        (Boasting(), "must lie in 0 to 100"),
        (Sideways(), "buy or sell"),
    ],
    ids=["peeks", "boasts", "sideways"],
)
def test_a_system_that_breaks_the_contract_is_refused(
    strategy: TrendStrategy, message: str
) -> None:
    """The message names the class, the symbol and the bar."""
    with pytest.raises(FixConfiguration, match=message) as refused:
        signals({"SIM00": small_market()["SIM00"][:300]}, strategy)
    assert type(strategy).__name__ in str(refused.value)
    assert "SIM00" in str(refused.value)


@pytest.mark.parametrize(
    "system",
    [
        "nowhere.to_be:Found",
        "steelyard.market.strategy:Nothing",
        "steelyard.market.strategy:WARMUP",
        "math:sqrt",
    ],
)
def test_a_system_that_cannot_be_found_is_one_clear_line(system: str) -> None:
    """The message names what was asked for."""
    with pytest.raises(FixConfiguration, match="strategy "):
        load_strategy(StrategySettings(system=system))
