"""Outcomes in the ledger, recomputed: from fills for what was traded, else from the lake's bars."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steelyard.errors import CollectMoreData
from steelyard.gateways.ledger import OUTCOME
from steelyard.home import Home
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import outcomes
from steelyard.market.exits import exit_rule
from steelyard.market.logged_history import logged_signals
from steelyard.market.strategy import LEVELS, signals
from steelyard.tasks.predictions import as_filled

SHOWN = 5
RELATIVE_TOLERANCE = 1e-9
"""Difference between two machines' arithmetic that is not a difference of outcomes."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Result of the comparison.

    Attributes:
        faults: Outcomes that are not what bars or fills give, one line each.
        notes: What could not be compared.
    """

    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def recompute_outcomes(home: Home) -> Recomputed:
    """Compare every settled prediction with what the lake's bars or the broker's fills give.

    Left out are outcomes that a trading process reported itself, which only it knows, and those
    that an earlier version recorded, which may be such.
    """
    settled = home.ledger.settled_for_proof()
    has_bar = settled["timestamp"].notna().to_numpy(dtype=bool)
    own = settled[has_bar & settled["reported"].isin([False]).to_numpy(dtype=bool)]
    notes = _left_out(len(settled) - len(own))
    if own.empty:
        return Recomputed(notes=notes)
    try:
        lake = home.lake.read()
    except CollectMoreData:
        return Recomputed(notes=(*notes, f"{len(own)} outcomes were not recomputed: no bars"))
    is_in_lake = _in_lake(own, lake)
    gone = [
        f"{row.signal_id}: its bar is no longer in the lake"
        for row in own[~is_in_lake].itertuples()
    ]
    own = own[is_in_lake].reset_index(drop=True)
    bars = by_symbol(lake, home.lake.bar_size, home.lake.known_after)
    computed = outcomes(
        bars, _with_levels(home, bars, own), home.settings.brackets, exit_rule(home.strategy)
    )
    expected = as_filled(home, pd.concat([own[["signal_id", "symbol", "side"]], computed], axis=1))
    differing = _differences(own.set_index("signal_id"), expected.set_index("signal_id"))
    return Recomputed(_shortened([*gone, *differing]), notes)


def _with_levels(home: Home, bars: Mapping[str, Bars], rows: pd.DataFrame) -> pd.DataFrame:
    """Return signals with the exit levels that the existing system gives them, if any."""
    if home.settings.strategy.is_log:
        logged = home.ledger.log_signals(rows["decided_at"].max())
        proposed = logged_signals(logged, bars, ())
    else:
        proposed = signals(bars, home.strategy)
    levels = proposed.set_index("signal_id")[[name for name in LEVELS if name in proposed]]
    return rows[["symbol", "timestamp", "side", "decided_at"]].join(
        levels.reindex(rows["signal_id"]).set_axis(rows.index)
    )


def _in_lake(rows: pd.DataFrame, lake: pd.DataFrame) -> np.ndarray:
    stored = pd.MultiIndex.from_frame(lake[["symbol", "timestamp"]])
    return np.asarray(pd.MultiIndex.from_frame(rows[["symbol", "timestamp"]]).isin(stored))


def _differences(recorded: pd.DataFrame, expected: pd.DataFrame) -> list[str]:
    """Return one line per signal whose outcome differs.

    Args:
        recorded: Outcomes of the ledger, index signal_id, columns ``OUTCOME`` and more.
        expected: Outcomes of bars and fills, index signal_id; trades still open are missing.
    """
    faults = [
        f"{signal_id}: settled in the ledger, but its trade is still open"
        for signal_id in recorded.index.difference(expected.index)
    ]
    shared = recorded.loc[recorded.index.isin(expected.index)]
    expected = expected.loc[shared.index]
    first: dict[str, str] = {}
    for name in OUTCOME:
        for signal_id in shared.index[~_same(shared[name], expected[name])]:
            first.setdefault(str(signal_id), name)
    return faults + [
        f"{signal_id}: {name} is {shared.at[signal_id, name]} in the ledger, bars and fills give "
        f"{expected.at[signal_id, name]}"
        for signal_id, name in first.items()
    ]


def _same(recorded: pd.Series, expected: pd.Series) -> np.ndarray:
    if pd.api.types.is_float_dtype(recorded.dtype):
        expected = expected.astype("float64")
        return np.isclose(recorded, expected, rtol=RELATIVE_TOLERANCE, atol=1e-12, equal_nan=True)
    both_missing = (recorded.isna() & expected.isna()).to_numpy()
    return (recorded == expected).fillna(False).to_numpy(dtype=bool) | both_missing


def _left_out(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (
        f"{count} outcomes were not recomputed: a trading process reported them, or an earlier "
        "version recorded them",
    )


def _shortened(faults: list[str]) -> tuple[str, ...]:
    """Return the first faults and the number of the others, with what may be behind them."""
    if not faults:
        return ()
    more = f"{len(faults) - SHOWN} more; " if len(faults) > SHOWN else ""
    return (
        *faults[:SHOWN],
        f"{more}outcomes, fills or bars were changed, or conf/brackets.yaml since they settled",
    )
