"""The bracket: one rule for labels, settlements and fills, walked along its edges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.bars import bars_of, small_history, small_market
from steelyard.errors import FixData
from steelyard.market.brackets import BracketPolicy, net_return, outcomes, settle
from steelyard.market.strategy import TrendStrategy, signals

FLAT = (100.0, 100.0, 100.0, 100.0)
REASON = {0: None, 1: "stop", 2: "target", 3: "time"}


def run(
    rows: list[tuple[float, float, float, float]], side: int = 1, limit: int = 3
) -> tuple[int, float, str | None]:
    """Settle one trade decided on a flat bar before ``rows``, entry 100.

    Stop and target 10 away.
    """
    bars = bars_of([FLAT, *rows])
    columns = bars.open, bars.high, bars.low, bars.close
    stop, target = np.array([100.0 - 10 * side]), np.array([100.0 + 10 * side])
    none, limits = np.array([np.nan]), np.array([limit])
    exit_bar, price, reason = settle(
        *columns, np.array([1]), np.array([side]), stop, target, none, limits
    )
    return int(exit_bar[0]), float(price[0]), REASON[int(reason[0])]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([(100, 105, 89, 95)], (1, 90.0, "stop"), id="stopped on the entry bar"),
        pytest.param([(100, 111, 95, 105)], (1, 110.0, "target"), id="target on the entry bar"),
        pytest.param([(100, 111, 89, 100)], (1, 90.0, "stop"), id="both touched: the stop counts"),
        pytest.param([(100, 105, 90, 95)], (1, 90.0, "stop"), id="the stop touched exactly"),
        pytest.param([(100, 110, 95, 95)], (1, 110.0, "target"), id="the target touched exactly"),
        pytest.param(
            [FLAT, (85, 86, 80, 82)],
            (2, 85.0, "stop"),
            id="a gap through the stop fills at the open",
        ),
        pytest.param(
            [FLAT, (115, 116, 80, 82)],
            (2, 115.0, "target"),
            id="a gap through the target fills at the open",
        ),
        pytest.param(
            [FLAT, FLAT, (100, 101, 99, 101)], (3, 101.0, "time"), id="the last bar's close"
        ),
        pytest.param(
            [FLAT, FLAT, (100, 111, 99, 101)], (3, 110.0, "target"), id="the last bar may still hit"
        ),
        pytest.param([FLAT, FLAT], (-1, np.nan, None), id="bars run out before the limit"),
        pytest.param([], (-1, np.nan, None), id="not entered yet"),
    ],
)
def test_a_bought_bracket_ends_as_it_should(
    rows: list[tuple[float, float, float, float]], expected: tuple[int, float, str | None]
) -> None:
    """Exit bar, price and reason on each edge."""
    assert run(rows) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([(100, 111, 95, 105)], (1, 110.0, "stop"), id="stopped above"),
        pytest.param([(100, 105, 89, 95)], (1, 90.0, "target"), id="target below"),
        pytest.param(
            [FLAT, (115, 116, 114, 115)], (2, 115.0, "stop"), id="a gap up through the stop"
        ),
        pytest.param(
            [FLAT, (85, 86, 84, 85)], (2, 85.0, "target"), id="a gap down through the target"
        ),
    ],
)
def test_a_sold_bracket_is_the_mirror(
    rows: list[tuple[float, float, float, float]], expected: tuple[int, float, str | None]
) -> None:
    """Selling swaps stop and target sides."""
    assert run(rows, side=-1) == expected


@pytest.mark.parametrize(
    ("side", "exit_price", "net"), [(1, 110.0, 0.09935), (-1, 90.0, 0.09945), (1, 100.0, -0.0006)]
)
def test_costs_are_taken_on_both_sides(side: int, exit_price: float, net: float) -> None:
    """2 bps slippage and 1 bps fee each side: about 6 bps of the notional."""
    policy = BracketPolicy(fee_bps=1, slippage_bps=2)

    assert net_return(np.array([100.0]), np.array([exit_price]), np.array([side]), policy)[
        0
    ] == pytest.approx(net, abs=5e-5)


def reference(
    bars: np.ndarray, decided: int, side: int, offset: float, limit: int
) -> tuple[int, str | None]:
    """The rule once more, in plain words."""
    rows = bars[decided + 1 : decided + 1 + limit]
    if not len(rows):
        return -1, None
    entry = rows[0][0]
    for number, (opened, high, low, _) in enumerate(rows):
        worst, best = (low, high) if side > 0 else (-high, -low)
        start, stop, target = opened * side, entry * side - offset, entry * side + offset
        if start <= stop or (start < target and worst <= stop):
            return decided + 1 + number, "stop"
        if start >= target or best >= target:
            return decided + 1 + number, "target"
    return (decided + limit, "time") if len(rows) == limit else (-1, None)


@settings(max_examples=100)
@given(seed=st.integers(0, 10_000), side=st.sampled_from([1, -1]), limit=st.integers(1, 12))
def test_the_kernel_agrees_with_the_rule_in_plain_words(seed: int, side: int, limit: int) -> None:
    """On random bars, every decision bar ends on the same bar for the same reason."""
    rng = np.random.default_rng(seed)
    opens = 100 + np.cumsum(rng.normal(0, 3, 40))
    closes = opens + rng.normal(0, 3, 40)
    rows = np.stack(
        [
            opens,
            np.maximum(opens, closes) + rng.random(40) * 3,
            np.minimum(opens, closes) - rng.random(40) * 3,
            closes,
        ],
        axis=1,
    )
    decided = np.arange(40)
    columns = [np.ascontiguousarray(column) for column in rows.T]
    entries = np.append(opens[1:], np.nan)
    stops, targets, none = entries - 5.0 * side, entries + 5.0 * side, np.full(40, np.nan)
    sides, limits = np.full(40, side), np.full(40, limit)
    exit_bar, _, reason = settle(*columns, decided + 1, sides, stops, targets, none, limits)

    expected = [reference(rows, int(bar), side, 5.0, limit) for bar in decided]
    assert list(zip(exit_bar.tolist(), [REASON[int(r)] for r in reason], strict=True)) == expected


def test_an_outcome_is_known_at_the_close_of_its_exit_bar() -> None:
    """Settled one bar size after the exit bar opened, entered one bar after the decision bar.

    Win means a net gain.
    """
    settled = small_history()[small_history()["settled_at"].notna()]

    assert (settled["settled_at"] - settled["exit_at"] == pd.Timedelta("4h")).all()
    assert (settled["entry_at"] == settled["decided_at"]).all()
    assert (settled["won"].astype(bool) == (settled["net_return"] > 0)).all()
    assert settled["hold_minutes"].between(240, 48 * 240).all()


def test_the_bracket_is_symmetric_so_that_half_is_a_coin_flip() -> None:
    """Without an edge and without costs about half of the brackets win."""
    market = small_market("none", symbols=6, months=24)
    free = outcomes(
        market, signals(market, TrendStrategy()), BracketPolicy(fee_bps=0, slippage_bps=0)
    )

    assert float(free["won"].mean()) == pytest.approx(0.5, abs=0.03)


def test_a_signal_on_a_bar_that_does_not_exist_is_refused() -> None:
    """One clear line with symbol and stamp."""
    proposed = signals(small_market(), TrendStrategy()).head(1)
    moved = proposed.assign(timestamp=proposed["timestamp"] + pd.Timedelta("1h"))

    with pytest.raises(FixData, match="which does not exist"):
        outcomes(small_market(), moved, BracketPolicy())


def test_a_signal_without_range_is_refused() -> None:
    """Where no bar ever moved there is no ATR, and so no bracket."""
    flat = bars_of([FLAT] * 30)
    proposed = pd.DataFrame(
        {
            "symbol": ["X"],
            "side": ["buy"],
            "timestamp": pd.to_datetime([flat.timestamp[20]], utc=True),
        }
    )

    with pytest.raises(FixData, match="no ATR"):
        outcomes({"X": flat}, proposed, BracketPolicy())
