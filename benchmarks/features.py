"""All indicators and features over 1 M bars.

Against the same quantities in pandas ewm/rolling style, and the indicators against
pandas-ta-classic's, in one run.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pandas_ta_classic as ta

from steelyard.market import indicators
from steelyard.market.bars import Bars
from steelyard.market.features import at_every_bar

BARS, RUNS = 1_000_000, 3


def made() -> Bars:
    """Return 1 M hourly bars of a random walk."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, BARS)))
    opens = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opens, close) * (1 + rng.random(BARS) * 0.002)
    low = np.minimum(opens, close) * (1 - rng.random(BARS) * 0.002)
    stamps = np.datetime64("1900-01-01", "ns") + np.arange(BARS) * np.timedelta64(1, "h")
    return Bars("X", pd.Timedelta("1h"), stamps, opens, high, low, close, 1000 * rng.random(BARS))


def in_pandas(bars: Bars) -> dict[str, pd.Series]:
    """Return the same features (calendar and candle shape included) the usual way.

    Wilder's averages as ewm(alpha=1/n).
    """
    o, h, lo, c, v = (
        pd.Series(x) for x in (bars.open, bars.high, bars.low, bars.close, bars.volume)
    )
    before, change = c.shift(), c.diff()

    def wilder(x: pd.Series, n: int) -> pd.Series:
        return x.ewm(alpha=1 / n, adjust=False).mean()

    true_range = pd.concat([h - lo, (h - before).abs(), (lo - before).abs()], axis=1).max(axis=1)
    atr, slow = wilder(true_range, 14), c.ewm(span=26, adjust=False).mean()
    fast = c.ewm(span=12, adjust=False).mean()
    macd = fast - slow
    up, down = h.diff(), -lo.diff()
    plus = wilder(up.where((up > down) & (up > 0), 0.0), 14) / atr
    minus = wilder(down.where((down > up) & (down > 0), 0.0), 14) / atr
    di = (plus - minus) / (plus + minus)
    gain, loss = wilder(change.clip(lower=0), 14), wilder(-change.clip(upper=0), 14)
    height = h - lo
    body = (c - o) / height
    top, bottom = np.maximum(o, c), np.minimum(o, c)
    short = v.rolling(20).mean()
    closes = pd.Series(bars.closes_at)
    day = (closes.dt.hour * 60 + closes.dt.minute) / 1440 * 2 * np.pi
    week = closes.dt.dayofweek / 7 * 2 * np.pi
    low14, low50 = lo.rolling(14).min(), lo.rolling(50).min()
    return {
        "ema_spread": macd / atr,
        "over_ema50": (c - c.ewm(span=50, adjust=False).mean()) / atr,
        "ema26_slope": (slow - slow.shift(5)) / atr,
        "di_difference": di,
        "adx": wilder(di.abs(), 14),
        "efficiency20": (c - c.shift(20)) / change.abs().rolling(20).sum(),
        "rsi": (gain - loss) / (gain + loss),
        "macd_histogram": (macd - macd.ewm(span=9, adjust=False).mean()) / atr,
        **{f"change{n}": (c - c.shift(n)) / atr for n in (1, 5, 20, 60)},
        "range_place14": (c - low14) / (h.rolling(14).max() - low14) - 0.5,
        "range_place50": (c - low50) / (h.rolling(50).max() - low50) - 0.5,
        "atr_ratio": atr / wilder(true_range, 100),
        "true_range": true_range / atr,
        "deviation_ratio": change.rolling(10).std() / change.rolling(60).std(),
        "down_share": 0.5
        - (change.clip(upper=0) ** 2).rolling(20).sum() / (change**2).rolling(20).sum(),
        "autocorrelation": (change * change.shift()).rolling(49).sum()
        / (change**2).rolling(49).sum(),
        "volume_now": np.log(v / short),
        "volume_trend": np.log(short / v.rolling(100).mean()),
        "volume_pressure": (np.sign(change) * v).rolling(20).mean() / short,
        "body": body,
        "close_place": (2 * c - h - lo) / height,
        "body_share20": body.abs().rolling(20).mean(),
        "wick_balance20": ((bottom - lo - (h - top)) / height).rolling(20).mean(),
        "gap": (o - before) / atr,
        "hour_sin": np.sin(day),
        "hour_cos": np.cos(day),
        "weekday_sin": np.sin(week),
        "weekday_cos": np.cos(week),
    }


def indicators_of(bars: Bars) -> list[np.ndarray]:
    """Return EMA12, EMA26, RSI, MACD histogram, ADX, ATR and relative volume through TA-Lib."""
    found = [
        indicators.ema(bars.close, 12),
        indicators.ema(bars.close, 26),
        indicators.rsi(bars.close),
    ]
    found += [indicators.macd_histogram(bars.close), indicators.adx(bars), indicators.atr(bars)]
    return [*found, indicators.relative_volume(bars)]


def indicators_in_pandas(bars: Bars) -> list[pd.Series]:
    """Return the same by ewm and rolling."""
    h, lo, c, v = (pd.Series(x) for x in (bars.high, bars.low, bars.close, bars.volume))
    before, change = c.shift(), c.diff()

    def wilder(x: pd.Series) -> pd.Series:
        return x.ewm(alpha=1 / 14, adjust=False).mean()

    atr = wilder(pd.concat([h - lo, (h - before).abs(), (lo - before).abs()], axis=1).max(axis=1))
    fast, slow = c.ewm(span=12, adjust=False).mean(), c.ewm(span=26, adjust=False).mean()
    up, down = h.diff(), -lo.diff()
    plus = wilder(up.where((up > down) & (up > 0), 0.0)) / atr
    minus = wilder(down.where((down > up) & (down > 0), 0.0)) / atr
    gain, loss = wilder(change.clip(lower=0)), wilder(-change.clip(upper=0))
    macd = fast - slow
    histogram = macd - macd.ewm(span=9, adjust=False).mean()
    adx = wilder(((plus - minus) / (plus + minus)).abs())
    return [fast, slow, gain / (gain + loss), histogram, adx, atr, v / v.rolling(20).mean()]


def indicators_in_pandas_ta(bars: Bars) -> list[pd.Series]:
    """Return the same by pandas-ta-classic, without TA-Lib, which it would hand the work to."""
    h, lo, c, v = (pd.Series(x) for x in (bars.high, bars.low, bars.close, bars.volume))
    found = [
        ta.ema(c, 12, talib=False),
        ta.ema(c, 26, talib=False),
        ta.rsi(c, 14, talib=False),
        ta.macd(c, talib=False)["MACDh_12_26_9"],
        ta.adx(h, lo, c, 14, talib=False)["ADX_14"],
        ta.atr(h, lo, c, 14, talib=False),
    ]
    return [*found, v / ta.sma(v, 20, talib=False)]


def main() -> None:
    """Check that both compute the same quantities.

    Then print medians of interleaved runs and the ratio.
    """
    bars = made()
    ours, theirs = at_every_bar(bars), in_pandas(bars)
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)  # noqa: S101  # a benchmark of different things measures nothing
    for name in (
        "ema_spread",
        "rsi",
        "efficiency20",
        "body_share20",
        "volume_trend",
        "range_place50",
        "autocorrelation",
    ):
        np.testing.assert_allclose(
            ours[name][5000:], theirs[name].to_numpy()[5000:], rtol=1e-3, atol=1e-6, err_msg=name
        )
    seconds: dict[str, list[float]] = {"steelyard": [], "pandas": []}
    for _ in range(RUNS):
        for name, compute in (("steelyard", at_every_bar), ("pandas", in_pandas)):
            started = time.perf_counter()
            compute(bars)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(
            f"{name:10} {len(ours)} features  {median:6.2f} s  {BARS / median / 1e6:6.2f} M bars/s"
        )
    print(f"ratio {medians['pandas'] / medians['steelyard']:.1f}")
    ways: dict[str, Callable[[Bars], Sequence[object]]] = {
        "steelyard": indicators_of,
        "pandas": indicators_in_pandas,
        "pandas-ta-classic": indicators_in_pandas_ta,
    }
    agree(ways["steelyard"](bars), ways["pandas-ta-classic"](bars))
    spent = {}
    for name, compute in ways.items():
        started = time.perf_counter()
        compute(bars)
        spent[name] = time.perf_counter() - started
        ratio = spent[name] / spent["steelyard"]
        print(f"{name:18} indicators {spent[name]:6.3f} s  ratio {ratio:.1f}")


def agree(ours: Sequence[object], theirs: Sequence[object]) -> None:
    """Check that two ways to compute the indicators give the same, once their begin is forgotten.

    Args:
        ours: Indicators, each of shape (n,).
        theirs: The same by another library.
    """
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            np.asarray(own)[5000:], np.asarray(other)[5000:], rtol=1e-3, atol=1e-6
        )


if __name__ == "__main__":
    main()
