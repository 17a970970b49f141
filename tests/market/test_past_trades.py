"""Past trades as signals: decided on a bar that was closed, settled when it was known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.bars import bars_of
from steelyard.market.past_trades import past_signals

MINUTE, HOUR, DAY = pd.Timedelta("1min"), pd.Timedelta("1h"), pd.Timedelta("1D")
FIRST = pd.Timestamp("2026-01-01", tz="UTC")
BARS = bars_of([(100.0, 110.0, 90.0, 105.0)] * 30)
OPTIONAL = ("timestamp", "decided_at", "quantity", "fees", "lowest", "highest", "stop", "target")


def at(hours: float) -> pd.Timestamp:
    return FIRST + pd.Timedelta(hours=hours)


def trades(*spans: tuple[float, float], **columns: object) -> pd.DataFrame:
    """Trades of symbol X from hour to hour, bought at 100 and sold at 102."""
    count = len(spans)
    frame = pd.DataFrame(
        {
            "symbol": "X",
            "side": "buy",
            "entry_at": pd.DatetimeIndex([at(start) for start, _ in spans]),
            "entry_price": 100.0,
            "exit_at": pd.DatetimeIndex([at(end) for _, end in spans]),
            "exit_price": 102.0,
            "net_return": 0.02,
            "exit_reason": "roi",
            "own": [{}] * count,
            "faults": [[] for _ in range(count)],
            **dict.fromkeys((*OPTIONAL, "bars", "trail", "confidence", "stop_distance"), np.nan),
        }
    ).assign(**columns)
    for name in ("timestamp", "decided_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


@pytest.mark.parametrize(
    ("entry", "decision_bar"),
    [(5, 4), (5.25, 4), (5.999, 4), (6, 5)],
    ids=["at the open", "inside a bar", "at its end", "at the next open"],
)
def test_a_trade_is_decided_on_the_last_bar_closed_at_its_entry(
    entry: float, decision_bar: int
) -> None:
    """The bar in which a trade is entered is not known yet."""
    signal = past_signals(trades((entry, 9)), {"X": BARS}, MINUTE).iloc[0]

    assert signal["timestamp"] == at(decision_bar)
    assert signal["decided_at"] == at(decision_bar + 1)
    assert signal["signal_id"] == f"X:2026-01-01T0{decision_bar}:00:00Z:buy"


@settings(max_examples=25)
@given(st.floats(0, 29.5), st.floats(0, 10))
def test_no_signal_knows_the_future(entry: float, hold: float) -> None:
    """Wherever a trade lies, it is decided before its entry and settled after its exit."""
    signal = past_signals(trades((entry, entry + hold)), {"X": BARS}, MINUTE).iloc[0]

    assert signal["timestamp"] <= signal["decided_at"] <= signal["entry_at"]
    assert signal["settled_at"] >= signal["exit_at"]
    if signal["on_bar"]:
        assert signal["timestamp"] + HOUR <= signal["entry_at"]


def test_bars_of_later_change_nothing() -> None:
    """Cutting the bars off after the exit leaves the signal as it was."""
    trade = trades((5.5, 8.5))

    pd.testing.assert_frame_equal(
        past_signals(trade, {"X": BARS}, MINUTE), past_signals(trade, {"X": BARS[:9]}, MINUTE)
    )


def test_without_bars_the_entry_is_the_decision() -> None:
    """Neither bars of another symbol nor bars that end before the trade say anything."""
    for bars in ({}, {"Y": BARS}, {"X": BARS[:3]}):
        signal = past_signals(trades((5.5, 8.5)), bars, MINUTE).iloc[0]

        assert signal["timestamp"] == signal["decided_at"] == at(5.5)
        assert signal["settled_at"] == at(8.5) + MINUTE
        assert not signal["on_bar"]


@pytest.mark.parametrize(
    ("stamp", "entry", "opens", "decided"),
    [
        (4, 5, True, 5),
        (4, 5.5, True, 5),
        (5, 5.5, True, 5),
        (4.5, 5.5, True, 4.5),
        (4, 5, False, 4),
        (5, 5, False, 5),
    ],
    ids=["its bar", "entered late", "not closed at the entry", "between bars", "moment", "entry"],
)
def test_a_named_time_is_a_bar_or_the_moment_of_the_decision(
    stamp: float, entry: float, opens: bool, decided: float
) -> None:
    """The id keeps the log's own time, so that a log that goes on is not taken in twice."""
    trade = trades((entry, 9), timestamp=at(stamp))
    signal = past_signals(trade, {"X": BARS}, MINUTE, stamps_are_opens=opens).iloc[0]

    assert signal["timestamp"] == at(stamp)
    assert signal["decided_at"] == at(decided)
    assert signal["decided_at"] <= signal["entry_at"]


def test_an_outcome_is_known_when_its_bar_is_closed() -> None:
    """A stop inside a bar has the stamp of its open in many backtests."""
    assert past_signals(trades((5, 8)), {"X": BARS}, MINUTE)["settled_at"].tolist() == [at(9)]
    assert past_signals(trades((0, 24)), {}, DAY)["settled_at"].tolist() == [at(48)]


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"entry_price": 89.0}, ["entry outside its bar: 89 under the low 90"]),
        ({"entry_price": 111.0}, ["entry outside its bar: 111 over the high 110"]),
        ({"exit_price": 120.0}, ["exit outside its bar: 120 over the high 110"]),
        ({"entry_price": 90.0, "exit_price": 110.0}, []),
    ],
    ids=["under", "over", "exit", "at the edges"],
)
def test_a_fill_outside_its_bar_is_named(change: dict[str, object], faults: list[str]) -> None:
    """By the bars of the lake, or by the range that the log itself gives."""
    trade = trades((5.5, 8.5), **change)
    ranged = trade.assign(lowest=90.0, highest=110.0)

    for log, bars in ((trade, BARS), (ranged, BARS[:0]), (ranged, BARS[:3])):
        assert past_signals(log, {"X": bars}, MINUTE)["faults"].iloc[0] == faults


def test_trades_open_together_on_one_bar_are_an_averaged_entry() -> None:
    """One position with the mean of its fills, and that is said."""
    fills = trades((5.2, 9), (5.4, 9), quantity=[1.0, 3.0], entry_price=[100.0, 96.0])
    signal = past_signals(fills, {"X": BARS}, MINUTE).iloc[0]

    assert (signal["entry_price"], signal["quantity"]) == (97.0, 4.0)
    assert signal["faults"] == ["averaged entry: 2 fills from 96 to 100"]
    assert signal["lines"] == [0, 1]


def test_a_position_of_which_a_part_is_open_is_open() -> None:
    """Two fills on one bar, one of them closed: there is no outcome yet."""
    fills = trades((5.2, 9), (5.4, 9), quantity=1.0)
    fills.loc[1, ["exit_at", "exit_price", "net_return"]] = [pd.NaT, np.nan, np.nan]
    both_open = fills.assign(exit_at=pd.Series(pd.NaT, fills.index, "datetime64[ns, UTC]"))

    for log in (fills, both_open):
        signals = past_signals(log, {"X": BARS}, MINUTE)
        assert len(signals) == 1
        assert signals[["exit_at", "settled_at", "net_return", "won"]].isna().all(axis=None)


def test_no_money_is_lost_on_the_way_to_signals() -> None:
    """Four hundred trades, many of them on the same bar, before and after they are merged."""
    rng = np.random.default_rng(5)
    starts = np.sort(rng.uniform(1, 28, 400))
    log = trades(*zip(starts, starts + rng.exponential(1, 400), strict=True))
    log["side"] = rng.choice(["buy", "sell"], 400)
    log["quantity"] = rng.integers(1, 9, 400).astype(float)
    log["entry_price"] = rng.uniform(95, 105, 400)
    log["net_return"] = rng.normal(0, 0.01, 400)
    signals = past_signals(log, {"X": BARS}, MINUTE)

    def money(frame: pd.DataFrame) -> float:
        return float((frame["net_return"] * frame["entry_price"] * frame["quantity"]).sum())

    assert len(signals) < 300
    assert signals["signal_id"].is_unique
    assert sorted(line for lines in signals["lines"] for line in lines) == list(range(400))
    assert money(signals) == pytest.approx(money(log))
    assert signals["quantity"].sum() == log["quantity"].sum()


def test_trades_of_one_bar_after_each_other_are_two_signals() -> None:
    """The second keeps its own time in its id: an id is given once."""
    signals = past_signals(trades((5.1, 5.3), (5.4, 9)), {"X": BARS}, MINUTE)

    assert signals["signal_id"].tolist() == [
        "X:2026-01-01T04:00:00Z:buy",
        "X:2026-01-01T05:24:00Z:buy",
    ]
    assert signals["decided_at"].tolist() == [at(5), at(5)]
    assert signals["faults"].iloc[1] == [
        "second trade of its bar: its id has the time of its entry"
    ]


def test_levels_and_stop_distance_are_what_the_log_names() -> None:
    """A level of 0 is none."""
    signal = past_signals(trades((5, 9), stop=95.0, target=0.0), {"X": BARS}, MINUTE).iloc[0]

    assert signal["levels"] == {"stop": 95.0}
    assert signal["stop_distance"] == 0.05
    assert past_signals(trades((5, 9)), {"X": BARS}, MINUTE)["levels"].iloc[0] is None


def test_no_trades_are_no_signals() -> None:
    """An empty log has the columns of any other."""
    none = past_signals(trades((5, 9)).iloc[:0], {"X": BARS}, MINUTE)

    assert none.empty
    assert set(none) == set(past_signals(trades((5, 9)), {"X": BARS}, MINUTE))
