"""Share of a Sharpe ratio that luck explains, from its length, its moments and the trials made.

Ratios inside this module are per day, over daily returns as fractions of the account. Reported
ratios are annualised with √365 as in ``metrics.sharpe``. Fewer than two days, equal days or NaN
among them give NaN.

- Probabilistic Sharpe ratio and minimum track record: Bailey and López de Prado, "The Sharpe ratio
  efficient frontier", J. Risk 15(2), 2012.
- Deflated Sharpe ratio: Bailey and López de Prado, "The deflated Sharpe ratio", J. Portfolio
  Management 40(5), 2014.
- Circular block bootstrap: Politis and Romano, "A circular block-resampling procedure for
  stationary data", in Exploring the Limits of Bootstrap, 1992; blocks of ⌈n^(1/3)⌉ days, the order
  that is best for the variance of a mean.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.evaluation.books import finite_or_none
from steelyard.evaluation.chances import normal_bound, normal_share
from steelyard.evaluation.figures import DAYS_A_YEAR, MONTH_DAYS, varies
from steelyard.evaluation.metrics import NAN

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of daily returns.

    Attributes:
        days: Number of returns.
        sharpe: Mean ÷ standard deviation, per day.
        skew: Third standardised moment, 0 for normal returns.
        kurtosis: Fourth standardised moment, 3 for normal returns.
    """

    days: int
    sharpe: float
    skew: float
    kurtosis: float

    @classmethod
    def from_returns(cls, daily: Floats) -> "Moments":
        """Return the moments of daily returns, shape (days,)."""
        if len(daily) < 2:
            return cls(len(daily), NAN, NAN, NAN)
        centred = daily - daily.mean()
        deviation = centred.std()
        if not varies(daily.mean(), deviation):
            return cls(len(daily), NAN, NAN, NAN)
        skew, kurtosis = ((centred / deviation) ** power for power in (3, 4))
        return cls(
            days=len(daily),
            sharpe=float(daily.mean() / daily.std(ddof=1)),
            skew=float(skew.mean()),
            kurtosis=float(kurtosis.mean()),
        )

    @property
    def spread(self) -> float:
        """Standard deviation of the estimated ratio, times √(n − 1).

        NaN if the returns have two values only, for which the variance is 0.
        """
        variance = 1 - self.skew * self.sharpe + (self.kurtosis - 1) / 4 * self.sharpe**2
        return math.sqrt(variance) if variance > 1e-12 else NAN


def probabilistic_sharpe(moments: Moments, benchmark: float = 0.0) -> float:
    """Return the probability that the true ratio lies above ``benchmark``.

    Args:
        moments: Of the observed returns.
        benchmark: Ratio per day.
    """
    distance = (moments.sharpe - benchmark) * math.sqrt(max(moments.days - 1, 0))
    return normal_share(distance / moments.spread)


def expected_maximum(trials: int, variance: float) -> float:
    """Return the expected largest ratio, per day, among systems without skill; 0 for one system.

    Args:
        trials: Independent systems tried, at least 1.
        variance: Variance of their ratios, per day.
    """
    if trials < 2:
        return 0.0
    lower, upper = normal_bound(1 - 1 / trials), normal_bound(1 - 1 / (trials * math.e))
    best = (1 - np.euler_gamma) * lower + np.euler_gamma * upper
    return float(math.sqrt(variance) * best)


def deflated_probability(moments: Moments, trials: int, variance: float | None = None) -> float:
    """Return the probability that the true ratio exceeds the expected best of ``trials`` systems.

    Trials of one search are correlated, so the default variance deflates too much rather than too
    little.

    Args:
        moments: Of the observed returns.
        trials: Independent systems without skill that were tried, at least 1.
        variance: Variance of their ratios, per day; None for 1/(n − 1), that of independent systems
            without skill over as many days.
    """
    if moments.days < 2:
        return NAN
    if variance is None:
        variance = 1 / (moments.days - 1)
    return probabilistic_sharpe(moments, expected_maximum(trials, variance))


def minimum_track_record(moments: Moments, benchmark: float = 0.0, trials: int = 1) -> float:
    """Return the days after which the ratio is above ``benchmark`` with a probability of 95 %.

    Infinite if the observed ratio is not above it.

    Args:
        moments: Of the observed returns; they are assumed to stay.
        benchmark: Ratio per day.
        trials: Systems tried; with more than 1 it is the deflated ratio that must be above it.
    """
    if moments.sharpe <= benchmark:
        return float("inf")
    needed = moments.spread * normal_bound(CONFIDENCE) + expected_maximum(trials, 1.0)
    return float(1 + (needed / (moments.sharpe - benchmark)) ** 2)


def mean_interval(daily: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the mean of daily returns, shape (days,).

    Percentiles of a circular block bootstrap with a fixed seed.
    """
    if len(daily) < 2:
        return NAN, NAN
    length = math.ceil(len(daily) ** (1 / 3))
    running = np.cumsum(np.concatenate(([0.0], daily, daily[:length])))
    block_sums = running[length : length + len(daily)] - running[: len(daily)]
    count = math.ceil(len(daily) / length)
    draws = np.random.default_rng(0).integers(0, len(daily), size=(RESAMPLES, count))
    means = block_sums[draws].sum(axis=1) / (count * length)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """Sharpe ratio of a book and the share of it that luck explains; None if unknown.

    Attributes:
        sharpe: Annualised ratio.
        positive: Probability that the true ratio is above 0, with a single trial.
        luck: Probability that the best of all systems tried shows this ratio without skill.
        days: Number of daily returns.
        days_needed: Days after which the same returns would leave luck 5 %; None if no length does.
    """

    sharpe: float | None
    positive: float | None
    luck: float | None
    days: int
    days_needed: float | None

    @classmethod
    def from_returns(cls, daily: Floats, trials: int) -> "DeflatedSharpe":
        """Deflate the ratio of daily returns.

        Args:
            daily: Fractions of the account, shape (days,).
            trials: Systems tried to find these returns, at least 1.
        """
        moments = Moments.from_returns(daily)
        return cls(
            sharpe=finite_or_none(moments.sharpe * math.sqrt(DAYS_A_YEAR)),
            positive=finite_or_none(probabilistic_sharpe(moments)),
            luck=finite_or_none(1 - deflated_probability(moments, trials)),
            days=moments.days,
            days_needed=finite_or_none(minimum_track_record(moments, trials=trials)),
        )


@dataclass(frozen=True, slots=True)
class MonthlyGain:
    """Gain of a book over the baseline in 30 days with its 95 % interval; None if unknown.

    All three are fractions of the account.
    """

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class BookSharpes:
    """Deflated ratios of the three books, and their gains over the baseline, paired by day.

    Attributes:
        trials: Trials of all searches and settings tried.
        books: Book → its ratio; the baseline was not found by these trials, so its is not deflated.
        gains: Book → its gain over the baseline; ``ml`` and ``blended`` only.
    """

    trials: int
    books: Mapping[str, DeflatedSharpe]
    gains: Mapping[str, MonthlyGain]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """Return flat metrics; unknown values are left out.

        Args:
            prefix: Put before every name but ``trials_so_far``.
        """
        figures = {
            f"{book}_{name}": getattr(sharpe, name)
            for book, sharpe in self.books.items()
            for name in ("positive", "luck")
        }
        figures |= {
            f"{book}_gain_{name}": value
            for book, gain in self.gains.items()
            for name, value in asdict(gain).items()
        }
        return {"trials_so_far": float(self.trials)} | {
            f"{prefix}{name}": float(value) for name, value in figures.items() if value is not None
        }


def deflated_sharpe(equity: pd.DataFrame, trials: int) -> BookSharpes:
    """Return the deflated ratios of the books and their gains over the baseline.

    Args:
        equity: Additive equity by day (``books.equity_curves``), columns ``baseline``, ``ml`` and
            ``blended``.
        trials: Trials of all searches and settings tried.
    """
    daily = {
        str(book): np.diff(curve.to_numpy(dtype=np.float64), prepend=0.0)
        for book, curve in equity.items()
    }
    book_trials = {"baseline": 1, "ml": max(trials, 1), "blended": max(trials, 1)}
    return BookSharpes(
        trials=trials,
        books={
            book: DeflatedSharpe.from_returns(daily[book], count)
            for book, count in book_trials.items()
        },
        gains={book: _monthly_gain(daily[book] - daily["baseline"]) for book in ("ml", "blended")},
    )


def _monthly_gain(difference: Floats) -> MonthlyGain:
    low, high = mean_interval(difference)
    mean = difference.mean() if len(difference) else NAN
    return MonthlyGain(*(finite_or_none(float(value) * MONTH_DAYS) for value in (mean, low, high)))
