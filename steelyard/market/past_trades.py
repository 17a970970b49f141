"""Past trades as signals: the bar each was decided on, when its outcome was known, what is odd.

A trade's decision bar is the last one closed when it was entered, so that nothing is learned from
a bar the trader could not see.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.market.bars import Bars, Floats, Stamps, naive
from steelyard.market.logged import LEVELS, reason_word
from steelyard.market.yes_or_no import PLAIN_YES

TOLERANCE = 1e-6
"""Share of a price by which a fill may lie outside its bar: prices are rounded."""
_ID = ["symbol", "timestamp", "side"]
SECOND_TRADE = "second trade of its bar: its id has the time of its entry"


def past_signals(
    trades: pd.DataFrame,
    bars: Mapping[str, Bars],
    resolution: pd.Timedelta,
    *,
    stamps_are_opens: bool = False,
) -> pd.DataFrame:
    """Return past trades as signals with their outcome, one per symbol, decision bar and side.

    Trades of one bar and side that were open together are one position with an averaged entry,
    which is named as a fault; those that followed each other are two signals.

    Args:
        trades: One row per trade or signal, times in UTC; columns symbol, side, timestamp,
            decided_at, entry_at, entry_price, exit_at, exit_price, net_return, exit_reason,
            quantity, fees, lowest, highest, stop_distance, stop, target, bars, trail, confidence,
            own and faults. NaT and NaN are unknown.
        bars: Bars by symbol, known at the time of the import; symbols may be missing.
        resolution: Step of the log's times; a day if they are dates. Outcomes are known at the end
            of the step or bar of their exit.
        stamps_are_opens: A ``timestamp`` is the open of the decision bar, if that bar was closed at
            the entry; otherwise it is the moment of the decision.

    Returns:
        One row per signal, ordered by decision; the columns of a log's signal (without when it was
        taken in, and its source), ``on_bar`` (whether it was decided on a bar that is known), and
        ``lines``, the labels of its trades.
    """
    parts = [
        _placed(rows, bars.get(str(symbol)), resolution, stamps_are_opens=stamps_are_opens)
        for symbol, rows in trades.groupby("symbol", sort=False)
    ]
    placed = (
        pd.concat(parts) if parts else _placed(trades, None, resolution, stamps_are_opens=False)
    )
    placed["lines"] = [[line] for line in placed.index]
    placed = placed.sort_values(["decided_at", "entry_at"], kind="stable")
    whole = _one_per_bar(placed).reset_index(drop=True)
    return _as_signals(whole).sort_values(["decided_at", "signal_id"], ignore_index=True)


def _placed(
    rows: pd.DataFrame, bars: Bars | None, resolution: pd.Timedelta, *, stamps_are_opens: bool
) -> pd.DataFrame:
    placed = rows.copy()
    moment = rows["decided_at"].fillna(rows["timestamp"]).fillna(rows["entry_at"])
    placed["timestamp"] = rows["timestamp"].fillna(moment).dt.floor("s")
    placed["decided_at"], placed["on_bar"] = moment, False
    placed["settled_at"] = rows["exit_at"] + resolution
    own = (rows["lowest"].to_numpy(np.float64), rows["highest"].to_numpy(np.float64))
    ranges = {"entry": own, "exit": own}
    if bars is not None and len(bars):
        _decide_on_bars(placed, rows, bars, stamps_are_opens=stamps_are_opens)
        exits = naive(rows["exit_at"])
        if resolution <= bars.bar_size:
            inside = _bars_at(bars, exits)
            closes = np.where(inside >= 0, bars.closes_at[inside], naive(placed["settled_at"]))
            placed["settled_at"] = _utc(np.fmax(closes, exits), rows)
            ranges["entry"] = _ranges(bars, naive(rows["entry_at"]), own, before=False)
            ranges["exit"] = _ranges(bars, exits, own, before=True)
    placed["faults"] = [
        [*faults, *found]
        for faults, found in zip(rows["faults"], _outside(rows, ranges), strict=True)
    ]
    return placed


def _decide_on_bars(
    placed: pd.DataFrame, rows: pd.DataFrame, bars: Bars, *, stamps_are_opens: bool
) -> None:
    """Set decision bar and time where the bars reach; elsewhere the log's own times stay."""
    named, latest = naive(rows["timestamp"]), naive(rows["decided_at"].fillna(rows["entry_at"]))
    position = np.minimum(np.searchsorted(bars.timestamp, named), len(bars) - 1)
    is_bar = (bars.timestamp[position] == named) & ~(bars.closes_at[position] > latest)
    is_bar &= stamps_are_opens
    moment = naive(placed["decided_at"])
    last_closed = np.searchsorted(bars.closes_at, moment, side="right") - 1
    position = np.where(is_bar, position, last_closed)
    reached = moment <= bars.closes_at[-1] + bars.bar_size.to_timedelta64()
    on_bar = (position >= 0) & (is_bar | reached)
    told = rows["decided_at"].fillna(rows["timestamp"].mask(is_bar))
    decided = np.where(told.isna() & on_bar, bars.closes_at[position], moment)
    placed["decided_at"] = _utc(decided, rows)
    opens = _utc(np.where(on_bar, bars.timestamp[position], moment), rows)
    placed["timestamp"] = rows["timestamp"].fillna(opens).dt.floor("s")
    placed["on_bar"] = on_bar


def _bars_at(bars: Bars, stamps: Stamps) -> NDArray[np.int64]:
    """Return the bar in which each time lies, −1 if none, shape (n,)."""
    position = np.searchsorted(bars.timestamp, stamps, side="right") - 1
    inside = stamps < bars.timestamp[position] + bars.bar_size.to_timedelta64()
    return np.where((position >= 0) & inside & ~np.isnat(stamps), position, -1)


def _ranges(
    bars: Bars, stamps: Stamps, own: tuple[Floats, Floats], *, before: bool
) -> tuple[Floats, Floats]:
    """Return low and high of the bar at each time, shape (n,).

    Args:
        bars: Bars of the symbol.
        stamps: Times, shape (n,).
        own: Low and high where there is no bar, NaN if unknown, each of shape (n,).
        before: At the very open of a bar, the one before counts, too: its close is that moment.
    """
    position = _bars_at(bars, stamps)
    lows, highs = bars.low[position], bars.high[position]
    if before:
        both = (position > 0) & (bars.timestamp[position] == stamps)
        lows = np.where(both, np.minimum(lows, bars.low[position - 1]), lows)
        highs = np.where(both, np.maximum(highs, bars.high[position - 1]), highs)
    return np.where(position >= 0, lows, own[0]), np.where(position >= 0, highs, own[1])


def _outside(rows: pd.DataFrame, ranges: Mapping[str, tuple[Floats, Floats]]) -> list[list[str]]:
    """Return the faults of each trade: fills at prices that its bar did not have."""
    found: list[list[str]] = [[] for _ in range(len(rows))]
    for fill, (low, high) in ranges.items():
        prices = rows[f"{fill}_price"].to_numpy(dtype=np.float64)
        bounds = (
            (prices < low * (1 - TOLERANCE), low, "under the low"),
            (prices > high * (1 + TOLERANCE), high, "over the high"),
        )
        for beyond, bound, words in bounds:
            for row in np.flatnonzero(beyond):
                fault = f"{fill} outside its bar: {prices[row]:g} {words} {bound[row]:g}"
                found[row].append(fault)
    return found


def _one_per_bar(placed: pd.DataFrame) -> pd.DataFrame:
    """Return trades of which no two have symbol, bar and side in common.

    Args:
        placed: Trades on their bars, ordered by decision and entry.
    """
    several = placed.duplicated(_ID, keep=False)
    shared = placed[several]
    merged = _merged(shared, _positions(shared))
    second = merged.duplicated(_ID)
    merged.loc[second, "timestamp"] = merged.loc[second, "entry_at"].dt.floor("s")
    merged["faults"] = [
        [*faults, SECOND_TRADE] if again else faults
        for faults, again in zip(merged["faults"], second, strict=True)
    ]
    return pd.concat([placed[~several], merged])


def _positions(shared: pd.DataFrame) -> "pd.Series[int]":
    """Return the number of each trade's position: trades that were open together are one."""
    by_bar = shared.groupby(_ID, sort=False)
    far = pd.Timestamp.max.tz_localize("UTC")
    latest = shared["exit_at"].fillna(far).groupby(by_bar.ngroup()).cummax()
    over = shared["entry_at"] >= latest.groupby(by_bar.ngroup()).shift()
    later = shared["entry_at"] > by_bar["entry_at"].shift()
    number = (over & later).groupby(by_bar.ngroup()).cumsum()
    return shared.assign(number=number).groupby([*_ID, "number"], sort=False).ngroup()


def _merged(trades: pd.DataFrame, position: "pd.Series[int]") -> pd.DataFrame:
    """Return one trade per position; prices and returns are means over what was held.

    Args:
        trades: Trades of the same bar and side.
        position: Number of the position of each trade.
    """
    groups = trades.groupby(position, sort=False)
    known = groups["quantity"].transform("count") == _sizes(groups)
    shares = trades["quantity"].where(known, 1.0)
    worth = shares * trades["entry_price"].fillna(1.0)
    whole = trades.copy()
    for name, weight in (("entry_price", shares), ("exit_price", shares), ("net_return", worth)):
        mean = (trades[name] * weight).groupby(position).transform("sum")
        mean /= weight.groupby(position).transform("sum")
        whole[name] = mean.where(groups[name].transform("count") == _sizes(groups))
    whole["quantity"] = shares.groupby(position).transform("sum").where(known)
    whole["fees"] = groups["fees"].transform("sum").where(groups["fees"].transform("count") > 0)
    for time in ("exit_at", "settled_at"):
        ended = groups[time].transform("count") == _sizes(groups)
        whole[time] = groups[time].transform("max").where(ended)
    single = ~position.duplicated(keep=False)
    whole[single] = trades[single]
    whole = whole[~position.duplicated()]
    whole["lines"] = groups["lines"].sum().to_list()
    faults = groups["faults"].sum().to_list()
    prices = groups["entry_price"].agg(["count", "min", "max"]).itertuples(index=False)
    whole["faults"] = [
        list(dict.fromkeys([*odd, *_averaged(*fills)]))
        for odd, fills in zip(faults, prices, strict=True)
    ]
    return whole


def _sizes(groups: Any) -> "pd.Series[int]":
    return cast("pd.Series[int]", groups["side"].transform("size"))


def _averaged(count: int, lowest: float, highest: float) -> list[str]:
    """Return the fault of a position that was entered at several prices."""
    if not lowest < highest:
        return []
    return [f"averaged entry: {count} fills from {lowest:g} to {highest:g}"]


def _as_signals(trades: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a log's signal."""
    symbols, sides = trades["symbol"].astype("str"), trades["side"].astype("str")
    stamps = trades["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    settled = trades["settled_at"].notna()
    won = (trades["net_return"] > 0).astype("boolean").mask(~settled, pd.NA)
    held = (trades["exit_at"] - trades["entry_at"]).dt.total_seconds() / 60
    distance = (trades["entry_price"] - trades["stop"]).abs() / trades["entry_price"]
    return trades[
        ["symbol", "timestamp", "decided_at", "side", "own", "entry_at", "entry_price", "exit_at"]
    ].assign(
        signal_id=symbols + ":" + stamps + ":" + sides,
        confidence=trades["confidence"].fillna(PLAIN_YES),
        levels=_levels(trades),
        traded=trades["entry_at"].notna(),
        exit_price=trades["exit_price"].where(settled),
        settled_at=trades["settled_at"],
        net_return=trades["net_return"].where(settled),
        won=won,
        exit_reason=trades["exit_reason"].map(reason_word).where(settled, None),
        hold_minutes=held,
        stop_distance=distance.fillna(trades["stop_distance"]),
        quantity=trades["quantity"],
        fees=trades["fees"],
        faults=trades["faults"],
        on_bar=trades["on_bar"],
        lines=trades["lines"],
    )


def _levels(trades: pd.DataFrame) -> pd.Series:
    rows = trades[list(LEVELS)].to_dict("records")
    levels = [{name: value for name, value in row.items() if value > 0} or None for row in rows]
    return pd.Series(levels, index=trades.index, dtype="object")


def _utc(stamps: Sequence[Any] | Stamps, rows: pd.DataFrame) -> pd.Series:
    return pd.Series(pd.to_datetime(stamps, utc=True), index=rows.index)
