"""The user's own features: asked with the past alone, checked, and told about."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from factories.bars import small_market
from steelyard.errors import FixConfiguration
from steelyard.gateways.plugins import load_strategy
from steelyard.market.bars import Bars, Floats
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.own_features import idle_features, missing_shares, own_features
from steelyard.market.strategy import StrategySettings, TrendStrategy, signals

MARKET = {symbol: bars[:400] for symbol, bars in small_market().items()}
PROPOSED = signals(MARKET, TrendStrategy())


class Funding(TrendStrategy):
    """Figures of any scale; one of them is known at every other bar only."""

    feature_names = ("turnover", "funding")

    def features(self, bars: Bars) -> Mapping[str, float]:
        return {
            "funding": bars.close[-1] / bars.open[-1] - 1 if len(bars) % 2 else np.nan,
            "turnover": float(bars.close[-1] * bars.volume[-1]),
        }


class FastFunding(Funding):
    """The same at all bars at once."""

    def scan_features(self, bars: Bars) -> Mapping[str, Floats]:
        known = np.arange(1, len(bars) + 1) % 2 == 1
        return {
            "funding": np.where(known, bars.close / bars.open - 1, np.nan),
            "turnover": bars.close * bars.volume,
        }


def test_own_features_are_columns_of_the_history_after_the_scores() -> None:
    """In the order of their names, as known at the decision, NaN where the system knows none."""
    table = history(MARKET, Funding(), BracketPolicy())
    names = feature_names(Funding())
    bars, first = MARKET["SIM00"], table[(table["symbol"] == "SIM00").to_numpy()].iloc[0]
    decided = int(np.searchsorted(bars.timestamp, first["timestamp"].to_datetime64()))

    assert names[-2:] == ("own_turnover", "own_funding")
    assert set(names) <= set(table.columns)
    assert first["own_turnover"] == bars.close[decided] * bars.volume[decided]
    assert 0.3 < table["own_funding"].isna().mean() < 0.7
    assert feature_names(TrendStrategy()) == names[:-2]
    assert own_features(MARKET, PROPOSED, TrendStrategy()).shape == (len(PROPOSED), 0)


def test_a_scan_of_own_features_gives_the_same_table() -> None:
    """To the last bit, NaN included."""
    slow, fast = (own_features(MARKET, PROPOSED, system) for system in (Funding(), FastFunding()))

    pd.testing.assert_frame_equal(slow, fast, check_exact=True)


class Peeking(FastFunding):
    """A scan that knows the next bar."""

    def scan_features(self, bars: Bars) -> Mapping[str, Floats]:
        return {**super().scan_features(bars), "turnover": np.roll(bars.close, -1)}


class Short(FastFunding):
    """A scan with a value too few."""

    def scan_features(self, bars: Bars) -> Mapping[str, Floats]:
        return {name: values[1:] for name, values in super().scan_features(bars).items()}


class InfiniteScan(FastFunding):
    """A scan that divides by zero."""

    def scan_features(self, bars: Bars) -> Mapping[str, Floats]:
        return {**super().scan_features(bars), "turnover": np.full(len(bars), np.inf)}


class Infinite(Funding):
    def features(self, bars: Bars) -> Mapping[str, float]:
        return {**super().features(bars), "turnover": np.inf}


class Forgetful(Funding):
    def features(self, bars: Bars) -> Mapping[str, float]:
        return {"funding": 0.0}


class Wordy(Funding):
    def features(self, bars: Bars) -> Mapping[str, float]:
        return {"funding": 0.0, "turnover": "much"}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (Peeking(), r"scan_features sees past SIM00 2020.*turnover = .* but features"),
        (Short(), r"one value per bar of SIM00, arrays of shape \(400,\)"),
        (InfiniteScan(), "turnover = inf for SIM00 at 2020"),
        (Infinite(), "turnover = inf for SIM00 at 2020.*NaN for an unknown value"),
        (Forgetful(), "gave funding, but feature_names says turnover, funding"),
        (Wordy(), "no number for SIM00 at 2020"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Funding) else "",
)
def test_features_that_break_the_contract_are_refused(system: Funding, message: str) -> None:
    """The message names class, feature, symbol and bar."""
    with pytest.raises(FixConfiguration, match=message) as refused:
        own_features(MARKET, PROPOSED, system)
    assert type(system).__name__ in str(refused.value)


class Nameless(TrendStrategy):
    def features(self, bars: Bars) -> Mapping[str, float]:
        return {}


class Spaced(Funding):
    feature_names = ("funding rate",)


class Twice(Funding):
    feature_names = ("funding", "funding")


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("Nameless", "only one of features and feature_names"),
        ("Spaced", "'funding rate'"),
        ("Twice", "'funding'.*once"),
    ],
)
def test_a_system_whose_features_have_no_usable_names_is_not_loaded(
    system: str, message: str
) -> None:
    """Names become columns, metrics and keys of JSON."""
    with pytest.raises(FixConfiguration, match=message):
        load_strategy(StrategySettings(system=f"{__name__}:{system}"))


def test_features_that_teach_nothing_are_named() -> None:
    """No value at all, or always the same; a missing share is told, built-in features are not."""
    table = pd.DataFrame(
        {
            "rsi": [0.5, 0.5, 0.5, 0.5],
            "own_empty": [np.nan] * 4,
            "own_constant": [3.0, 3.0, np.nan, 3.0],
            "own_useful": [1.0, 2.0, 3.0, 4.0],
        }
    )

    assert idle_features(table) == (
        "own_empty has no value in 4 signals and teaches nothing",
        "own_constant is always 3 and teaches nothing",
    )
    assert missing_shares(table) == (
        "own_empty is missing in 100.0% of the signals",
        "own_constant is missing in 25.0% of the signals",
    )
