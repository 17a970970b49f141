"""The history in parts: symbols apart from each other, then the cross-section, then one table."""

from collections import Counter
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from factories.bars import small_market
from steelyard.errors import FixData
from steelyard.market import cross_section
from steelyard.market.bars import Bars, naive
from steelyard.market.brackets import BracketPolicy
from steelyard.market.cross_section import RANK_SOURCES, REGIME_SOURCES, SORT_FROM
from steelyard.market.features import FEATURES, at_every_bar, features
from steelyard.market.history import assemble, history, part_of
from steelyard.market.strategy import (
    WARMUP,
    Candidate,
    Entry,
    Levels,
    Scan,
    Strategy,
    TrendStrategy,
    checked_bars,
    signals,
)


def crowd(symbols: int, seed: int) -> dict[str, Bars]:
    """Symbols of unequal lengths with holes, the first of them without volume."""
    rng, past = np.random.default_rng(seed), list(small_market().values())
    market = {}
    for number in range(symbols):
        bars = past[number % len(past)]
        length = int(rng.integers(WARMUP + 20, 300))
        kept = np.sort(rng.permutation(length)[: length - int(rng.integers(0, 15))])
        kept += int(rng.integers(0, 400))
        columns = {
            name: getattr(bars, name)[kept]
            for name in ("timestamp", "open", "high", "low", "close", "volume")
        }
        name = f"{'ZAM'[number % 3]}{number}"
        market[name] = replace(bars, symbol=name, **columns)
    first = next(iter(market))
    market[first] = replace(market[first], volume=np.full(len(market[first]), np.nan))
    return market


def asked_at(market: dict[str, Bars], seed: int) -> pd.DataFrame:
    """Signals at random bars, warm-up included, and at one stamp of every symbol that has it."""
    rng = np.random.default_rng(seed)
    rows = [
        (symbol, bars.timestamp[bar])
        for symbol, bars in market.items()
        for bar in rng.integers(0, len(bars), 4)
    ]
    common = Counter(stamp for bars in market.values() for stamp in bars.timestamp.tolist())
    stamp = np.datetime64(common.most_common(1)[0][0], "ns")
    rows += [(symbol, stamp) for symbol, bars in market.items() if stamp in bars.timestamp]
    table = pd.DataFrame(rows, columns=["symbol", "timestamp"]).sample(frac=1, random_state=seed)
    stamps = pd.DatetimeIndex(table["timestamp"]).as_unit("ns").tz_localize("UTC")
    sides = np.where(rng.random(len(table)) < 0.5, "buy", "sell")
    return table.assign(timestamp=stamps, side=sides)


def one_by_one(market: dict[str, Bars], asked: pd.DataFrame) -> pd.DataFrame:
    """The features of each signal, looked up and compared one after the other."""
    own = {symbol: at_every_bar(bars) for symbol, bars in market.items()}

    places = {
        symbol: {stamp: bar for bar, stamp in enumerate(bars.timestamp)}
        for symbol, bars in market.items()
    }

    def at(symbol: str, stamp: np.datetime64, name: str) -> float:
        bar = places[symbol].get(stamp)
        return np.nan if bar is None else float(own[symbol][name][bar])

    rows = []
    for symbol, stamp, side in zip(
        asked["symbol"], naive(asked["timestamp"]), asked["side"], strict=True
    ):
        row = {name: at(symbol, stamp, name) for name in own[symbol]}
        for rank, name in RANK_SOURCES.items():
            others = np.array([at(other, stamp, name) for other in sorted(market)])
            below, above = (others < row[name]).sum(), (others > row[name]).sum()
            known = np.isfinite(others).sum()
            row[rank] = (below - above) / (2 * (known - 1)) if known > 1 else 0.0
        for regime, name in REGIME_SOURCES.items():
            others = np.array([at(other, stamp, name) for other in sorted(market)])
            others = np.sign(others) / 2 if regime == "regime_breadth" else others
            known = np.isfinite(others)
            row[regime] = np.where(known, others, 0.0).sum() / max(known.sum(), 1)
        sign = 1 if side == "buy" else -1
        row["direction"] = 1.0
        rows.append([row[f.name] * sign if f.signed else row[f.name] for f in FEATURES])
    return pd.DataFrame(rows, index=asked.index, columns=[f.name for f in FEATURES])


@pytest.mark.parametrize("block_cells", [1 << 20, 1000], ids=["one block", "many blocks"])
def test_the_matrix_holds_what_looking_up_one_by_one_gives(
    block_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: holes, unequal lengths, no volume, and a stamp with many signals."""
    monkeypatch.setattr(cross_section, "BLOCK_CELLS", block_cells)
    market = crowd(SORT_FROM + 60, seed=1)
    asked = asked_at(market, seed=2)

    assert asked["timestamp"].value_counts().iloc[0] >= SORT_FROM
    pd.testing.assert_frame_equal(
        features(market, asked), one_by_one(market, asked), check_exact=True
    )


class Owning(TrendStrategy):
    """Features, exit levels and an exit rule of its own; some symbols have no levels."""

    feature_names: ClassVar = ("size",)

    def propose(self, bars: Bars) -> Candidate | None:
        candidate = super().propose(bars)
        has_levels = candidate is not None and bars.symbol.startswith("A")
        return replace(candidate, levels=Levels(trail_atr=3.0)) if has_levels else candidate

    def scan(self, bars: Bars) -> Scan:
        scan = super().scan(bars)
        trail = {"trail_atr": np.full(len(bars), 3.0)} if bars.symbol.startswith("A") else {}
        return replace(scan, levels=trail)

    def features(self, bars: Bars) -> dict[str, float]:
        return {"size": bars.close[-1] / bars.close[0] if len(bars) % 3 else np.nan}

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return len(bars) - entry.position > 7


@pytest.mark.parametrize("strategy", [TrendStrategy(), Owning()], ids=["built in", "own"])
def test_a_history_does_not_depend_on_how_its_symbols_are_parted(strategy: Strategy) -> None:
    """One part, or several in any order: the same table, bit for bit."""
    market = crowd(12, seed=3)
    names = list(np.random.default_rng(4).permutation(list(market)))
    parts = [
        part_of({name: market[name] for name in names[k::5]}, strategy, BracketPolicy(), 2)
        for k in range(5)
    ]

    whole = history(market, strategy, BracketPolicy())
    assert len(whole) > 100
    pd.testing.assert_frame_equal(
        assemble(parts)[whole.columns], whole, check_exact=True, check_column_type=False
    )


class Counting(TrendStrategy):
    """Counts how often it is asked about one bar."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def propose(self, bars: Bars) -> Candidate | None:
        self.asked[bars.symbol] += 1
        return super().propose(bars)


def test_a_scan_is_checked_at_fewer_bars_of_each_of_many_symbols() -> None:
    """At each symbol's last bar and signal, and at 24 bars of a symbol at most."""
    few, many = Counting(), Counting()
    signals(crowd(3, seed=5), few)
    signals(crowd(150, seed=5), many)

    assert all(11 <= count <= 24 for count in few.asked.values())
    assert len(many.asked) == 150
    assert all(1 <= count <= 4 for count in many.asked.values())
    assert [checked_bars(symbols) for symbols in (0, 1, 20, 24, 10_000)] == [12, 12, 12, 10, 2]


def test_features_of_a_symbol_without_bars_are_refused() -> None:
    """One line, instead of a row of missing values."""
    market = crowd(3, seed=6)
    asked = asked_at(market, seed=7).assign(symbol="gone")

    with pytest.raises(FixData, match="gone: signals without bars; collect its bars first"):
        features(market, asked)
