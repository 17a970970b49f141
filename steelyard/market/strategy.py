"""The existing system: two built-in ones, and the contract of any other (SPEC §2)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Literal, Protocol, cast, runtime_checkable
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import field_validator

from steelyard.errors import FixConfiguration
from steelyard.market import indicators
from steelyard.market.bars import Bars, Floats, Stamps
from steelyard.market.formulas import ratio
from steelyard.market.logged import LogSettings
from steelyard.market.yes_or_no import require_whole_scale
from steelyard.values import FrozenModel

Side = Literal["buy", "sell"]
WARMUP = 120
"""Bars before the first signal is accepted: by then every feature has its full window."""
CHECKED_BARS = 12
"""Bars of a symbol, and decision bars, at which ``scan`` is compared with ``propose``."""
MIN_CHECKED_BARS, CHECKED_BARS_OF_ALL = 2, 240
"""The same in a universe of many symbols: at least for each, and about for all together."""


BUILT_IN = {
    "trend": "steelyard.market.strategy:TrendStrategy",
    "reversion": "steelyard.market.strategy:ReversionStrategy",
}
"""Name of a built-in system → its MODULE:CLASS."""
LOG = "log"
"""Name of the system whose signals another program writes into a log."""


class StrategySettings(FrozenModel):
    """The system that proposes the trades: a name in ``BUILT_IN``, MODULE:CLASS or ``LOG``.

    Attributes:
        log: Where the log is, if ``system`` is ``LOG``.
        looked_up: Own features that the user says come from outside the bars, known at their time;
            they are not asked in disguise.
    """

    system: str = BUILT_IN["trend"]
    log: LogSettings = LogSettings()
    looked_up: tuple[str, ...] = ()

    @property
    def is_log(self) -> bool:
        """Whether another program proposes the trades."""
        return self.system == LOG

    @field_validator("system")
    @classmethod
    def _full_name(cls, system: str) -> str:
        if system == LOG:
            return system
        if not re.fullmatch(r"[\w.]+:\w+", BUILT_IN.get(system, system)):
            raise ValueError(f"must be {', '.join(BUILT_IN)}, {LOG} or MODULE:CLASS")
        return BUILT_IN.get(system, system)


@dataclass(frozen=True, slots=True)
class Levels:
    """Exit levels of one signal; NaN leaves the policy's.

    Attributes:
        stop: Price of the stop.
        target: Price of the target; infinity for none.
        bars: Number of bars the trade may last.
        trail: Distance of a trailing stop, price units. It follows the best price of closed bars;
            the trade then begins with it as its stop, and has no target unless one is named.
        trail_atr: The same distance in ATR14s of the decision bar.
    """

    stop: float = np.nan
    target: float = np.nan
    bars: float = np.nan
    trail: float = np.nan
    trail_atr: float = np.nan

    @property
    def given(self) -> dict[str, float]:
        """The levels that are given, by name."""
        return {name: level for name, level in asdict(self).items() if not np.isnan(level)}


NO_LEVELS = Levels()
LEVEL_NAMES = tuple(level.name for level in fields(Levels))
LEVELS = ("level_stop", "level_target", "level_bars", "level_trail")
"""Columns of the exit levels of signals; a system without any has none of them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trade proposed at a bar's close.

    Attributes:
        side: "buy" or "sell".
        confidence: 0 to 100.
        scores: Sub-scores behind it, 0 to 100, named as in ``Strategy.score_names``.
        levels: Exit levels of its own.
    """

    side: Side
    confidence: float
    scores: Mapping[str, float]
    levels: Levels = NO_LEVELS


@dataclass(frozen=True, slots=True)
class Scan:
    """All candidates of one symbol at once, arrays of shape (n,) over its bars.

    Attributes:
        side: +1 buys, −1 sells, 0 proposes nothing.
        confidence: 0 to 100 if ``side`` is not 0, else ignored.
        scores: Each sub-score, 0 to 100.
        levels: Exit levels by their name in ``Levels``; NaN, or left out, for the policy's.
    """

    side: NDArray[np.int64]
    confidence: Floats
    scores: Mapping[str, Floats]
    levels: Mapping[str, Floats] = field(default_factory=dict)


class Strategy(Protocol):
    """The contract of a system: it decides at the last bar given, and is given no later ones.

    Attributes:
        warmup: Bars the system needs before its first signal.
        score_names: Names of its sub-scores.
    """

    warmup: int
    score_names: tuple[str, ...]

    def propose(self, bars: Bars) -> Candidate | None:
        """Return the trade to enter at the next open; None for no trade."""


@runtime_checkable
class Scanning(Protocol):
    """A system that can also evaluate all bars of a symbol at once; checked against ``propose``."""

    def scan(self, bars: Bars) -> Scan:
        """Return the result of ``propose`` at each bar."""


@runtime_checkable
class Featuring(Protocol):
    """A system that also gives features of its own: funding rates, an order book, a calendar.

    Attributes:
        feature_names: Their names, in order; the columns are ``own_NAME``.
    """

    feature_names: tuple[str, ...]

    def features(self, bars: Bars) -> Mapping[str, float]:
        """Return each feature as known at the last bar, any scale; NaN if it is not known.

        It is asked at the decision bars of the system's signals only.
        """


@runtime_checkable
class ScanningFeatures(Protocol):
    """A system that can also give its features at all bars at once; checked as ``scan`` is."""

    def scan_features(self, bars: Bars) -> Mapping[str, Floats]:
        """Return the result of ``features`` at each bar, arrays of shape (n,)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How a trade was entered.

    Attributes:
        side: "buy" or "sell".
        price: Open at which it entered, before slippage.
        position: Position of the entry bar among the bars.
    """

    side: Side
    price: float
    position: int


@runtime_checkable
class Exiting(Protocol):
    """A system with an exit rule of its own; the bracket's stop and time limit stay behind it."""

    def exit(self, bars: Bars, entry: Entry) -> bool:
        """Return whether to leave at the next open; asked at the close of each bar of the trade.

        Args:
            bars: Bars up to the last closed one; the entry bar is among them.
            entry: How the trade was entered.
        """


def own_names(strategy: Strategy) -> tuple[str, ...]:
    """Return the names of the system's own features; empty without any."""
    return strategy.feature_names if isinstance(strategy, Featuring) else ()


class TrendStrategy:
    """The built-in system: EMA(12) against EMA(26) gives the side; EMA, MACD or RSI trigger.

    Confidence is the weighted mean of five sub-scores, each 0 to 100 and seen from the side of the
    trade: distance of the EMAs in ATRs, RSI, MACD histogram in ATRs, ADX, and volume against its
    20-bar mean (50 if the market has no volume). It is stretched around its usual value so that
    25-40 % of candidates exceed 70 on real bars.
    """

    warmup = WARMUP
    score_names = ("ema_spread", "rsi", "macd", "adx", "volume")
    _shares = (0.25, 0.20, 0.20, 0.20, 0.15)

    def propose(self, bars: Bars) -> Candidate | None:
        """Return the candidate at the last bar; None without a trigger."""
        return candidate_at(self.scan(bars), -1)

    def scan(self, bars: Bars) -> Scan:
        """Return the candidates of every bar; none uses a later bar."""
        fast, slow = indicators.ema(bars.close, 12), indicators.ema(bars.close, 26)
        histogram, rsi = indicators.macd_histogram(bars.close), indicators.rsi(bars.close)
        trend = np.sign(np.nan_to_num(fast - slow)).astype(np.int64)
        triggered = _turns(fast - slow, trend) | _turns(histogram, trend) | _turns(rsi - 50, trend)
        spread = ratio(fast - slow, indicators.atr(bars), 0.0) * trend
        momentum = ratio(histogram, indicators.atr(bars), 0.0) * trend
        parts = (
            _logistic(spread, middle=0.6, width=0.6),
            _logistic((rsi - 50) * trend, middle=5.0, width=6.0),
            _logistic(momentum, middle=0.05, width=0.08),
            _logistic(indicators.adx(bars), middle=22.0, width=8.0),
            _logistic(indicators.relative_volume(bars), middle=1.0, width=0.5),
        )
        scores = dict(zip(self.score_names, parts, strict=True))
        mean = sum(share * part for share, part in zip(self._shares, parts, strict=True))
        confidence = np.clip(60 + (cast(Floats, mean) - 45) * 1.6, 0, 100)
        return Scan(np.where(triggered & np.isfinite(confidence), trend, 0), confidence, scores)


class ReversionStrategy:
    """The second built-in system: buys after sharp falls and sells after sharp rises.

    It enters at every bar whose RSI(2) is under 10 after a fall, or over 90 after a rise, over the
    last two bars (after Connors and Alvarez, "Short Term Trading Strategies That Work", 2009).
    Confidence grows from 50 at these bounds to 100 at the end of the scale; about three fifths of
    the candidates exceed 70. Sub-scores, 0 to 100: ``rsi`` is the confidence, ``move`` the size of
    the last two bars' move in ATRs.
    """

    warmup = WARMUP
    score_names = ("rsi", "move")

    def propose(self, bars: Bars) -> Candidate | None:
        """Return the candidate at the last bar; None inside the bounds."""
        return candidate_at(self.scan(bars), -1)

    def scan(self, bars: Bars) -> Scan:
        """Return the candidates of every bar; none uses a later bar."""
        rsi = indicators.rsi(bars.close, 2)
        move = np.concatenate((np.full(2, np.nan), bars.close[2:] - bars.close[:-2]))
        side = np.where((rsi < 10) & (move < 0), 1, np.where((rsi > 90) & (move > 0), -1, 0))
        confidence = 50 + 5 * np.where(side > 0, 10 - rsi, rsi - 90)
        size = _logistic(ratio(np.abs(move), indicators.atr(bars), 0.0), middle=1.0, width=0.5)
        return Scan(side, confidence, {"rsi": confidence, "move": size})


def candidate_at(scan: Scan, bar: int) -> Candidate | None:
    """Return the candidate at one bar of a scan; None without one.

    Args:
        scan: Candidates of a symbol.
        bar: Position of the bar; -1 for the last.
    """
    side = int(scan.side[bar])
    if side == 0:
        return None
    scores = {name: float(values[bar]) for name, values in scan.scores.items()}
    levels = Levels(**{name: float(values[bar]) for name, values in scan.levels.items()})
    return Candidate("buy" if side > 0 else "sell", float(scan.confidence[bar]), scores, levels)


def _turns(values: Floats, trend: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return True at bars at which ``values`` changed to the sign of the trend, shape (n,)."""
    sign = np.sign(np.nan_to_num(values))
    previous = np.concatenate(([0.0], sign[:-1]))
    return np.asarray((sign == trend) & (previous != sign) & (trend != 0))


def _logistic(values: Floats, middle: float, width: float) -> Floats:
    """Return a logistic score, 0 to 100, 50 at ``middle``, shape (n,)."""
    return np.asarray(100 / (1 + np.exp(-(values - middle) / width)))


@dataclass(frozen=True, slots=True, eq=False)
class _Decided:
    """The signals of one symbol, arrays of shape (m,), oldest first.

    Attributes:
        symbol: Name of the symbol.
        timestamp: Open of each decision bar, UTC.
        decided_at: Its close, UTC.
        sides: +1 buys, −1 sells.
        numbers: Confidence, sub-scores and exit levels by column.
    """

    symbol: str
    timestamp: Stamps
    decided_at: Stamps
    sides: NDArray[np.int64]
    numbers: Mapping[str, Floats]


def signals(bars: Mapping[str, Bars], strategy: Strategy) -> pd.DataFrame:
    """Return every signal of the system, ordered by decision time, symbol and side.

    Columns: ``signal_id``, ``symbol``, ``timestamp`` (decision bar), ``decided_at`` (its close),
        ``side``,
    ``confidence_existing`` (0-100), and ``score_NAME`` for each sub-score. At most one signal per
    symbol and bar, none before ``WARMUP`` bars.

    Args:
        bars: Bars by symbol.
        strategy: The existing system.

    Raises:
        FixConfiguration: If the system's ``scan`` differs from its ``propose``, a candidate is not
            valid, or all confidences lie within 0 to 1.
    """
    proposed = signals_of_some(bars, strategy, checked_bars(len(bars)))
    require_whole_scale(proposed["confidence_existing"], type(strategy).__name__)
    return proposed


def checked_bars(symbols: int) -> int:
    """Return at how many decision bars of each symbol a scan is compared with single answers.

    Args:
        symbols: Number of symbols of the universe.
    """
    return max(MIN_CHECKED_BARS, min(CHECKED_BARS, CHECKED_BARS_OF_ALL // max(symbols, 1)))


def signals_of_some(bars: Mapping[str, Bars], strategy: Strategy, checked: int) -> pd.DataFrame:
    """Return what ``signals`` returns, of some symbols of a universe; each is asked alone.

    Args:
        bars: Bars of these symbols.
        strategy: The existing system.
        checked: Result of ``checked_bars`` for the whole universe.

    Raises:
        FixConfiguration: As ``signals``, but for the scale, which takes all symbols to tell.
    """
    return _frame([_decided(history, strategy, checked) for history in bars.values()], strategy)


def _decided(bars: Bars, strategy: Strategy, checked: int) -> _Decided:
    scan = strategy.scan(bars) if isinstance(strategy, Scanning) else _walk(bars, strategy)
    first = max(strategy.warmup, WARMUP)
    decided = np.flatnonzero(scan.side != 0)
    decided = decided[decided >= first]
    confidence = scan.confidence[decided]
    invalid = np.flatnonzero(~((confidence >= 0) & (confidence <= 100)))
    if invalid.size:
        bar = decided[invalid[0]]
        raise FixConfiguration(
            f"{type(strategy).__name__} gave confidence {scan.confidence[bar]} for {bars.symbol} "
            f"at {bars.timestamp[bar]}; it must lie in 0 to 100"
        )
    levels = _levels(bars, strategy, scan, decided)
    if isinstance(strategy, Scanning):
        _check_scan(bars, strategy, scan, decided, checked)
    scores = {f"score_{name}": values[decided] for name, values in scan.scores.items()}
    opened = bars.timestamp[decided]
    numbers = {"confidence_existing": confidence, **scores, **levels}
    return _Decided(bars.symbol, opened, opened + bars.delay, scan.side[decided], numbers)


def _walk(bars: Bars, strategy: Strategy) -> Scan:
    """Call ``propose`` at every bar, each time with the bars up to it and no later ones."""
    scan = _empty_scan(strategy, len(bars))
    for bar in range(max(strategy.warmup, WARMUP), len(bars)):
        candidate = strategy.propose(bars[: bar + 1])
        if candidate is None:
            continue
        if candidate.side not in ("buy", "sell"):
            raise FixConfiguration(
                f"{type(strategy).__name__} gave side {candidate.side!r} for {bars.symbol} at "
                f"{bars.timestamp[bar]}; it must be buy or sell"
            )
        scan.side[bar] = 1 if candidate.side == "buy" else -1
        scan.confidence[bar] = candidate.confidence
        for name in strategy.score_names:
            scan.scores[name][bar] = _score_of(candidate, name, bars, bar, strategy)
        for name, level in asdict(candidate.levels).items():
            scan.levels[name][bar] = level
    return scan


def _score_of(candidate: Candidate, name: str, bars: Bars, bar: int, strategy: Strategy) -> float:
    if name not in candidate.scores:
        raise FixConfiguration(
            f"{type(strategy).__name__} gave no score {name!r} for {bars.symbol} at "
            f"{bars.timestamp[bar]}; give it with every candidate, or take it out of score_names"
        )
    return candidate.scores[name]


def _empty_scan(strategy: Strategy, bar_count: int = 0) -> Scan:
    scores, levels = (
        {name: np.full(bar_count, np.nan) for name in names}
        for names in (strategy.score_names, LEVEL_NAMES)
    )
    return Scan(np.zeros(bar_count, dtype=np.int64), np.full(bar_count, np.nan), scores, levels)


def _levels(
    bars: Bars, strategy: Strategy, scan: Scan, decided: NDArray[np.int64]
) -> dict[str, Floats]:
    """Return the exit levels at the decision bars, columns ``LEVELS``; empty if there are none."""
    unknown = sorted(scan.levels.keys() - set(LEVEL_NAMES))
    if unknown:
        raise FixConfiguration(
            f"{type(strategy).__name__}.scan gave levels {', '.join(unknown)}; a level is one of "
            f"{', '.join(LEVEL_NAMES)}"
        )
    none = np.full(len(decided), np.nan)
    given = {name: np.asarray(values, np.float64)[decided] for name, values in scan.levels.items()}
    if all(np.isnan(values).all() for values in given.values()):
        return {}
    stop, target, limit, trail, trail_atr = (given.get(name, none) for name in LEVEL_NAMES)
    trail = np.where(np.isnan(trail), trail_atr * indicators.atr(bars)[decided], trail)
    side, close = scan.side[decided], bars.close[decided]
    misplaced = (
        ((close - stop) * side <= 0)
        | (np.isfinite(target) & ((target - close) * side <= 0))
        | (limit < 1)
        | (trail <= 0)
        | np.isinf(stop + limit + trail)
    )
    for row in np.flatnonzero(misplaced)[:1]:
        raise FixConfiguration(
            f"{type(strategy).__name__} gave stop {stop[row]:g}, target {target[row]:g}, bars "
            f"{limit[row]:g} and trail {trail[row]:g} for a {'buy' if side[row] > 0 else 'sell'} "
            f"of {bars.symbol} at {bars.timestamp[decided[row]]}, close {close[row]:g}; the stop "
            "lies on the losing side of the close, the target on the other, bars are 1 or more and "
            "the trail is a distance over 0"
        )
    return dict(zip(LEVELS, (stop, target, limit, trail), strict=True))


def sample(symbol: str, first: int, end: int, count: int) -> NDArray[np.int64]:
    """Return positions to check, rising, the last one among them; the same ones every time.

    Args:
        symbol: Symbol that is checked: each has positions of its own.
        first: First position.
        end: Position after the last one; nothing is returned if it is ``first`` or less.
        count: Number of positions, at most.
    """
    if end <= first:
        return np.empty(0, dtype=np.int64)
    rng = np.random.default_rng(crc32(symbol.encode()))
    drawn = rng.choice(end - first, min(count - 1, end - first), replace=False)
    return np.unique(np.append(first + drawn, end - 1)).astype(np.int64)


def _check_scan(
    bars: Bars, strategy: Strategy, scan: Scan, decided: NDArray[np.int64], checked: int
) -> None:
    """Compare a scan with ``propose`` at some bars, with and without a candidate."""
    spread = sample(bars.symbol, max(strategy.warmup, WARMUP), len(bars), checked)
    candidates = decided[sample(bars.symbol, 0, len(decided), checked)]
    for bar in np.unique(np.concatenate([spread, candidates])):
        candidate, scanned = strategy.propose(bars[: bar + 1]), candidate_at(scan, int(bar))
        if not _agree(candidate, scanned):
            raise FixConfiguration(
                f"{type(strategy).__name__}.scan sees past {bars.symbol} {bars.timestamp[bar]}: "
                f"{_words(scanned)}, but propose on the bars up to there gives "
                f"{_words(candidate)}; correct scan, or remove it"
            )


def _agree(candidate: Candidate | None, scanned: Candidate | None) -> bool:
    if candidate is None or scanned is None:
        return candidate is scanned
    levels, others = astuple(candidate.levels), astuple(scanned.levels)
    return (
        candidate.side == scanned.side
        and abs(candidate.confidence - scanned.confidence) <= 1e-6
        and np.allclose(levels, others, rtol=1e-9, atol=0, equal_nan=True)
    )


def _words(candidate: Candidate | None) -> str:
    if candidate is None:
        return "no trade"
    levels = candidate.levels.given.items()
    named = "".join(f", {name} {level:.9g}" for name, level in levels)
    return f"{candidate.side} with confidence {candidate.confidence}{named}"


def _frame(parts: Sequence[_Decided], strategy: Strategy) -> pd.DataFrame:
    """Return the signals of some symbols as one table, see ``signals``."""
    if not parts:
        none, ints = np.empty(0, dtype="datetime64[ns]"), np.empty(0, dtype=np.int64)
        names = ("confidence_existing", *(f"score_{name}" for name in strategy.score_names))
        parts = [_Decided("", none, none, ints, dict.fromkeys(names, np.empty(0)))]
    counts = [len(part.sides) for part in parts]
    stamps = np.concatenate([part.timestamp for part in parts])
    ends = np.concatenate([part.decided_at for part in parts])
    signs = np.concatenate([part.sides for part in parts])
    symbols, places = np.unique([part.symbol for part in parts], return_inverse=True)
    alphabetical = np.repeat(places, counts)
    order = np.lexsort((signs < 0, alphabetical, ends))
    named = symbols.astype(object)[alphabetical[order]]
    sides = np.where(signs > 0, "buy", "sell")[order]
    opened = np.datetime_as_string(stamps[order], unit="s")
    ids = [f"{name}:{at}Z:{side}" for name, at, side in zip(named, opened, sides, strict=True)]
    return pd.DataFrame(
        {
            "signal_id": pd.Series(ids, dtype="str"),
            "symbol": pd.Series(named, dtype="str"),
            "timestamp": pd.DatetimeIndex(stamps[order], tz="UTC"),
            "decided_at": pd.DatetimeIndex(ends[order], tz="UTC"),
            "side": pd.Series(sides, dtype="str"),
            **{name: column[order] for name, column in _numbers(parts).items()},
        }
    )


def _numbers(parts: Sequence[_Decided]) -> dict[str, Floats]:
    """Return each column of numbers of all signals, NaN at symbols that have none of it."""
    missing = [np.full(len(part.sides), np.nan) for part in parts]
    columns = dict.fromkeys(name for part in parts for name in part.numbers)
    return {
        column: np.concatenate(
            [part.numbers.get(column, none) for part, none in zip(parts, missing, strict=True)]
        )
        for column in columns
    }
