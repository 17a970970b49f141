"""How much of a Sharpe ratio luck explains: its length, its odd returns, and how many systems were tried to find it.

Ratios inside this module are per day, over daily returns as fractions of the account; what leaves it for people is
annualised with √365 as in ``metrics.sharpe``. Fewer than two days, equal days or NaN among them give NaN.

- Probabilistic Sharpe ratio and minimum track record: Bailey and López de Prado, "The Sharpe ratio efficient frontier",
  J. Risk 15(2), 2012.
- Deflated Sharpe ratio: Bailey and López de Prado, "The deflated Sharpe ratio", J. Portfolio Management 40(5), 2014.
- Circular block bootstrap: Politis and Romano, "A circular block-resampling procedure for stationary data", in Exploring
  the Limits of Bootstrap, 1992; blocks of ⌈n^(1/3)⌉ days, the order that is best for the variance of a mean.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from steelyard.evaluation.books import finite_or_none
from steelyard.evaluation.metrics import DAYS_A_YEAR

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
RESAMPLES = 2_000
MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Moments:
    """What the tests need of daily returns; ``sharpe`` per day, ``kurtosis`` 3 for normal returns."""

    days: int
    sharpe: float
    skew: float
    kurtosis: float

    @classmethod
    def from_returns(cls, daily: Floats) -> "Moments":
        """Return the moments of daily returns, shape (n,)."""
        nan = float("nan")
        if len(daily) < 2:
            return cls(len(daily), nan, nan, nan)
        centred = daily - daily.mean()
        deviation = centred.std()
        if not deviation > 1e-12 * abs(daily.mean()):  # equal days leave only rounding
            return cls(len(daily), nan, nan, nan)
        skew, kurtosis = ((centred / deviation) ** power for power in (3, 4))
        return cls(
            len(daily),
            float(daily.mean() / daily.std(ddof=1)),
            float(skew.mean()),
            float(kurtosis.mean()),
        )

    @property
    def spread(self) -> float:
        """Deviation of the estimated ratio, times √(n − 1); NaN where the returns take two values only and leave none."""
        variance = 1 - self.skew * self.sharpe + (self.kurtosis - 1) / 4 * self.sharpe**2
        return math.sqrt(variance) if variance > 1e-12 else float("nan")


def probabilistic_sharpe(of: Moments, benchmark: float = 0.0) -> float:
    """Return the probability that the true ratio lies above ``benchmark``, both per day."""
    return float(ndtr((of.sharpe - benchmark) * math.sqrt(max(of.days - 1, 0)) / of.spread))


def expected_maximum(trials: int, variance: float) -> float:
    """Return the ratio the best of ``trials`` worthless systems is expected to show, per day; 0 for one.

    Args:
        trials: Independent systems tried, at least 1.
        variance: Of their ratios, per day.
    """
    if trials < 2:
        return 0.0
    best = (1 - np.euler_gamma) * ndtri(1 - 1 / trials) + np.euler_gamma * ndtri(
        1 - 1 / (trials * math.e)
    )
    return float(math.sqrt(variance) * best)


def deflated_probability(of: Moments, trials: int, variance: float | None = None) -> float:
    """Return the probability that the true ratio lies above what the best of ``trials`` worthless systems would show.

    Without a measured ``variance`` of their ratios it is 1/(n − 1): that of independent worthless systems over as many
    days. Trials of one search are alike, so this deflates too much rather than too little.
    """
    if of.days < 2:
        return float("nan")
    return probabilistic_sharpe(
        of, expected_maximum(trials, 1 / (of.days - 1) if variance is None else variance)
    )


def minimum_track_record(of: Moments, benchmark: float = 0.0, trials: int = 1) -> float:
    """Return the days after which returns like these make a ratio above ``benchmark`` 95 % sure; infinite below it.

    With one trial as in the paper; with more, the days after which the deflated ratio is that sure.
    """
    if of.sharpe <= benchmark:
        return float("inf")
    needed = of.spread * ndtri(CONFIDENCE) + expected_maximum(trials, 1.0)
    return float(1 + (needed / (of.sharpe - benchmark)) ** 2)


def mean_interval(daily: Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of ``daily`` by a circular block bootstrap; it repeats."""
    if len(daily) < 2:
        return float("nan"), float("nan")
    length = math.ceil(len(daily) ** (1 / 3))
    running = np.cumsum(np.concatenate(([0.0], daily, daily[:length])))
    blocks = running[length : length + len(daily)] - running[: len(daily)]
    count = math.ceil(len(daily) / length)
    drawn = np.random.default_rng(0).integers(0, len(daily), size=(RESAMPLES, count))
    means = blocks[drawn].sum(axis=1) / (count * length)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """What is left of a book's Sharpe ratio.

    Attributes:
        sharpe: Annualised.
        positive: Probability that the true one is above 0, had nothing else been tried.
        luck: Probability that the best of all worthless systems tried would have shown as much.
        days: Days it rests on.
        days_needed: Days after which returns like these would leave luck 5 %; None where no length would.
    """

    sharpe: float | None
    positive: float | None
    luck: float | None
    days: int
    days_needed: float | None

    @classmethod
    def from_returns(cls, daily: Floats, trials: int) -> "DeflatedSharpe":
        """Return the worth of daily returns, shape (n,), that were found by ``trials`` trials."""
        found = Moments.from_returns(daily)
        return cls(
            sharpe=finite_or_none(found.sharpe * math.sqrt(DAYS_A_YEAR)),
            positive=finite_or_none(probabilistic_sharpe(found)),
            luck=finite_or_none(1 - deflated_probability(found, trials)),
            days=found.days,
            days_needed=finite_or_none(minimum_track_record(found, trials=trials)),
        )


def deflated_sharpe(equity: pd.DataFrame, trials: int) -> dict[str, Any]:
    """Return what the books' Sharpe ratios and their gains over the baseline are worth, as plain JSON values.

    The baseline was not found by these trials, so nothing is deflated there. Gains are paired day by day, shares of the
    account in 30 days with their 95 % interval.

    Args:
        equity: Additive equity of the three books by day (``books.equity_curves``).
        trials: Searches' trials and settings that were tried.
    """
    daily = {
        str(book): np.diff(curve.to_numpy(dtype=np.float64), prepend=0.0)
        for book, curve in equity.items()
    }
    tried = {"baseline": 1, "ml": max(trials, 1), "blended": max(trials, 1)}
    return {
        "trials": trials,
        "books": {
            book: asdict(DeflatedSharpe.from_returns(daily[book], tried[book])) for book in tried
        },
        "gains": {book: _gain(daily[book] - daily["baseline"]) for book in ("ml", "blended")},
    }


def deflated_sharpe_metrics(found: Mapping[str, Any] | None, prefix: str = "") -> dict[str, float]:
    """Return what ``deflated_sharpe`` found as plain metrics; what is unknown is left out, all of it without ``found``."""
    if found is None:
        return {}
    named = {
        f"{book}_{name}": of[name]
        for book, of in found["books"].items()
        for name in ("positive", "luck")
    }
    named |= {
        f"{book}_gain_{name}": value
        for book, gain in found["gains"].items()
        for name, value in gain.items()
    }
    known = {name: value for name, value in named.items() if value is not None}
    return {"trials_so_far": float(found["trials"])} | {
        f"{prefix}{name}": float(value) for name, value in known.items()
    }


def _gain(difference: Floats) -> Mapping[str, float | None]:
    low, high = mean_interval(difference)
    mean = difference.mean() if len(difference) else float("nan")
    return {
        name: finite_or_none(float(value) * MONTH_DAYS)
        for name, value in (("mean", mean), ("low", low), ("high", high))
    }
