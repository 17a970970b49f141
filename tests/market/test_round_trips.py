"""Executions paired to trades, first in, first out."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.market.round_trips import round_trips

START = pd.Timestamp("2026-01-05", tz="UTC")


def executions(
    *amounts: float, prices: list[float] | None = None, **columns: object
) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "symbol": "S",
            "at": [START + pd.Timedelta(hours=hour) for hour in range(len(amounts))],
            "amount": list(map(float, amounts)),
            "price": [100.0 + number for number in range(len(amounts))],
            "fee": 1.0,
            "profit": float("nan"),
            "book": "",
            "opens": True,
        }
    )
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("amounts", "trades"),
    [
        ((10, -10), [("buy", 100.0, 101.0, 10.0)]),
        ((-10, 10), [("sell", 100.0, 101.0, 10.0)]),
        ((10, 10, -20), [("buy", 100.0, 102.0, 10.0), ("buy", 101.0, 102.0, 10.0)]),
        ((10, -4, -6), [("buy", 100.0, 101.6, 10.0)]),
        ((10, -15, 5), [("buy", 100.0, 101.0, 10.0), ("sell", 101.0, 102.0, 5.0)]),
        (
            (0.1, 0.2, -0.30000000000000004),
            [("buy", 100.0, 102.0, 0.1), ("buy", 101.0, 102.0, 0.2)],
        ),
    ],
    ids=["long", "short", "two entries", "two exits", "turned round", "rounding"],
)
def test_the_oldest_entry_is_closed_first(
    amounts: tuple[float, ...], trades: list[tuple[str, float, float, float]]
) -> None:
    """Each entry keeps its own price; only an exit in parts is a mean."""
    found = round_trips(executions(*amounts)).trades

    rows = found[["side", "entry_price", "exit_price", "quantity"]].itertuples(index=False)
    assert [tuple(row) for row in rows] == [pytest.approx(trade) for trade in trades]
    assert found["fees"].sum() == pytest.approx(len(amounts))


def test_what_is_not_closed_in_full_is_open() -> None:
    """A trade of which a part is left has no exit yet."""
    trade = round_trips(executions(10, -4)).trades.iloc[0]

    assert trade["quantity"] == 10
    assert trade[["exit_at", "exit_price"]].isna().all()


def test_an_exit_without_entry_opens_nothing_where_the_log_says_so() -> None:
    """The log begins after the entry: its first execution only closes, so it is named."""
    trips = round_trips(executions(-10, 10, -10, opens=[False, True, False]))

    assert trips.unmatched == (0,)
    assert trips.trades.index.tolist() == [1]


def test_books_do_not_close_each_other() -> None:
    """An account that may be long and short at once has a book for each side."""
    hedged = executions(10, -10, -10, 10, book=["long", "short", "long", "short"])

    assert round_trips(hedged).trades["side"].tolist() == ["buy", "sell"]
    assert len(round_trips(hedged.assign(book="")).trades) == 2
    assert round_trips(hedged).trades["exit_price"].tolist() == [102.0, 103.0]


@given(st.lists(st.integers(-20, 20).filter(bool), min_size=1, max_size=30))
def test_money_is_neither_made_nor_lost_by_pairing(amounts: list[int]) -> None:
    """Once everything is closed, the gains of the trades are the cash of the executions."""
    log = executions(*amounts, -sum(amounts))
    trades = round_trips(log[log["amount"] != 0]).trades
    sign = trades["side"].map({"buy": 1, "sell": -1})
    gain = (sign * (trades["exit_price"] - trades["entry_price"]) * trades["quantity"]).sum()

    assert trades["exit_at"].notna().all()
    assert gain == pytest.approx(-(log["amount"] * log["price"]).sum())
