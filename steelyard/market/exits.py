"""Exits of signals: the policy's distances, levels of their own, and rules of the system's own.

Levels are prices and are known at the decision; the policy's distances are counted from the entry.
A level on the wrong side of the decision close, as a log may hold, is not used.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.errors import FixConfiguration
from steelyard.market.bars import Bars, Floats
from steelyard.market.strategy import LEVELS, Entry, Exiting, Side, Strategy

Ints = NDArray[np.int64]
OWN_RULE = 5
"""Number of the exit reason of the system's own rule, see ``brackets.REASONS``."""


@dataclass(frozen=True, slots=True, eq=False)
class ExitPlan:
    """How some signals of a symbol are to end, arrays of shape (m,).

    Attributes:
        stop_offsets: Distance of the stop, price units, over 0: the policy's from the entry, that
            of a level from the decision close.
        target_offsets: The same of the target; NaN without target.
        stops: Stops that are prices, else NaN.
        targets: Targets that are prices, else NaN.
        trails: Distances of trailing stops, price units, else NaN.
        limits: Bars a trade may last.
    """

    stop_offsets: Floats
    target_offsets: Floats
    stops: Floats
    targets: Floats
    trails: Floats
    limits: Ints

    @classmethod
    def at_decision(
        cls,
        signals: pd.DataFrame,
        closes: Floats,
        sides: Ints,
        stop_offsets: Floats,
        target_offsets: Floats,
        time_limit: int,
    ) -> "ExitPlan":
        """Return the plan of signals as known at their decisions.

        Args:
            signals: One row per signal; columns ``LEVELS``, any of which may be missing.
            closes: Closes of their decision bars, shape (m,).
            sides: +1 buys, −1 sells, shape (m,).
            stop_offsets: Distance of the policy's stop, price units, shape (m,).
            target_offsets: Distance of the policy's target; NaN for none, shape (m,).
            time_limit: Bars a trade may last by the policy.
        """
        stops, targets, limits, trails = _levels(signals)
        to_stop, to_target = sides * (closes - stops), sides * (targets - closes)
        unlimited, trailing = np.isinf(targets), trails > 0
        stops = np.where(to_stop > 0, stops, np.nan)
        targets = np.where((to_target > 0) & ~unlimited, targets, np.nan)
        trails = np.where(trailing, trails, np.nan)
        own_stop = np.fmin(np.where(to_stop > 0, to_stop, np.nan), trails)
        return cls(
            stop_offsets=np.where(np.isnan(own_stop), stop_offsets, own_stop),
            target_offsets=np.where(
                np.isnan(targets),
                np.where(unlimited | trailing, np.nan, target_offsets),
                to_target,
            ),
            stops=stops,
            targets=targets,
            trails=trails,
            limits=_whole(limits, time_limit),
        )

    @classmethod
    def of_orders(cls, orders: pd.DataFrame, time_limit: int) -> "ExitPlan":
        """Return the plan of orders that were placed.

        Args:
            orders: Rows of the ledger's ``trades``.
            time_limit: Bars a trade may last by the policy.
        """
        stops, targets, limits, trails = _levels(orders)
        stop_offsets, target_offsets = (
            orders[name].to_numpy(dtype=np.float64) for name in ("stop_offset", "target_offset")
        )
        whole_limits = _whole(limits, time_limit)
        return cls(stop_offsets, target_offsets, stops, targets, trails, whole_limits)

    def prices(self, entries: Floats, sides: Ints) -> tuple[Floats, Floats]:
        """Return the prices of stop and target at the entry, shape (m,) each; NaN: no target.

        Args:
            entries: Entry prices, shape (m,); NaN, still to come, gives NaN.
            sides: +1 buys, −1 sells, shape (m,).
        """
        stops = np.where(np.isnan(self.stops), entries - sides * self.stop_offsets, self.stops)
        trailing = entries - sides * self.trails
        nearest = sides * np.fmax(sides * self.stops, sides * trailing)
        stops = np.where(np.isnan(self.trails), stops, nearest)
        targets = np.where(
            np.isnan(self.targets), entries + sides * self.target_offsets, self.targets
        )
        entered = np.isfinite(entries)
        return np.where(entered, stops, np.nan), np.where(entered, targets, np.nan)


def _levels(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the columns ``LEVELS``, NaN for one that is not there, shape (m,) each."""
    none = np.full(len(rows), np.nan)
    stops, targets, limits, trails = (
        rows[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in rows else none
        for name in LEVELS
    )
    return stops, targets, limits, trails


def _whole(limits: Floats, time_limit: int) -> Ints:
    return np.where(limits >= 1, limits, time_limit).astype(np.int64)


def longest_trade(signals: pd.DataFrame, time_limit: int) -> int:
    """Return the number of bars that the longest of some signals may last.

    Args:
        signals: One row per signal; columns ``LEVELS``, any of which may be missing.
        time_limit: Bars a trade may last by the policy.
    """
    _, _, limits, _ = _levels(signals)
    return int(_whole(limits, time_limit).max(initial=time_limit))


def exit_rule(strategy: Strategy) -> Exiting | None:
    """Return the system if it has an exit rule of its own, else None."""
    return strategy if isinstance(strategy, Exiting) else None


def asks_out(bars: Bars, entry: Entry, end: int, rule: Exiting) -> int | None:
    """Return the first bar at whose close a rule leaves the trade; None if at none.

    Args:
        bars: Bars of the symbol.
        entry: How the trade was entered.
        end: Position after the last bar that is asked.
        rule: The system's own exit rule, asked with the bars up to each close.

    Raises:
        FixConfiguration: If the answer is neither true nor false.
    """
    for bar in range(entry.position, end):
        leaves = rule.exit(bars[: bar + 1], entry)
        if not isinstance(leaves, bool | np.bool_):
            raise FixConfiguration(
                f"{type(rule).__name__}.exit gave {leaves!r} for {bars.symbol} at "
                f"{bars.timestamp[bar]}; it must be True (leave at the next open) or False"
            )
        if leaves:
            return bar
    return None


def with_own_exits(
    bars: Bars,
    first: Ints,
    sides: Ints,
    exits: tuple[Ints, Floats, Ints],
    rule: Exiting | None,
) -> tuple[Ints, Floats, Ints]:
    """Return the exits of the kernel, earlier ones at the open where the system's rule left.

    Args:
        bars: Bars of the symbol.
        first: Position of each entry bar, shape (m,).
        sides: +1 buys, −1 sells, shape (m,).
        exits: Exit bar, price and reason of each trade by ``brackets.settle``.
        rule: The system's own exit rule; None changes nothing.
    """
    if rule is None:
        return exits
    exit_bars, prices, reasons = exits[0].copy(), exits[1].copy(), exits[2].copy()
    for k in np.flatnonzero(first < len(bars)):
        side: Side = "buy" if sides[k] > 0 else "sell"
        entry = Entry(side, float(bars.open[first[k]]), int(first[k]))
        end = int(exit_bars[k]) if exit_bars[k] >= 0 else len(bars) - 1
        left = asks_out(bars, entry, end, rule)
        if left is not None:
            exit_bars[k], prices[k], reasons[k] = left + 1, bars.open[left + 1], OWN_RULE
    return exit_bars, prices, reasons
