"""The user's own features at the decision bars of the signals, checked as the sub-scores are."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from steelyard.errors import FixConfiguration
from steelyard.market.bars import Bars, Floats, naive
from steelyard.market.brackets import positions_of, rows_by_symbol
from steelyard.market.features import LARGEST, OWN, may_be_missing
from steelyard.market.formulas import Ints
from steelyard.market.strategy import (
    CHECKED_BARS,
    Featuring,
    ScanningFeatures,
    Strategy,
    own_names,
    sample,
)

TOLERANCE = 1e-9
"""Accepted difference of ``scan_features`` and ``features``, relative to the size if over 1."""


def own_features(
    bars: Mapping[str, Bars],
    signals: pd.DataFrame,
    strategy: Strategy,
    checked: int = CHECKED_BARS,
) -> pd.DataFrame:
    """Return the system's own features of each signal, columns ``own_NAME``, index of ``signals``.

    NaN if the system does not know a value. Each is computed from the bars up to the decision bar.

    Args:
        bars: Bars of every symbol that has a signal.
        signals: One row per signal; columns ``symbol`` and ``timestamp`` (decision bar, UTC).
        strategy: The existing system; without features of its own there are no columns.
        checked: Decision bars of each symbol at which ``scan_features`` is compared with
            ``features``.

    Raises:
        FixConfiguration: If a feature is missing, unnamed, infinite or no number, or if
            ``scan_features`` differs from ``features``.
        FixData: If a signal was decided on a bar that does not exist.
    """
    columns = [f"{OWN}{name}" for name in own_names(strategy)]
    values = np.full((len(signals), len(columns)), np.nan)
    if isinstance(strategy, Featuring):
        stamps = naive(signals["timestamp"])
        for symbol, rows in rows_by_symbol(signals, bars).items():
            decided = positions_of(bars[symbol], stamps[rows])
            values[rows] = _at_bars(bars[symbol], decided, strategy, checked)
    return pd.DataFrame(values, index=signals.index, columns=columns)


def _at_bars(bars: Bars, decided: Ints, strategy: Featuring, checked: int) -> Floats:
    """Return the features at each decision bar, shape (m, k)."""
    if not isinstance(strategy, ScanningFeatures):
        return np.array([_at(bars, bar, strategy) for bar in decided])
    arrays = strategy.scan_features(bars)
    _require_names(arrays, strategy, "scan_features")
    columns = [np.asarray(arrays[name], dtype=np.float64) for name in strategy.feature_names]
    if any(column.shape != (len(bars),) for column in columns):
        raise FixConfiguration(
            f"{type(strategy).__name__}.scan_features must give one value per bar of "
            f"{bars.symbol}, arrays of shape ({len(bars)},)"
        )
    scanned = np.column_stack(columns)[decided]
    _require_numbers(bars, decided, strategy, scanned)
    for row in sample(bars.symbol, 0, len(decided), checked):
        _require_same(bars, decided[row], strategy, scanned[row])
    return scanned


def _at(bars: Bars, bar: np.int64, strategy: Featuring) -> Floats:
    """Return the features at one bar, asked with the bars up to it, shape (k,)."""
    given = strategy.features(bars[: bar + 1])
    _require_names(given, strategy, "features")
    try:
        values = np.array([float(given[name]) for name in strategy.feature_names])
    except (TypeError, ValueError) as error:
        raise FixConfiguration(
            f"{type(strategy).__name__}.features gave no number for {bars.symbol} at "
            f"{bars.timestamp[bar]} ({error}); give NaN for an unknown value"
        ) from error
    _require_numbers(bars, np.array([bar]), strategy, values[None, :])
    return values


def _require_names(given: Mapping[str, object], strategy: Featuring, method: str) -> None:
    if set(given) == set(strategy.feature_names):
        return
    raise FixConfiguration(
        f"{type(strategy).__name__}.{method} gave {', '.join(sorted(given)) or 'nothing'}, but "
        f"feature_names says {', '.join(strategy.feature_names)}; give each of them every time, "
        "NaN for an unknown value"
    )


def _require_numbers(bars: Bars, decided: Ints, strategy: Featuring, values: Floats) -> None:
    """Refuse infinite and enormous values among those of some bars, shape (m, k)."""
    refused = np.argwhere(~(np.isnan(values) | (np.abs(values) <= LARGEST)))
    for row, column in refused[:1]:
        raise FixConfiguration(
            f"{type(strategy).__name__} gave {strategy.feature_names[column]} = "
            f"{values[row, column]} for {bars.symbol} at {bars.timestamp[decided[row]]}; give a "
            f"number of size {LARGEST:g} or less, or NaN for an unknown value"
        )


def _require_same(bars: Bars, bar: np.int64, strategy: Featuring, scanned: Floats) -> None:
    """Refuse a scan that differs from ``features`` on the bars up to one of them, shape (k,)."""
    asked = _at(bars, bar, strategy)
    for name, value, other in zip(strategy.feature_names, scanned, asked, strict=True):
        both_unknown = np.isnan(value) and np.isnan(other)
        if not (both_unknown or abs(value - other) <= TOLERANCE * max(abs(other), 1.0)):
            raise FixConfiguration(
                f"{type(strategy).__name__}.scan_features sees past {bars.symbol} "
                f"{bars.timestamp[bar]}: {name} = {value}, but features on the bars up to there "
                f"gives {other}; correct scan_features, or remove it"
            )


def idle_features(features: pd.DataFrame) -> tuple[str, ...]:
    """Return which of the user's own features teach nothing, one line each.

    Args:
        features: One row per signal, one column per feature.
    """
    lines = []
    for name in features.columns[may_be_missing(features.columns)]:
        known = features[name].dropna()
        if known.empty:
            lines.append(f"{name} has no value in {len(features)} signals and teaches nothing")
        elif known.min() == known.max():
            lines.append(f"{name} is always {known.iloc[0]:g} and teaches nothing")
    return tuple(lines)


def missing_shares(features: pd.DataFrame) -> tuple[str, ...]:
    """Return how often each of the user's own features is missing, one line each if it ever is.

    Args:
        features: One row per signal, one column per feature.
    """
    shares = features.loc[:, may_be_missing(features.columns)].isna().mean()
    return tuple(
        f"{name} is missing in {share:.1%} of the signals"
        for name, share in shares[shares > 0].items()
    )
