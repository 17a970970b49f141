"""The history of a log: its signals on the bars of their decisions, and what became of them.

What really happened comes first; the kernel says what would have, where there are bars. A signal
that was traded waits for what the log will tell.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.market import formulas
from steelyard.market.bars import Bars, Floats, naive
from steelyard.market.brackets import OUTCOMES, BracketPolicy, outcomes, side_signs
from steelyard.market.features import OWN, features
from steelyard.market.history import with_real_outcomes, without_exits
from steelyard.market.logged import LEVELS
from steelyard.market.strategy import LEVELS as LEVEL_COLUMNS
from steelyard.market.strategy import WARMUP, Side

TIMING = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "direction")
"""Features of a signal that need no bars.

The time is that of the full hour: a program that decides some minutes later than in training has
not met another time of day."""
TOLD = (
    "settled_at",
    "net_return",
    "won",
    "exit_reason",
    "hold_minutes",
    "slippage_bps",
    "stop_distance",
)
"""Outcome columns that are the log's where it tells an outcome."""


def timing_names(own_names: Iterable[str]) -> tuple[str, ...]:
    """Return the model's inputs where there are no bars: time, side, confidence, own features.

    Args:
        own_names: Names of the features that the log gives.
    """
    return (*TIMING, "confidence_existing", *(f"{OWN}{name}" for name in own_names))


def timing_of(decided_at: datetime, side: Side) -> Floats:
    """Return the features ``TIMING`` of one signal, shape (5,), as the history has them.

    Args:
        decided_at: Time of the decision, aware.
        side: "buy" or "sell".
    """
    calendar = formulas.calendar(int(decided_at.timestamp() // 3600) * 60)
    return np.array([*calendar, 1.0 if side == "buy" else -1.0])


def logged_signals(
    logged: pd.DataFrame, bars: Mapping[str, Bars] | None, own_names: Iterable[str]
) -> pd.DataFrame:
    """Return the signals of a log, as ``signals`` returns those of a class, with their features.

    In a home with bars, a signal whose symbol has none, or too few before its decision, is left
    out: nothing is known of it that a model could learn from beside the others.

    Args:
        logged: Rows of ``log_signals``.
        bars: Bars by symbol; None in a home without bars.
        own_names: Names of the features that the log gives; NaN where a row lacks one.

    Returns:
        One row per signal with its own features, ordered by decision; ``timestamp`` is the open of
        the last bar known at the decision, without bars the time in the log.
    """
    rows = logged.sort_values(["decided_at", "symbol", "side"], kind="stable", ignore_index=True)
    if bars is not None:
        has_history = last_known_bars(rows, bars) >= WARMUP
        rows = on_last_known_bars(rows[has_history].reset_index(drop=True), bars)
    own = {
        f"{OWN}{name}": np.array([row.get(name) for row in rows["own"]], dtype=np.float64)
        for name in own_names
    }
    return pd.DataFrame(
        {
            "signal_id": rows["signal_id"].astype("str"),
            "symbol": rows["symbol"].astype("str"),
            "timestamp": rows["timestamp"],
            "decided_at": rows["decided_at"],
            "side": rows["side"].astype("str"),
            "confidence_existing": rows["confidence"],
            **own,
            **_levels(rows),
        }
    )


def _levels(rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return the exit levels that a log gives, columns ``strategy.LEVELS``; empty without any."""
    given = [levels if isinstance(levels, dict) else {} for levels in rows["levels"]]
    if not any(given):
        return {}
    return {
        column: np.array([levels.get(name) for levels in given], dtype=np.float64)
        for column, name in zip(LEVEL_COLUMNS, LEVELS, strict=True)
    }


def logged_history(
    logged: pd.DataFrame,
    bars: Mapping[str, Bars] | None,
    own_names: Iterable[str],
    bracket: BracketPolicy,
    stop_distance: float,
    as_of: datetime,
) -> pd.DataFrame:
    """Return one row per signal, ordered by decision: signal, outcome and feature columns.

    Args:
        logged: Rows of ``log_signals`` decided by ``as_of``.
        bars: Bars by symbol; None in a home without bars.
        own_names: Names of the features that the log gives.
        bracket: Exit rule and costs where the log tells no outcome.
        stop_distance: Fraction of the entry where neither log nor bars give a stop.
        as_of: Time of the knowledge (UTC).

    Returns:
        Columns of ``history``; ``reported``, whether the log tells the outcome; and ``earns``,
        whether the signal was taken in before its outcome: only such a signal is judged.
    """
    proposed = logged_signals(logged, bars, own_names)
    rows = logged.set_index("signal_id").loc[proposed["signal_id"]].reset_index()
    told = rows["settled_at"].notna().to_numpy(dtype=bool)
    if bars is None:
        parts = [proposed, _told_outcomes(rows, stop_distance), _timing(proposed)]
        complete = pd.concat(parts, axis=1)
    else:
        to_come = rows["traded"].to_numpy(dtype=bool) & ~told
        kernel = without_exits(outcomes(bars, proposed, bracket), to_come)
        stops = rows["stop_distance"].fillna(kernel["stop_distance"]).fillna(stop_distance)
        real = rows.assign(slippage_bps=0.0, stop_distance=stops)
        complete = pd.concat([proposed, kernel, features(bars, proposed)], axis=1)
        complete = with_real_outcomes(complete, real.loc[told, ["signal_id", *TOLD]])
    seen = (rows["taken_in_at"] <= as_of).to_numpy(dtype=bool)
    over = (complete["settled_at"] <= rows["taken_in_at"]).to_numpy(dtype=bool)
    return complete.assign(reported=told, earns=seen & ~over)


def last_known_bars(signals: pd.DataFrame, bars: Mapping[str, Bars]) -> NDArray[np.int64]:
    """Return the position of the last bar known at each decision, shape (m,); −1 without one.

    Args:
        signals: One row per signal; columns ``symbol`` and ``decided_at``.
        bars: Bars by symbol.
    """
    positions = np.full(len(signals), -1, dtype=np.int64)
    decided_at = naive(signals["decided_at"])
    for symbol, rows in signals.groupby("symbol").indices.items():
        if str(symbol) in bars:
            closes_at = bars[str(symbol)].closes_at
            positions[rows] = np.searchsorted(closes_at, decided_at[rows], side="right") - 1
    return positions


def on_last_known_bars(signals: pd.DataFrame, bars: Mapping[str, Bars]) -> pd.DataFrame:
    """Return the signals with the open of the last bar known at each decision as ``timestamp``.

    Args:
        signals: One row per signal; columns ``symbol``, ``timestamp`` and ``decided_at``. A signal
            without such a bar keeps its ``timestamp``.
        bars: Bars by symbol.
    """
    stamps = naive(signals["timestamp"]).copy()
    for row, (symbol, bar) in enumerate(
        zip(signals["symbol"], last_known_bars(signals, bars), strict=True)
    ):
        if bar >= 0:
            stamps[row] = bars[symbol].timestamp[bar]
    return signals.assign(timestamp=pd.DatetimeIndex(stamps, tz="UTC"))


def _told_outcomes(rows: pd.DataFrame, stop_distance: float) -> pd.DataFrame:
    """Return what the log says, columns ``OUTCOMES``; a signal entered at its decision."""
    told = rows["settled_at"].notna()
    return pd.DataFrame(
        {
            **{name: rows[name] for name in OUTCOMES if name in rows},
            "entry_at": rows["entry_at"].fillna(rows["decided_at"]),
            "exit_at": rows["exit_at"].fillna(rows["settled_at"]),
            "stop_price": np.nan,
            "target_price": np.nan,
            "stop_distance": rows["stop_distance"].fillna(stop_distance),
            "slippage_bps": np.where(told, 0.0, np.nan),
        }
    )[list(OUTCOMES)]


def _timing(signals: pd.DataFrame) -> pd.DataFrame:
    """Return the features ``TIMING`` of each signal."""
    minutes = 60 * naive(signals["decided_at"]).astype("datetime64[h]").astype(np.int64)
    direction = side_signs(signals).astype(np.float64)
    return pd.DataFrame({**formulas.calendar(minutes)._asdict(), "direction": direction})[
        list(TIMING)
    ]
