"""Splits and crashes told apart."""

from datetime import date

import pandas as pd
import pytest

from steelyard.market.jumps import JumpDecision, explain, held_back


def frame(
    closes: list[float], adjusted: list[float] | None = None, days: list[int] | None = None
) -> pd.DataFrame:
    n = len(closes)
    stamps = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(
        days or list(range(n)), unit="D"
    )
    bars = pd.DataFrame({"symbol": "X", "timestamp": stamps, "volume": 100.0})
    for name in ("open", "high", "low", "close"):
        bars[name] = closes
    return bars if adjusted is None else bars.assign(adj_close=adjusted)


@pytest.mark.parametrize(
    ("closes", "adjusted", "kinds"),
    [
        pytest.param([100.0, 50.0], [50.0, 50.0], ["split"], id="the factor changes: a split"),
        pytest.param([100.0, 48.0], [50.0, 24.0], ["crash"], id="the factor stays: a crash"),
        pytest.param(
            [100.0, 10_000.0],
            [100.0, 10_000.0],
            ["undecided"],
            id="a factor of a hundred is not believed",
        ),
        pytest.param(
            [100.0, 20.0], [100.0, 20.0], ["undecided"], id="a 5:1 split the adjustment missed"
        ),
        pytest.param([100.0, 95.0], [100.0, 95.0], [], id="an ordinary day"),
        pytest.param([100.0, 50.0], None, ["undecided"], id="no adjusted close: 2:1 or a crash?"),
        pytest.param([100.0, 14.3], None, ["undecided"], id="7:1"),
        pytest.param([10.0, 80.0], None, ["undecided"], id="1:8 reverse"),
        pytest.param([1.16, 20.2], None, ["undecided"], id="1:20 reverse, on a day of -13 %"),
        pytest.param([2.2, 18.6], None, ["undecided"], id="1:8 reverse, on a day of +6 %"),
        pytest.param([100.0, 42.0], None, ["crash"], id="-58 % is no simple ratio"),
        pytest.param([100.0, 55.0], None, ["crash"], id="-45 % is no simple ratio"),
        pytest.param([100.0, 95.0], None, [], id="an ordinary day without an adjusted close"),
    ],
)
def test_a_jump_is_taken_for_what_it_is(
    closes: list[float], adjusted: list[float] | None, kinds: list[str]
) -> None:
    """What each overnight move is called."""
    assert [jump.kind for jump in explain(frame(closes, adjusted), ())[1]] == kinds


def test_an_adjusted_split_leaves_one_price_scale() -> None:
    """Prices before are halved, volume doubled."""
    bars, _ = explain(frame([100.0, 50.0], [50.0, 50.0]), ())

    assert bars["close"].tolist() == [50.0, 50.0]
    assert bars["volume"].tolist() == [200.0, 100.0]


def test_a_ticker_used_again_after_a_hole_is_held_back() -> None:
    """From 0.06 to 68 after 60 days without bars."""
    jumps = explain(frame([0.06, 68.0], days=[0, 60]), ())[1]

    assert [jump.kind for jump in jumps] == ["reused"]
    assert held_back(jumps) == ("X",)


@pytest.mark.parametrize(
    ("ratio", "first"), [(2.0, 50.0), (1.0, 100.0)], ids=["a split", "a real move"]
)
def test_a_decision_frees_the_symbol(ratio: float, first: float) -> None:
    """Decided as 2:1 the past is adjusted; decided as real it stays.

    Either way nothing is held back.
    """
    decision = JumpDecision(symbol="X", date=date(2020, 1, 2), ratio=ratio)
    bars, jumps = explain(frame([100.0, 50.0]), (decision,))

    assert bars["close"].iloc[0] == first
    assert held_back(jumps) == ()


@pytest.mark.parametrize(
    ("adjusted", "ratio", "first"),
    [
        pytest.param([100.0, 20.0], 5.0, 20.0, id="a split the adjustment missed"),
        pytest.param([100.0, 20.0], 1.0, 100.0, id="a real move"),
        pytest.param([20.0, 20.0], 5.0, 20.0, id="a split adjusted already, once is enough"),
    ],
)
def test_a_decision_counts_beside_an_adjusted_close(
    adjusted: list[float], ratio: float, first: float
) -> None:
    """It adds what the adjustment missed, and never adjusts a second time."""
    decision = JumpDecision(symbol="X", date=date(2020, 1, 2), ratio=ratio)
    bars, jumps = explain(frame([100.0, 20.0], adjusted), (decision,))

    assert bars["close"].tolist() == [first, 20.0]
    assert [jump.kind for jump in jumps] == ["crash" if ratio == 1 else "split"]


def test_a_decided_date_is_the_session_in_the_zone_of_the_bars() -> None:
    """Midnight of Tokyo is the day before in UTC.

    Bars before the session are divided, its own are not.
    """
    bars = frame([130.0, 100.0])
    bars["timestamp"] = (
        bars["timestamp"].dt.tz_localize(None).dt.tz_localize("Asia/Tokyo").dt.tz_convert("UTC")
    )
    session = bars["timestamp"].iloc[1].tz_convert("Asia/Tokyo").date()

    scaled, _ = explain(bars, (JumpDecision(symbol="X", date=session, ratio=1.3),), "Asia/Tokyo")

    assert list(scaled["close"]) == pytest.approx([100.0, 100.0])
