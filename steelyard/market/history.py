"""The history: every signal with its outcome and features, as known at a given time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.market.bars import Bars, Floats, naive
from steelyard.market.brackets import OUTCOMES, BracketPolicy, outcomes
from steelyard.market.cross_section import Crossing
from steelyard.market.exits import exit_rule
from steelyard.market.features import feature_table, features_of_some
from steelyard.market.own_features import own_features
from steelyard.market.strategy import Strategy, checked_bars, signals_of_some
from steelyard.market.yes_or_no import require_whole_scale

_ENTRY = ("entry_at", "entry_price", "stop_price", "target_price", "stop_distance")
_EXIT = tuple(name for name in OUTCOMES if name not in _ENTRY)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What some symbols contribute to the history, from the bars of each symbol alone.

    Attributes:
        signals: Their signals, one row each.
        own: The system's own features of each signal.
        outcomes: The outcome of each signal.
        features: ``FEATURES`` as seen by a buyer, shape (m, k), NaN where they look across symbols.
        crossing: What the cross-section takes of these symbols.
    """

    signals: pd.DataFrame
    own: pd.DataFrame
    outcomes: pd.DataFrame
    features: Floats
    crossing: Crossing


def history(bars: Mapping[str, Bars], strategy: Strategy, bracket: BracketPolicy) -> pd.DataFrame:
    """Return one row per signal, ordered by decision time: signal, outcome and feature columns.

    Args:
        bars: Bars by symbol.
        strategy: The existing system, which proposes the signals.
        bracket: Exit rule and costs of every signal.

    Raises:
        FixConfiguration: If the system breaks its contract (see ``signals``).
        FixData: If a signal has no ATR, and so no bracket.
    """
    return whole_history([part_of(bars, strategy, bracket, checked_bars(len(bars)))], strategy)


def whole_history(parts: Sequence[Part], strategy: Strategy) -> pd.DataFrame:
    """Return the history of the symbols of all parts, if their confidences have one scale.

    Args:
        parts: One or more, no two of which share a symbol.
        strategy: The existing system.

    Raises:
        FixConfiguration: If the confidences have another scale than 0 to 100.
    """
    confidences = pd.concat([part.signals["confidence_existing"] for part in parts])
    require_whole_scale(confidences, type(strategy).__name__)
    return assemble(parts)


def part_of(
    bars: Mapping[str, Bars], strategy: Strategy, bracket: BracketPolicy, checked: int
) -> Part:
    """Return the part of some symbols of a universe; it does not depend on the others.

    Args:
        bars: Bars of these symbols.
        strategy: The existing system.
        bracket: Exit rule and costs of every signal.
        checked: Result of ``checked_bars`` for the whole universe.

    Raises:
        FixConfiguration: If the system breaks its contract.
        FixData: If a signal has no ATR, and so no bracket.
    """
    proposed = signals_of_some(bars, strategy, checked)
    return Part(
        proposed,
        own_features(bars, proposed, strategy, checked),
        outcomes(bars, proposed, bracket, exit_rule(strategy)),
        *features_of_some(bars, proposed),
    )


def assemble(parts: Sequence[Part]) -> pd.DataFrame:
    """Return the history of the symbols of all parts, see ``history``.

    Args:
        parts: One or more, no two of which share a symbol.
    """
    signals, own, settled = (
        pd.concat(tables, ignore_index=True)
        for tables in zip(*((part.signals, part.own, part.outcomes) for part in parts), strict=True)
    )
    features = np.concatenate([part.features for part in parts])
    if len(parts) > 1:
        order = np.lexsort((signals["symbol"].to_numpy(str), naive(signals["decided_at"])))
        signals, own, settled = (
            table.take(order).reset_index(drop=True) for table in (signals, own, settled)
        )
        features = features[order]
    crossing = Crossing.joined(part.crossing for part in parts)
    table = feature_table(signals, features, crossing)
    whole: pd.DataFrame = pd.concat([signals, own, settled, table], axis=1)
    return whole


def with_real_outcomes(history: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """Return the history with what really happened in place of what the kernel says.

    Entry and exit of such a signal stay the kernel's, as slippage is measured against them.

    Args:
        history: Result of ``history``.
        real: One row per signal: ``signal_id`` and outcome columns; of signals that the history
            does not hold nothing is taken.
    """
    outcome = real.set_index("signal_id")
    known = history["signal_id"].isin(outcome.index)
    outcome = outcome.loc[history.loc[known, "signal_id"]]
    corrected = history.copy()
    for name in outcome:
        corrected.loc[known, name] = outcome[name].array
    return corrected


def as_known(history: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the history as known at ``as_of``: signals decided by then, open outcomes blank.

    This equals the history of the bars closed by ``as_of``, row for row.

    Args:
        history: Result of ``history`` on later bars too.
        as_of: Time with a zone.
    """
    known = history[(history["decided_at"] <= as_of).to_numpy()].reset_index(drop=True)
    known_after = known["decided_at"] - known["timestamp"]
    not_entered = ~(known["entry_at"] + known_after <= as_of).to_numpy()
    still_open = ~(known["settled_at"] <= as_of).to_numpy()
    for name in _ENTRY:
        known[name] = known[name].mask(not_entered, pd.NA)
    return without_exits(known, still_open)


def without_exits(outcomes: pd.DataFrame, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Return outcomes of which some have not come yet: their columns of the exit are blank.

    Args:
        outcomes: One row per signal, columns ``OUTCOMES`` at least.
        rows: Rows whose exit is still to come, shape (n,).
    """
    return outcomes.assign(
        **{
            name: outcomes[name].mask(rows, None if name == "exit_reason" else pd.NA)
            for name in _EXIT
        }
    )
