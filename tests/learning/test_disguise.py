"""Disguised bars: systems that read their bars answer the same, those that know them do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factories.bars import small_market
from steelyard.learning import disguise as disguised
from steelyard.learning.disguise import DisguiseCheck, disguise, disguise_check
from steelyard.market.bars import Bars
from steelyard.market.own_features import own_features
from steelyard.market.strategy import (
    Candidate,
    Entry,
    Levels,
    ReversionStrategy,
    Scan,
    Strategy,
    TrendStrategy,
    signals,
)

BARS = small_market("none", symbols=2, months=3)
TABLE = {(symbol, stamp): 60.0 for symbol in BARS for stamp in BARS[symbol].timestamp}


def check(strategy: Strategy) -> DisguiseCheck:
    proposed = signals(BARS, strategy)
    own = own_features(BARS, proposed, strategy)
    return disguise_check(BARS, strategy, pd.concat([proposed, own], axis=1))


class Plain:
    """Trades every fifth bar, with a confidence read off the last two closes."""

    warmup = 120
    score_names: tuple[str, ...] = ("rise",)

    def propose(self, bars: Bars) -> Candidate | None:
        if len(bars) % 5:
            return None
        rise = 50 + 1000 * (bars.close[-1] / bars.close[-2] - 1)
        return Candidate("buy", float(np.clip(rise, 0, 100)), {"rise": 50.0})


class Calendar(Plain):
    """Trades at the turn of the month, on some weekdays and hours, in New York's time."""

    def propose(self, bars: Bars) -> Candidate | None:
        local = pd.Timestamp(bars.timestamp[-1], tz="UTC").tz_convert("America/New_York")
        turn, midweek = local.day <= 20, local.weekday() in (1, 2, 3)
        return super().propose(bars) if turn and midweek and 4 <= local.hour < 20 else None


class Featured(Plain):
    """Features of any scale, one of them missing at times, one about the calendar."""

    feature_names = ("range", "gap", "day")

    def features(self, bars: Bars) -> dict[str, float]:
        span = 1e-6 * (bars.high[-1] - bars.low[-1]) / bars.close[-1]
        gap = bars.open[-1] / bars.close[-2] - 1 if len(bars) % 2 else np.nan
        return {"range": span, "gap": gap, "day": float(pd.Timestamp(bars.timestamp[-1]).day)}


class Leveled(Plain):
    """Exit levels and a rule read off the bars."""

    def propose(self, bars: Bars) -> Candidate | None:
        candidate = super().propose(bars)
        levels = Levels(float(bars.low[-9:].min()) - 0.01 * bars.close[-1], np.inf, trail_atr=2.0)
        return candidate and replace(candidate, levels=levels)

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return bool(bars.close[-1] < 0.98 * entry.price)


class ScannedLevels(TrendStrategy):
    """A trail on every candidate of a scan."""

    def scan(self, bars: Bars) -> Scan:
        trail = {"trail": 0.05 * bars.close, "target": np.full(len(bars), np.inf)}
        return replace(super().scan(bars), levels=trail)


@pytest.mark.parametrize(
    "system",
    [TrendStrategy, ReversionStrategy, Plain, Calendar, Featured, Leveled, ScannedLevels],
)
def test_what_is_read_off_the_bars_is_the_same(system: type[Strategy]) -> None:
    """Whatever symbol, year and price level; weekday, day of the month and hour are kept."""
    result = check(system())

    assert result.differences == ()
    assert result.asked == result.decisions > 20
    assert "answers disguised bars as it answers the true ones" in result.reason


class BySymbol(Plain):
    def propose(self, bars: Bars) -> Candidate | None:
        return super().propose(bars) if bars.symbol == "SIM00" else None


class ByYear(Plain):
    def propose(self, bars: Bars) -> Candidate | None:
        return super().propose(bars) if bars.timestamp[-1] < np.datetime64("2020-03") else None


class ByPrice(Plain):
    def propose(self, bars: Bars) -> Candidate | None:
        return replace(Candidate("buy", 0.0, {"rise": 50.0}), confidence=bars.close[-1] % 1 * 100)


class InAScore(Plain):
    def propose(self, bars: Bars) -> Candidate | None:
        proposed, knows = super().propose(bars), bars.symbol == "SIM00"
        return replace(proposed, scores={"rise": 50.0 + knows}) if proposed else None


class InAFeature(Featured):
    def features(self, bars: Bars) -> dict[str, float]:
        return {**super().features(bars), "range": 1e-6 * (bars.symbol == "SIM00")}


class Unpublished(Featured):
    """Knows no feature of bars that are not in its table."""

    def features(self, bars: Bars) -> dict[str, float]:
        known = TABLE.get((bars.symbol, bars.timestamp[-1]), np.nan)
        return {**super().features(bars), "gap": known}


class KnownStop(Plain):
    """Has levels for the bars of its table alone."""

    def propose(self, bars: Bars) -> Candidate | None:
        candidate = super().propose(bars)
        if candidate is None or (bars.symbol, bars.timestamp[-1]) not in TABLE:
            return candidate
        return replace(candidate, levels=Levels(stop=0.9 * bars.close[-1]))


class KnownExit(Plain):
    """Leaves the bars of its table at once."""

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return (bars.symbol, bars.timestamp[-1]) in TABLE


class CountingExit(Plain):
    """Leaves by how often it was asked."""

    asked = 0

    def exit(self, bars: Bars, entry: Entry) -> bool:
        self.asked += 1
        return self.asked % 7 == 0


class InTheScansLevels(ScannedLevels):
    """A trail that is not a share of the price."""

    def scan(self, bars: Bars) -> Scan:
        return replace(super().scan(bars), levels={"trail": np.full(len(bars), 3.0)})


class Memorized(Plain):
    """Fails at bars that are not in its table."""

    def propose(self, bars: Bars) -> Candidate | None:
        return Candidate("sell", TABLE[bars.symbol, bars.timestamp[-1]], {"rise": 50.0})


class BehindTheView(Plain):
    """Reads later bars in the memory that its bars are a part of."""

    def propose(self, bars: Bars) -> Candidate | None:
        whole = bars.close.base
        return super().propose(bars) if whole is not None and whole.size > len(bars) else None


class InTheScanAlone(Plain):
    """Scans with a table, unless it has none for the symbol."""

    def scan(self, bars: Bars) -> Scan:
        every = np.arange(len(bars)) % 5 == 4
        rise = 50 + 1000 * (bars.close / np.roll(bars.close, 1) - 1)
        scan = Scan(
            every.astype(np.int64), np.clip(rise, 0, 100), {"rise": np.full(len(bars), 50.0)}
        )
        scan.scores["rise"][:] += bars.symbol == "SIM00"
        return scan


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (BySymbol, "SIM00 2020-01-21"),
        (ByYear, "in disguise no trade"),
        (ByPrice, "buy with "),
        (InAScore, "(rise 51), in disguise buy with"),
        (InAFeature, "(own_range 1e-06), in disguise buy with"),
        (Unpublished, "(own_gap nan)"),
        (KnownStop, "(stop "),
        (KnownExit, "exit True, in disguise False"),
        (CountingExit, "exit "),
        (InTheScansLevels, "(trail 12), in disguise"),
        (Memorized, "in disguise KeyError"),
        (BehindTheView, "in disguise"),
        (InTheScanAlone, "(rise 51), in disguise"),
    ],
)
def test_a_system_that_knows_its_bars_is_found(system: type[Strategy], words: str) -> None:
    """By symbol, year or price, in a score, behind an error; the line has both answers."""
    result = check(system())

    assert result.differences
    assert words in result.reason
    assert f"{system.__name__} answers otherwise" in result.reason


def test_what_it_remembers_of_other_bars_does_not_help() -> None:
    """A fresh instance is asked in random order."""

    class Counting(Plain):
        def __init__(self) -> None:
            self.calls = 0

        def propose(self, bars: Bars) -> Candidate | None:
            self.calls += 1
            return Candidate("buy", float(self.calls % 50), {"rise": 50.0})

    assert check(Counting()).differences


def test_a_long_history_is_asked_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says how many decisions of how many; without a scan each is asked."""
    monkeypatch.setattr(disguised, "BARS_READ", 3_000)
    result, every = check(ReversionStrategy()), check(Plain())

    assert 0 < result.asked < result.decisions
    assert f"{result.asked} of {result.decisions} decisions asked one by one" in result.reason
    assert every.asked == every.decisions


def test_the_disguise_keeps_the_calendar() -> None:
    """28 years are whole weeks: month, day, weekday and hour stay, nothing else does."""
    bars = BARS["SIM00"]
    other = disguise(bars)
    before, after = pd.DatetimeIndex(bars.timestamp), pd.DatetimeIndex(other.timestamp)

    for mark in ("month", "day", "weekday", "hour"):
        assert np.array_equal(getattr(before, mark), getattr(after, mark))
    assert np.array_equal(after.year - before.year, np.full(len(bars), 28))
    assert "SIM00" not in other.symbol
    assert np.array_equal(other.close / other.open, bars.close / bars.open)
    assert np.array_equal(other.close * other.volume, bars.close * bars.volume)
    assert not np.shares_memory(other.close, bars.close)


def test_nothing_is_asked_without_decisions() -> None:
    """A class that never trades has nothing to disguise."""

    class Silent(Plain):
        def propose(self, bars: Bars) -> Candidate | None:
            return None

    assert check(Silent()) == DisguiseCheck(0, 0, (), "Silent")
