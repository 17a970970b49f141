"""Brackets: entry, stop, target and time limit of every signal (SPEC §2).

One kernel labels history, settles signals that were not traded, and fills the paper broker.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from steelyard.errors import FixData
from steelyard.market.bars import Bars, Floats, naive
from steelyard.market.indicators import atr
from steelyard.values import FrozenModel

REASONS = np.array([None, "stop", "target", "time"], dtype=object)
"""Exit reasons by the number that ``settle`` returns."""
ENTRY_TOLERANCE = 0.02
"""Share of a bar after its open within which a decision still enters at that open."""
OUTCOMES = (
    "entry_at",
    "entry_price",
    "stop_price",
    "target_price",
    "stop_distance",
    "exit_at",
    "settled_at",
    "exit_price",
    "exit_reason",
    "net_return",
    "won",
    "hold_minutes",
    "slippage_bps",
)


class BracketPolicy(FrozenModel):
    """Distances of stop and target, time limit and costs of every trade."""

    stop_atr: Annotated[float, Field(gt=0, le=20)] = 2.0
    target_atr: Annotated[float, Field(gt=0, le=20)] = 2.0
    atr_period: Annotated[int, Field(ge=2, le=100)] = 14
    time_limit_bars: Annotated[int, Field(ge=1, le=10_000)] = 48
    fee_bps: Annotated[float, Field(ge=0, le=500)] = 1.0
    slippage_bps: Annotated[float, Field(ge=0, le=500)] = 2.0


@njit(cache=True, nogil=True)
def settle(
    opens: Floats,
    highs: Floats,
    lows: Floats,
    closes: Floats,
    decided: NDArray[np.int64],
    sides: NDArray[np.int64],
    stop_offsets: Floats,
    target_offsets: Floats,
    time_limit: int,
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Return exit bar, exit price and exit reason of each bracket.

    A trade decided at the close of bar t enters at the open of t+1. From that bar on: an open
    beyond a level (a gap) fills at the open; a bar that touches both levels counts as stopped;
    after ``time_limit`` bars the trade exits at the close.

    Args:
        opens: Opens of one symbol, shape (n,).
        highs: Highs, shape (n,).
        lows: Lows, shape (n,).
        closes: Closes, shape (n,).
        decided: Decision bar t of each signal, shape (m,).
        sides: +1 buys, −1 sells, shape (m,).
        stop_offsets: Distance from entry to stop, price units, positive, shape (m,).
        target_offsets: Distance from entry to target, shape (m,).
        time_limit: Bars a trade may last.

    Returns:
        Exit bar (−1 while the trade is open), exit price before slippage (NaN while open) and
        reason (0 open, 1 stop, 2 target, 3 time), each of shape (m,).
    """
    bar_count, signal_count = len(opens), len(decided)
    exit_bar = np.full(signal_count, -1, dtype=np.int64)
    exit_price = np.full(signal_count, np.nan)
    reason = np.zeros(signal_count, dtype=np.int64)
    for k in range(signal_count):
        first, side = decided[k] + 1, sides[k]
        if first >= bar_count:
            continue
        entry = opens[first]
        stop, target = entry - side * stop_offsets[k], entry + side * target_offsets[k]
        last = first + time_limit - 1
        for i in range(first, min(last, bar_count - 1) + 1):
            opened = opens[i]
            against, favour = (lows[i], highs[i]) if side > 0 else (highs[i], lows[i])
            if (opened - stop) * side <= 0:
                exit_bar[k], exit_price[k], reason[k] = i, opened, 1
            elif (opened - target) * side >= 0:
                exit_bar[k], exit_price[k], reason[k] = i, opened, 2
            elif (against - stop) * side <= 0:
                exit_bar[k], exit_price[k], reason[k] = i, stop, 1
            elif (favour - target) * side >= 0:
                exit_bar[k], exit_price[k], reason[k] = i, target, 2
            elif i == last:
                exit_bar[k], exit_price[k], reason[k] = i, closes[i], 3
            if reason[k]:
                break
    return exit_bar, exit_price, reason


def outcomes(
    bars: Mapping[str, Bars], signals: pd.DataFrame, policy: BracketPolicy
) -> pd.DataFrame:
    """Return the outcome of each signal, columns ``OUTCOMES``, index of ``signals``.

    ``net_return`` is a fraction of the entry notional after fees and slippage on both sides;
    ``stop_distance`` a fraction of the entry price; ``settled_at`` the close of the exit bar, when
    the outcome is known. Columns of the exit are NaT, NaN or NA while the trade is open.

    Args:
        bars: Bars of every symbol that has a signal.
        signals: One row per signal; columns ``symbol``, ``timestamp`` (decision bar, UTC), ``side``
            and, if signals may be decided while a later bar forms, ``decided_at``.
        policy: Distances, time limit and costs.

    Raises:
        FixData: If a signal's symbol or decision bar is not among ``bars``, or its ATR is not known
            there.
    """
    missing = set(signals["symbol"]) - set(bars)
    if missing:
        raise FixData(f"{min(missing)}: signals without bars; collect its bars first")
    if signals.empty:
        return _outcomes_of_symbol(_no_bars(), signals, policy)
    parts = [
        _outcomes_of_symbol(bars[str(symbol)], rows, policy)
        for symbol, rows in signals.groupby("symbol", sort=False)
    ]
    return pd.concat(parts).loc[signals.index]


def _no_bars() -> Bars:
    stamps, empty = np.empty(0, dtype="datetime64[ns]"), np.empty(0)
    return Bars("", pd.Timedelta("1D"), stamps, empty, empty, empty, empty, empty)


def _outcomes_of_symbol(bars: Bars, signals: pd.DataFrame, policy: BracketPolicy) -> pd.DataFrame:
    decided, sides = decision_bars(bars, signals), side_signs(signals)
    ranges = _ranges(bars, decided, policy)
    stops, targets = policy.stop_atr * ranges, policy.target_atr * ranges
    first = entry_bars(bars, signals, decided)
    exit_bar, exit_price, reason = settle(
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        first - 1,
        sides,
        stops,
        targets,
        policy.time_limit_bars,
    )
    entered, ended = first < len(bars), exit_bar >= 0
    entry = _pick(bars.open, first, entered)
    entry_at = _pick(bars.timestamp, first, entered)
    exit_at = _pick(bars.timestamp, exit_bar, ended)
    settled_at = _pick(bars.closes_at, exit_bar, ended)
    net = net_return(entry, exit_price, sides, policy)
    won = pd.array(net > 0, dtype="boolean")
    won[~ended] = pd.NA
    columns = (
        pd.to_datetime(entry_at, utc=True),
        entry,
        entry - sides * stops,
        entry + sides * targets,
        stops / entry,
        pd.to_datetime(exit_at, utc=True),
        pd.to_datetime(settled_at, utc=True),
        exit_price,
        REASONS[reason],
        net,
        won,
        (settled_at - entry_at) / np.timedelta64(1, "m"),
        np.where(ended, 2 * policy.slippage_bps, np.nan),
    )
    return pd.DataFrame(dict(zip(OUTCOMES, columns, strict=True)), index=signals.index)


def net_return(
    entry: Floats, exit_price: Floats, sides: NDArray[np.int64], policy: BracketPolicy
) -> Floats:
    """Return the gain as a fraction of the entry notional, after slippage and fees on both sides.

    Args:
        entry: Entry prices before slippage, shape (m,); NaN gives NaN.
        exit_price: Exit prices before slippage, shape (m,); NaN (still open) gives NaN.
        sides: +1 buys, −1 sells, shape (m,).
        policy: Fee and slippage of each side in basis points.
    """
    slip, fee = policy.slippage_bps / 1e4, policy.fee_bps / 1e4
    change = (exit_price * (1 - sides * slip)) / (entry * (1 + sides * slip))
    return sides * (change - 1) - fee * (1 + change)


def _ranges(bars: Bars, decided: NDArray[np.int64], policy: BracketPolicy) -> Floats:
    ranges = atr(bars, policy.atr_period)[decided] if len(decided) else np.empty(0)
    unknown = np.flatnonzero(~(ranges > 0))
    if unknown.size:
        raise FixData(
            f"{bars.symbol}: no ATR at {bars.timestamp[decided[unknown[0]]]}, so no bracket; "
            f"the signal needs {policy.atr_period} bars with price moves before it"
        )
    return ranges


def _pick(
    values: NDArray[Any], positions: NDArray[np.int64], valid: NDArray[np.bool_]
) -> NDArray[Any]:
    """Return ``values[positions]`` if valid, else NaN or NaT."""
    missing = np.datetime64("NaT", "ns") if values.dtype.kind == "M" else np.nan
    picked: NDArray[Any] = np.full(len(positions), missing, dtype=values.dtype)
    picked[valid] = values[positions[valid]]
    return picked


def decision_bars(bars: Bars, signals: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of each signal's decision bar, shape (m,).

    Args:
        bars: Bars of one symbol.
        signals: Signals of this symbol; column ``timestamp``.

    Raises:
        FixData: If a signal was decided on a bar that does not exist.
    """
    stamps = naive(signals["timestamp"])
    positions = np.searchsorted(bars.timestamp, stamps)
    if not len(stamps):
        return np.empty(0, dtype=np.int64)
    missing = np.flatnonzero(bars.timestamp[np.minimum(positions, len(bars) - 1)] != stamps)
    if missing.size:
        raise FixData(
            f"{bars.symbol}: a signal was decided on bar {stamps[missing[0]]}, "
            "which does not exist; collect the bars again, or drop the signal"
        )
    return positions.astype(np.int64)


def entry_bars(bars: Bars, signals: pd.DataFrame, decided: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of the bar at whose open each signal enters, shape (m,).

    It is the bar after the decision bar. A signal decided while that bar was already forming (a
    log's stamps need not be closes) enters at the next open: the one before is a price of the past.

    Args:
        bars: Bars of one symbol; a position of ``len(bars)`` is a bar still to come.
        signals: Signals of this symbol; without ``decided_at`` all are decided at a close.
        decided: Position of each signal's decision bar, shape (m,).
    """
    if "decided_at" not in signals or not len(decided):
        return decided + 1
    decided_at = naive(signals["decided_at"])
    tolerance = (ENTRY_TOLERANCE * bars.bar_size).to_timedelta64()
    still_to_open = np.searchsorted(bars.timestamp, decided_at - tolerance)
    at_close = decided_at <= bars.closes_at[decided]
    return np.where(at_close, decided + 1, np.maximum(decided + 1, still_to_open)).astype(np.int64)


def side_signs(signals: pd.DataFrame) -> NDArray[np.int64]:
    """Return +1 for each buy and −1 for each sell (column ``side``), shape (m,)."""
    return np.where((signals["side"] == "buy").to_numpy(dtype=bool), 1, -1).astype(np.int64)
