"""The tear sheet: what a trader asks of an account besides the measures of its book.

An account is not compounded (``docs/decisions/0004``): a gain of 0.1 is a tenth of the capital it
began with. Growth, drawdown and the ratios of both are in units of that capital.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.books import BOOKS, Bools, Floats, finite_or_none
from steelyard.evaluation.figures import DAYS_A_YEAR, NEGLIGIBLE
from steelyard.market.bars import Bars

YEAR, MONTH, SECOND = timedelta(days=DAYS_A_YEAR), timedelta(days=30), timedelta(seconds=1)
NUMPY_SECOND = np.timedelta64(1, "s")


@dataclass(frozen=True, slots=True)
class TearSheet:
    """Figures of one account; NaN if there is nothing to measure.

    Attributes:
        growth: Compound annual growth rate, fraction a year (``annual_growth``).
        sortino: Mean over downside deviation, annualised (``sortino``).
        calmar: Growth a year over the deepest drawdown (Young, Futures 20, 1991).
        exposure: Share of the time with at least one position open, in [0, 1].
    """

    growth: float
    sortino: float
    calmar: float
    exposure: float

    def to_dict(self) -> dict[str, float | None]:
        """Return plain JSON values; NaN and infinity become None."""
        return {name: finite_or_none(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class MonthReturns:
    """What the three accounts gained in a calendar month (UTC), fractions of the capital."""

    year: int
    month: int
    baseline: float
    ml: float
    blended: float

    @property
    def difference(self) -> float:
        """What the model brought: blended less baseline."""
        return self.blended - self.baseline


@dataclass(frozen=True, slots=True)
class SymbolFigures:
    """What one symbol brought.

    Attributes:
        symbol: Name of the instrument.
        trades: Trades of the blended account.
        win_rate: Share of them that gained; NaN without any.
        baseline: Return of the baseline account, fraction of its capital.
        blended: Return of the blended account, likewise.
        buy_and_hold: Change of its price over the period, fraction; NaN without bars.
    """

    symbol: str
    trades: int
    win_rate: float
    baseline: float
    blended: float
    buy_and_hold: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes None."""
        return {
            name: finite_or_none(value) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def tear_sheets(
    held: pd.DataFrame, equity: pd.DataFrame, start: datetime, end: datetime
) -> dict[str, TearSheet]:
    """Return the tear sheet of each book.

    Args:
        held: Settled predictions of (start, end], one row each, ordered by ``settled_at``, from
            ``positions.take_positions``.
        equity: Additive equity by day, shape (days, 3), from ``books.equity_curves``.
        start: Beginning of the period (UTC), exclusive.
        end: End of the period (UTC), inclusive, not before ``start``.
    """
    return {book: _tear_sheet(held, equity[book], book, start, end) for book in BOOKS}


def _tear_sheet(
    held: pd.DataFrame, curve: pd.Series, book: str, start: datetime, end: datetime
) -> TearSheet:
    taken = held[f"{book}_taken"].to_numpy(dtype=bool)
    earned = held[f"{book}_return"].to_numpy(dtype=np.float64)[taken]
    growth = annual_growth(float(earned.sum()), end - start)
    deepest = metrics.max_drawdown(earned)
    return TearSheet(
        growth=growth,
        sortino=sortino(np.diff(curve.to_numpy(dtype=np.float64), prepend=0.0)),
        calmar=growth / deepest if deepest > 0 else math.nan,
        exposure=_exposure(held, taken, start, end),
    )


def annual_growth(gain: float, span: timedelta) -> float:
    """Return the rate a year at which the capital would have grown to 1 + ``gain`` (CAGR).

    Args:
        gain: Total return, fraction of the capital.
        span: Time in which it was earned.

    Returns:
        A fraction a year; NaN if the whole capital is lost, and for less than ``MONTH``, of which
        no year follows.
    """
    if gain <= -1 or span < MONTH:
        return math.nan
    return float((1 + gain) ** (YEAR / span) - 1)


def sortino(daily: Floats) -> float:
    """Return the annualised Sortino ratio against a target of 0.

    Mean over downside deviation, the root of the mean square of the losing days over all days
    (Sortino and Price, J. Investing 3, 1994), annualised with √365 as ``metrics.sharpe`` is.

    Args:
        daily: Returns of all calendar days, zeros included, shape (days,).

    Returns:
        0 without a gain or loss; NaN with fewer than two days, or gains only.
    """
    if len(daily) < 2:
        return math.nan
    mean, downside = daily.mean(), math.sqrt((np.minimum(daily, 0.0) ** 2).mean())
    if mean == 0 and downside == 0:
        return 0.0
    if downside <= NEGLIGIBLE * abs(mean):
        return math.nan
    return float(mean / downside * math.sqrt(DAYS_A_YEAR))


def _exposure(held: pd.DataFrame, taken: Bools, start: datetime, end: datetime) -> float:
    """Return the share of (start, end] in which a position of the book was open; NaN if empty."""
    length = (end - start) / SECOND
    if not length:
        return math.nan
    since = np.datetime64(start.replace(tzinfo=None), "ns")
    opened, closed = (
        ((held[name].to_numpy(dtype="datetime64[ns]")[taken] - since) / NUMPY_SECOND).clip(
            0, length
        )
        for name in ("decided_at", "settled_at")
    )
    order = np.argsort(opened, kind="stable")
    opened, closed = opened[order], closed[order]
    covered = np.maximum.accumulate(np.concatenate(([0.0], closed)))[:-1]
    return float(np.maximum(closed - np.maximum(opened, covered), 0.0).sum() / length)


def monthly_returns(equity: pd.DataFrame) -> tuple[MonthReturns, ...]:
    """Return what each book gained in each calendar month (UTC), oldest first.

    Args:
        equity: Additive equity by day, shape (days, 3), from ``books.equity_curves``.
    """
    days = pd.DatetimeIndex(equity.index) - pd.Timedelta("1D")  # a day's gain stands at its end
    daily = equity.diff().fillna(equity.iloc[:1])
    monthly = daily.groupby([days.year, days.month]).sum()
    return tuple(
        MonthReturns(int(year), int(month), *gained)
        for (year, month), *gained in monthly[list(BOOKS)].itertuples()
    )


def symbol_figures(
    held: pd.DataFrame, bars: Mapping[str, Bars], start: datetime
) -> tuple[SymbolFigures, ...]:
    """Return what each symbol with a settled signal brought, the largest blended return first.

    Args:
        held: Settled predictions, one row each, as in ``tear_sheets``.
        bars: Bars by symbol up to the end of the period; symbols without any have no buy-and-hold.
        start: Beginning of the period (UTC).
    """
    figures = [
        _figures_of(str(symbol), rows, bars.get(str(symbol)), start)
        for symbol, rows in held.groupby("symbol", sort=True)
    ]
    return tuple(sorted(figures, key=lambda each: -each.blended))


def _figures_of(
    symbol: str, rows: pd.DataFrame, bars: Bars | None, start: datetime
) -> SymbolFigures:
    earned = rows["blended_return"].to_numpy(dtype=np.float64)
    taken = rows["blended_taken"].to_numpy(dtype=bool)
    return SymbolFigures(
        symbol=symbol,
        trades=int(taken.sum()),
        win_rate=metrics.win_rate(earned[taken]),
        baseline=float(rows["baseline_return"].sum()),
        blended=float(earned.sum()),
        buy_and_hold=buy_and_hold(bars, start) if bars else math.nan,
    )


def buy_and_hold(bars: Bars, start: datetime) -> float:
    """Return the change of the price since ``start``, from the close known then to the last.

    Args:
        bars: Bars of one symbol.
        start: Time of the purchase (UTC); before the first bar, the purchase is at its open.

    Returns:
        A fraction; NaN without bars after ``start``.
    """
    known = np.searchsorted(
        bars.closes_at, np.datetime64(start.replace(tzinfo=None), "ns"), side="right"
    )
    if known >= len(bars):
        return math.nan
    bought = bars.close[known - 1] if known else bars.open[0]
    return float(bars.close[-1] / bought - 1)
