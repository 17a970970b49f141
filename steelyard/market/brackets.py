"""Brackets: entry, stop, target and time limit of every signal (SPEC §2).

One kernel labels history, settles signals that were not traded, and fills the paper broker.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from steelyard.compiled import compiled, shared
from steelyard.errors import FixData
from steelyard.market.bars import Bars, Floats, Stamps, naive
from steelyard.market.exits import ExitPlan, with_own_exits
from steelyard.market.indicators import atr
from steelyard.market.strategy import LEVELS, Exiting
from steelyard.values import FrozenModel

REASONS = np.array([None, "stop", "target", "time", "trail", "exit"], dtype=object)
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


@shared
def exit_within(
    opened: float, against: float, favour: float, stop: float, target: float, side: int
) -> tuple[float, int]:
    """Return price and reason of an exit within a bar; NaN and 0 without one.

    Args:
        opened: Open of the bar.
        against: Its extreme against the trade: the low for buys.
        favour: Its other extreme.
        stop: Price of the stop.
        target: Price of the target; NaN for none.
        side: +1 buys, −1 sells.
    """
    if (opened - stop) * side <= 0:
        return opened, 1
    if (opened - target) * side >= 0:
        return opened, 2
    if (against - stop) * side <= 0:
        return stop, 1
    if (favour - target) * side >= 0:
        return target, 2
    return np.nan, 0


@compiled
def settle(
    opens: Floats,
    highs: Floats,
    lows: Floats,
    closes: Floats,
    first: NDArray[np.int64],
    sides: NDArray[np.int64],
    stops: Floats,
    targets: Floats,
    trails: Floats,
    limits: NDArray[np.int64],
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Return exit bar, exit price and exit reason of each bracket.

    From the entry bar on: an open beyond a level (a gap) fills at the open; a bar that touches both
    levels counts as stopped; after the time limit the trade exits at the close. A trailing stop
    moves after a bar has closed, to its distance from the bar's high (sells: low), never back.

    Args:
        opens: Opens of one symbol, shape (n,).
        highs: Highs, shape (n,).
        lows: Lows, shape (n,).
        closes: Closes, shape (n,).
        first: Entry bar of each signal, at whose open it enters, shape (m,).
        sides: +1 buys, −1 sells, shape (m,).
        stops: Prices of the stops, shape (m,).
        targets: Prices of the targets, NaN for none, shape (m,).
        trails: Distances of trailing stops, price units, NaN for none, shape (m,).
        limits: Bars each trade may last, shape (m,).

    Returns:
        Exit bar (−1 while the trade is open), exit price before slippage (NaN while open) and
        reason (0 open, 1 stop, 2 target, 3 time, 4 a trailing stop that had moved), each of shape
        (m,).
    """
    bar_count, signal_count = len(opens), len(first)
    exit_bar = np.full(signal_count, -1, dtype=np.int64)
    exit_price = np.full(signal_count, np.nan)
    reason = np.zeros(signal_count, dtype=np.int64)
    for k in range(signal_count):
        entered, side, stop, target = first[k], sides[k], stops[k], targets[k]
        trail, trailing = trails[k], trails[k] > 0
        last = entered + limits[k] - 1
        for i in range(entered, min(last, bar_count - 1) + 1):
            against, favour = (lows[i], highs[i]) if side > 0 else (highs[i], lows[i])
            price, ended = exit_within(opens[i], against, favour, stop, target, side)
            if not ended and i == last:
                price, ended = closes[i], 3
            if ended:
                exit_bar[k], exit_price[k], reason[k] = i, price, ended
                break
            if trailing and (favour - side * trail - stop) * side > 0:
                stop = favour - side * trail
        if reason[k] == 1 and stop != stops[k]:
            reason[k] = 4
    return exit_bar, exit_price, reason


def outcomes(
    bars: Mapping[str, Bars],
    signals: pd.DataFrame,
    policy: BracketPolicy,
    rule: Exiting | None = None,
) -> pd.DataFrame:
    """Return the outcome of each signal, columns ``OUTCOMES``, index of ``signals``.

    ``net_return`` is a fraction of the entry notional after fees and slippage on both sides;
    ``stop_distance`` a fraction of the entry price; ``settled_at`` the close of the exit bar, when
    the outcome is known. Columns of the exit are NaT, NaN or NA while the trade is open.

    Args:
        bars: Bars of every symbol that has a signal.
        signals: One row per signal; columns ``symbol``, ``timestamp`` (decision bar, UTC), ``side``
            and, if signals may be decided while a later bar forms, ``decided_at``; exit levels of
            their own in the columns ``LEVELS``.
        policy: Distances, time limit and costs.
        rule: The system's own exit rule; with one, the policy's target is not used.

    Raises:
        FixData: If a signal's symbol or decision bar is not among ``bars``, or its ATR is not known
            there.
    """
    stamps, sides = naive(signals["timestamp"]), side_signs(signals)
    decided_at = naive(signals["decided_at"]) if "decided_at" in signals else None
    levels = signals[[name for name in LEVELS if name in signals]]
    settled = _Settled.blank(len(signals))
    for symbol, rows in rows_by_symbol(signals, bars).items():
        history = bars[symbol]
        decided = positions_of(history, stamps[rows])
        first = first_entries(history, decided, None if decided_at is None else decided_at[rows])
        plan = plan_exits(history, decided, sides[rows], levels.iloc[rows], policy, rule)
        settled.take(rows, _settled(history, plan, first, sides[rows], policy, rule))
    ended = settled.reason > 0
    won = pd.array(settled.net_return > 0, dtype="boolean")
    won[~ended] = pd.NA
    columns = (
        pd.DatetimeIndex(settled.entry_at, tz="UTC"),
        settled.entry_price,
        settled.stop_price,
        settled.target_price,
        settled.stop_distance,
        pd.DatetimeIndex(settled.exit_at, tz="UTC"),
        pd.DatetimeIndex(settled.settled_at, tz="UTC"),
        settled.exit_price,
        REASONS[settled.reason],
        settled.net_return,
        won,
        (settled.settled_at - settled.entry_at) / np.timedelta64(1, "m"),
        np.where(ended, 2 * policy.slippage_bps, np.nan),
    )
    return pd.DataFrame(dict(zip(OUTCOMES, columns, strict=True)), index=signals.index)


class _Settled(NamedTuple):
    """Outcomes as arrays of shape (m,), named as in ``OUTCOMES``; ``reason`` is a number."""

    entry_at: Stamps
    entry_price: Floats
    stop_price: Floats
    target_price: Floats
    stop_distance: Floats
    exit_at: Stamps
    settled_at: Stamps
    exit_price: Floats
    reason: NDArray[np.int64]
    net_return: Floats

    @classmethod
    def blank(cls, count: int) -> "_Settled":
        """Return ``count`` outcomes to be written to."""
        stamps, floats, ints = (np.dtype(name) for name in ("datetime64[ns]", "f8", "i8"))
        dtypes = (stamps, *[floats] * 4, stamps, stamps, floats, ints, floats)
        return cls(*(np.empty(count, dtype) for dtype in dtypes))

    def take(self, rows: NDArray[np.int64], others: "_Settled") -> None:
        """Write other outcomes, shape (k,), to some rows, shape (k,)."""
        for mine, theirs in zip(self, others, strict=True):
            mine[rows] = theirs


def plan_exits(
    bars: Bars,
    decided: NDArray[np.int64],
    sides: NDArray[np.int64],
    levels: pd.DataFrame,
    policy: BracketPolicy,
    rule: Exiting | None,
) -> ExitPlan:
    """Return how signals of one symbol are to end, as known at their decisions.

    Args:
        bars: Bars of the symbol.
        decided: Position of each signal's decision bar, shape (m,).
        sides: +1 buys, −1 sells, shape (m,).
        levels: One row per signal; columns ``LEVELS``, any of which may be missing.
        policy: Distances and time limit of signals without levels of their own.
        rule: The system's own exit rule; with one, the policy's target is not used.

    Raises:
        FixData: If the ATR is not known at a decision bar.
    """
    ranges = _ranges(bars, decided, policy)
    return ExitPlan.at_decision(
        levels,
        bars.close[decided],
        sides,
        policy.stop_atr * ranges,
        (np.nan if rule else policy.target_atr) * ranges,
        policy.time_limit_bars,
    )


def follow(
    bars: Bars,
    plan: ExitPlan,
    first: NDArray[np.int64],
    sides: NDArray[np.int64],
    rule: Exiting | None,
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Return exit bar, exit price and exit reason of each signal, as ``settle`` does.

    Args:
        bars: Bars of the symbol.
        plan: How its signals are to end.
        first: Entry bar of each signal, shape (m,); ``len(bars)`` if it is still to come.
        sides: +1 buys, −1 sells, shape (m,).
        rule: The system's own exit rule; None without one.
    """
    stops, targets = plan.prices(_pick(bars.open, first, first < len(bars)), sides)
    exits = settle(
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        first,
        sides,
        stops,
        targets,
        plan.trails,
        plan.limits,
    )
    return with_own_exits(bars, first, sides, exits, rule)


def _settled(
    bars: Bars,
    plan: ExitPlan,
    first: NDArray[np.int64],
    sides: NDArray[np.int64],
    policy: BracketPolicy,
    rule: Exiting | None,
) -> _Settled:
    """Return the outcomes of the signals of one symbol."""
    exit_bar, exit_price, reason = follow(bars, plan, first, sides, rule)
    entered, ended = first < len(bars), exit_bar >= 0
    entry = _pick(bars.open, first, entered)
    stops, targets = plan.prices(entry, sides)
    exit_at = _pick(bars.timestamp, exit_bar, ended)
    return _Settled(
        entry_at=_pick(bars.timestamp, first, entered),
        entry_price=entry,
        stop_price=stops,
        target_price=targets,
        stop_distance=plan.stop_offsets / entry,
        exit_at=exit_at,
        settled_at=_pick(bars.closes_at, exit_bar, ended),
        exit_price=exit_price,
        reason=reason,
        net_return=net_return(entry, exit_price, sides, policy),
    )


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
    return positions_of(bars, naive(signals["timestamp"]))


def positions_of(bars: Bars, stamps: Stamps) -> NDArray[np.int64]:
    """Return the position of the decision bar that opened at each stamp, shape (m,).

    Args:
        bars: Bars of one symbol.
        stamps: Opens of decision bars, UTC ``datetime64[ns]``, shape (m,).

    Raises:
        FixData: If there is no such bar.
    """
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


def rows_by_symbol(signals: pd.DataFrame, bars: Mapping[str, Bars]) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each symbol's signals, symbols in order of their first one.

    Args:
        signals: One row per signal; column ``symbol``.
        bars: Bars by symbol.

    Raises:
        FixData: If a signal's symbol is not among ``bars``.
    """
    numbers, symbols = pd.factorize(signals["symbol"])
    missing = set(symbols) - set(bars)
    if missing:
        raise FixData(f"{min(missing)}: signals without bars; collect its bars first")
    ordered = np.argsort(numbers, kind="stable")
    begins = np.searchsorted(numbers[ordered], np.arange(len(symbols)))
    return dict(zip(map(str, symbols), np.split(ordered, begins)[1:], strict=True))


def entry_bars(bars: Bars, signals: pd.DataFrame, decided: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of the bar at whose open each signal enters, shape (m,).

    It is the bar after the decision bar. A signal decided while that bar was already forming (a
    log's stamps need not be closes) enters at the next open: the one before is a price of the past.

    Args:
        bars: Bars of one symbol; a position of ``len(bars)`` is a bar still to come.
        signals: Signals of this symbol; without ``decided_at`` all are decided at a close.
        decided: Position of each signal's decision bar, shape (m,).
    """
    decided_at = naive(signals["decided_at"]) if "decided_at" in signals else None
    return first_entries(bars, decided, decided_at)


def first_entries(
    bars: Bars, decided: NDArray[np.int64], decided_at: Stamps | None
) -> NDArray[np.int64]:
    """Return what ``entry_bars`` returns.

    Args:
        bars: Bars of one symbol.
        decided: Position of each signal's decision bar, shape (m,).
        decided_at: Time of each decision, UTC ``datetime64[ns]``, shape (m,); None if all are
            decided at a close.
    """
    if decided_at is None or not len(decided):
        return decided + 1
    tolerance = (ENTRY_TOLERANCE * bars.bar_size).to_timedelta64()
    still_to_open = np.searchsorted(bars.timestamp, decided_at - tolerance)
    at_close = decided_at <= bars.closes_at[decided]
    return np.where(at_close, decided + 1, np.maximum(decided + 1, still_to_open)).astype(np.int64)


def side_signs(signals: pd.DataFrame) -> NDArray[np.int64]:
    """Return +1 for each buy and −1 for each sell (column ``side``), shape (m,)."""
    return np.where((signals["side"] == "buy").to_numpy(dtype=bool), 1, -1).astype(np.int64)
