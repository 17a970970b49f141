"""The price chart of one trade: candles, and entry, stop, target and exit as lines and marks."""

import math
from datetime import datetime
from html import escape

import numpy as np

from steelyard.market.bars import Bars, Floats
from steelyard.views.account import SettledTrade, TradePrices
from steelyard.views.svg import SHAPES

WIDTH, HEIGHT = 400, 190
RIGHT, MARGIN = 62, 12
LABEL_HEIGHT = 13.0
MOST_CANDLES = 64


def trade_chart(trade: SettledTrade) -> str:
    """Return the chart of a trade as SVG; empty without prices."""
    return _Candles(trade, trade.prices).svg() if trade.prices else ""


def price_words(price: float) -> str:
    """Return a price with five significant digits, without an exponent; a dash if unknown."""
    if not math.isfinite(price):
        return "–"
    digits = 4 - math.floor(math.log10(abs(price))) if price else 2
    return f"{price:,.{min(max(digits, 0), 10)}f}"


class _Candles:
    """The drawing of one trade."""

    def __init__(self, trade: SettledTrade, prices: TradePrices) -> None:
        self.trade, self.prices = trade, prices
        self.bars = _grouped(prices.bars)
        self.step = (WIDTH - RIGHT) / len(self.bars)
        self.levels = {
            name: price
            for name, price in (
                ("target", prices.target),
                ("entry", prices.entry),
                ("exit", prices.exit),
                ("stop", prices.stop),
            )
            if math.isfinite(price)
        }
        low = min(float(self.bars.low.min()), *self.levels.values())
        high = max(float(self.bars.high.max()), *self.levels.values())
        self.high, self.scale = high, (HEIGHT - 2 * MARGIN) / ((high - low) or 1.0)

    def svg(self) -> str:
        trade = self.trade
        label = f"{trade.symbol}, {trade.side}: price from before the entry to after the exit"
        parts = [*self._candles(), *self._levels(), *self._marks()]
        return (
            f'<svg class="candles" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
        )

    def _y(self, price: float | Floats) -> Floats:
        return np.asarray(MARGIN + (self.high - price) * self.scale).round(1)

    def _candles(self) -> list[str]:
        """Return wicks, rising bodies (hollow) and falling bodies (full), a path each."""
        middle = np.asarray((np.arange(len(self.bars)) + 0.5) * self.step).round(1)
        body = f' stroke-width="{max(0.62 * self.step, 1):.1f}"'
        rising = self.bars.close >= self.bars.open
        ends = self._y(self.bars.open), self._y(self.bars.close)
        return [
            _path("wick", middle, self._y(self.bars.high), self._y(self.bars.low)),
            _path("rise", middle[rising], ends[0][rising], ends[1][rising], body),
            _path("fall", middle[~rising], ends[0][~rising], ends[1][~rising], body),
        ]

    def _levels(self) -> list[str]:
        """Return a line for each level with its name and price beside it, none over another."""
        begin, end = (self._x(at) for at in (self.prices.entry_at, self.prices.exit_at))
        placed = _spread([float(self._y(price)) for price in self.levels.values()])
        parts = []
        for (name, price), y in zip(self.levels.items(), placed, strict=True):
            if name in ("stop", "target"):
                parts.append(f'<path class="{name}" d="M{begin} {self._y(price)}H{end}"/>')
            parts.append(
                f'<text class="{name}" x="{WIDTH - RIGHT + 4}" y="{y + 4:.1f}">{name}</text>'
            )
        return parts

    def _marks(self) -> list[str]:
        entered = SHAPES["up" if self.trade.side == "buy" else "down"]
        entry, left = (
            (self._x(self.prices.entry_at), float(self._y(self.prices.entry))),
            (self._x(self.prices.exit_at), float(self._y(self.prices.exit))),
        )
        return [
            f'<path class="way" d="M{entry[0]} {entry[1]}L{left[0]} {left[1]}"/>',
            f'<path class="entry" d="{entered.format(x=entry[0], y=entry[1])}"/>',
            f'<path class="exit" d="{SHAPES["dot"].format(x=left[0], y=left[1])}"/>',
        ]

    def _x(self, moment: datetime) -> float:
        return round(max(self.bars.position(moment), 0) * self.step + self.step / 2, 1)


def _path(name: str, x: Floats, begin: Floats, end: Floats, more: str = "") -> str:
    moves = "".join(
        f"M{left:g} {top:g}V{bottom + 0.5 if top == bottom else bottom:g}"
        for left, top, bottom in zip(x, begin, end, strict=True)
    )
    return f'<path class="{name}"{more} d="{moves}"/>' if moves else ""


def _grouped(bars: Bars) -> Bars:
    """Return the bars with as many put together as it takes to have few."""
    group = math.ceil(len(bars) / MOST_CANDLES)
    if group == 1:
        return bars
    first = np.arange(0, len(bars), group)
    last = np.minimum(first + group, len(bars)) - 1
    return Bars(
        bars.symbol,
        bars.bar_size * group,
        bars.timestamp[first],
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
    )


def _spread(heights: list[float]) -> list[float]:
    """Return heights of labels moved apart so that none covers another, in the same order."""
    order = np.argsort(heights)
    falling = np.arange(len(heights)) * LABEL_HEIGHT
    apart = np.maximum.accumulate(np.asarray(heights)[order] - falling) + falling
    placed = np.empty(len(heights))
    placed[order] = apart - max(float(apart[-1]) - (HEIGHT - MARGIN / 2), 0.0)
    return placed.tolist()
