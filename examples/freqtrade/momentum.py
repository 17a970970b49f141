"""A freqtrade strategy that asks Steelyard before it enters: momentum of a day."""

from typing import Any

from freqtrade.strategy import IStrategy
from pandas import DataFrame
from steelyard_freqtrade import Steelyard


class Momentum(Steelyard, IStrategy):
    """Enters after a rise of 2 % within a day, leaves when it is gone."""

    INTERFACE_VERSION = 3
    timeframe = "1h"
    startup_candle_count = 48
    stoploss = -0.03
    minimal_roi = {"0": 0.02}  # noqa: RUF012  # as freqtrade declares it
    steelyard_features = ("momentum", "spread", "volume_ratio")

    def populate_indicators(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        """Return the candles with the columns that the strategy and the model look at."""
        close, volume = dataframe["close"], dataframe["volume"]
        dataframe["momentum"] = close.pct_change(24)
        dataframe["spread"] = (dataframe["high"] - dataframe["low"]) / close
        dataframe["volume_ratio"] = volume / volume.rolling(24).mean()
        dataframe["confidence"] = (60 + 500 * dataframe["momentum"]).clip(0, 100)
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        """Return the candles with ``enter_long``: a confidence over 70, Steelyard's threshold."""
        dataframe.loc[dataframe["confidence"] > 70, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict[str, Any]) -> DataFrame:
        """Return the candles with ``exit_long``."""
        dataframe.loc[dataframe["momentum"] < 0, "exit_long"] = 1
        return dataframe
