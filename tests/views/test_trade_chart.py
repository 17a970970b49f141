"""The chart of a trade: candles in place, levels named, no label over another."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from factories.bars import bars_of
from steelyard.views.account import SettledTrade, TradePrices
from steelyard.views.trade_chart import LABEL_HEIGHT, MOST_CANDLES, price_words, trade_chart

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def trade(bars: int = 40, stop: float = 98.0, target: float = 104.0) -> SettledTrade:
    """A buy at bar 10 that reaches its target at bar 20."""
    closes = 100 + np.sin(np.arange(bars))
    rows = [(close - 0.2, close + 0.5, close - 0.5, close) for close in closes.tolist()]
    prices = TradePrices(
        bars=bars_of(rows),
        entry_at=NEW_YEAR + timedelta(hours=10),
        entry=100.0,
        stop=stop,
        target=target,
        exit_at=NEW_YEAR + timedelta(hours=20),
        exit=target,
    )
    return SettledTrade(
        signal_id="X:1:buy",
        symbol="<X>",
        side="buy",
        decided_at=NEW_YEAR,
        settled_at=NEW_YEAR,
        confidence_existing=80.0,
        confidence_ml=60.0,
        blended=75.0,
        weight=0.25,
        taken=True,
        changed=False,
        won=True,
        account_return=0.01,
        gained=0.0,
        exit_reason="target",
        hold_minutes=600.0,
        prices=prices,
    )


def test_a_trade_shows_entry_stop_target_and_exit() -> None:
    """Each by name; the stop of a buy lies under its entry, the exit on the target."""
    svg = trade_chart(trade())
    lines = {
        name: float(height)
        for name, height in re.findall(r'class="(stop|target)" d="M[0-9.]+ ([0-9.]+)H', svg)
    }

    assert set(re.findall(r">(\w+)</text>", svg)) == {"entry", "stop", "target", "exit"}
    assert lines["target"] < lines["stop"]
    assert "&lt;X&gt;" in svg
    assert svg.count("V") >= 80


def test_labels_never_cover_each_other() -> None:
    """Stop, entry, target and exit within a tenth of a per mille are still readable."""
    svg = trade_chart(trade(stop=99.999, target=100.001))
    heights = sorted(float(y) for y in re.findall(r'y="([0-9.]+)">\w+</text>', svg))

    assert np.diff(heights).min() >= LABEL_HEIGHT - 0.11


def test_a_long_trade_is_drawn_with_few_candles() -> None:
    """Bars are put together; highest and lowest price stay."""
    svg = trade_chart(trade(bars=1000))
    wicks = re.search(r'class="wick" d="([^"]+)"', svg)

    assert wicks
    assert wicks[1].count("M") <= MOST_CANDLES


def test_a_trade_without_a_target_or_without_prices_is_no_error() -> None:
    """No line for what there is not; no chart without bars."""
    without = trade_chart(trade(target=float("nan")))

    assert 'class="target"' not in without


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (10_342.4, "10,342"),
        (101.5, "101.50"),
        (0.00012345, "0.00012345"),
        (1.0, "1.0000"),
        (float("nan"), "–"),
    ],
)
def test_prices_have_five_digits_and_no_exponent(price: float, words: str) -> None:
    """What a ticket shows."""
    assert price_words(price) == words
