"""The existing system: what proposes trades. The built-in one, and the contract a user's own has to keep (SPEC §2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from steelyard.errors import FixConfiguration
from steelyard.market import indicators
from steelyard.market.bars import Bars, Floats
from steelyard.values import FrozenModel

Side = Literal["buy", "sell"]
WARMUP = 120
"""Bars before any signal is accepted: by then every feature has its full window."""
CHECKED_BARS = 12
"""Decision bars of each symbol on which a ``scan`` is held against ``propose``."""


class StrategySettings(FrozenModel):
    """Which system proposes the trades, as MODULE:CLASS."""

    system: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] = (
        "steelyard.market.strategy:TrendStrategy"
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trade proposed at a bar's close.

    Attributes:
        side: "buy" or "sell".
        confidence: 0 to 100.
        scores: Sub-scores behind it, 0 to 100, named as in ``Strategy.score_names``.
    """

    side: Side
    confidence: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scan:
    """All candidates of one symbol at once, arrays of shape (n,) over its bars.

    Attributes:
        side: +1 buys, −1 sells, 0 proposes nothing.
        confidence: 0 to 100 where ``side`` is not 0.
        scores: The same for each sub-score.
    """

    side: NDArray[np.int64]
    confidence: Floats
    scores: Mapping[str, Floats]


class Strategy(Protocol):
    """What a system must offer. ``propose`` looks at the last bar of what it is given, and is given nothing later."""

    warmup: int
    score_names: tuple[str, ...]

    def propose(self, bars: Bars) -> Candidate | None:
        """Return the trade to enter at the next open, None for none."""


@runtime_checkable
class Scanning(Protocol):
    """A system that can also look at every bar of a symbol at once; it is held against its own ``propose``."""

    def scan(self, bars: Bars) -> Scan:
        """Return what ``propose`` would have said at each bar."""


class TrendStrategy:
    """The built-in system: EMA(12) over EMA(26) gives the side; a cross, MACD or RSI trigger gives the moment.

    Confidence is the weighted mean of five sub-scores, each 0 to 100 and seen from the side of the trade: how far the
    EMAs are apart in ATRs, RSI, MACD histogram in ATRs, ADX, and volume against its 20-bar mean (50 where the market has
    no volume), stretched around its usual value so that 25-40 % of candidates exceed 70 on real bars.
    """

    warmup = WARMUP
    score_names = ("ema_spread", "rsi", "macd", "adx", "volume")
    _shares = (0.25, 0.20, 0.20, 0.20, 0.15)

    def propose(self, bars: Bars) -> Candidate | None:
        """Return the candidate at the last bar; None without a trigger."""
        scan = self.scan(bars)
        side = int(scan.side[-1])
        if side == 0:
            return None
        scores = {name: float(values[-1]) for name, values in scan.scores.items()}
        return Candidate("buy" if side > 0 else "sell", float(scan.confidence[-1]), scores)

    def scan(self, bars: Bars) -> Scan:
        """Return the candidates of every bar; nothing looks past its own bar."""
        fast, slow = indicators.ema(bars.close, 12), indicators.ema(bars.close, 26)
        histogram, rsi = indicators.macd_histogram(bars.close), indicators.rsi(bars.close)
        trend = np.sign(np.nan_to_num(fast - slow)).astype(np.int64)
        triggered = _turns(fast - slow, trend) | _turns(histogram, trend) | _turns(rsi - 50, trend)
        spread = indicators.ratio(fast - slow, indicators.atr(bars), 0.0) * trend
        momentum = indicators.ratio(histogram, indicators.atr(bars), 0.0) * trend
        parts = (
            _squash(spread, middle=0.6, width=0.6),
            _squash((rsi - 50) * trend, middle=5.0, width=6.0),
            _squash(momentum, middle=0.05, width=0.08),
            _squash(indicators.adx(bars), middle=22.0, width=8.0),
            _squash(indicators.relative_volume(bars), middle=1.0, width=0.5),
        )
        scores = dict(zip(self.score_names, parts, strict=True))
        mean = sum(share * part for share, part in zip(self._shares, parts, strict=True))
        confidence = np.clip(60 + (cast(Floats, mean) - 45) * 1.6, 0, 100)
        known = np.isfinite(confidence)
        return Scan(np.where(triggered & known, trend, 0), confidence, scores)


def _turns(values: Floats, trend: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where ``values`` changed to the sign of the trend at this very bar."""
    sign = np.sign(np.nan_to_num(values))
    before = np.concatenate(([0.0], sign[:-1]))
    return np.asarray((sign == trend) & (before != sign) & (trend != 0))


def _squash(values: Floats, middle: float, width: float) -> Floats:
    """Return a logistic score, 50 at ``middle``, 0 to 100."""
    return np.asarray(100 / (1 + np.exp(-(values - middle) / width)))


def signals(bars: Mapping[str, Bars], strategy: Strategy) -> pd.DataFrame:
    """Return every signal the system proposes on ``bars``, ordered by decision time, symbol and side.

    Columns: ``signal_id``, ``symbol``, ``timestamp`` (decision bar), ``decided_at`` (its close), ``side``,
    ``confidence_existing`` (0-100), and ``score_NAME`` for each sub-score. One signal per symbol and bar, none before
    ``WARMUP`` bars.

    Raises:
        FixConfiguration: If the system's ``scan`` sees more than its ``propose``, or a candidate is not valid.
    """
    frames = [_signals(one, strategy) for one in bars.values()]
    if not frames:
        return _frame(None, np.empty(0, dtype=np.int64), _empty_scan(strategy))
    found = pd.concat(frames, ignore_index=True)
    return found.sort_values(["decided_at", "symbol", "side"], ignore_index=True, kind="stable")


def _signals(bars: Bars, strategy: Strategy) -> pd.DataFrame:
    scan = strategy.scan(bars) if isinstance(strategy, Scanning) else _walk(bars, strategy)
    first = max(strategy.warmup, WARMUP)
    at = np.flatnonzero(scan.side != 0)
    at = at[at >= first]
    wrong = np.flatnonzero(~((scan.confidence[at] >= 0) & (scan.confidence[at] <= 100)))
    if wrong.size:
        bar = at[wrong[0]]
        raise FixConfiguration(
            f"{type(strategy).__name__} gave confidence {scan.confidence[bar]} for {bars.symbol} at "
            f"{bars.timestamp[bar]}; it must lie in 0 to 100"
        )
    if isinstance(strategy, Scanning):
        _check_scan(bars, strategy, scan, at, first)
    return _frame(bars, at, scan)


def _walk(bars: Bars, strategy: Strategy) -> Scan:
    """Ask ``propose`` at every bar, each time with the bars up to it and no later ones."""
    scan = _empty_scan(strategy, len(bars))
    for bar in range(max(strategy.warmup, WARMUP), len(bars)):
        candidate = strategy.propose(bars[: bar + 1])
        if candidate is None:
            continue
        if candidate.side not in ("buy", "sell"):
            at = f"{bars.symbol} at {bars.timestamp[bar]}"
            raise FixConfiguration(
                f"{type(strategy).__name__} gave side {candidate.side!r} for {at}; buy or sell"
            )
        scan.side[bar] = 1 if candidate.side == "buy" else -1
        scan.confidence[bar] = candidate.confidence
        for name in strategy.score_names:
            scan.scores[name][bar] = candidate.scores[name]
    return scan


def _empty_scan(strategy: Strategy, n: int = 0) -> Scan:
    return Scan(
        np.zeros(n, dtype=np.int64),
        np.full(n, np.nan),
        {name: np.full(n, np.nan) for name in strategy.score_names},
    )


def _check_scan(
    bars: Bars, strategy: Strategy, scan: Scan, proposed: NDArray[np.int64], first: int
) -> None:
    """Hold a scan against ``propose`` on a spread of bars, proposed ones and others: a difference is look-ahead."""
    if len(bars) <= first:
        return
    spread = np.linspace(first, len(bars) - 1, CHECKED_BARS).astype(np.int64)
    chosen = (
        proposed[np.linspace(0, len(proposed) - 1, CHECKED_BARS).astype(np.int64)]
        if len(proposed)
        else proposed
    )
    for bar in np.unique(np.concatenate([spread, chosen])):
        candidate = strategy.propose(bars[: bar + 1])
        said = (
            (0, 0.0)
            if candidate is None
            else (1 if candidate.side == "buy" else -1, candidate.confidence)
        )
        scanned = (int(scan.side[bar]), float(scan.confidence[bar]) if scan.side[bar] else 0.0)
        if said[0] != scanned[0] or abs(said[1] - scanned[1]) > 1e-6:
            raise FixConfiguration(
                f"{type(strategy).__name__}.scan sees past {bars.symbol} {bars.timestamp[bar]}: it says {scanned}, "
                f"propose on the bars up to there says {said}; correct scan, or remove it"
            )


def _frame(bars: Bars | None, at: NDArray[np.int64], scan: Scan) -> pd.DataFrame:
    stamps = bars.timestamp[at] if bars else np.empty(0, dtype="datetime64[ns]")
    timestamp = pd.Series(pd.to_datetime(stamps, utc=True)).astype("datetime64[ns, UTC]")
    symbol = bars.symbol if bars else ""
    side = np.where(scan.side[at] > 0, "buy", "sell")
    ids = [
        f"{symbol}:{stamp}:{word}"
        for stamp, word in zip(timestamp.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), side, strict=True)
    ]
    frame = pd.DataFrame(
        {
            "signal_id": pd.Series(ids, dtype="str"),
            "symbol": pd.Series([symbol] * len(at), dtype="str"),
            "timestamp": timestamp,
            "decided_at": timestamp + (bars.bar_size if bars else pd.Timedelta(0)),
            "side": pd.Series(side, dtype="str"),
            "confidence_existing": scan.confidence[at],
        }
    )
    for name, values in scan.scores.items():
        frame[f"score_{name}"] = values[at]
    return frame
