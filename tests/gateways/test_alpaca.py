"""Alpaca over real sockets: one order per signal under any fault, and a reconciled account."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factories.alpaca_server import ENDED, Account, order_document, running_account
from factories.registry import LINEAGE
from steelyard.errors import CollectMoreData, FixConfiguration, ReconcileAccount, RestoreService
from steelyard.flows.trade import trade
from steelyard.gateways.brokers import SCALED, BrokerSettings, Order, PaperBroker, order_row
from steelyard.gateways.brokers import alpaca as module
from steelyard.gateways.brokers.alpaca import AlpacaBroker
from steelyard.gateways.ledger import Ledger
from steelyard.home import open_broker, open_home
from steelyard.market.bars import Bars
from steelyard.market.brackets import BracketPolicy
from steelyard.market.strategy import Entry, Exiting

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
ORDER = Order(
    signal_id=f"AAPL:{DAY.isoformat()}:buy",
    symbol="AAPL",
    side="buy",
    timestamp=DAY,
    decided_at=DAY + timedelta(days=1),
    quantity=10.0,
    price=200.0,
    stop_offset=4.004,
    target_offset=4.0,
)
ID = ORDER.signal_id
KEYS = ("key", "secret")


@pytest.fixture
def account() -> Iterator[tuple[Account, str]]:
    with running_account() as running:
        yield running


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    opened = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE)
    opened.migrate()
    return opened


@pytest.fixture
def alpaca(account: tuple[Account, str], ledger: Ledger) -> AlpacaBroker:
    return opened(account[1], ledger)


def opened(
    address: str, ledger: Ledger, keys: tuple[str, str] = KEYS, seconds: float = 0.5
) -> AlpacaBroker:
    settings = BrokerSettings(name="alpaca", address=address, timeout_seconds=seconds)
    return AlpacaBroker(ledger, BracketPolicy(), settings, keys)


def history(bars: int = 1) -> dict[str, Bars]:
    """Bars that follow the decision bar."""
    flat = np.full(bars + 1, 200.0)
    stamps = np.datetime64(DAY.replace(tzinfo=None), "ns") + np.arange(bars + 1) * np.timedelta64(
        1, "D"
    )
    return {"AAPL": Bars("AAPL", pd.Timedelta("1D"), stamps, flat, flat, flat, flat, flat)}


def row(ledger: Ledger, signal_id: str = ID) -> pd.Series:
    return ledger.trades().set_index("signal_id").loc[signal_id]


def test_a_bracket_goes_from_order_to_target(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Entry, legs and exit as Alpaca reports them; the levels are whole cents."""
    server, _ = account

    assert alpaca.submit(ORDER) is None
    placed = server.order(ID)
    assert [leg.get("limit_price") or leg.get("stop_price") for leg in placed["legs"]] == [
        "204.0",
        "196.0",
    ]
    assert alpaca.advance(history()) == 0
    server.fill(placed, 200.5)
    assert alpaca.advance(history()) == 1
    assert (row(ledger)["status"], row(ledger)["entry_price"]) == ("open", 200.5)
    server.fill(placed["legs"][0], 204.0)
    assert alpaca.advance(history()) == 1
    assert row(ledger)[["status", "exit_price", "exit_reason"]].tolist() == [
        "closed",
        204.0,
        "target",
    ]
    assert alpaca.advance(history()) == 0
    assert alpaca.equity({}) == 50_000.0


def test_a_sell_is_a_short_with_levels_the_other_way_round(
    account: tuple[Account, str], alpaca: AlpacaBroker
) -> None:
    """The account's position is negative, as the ledger expects."""
    server, _ = account
    alpaca.submit(replace(ORDER, side="sell", signal_id=ID.replace("buy", "sell")))
    placed = server.orders[0]
    server.fill(placed, 199.0)

    assert [leg.get("limit_price") or leg.get("stop_price") for leg in placed["legs"]] == [
        "196.0",
        "204.0",
    ]
    assert alpaca.advance(history()) == 1


@pytest.mark.parametrize(
    "faults",
    [
        [("POST", "drop_after", None)],
        [("POST", "hang_after", 1.0)],
        [("POST", "drop_before", None)],
        [("POST", "status", 503), ("POST", "drop_after", None)],
        [("POST", "status", 429)],
    ],
)
def test_an_order_that_may_have_arrived_is_one_order(
    account: tuple[Account, str],
    alpaca: AlpacaBroker,
    ledger: Ledger,
    faults: list[tuple[str, str, object]],
) -> None:
    """An order lost before or after acceptance is sent again under its id: one exists."""
    server, _ = account
    server.faults = list(faults)

    assert alpaca.submit(ORDER) is None
    assert [document["client_order_id"] for document in server.orders] == [ID]
    assert row(ledger)["broker_order_id"] == server.orders[0]["id"]


def test_the_same_signal_again_is_the_same_order(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Submitted twice, and again by a process without the ledger's row."""
    server, address = account
    alpaca.submit(ORDER)
    alpaca.submit(ORDER)

    assert len(server.orders) == 1
    assert opened(address, ledger).submit(ORDER) is None
    assert len(server.orders) == 1


@pytest.mark.parametrize("arrived", [True, False])
def test_a_lost_connection_leaves_the_question_to_the_next_start(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger, arrived: bool
) -> None:
    """If every try fails the caller gets the error, and the next start looks the order up."""
    server, address = account
    server.faults = [
        ("POST", "drop_after" if arrived else "drop_before", None),
        *[("*", "drop_before", None)] * 8,
    ]

    with pytest.raises(RestoreService, match="alpaca cannot be reached"):
        alpaca.submit(ORDER)
    server.faults = []
    opened(address, ledger).advance(history())
    assert row(ledger)["status"] == ("submitted" if arrived else "canceled")
    assert row(ledger)["veto"] == (None if arrived else "not_sent")


def test_a_refusal_is_told_in_alpacas_words_and_noted(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Without buying power there is no order, and a row with the code."""
    assert alpaca.submit(replace(ORDER, quantity=1e6)) == "insufficient buying power"
    assert row(ledger)[["status", "veto"]].tolist() == ["rejected", "broker_rejected"]
    assert alpaca.advance(history()) == 0


@pytest.mark.parametrize(
    ("status", "noted"),
    [("rejected", "rejected"), ("expired", "canceled"), ("canceled", "canceled")],
)
def test_an_entry_that_ends_unfilled_is_noted(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger, status: str, noted: str
) -> None:
    """Accepted and then not filled: there is no trade."""
    alpaca.submit(ORDER)
    account[0].order(ID)["status"] = status
    alpaca.advance(history())

    assert row(ledger)["status"] == noted
    assert row(ledger)["veto"] in ("broker_rejected", "not_filled")


def test_a_partly_filled_entry_that_ends_is_left_at_once(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """A partly filled entry has no protection, so the next run closes it at the market."""
    server, _ = account
    alpaca.submit(ORDER)
    server.fill(server.order(ID), 200.0, 4.0)
    alpaca.advance(history())
    assert row(ledger)[["status", "quantity"]].tolist() == ["open", 4.0]

    server.cancel(server.order(ID))
    alpaca.advance(history())
    leaving = server.order(f"{ID}:unprotected:1")
    assert (leaving["side"], float(leaving["qty"])) == ("sell", 4.0)
    alpaca.advance(history())
    assert len(server.orders) == 2
    server.fill(leaving, 199.0)
    alpaca.advance(history())
    assert row(ledger)[["status", "exit_price", "exit_reason"]].tolist() == [
        "closed",
        199.0,
        "unprotected",
    ]


def test_an_exit_in_parts_is_their_mean(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Target fills four, the stop the rest: one exit at the mean price."""
    server, _ = account
    alpaca.submit(ORDER)
    entry = server.order(ID)
    server.fill(entry, 200.0)
    server.fill(entry["legs"][0], 204.0, 4.0)
    alpaca.advance(history())
    assert row(ledger)["status"] == "open"

    server.fill(entry["legs"][1], 196.0, 6.0)
    entry["legs"][0]["status"] = "canceled"
    alpaca.advance(history())
    assert row(ledger)[["status", "exit_reason"]].tolist() == ["closed", "stop"]
    assert row(ledger)["exit_price"] == pytest.approx(199.2)


def test_what_is_over_its_time_is_left_at_the_market(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """After 48 bars the legs are cancelled and the position is sold, with the kernel's reason."""
    server, _ = account
    alpaca.submit(ORDER)
    server.fill(server.order(ID), 200.0)
    alpaca.advance(history(47))
    assert len(server.orders) == 1

    alpaca.advance(history(48))
    server.fill(server.order(f"{ID}:time:1"), 201.0)
    alpaca.advance(history(49))
    assert row(ledger)[["status", "exit_reason", "exit_price"]].tolist() == [
        "closed",
        "time",
        201.0,
    ]
    assert {leg["status"] for leg in server.order(ID)["legs"]} == {"canceled"}


class ThirdClose:
    """Leaves at the third close."""

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return len(bars) - entry.position == 3


NO_LEVEL = math.nan


@pytest.mark.parametrize(
    ("changes", "rule", "bars", "reason"),
    [
        ({"levels": (NO_LEVEL, NO_LEVEL, NO_LEVEL, 10.0)}, None, 5, "trail"),
        ({"levels": (NO_LEVEL, NO_LEVEL, 5.0, NO_LEVEL)}, None, 5, "time"),
        ({}, ThirdClose(), 3, "exit"),
    ],
    ids=["a trailing stop that moved", "a time limit of its own", "a rule"],
)
def test_what_alpaca_cannot_hold_is_left_at_the_market(
    account: tuple[Account, str],
    ledger: Ledger,
    changes: dict[str, Any],
    rule: Exiting | None,
    bars: int,
    reason: str,
) -> None:
    """By the run after the bar that asks for it; until then the stop stays, without a target."""
    server, address = account
    settings = BrokerSettings(name="alpaca", address=address, timeout_seconds=0.5)
    alpaca = AlpacaBroker(ledger, BracketPolicy(), settings, KEYS, rule)
    alpaca.submit(replace(ORDER, stop_offset=10.0, target_offset=math.nan, **changes))
    placed = server.order(ID)
    server.fill(placed, 200.0)
    risen = {symbol: risen_and_fallen(flat) for symbol, flat in history(bars).items()}
    alpaca.advance({symbol: known[:bars] for symbol, known in risen.items()})

    assert placed["order_class"] == "oto"
    assert [leg["stop_price"] for leg in placed["legs"]] == ["190.0"]
    assert len(server.orders) == 1
    alpaca.advance(risen)
    server.fill(server.order(f"{ID}:{reason}:1"), 204.0)
    alpaca.advance(risen)
    assert row(ledger)[["status", "exit_reason"]].tolist() == ["closed", reason]
    assert math.isnan(row(ledger)["target_price"])


def risen_and_fallen(flat: Bars) -> Bars:
    """Bars that rise to 216 and fall to 204 in the last one."""
    high, low = flat.high.copy(), flat.low.copy()
    high[-2], low[-1] = 216.0, 204.0
    return replace(flat, high=high, low=low)


@pytest.mark.parametrize("ratio", [4.0, 0.1], ids=["4 for 1", "1 for 10"])
def test_a_stop_that_filled_after_a_split_is_booked_on_the_new_scale(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger, ratio: float
) -> None:
    """Split and stop both came between two runs: the loss is 2 %, not three quarters."""
    server, _ = account
    alpaca.submit(ORDER)
    entry = server.order(ID)
    server.fill(entry, 200.0)
    alpaca.advance(history())
    server.split("AAPL", ratio, "adjusted")
    server.fill(entry["legs"][1], 196.0 / ratio)
    alpaca.advance(history())

    closed = row(ledger)
    assert closed[["status", "exit_reason", "quantity"]].tolist() == ["closed", "stop", 10 * ratio]
    assert closed["entry_price"] == pytest.approx(200.0 / ratio)
    assert closed["exit_price"] / closed["entry_price"] - 1 == pytest.approx(-0.02)
    assert closed["stop_price"] == pytest.approx(195.996 / ratio)


@pytest.mark.parametrize("legs", ["adjusted", "canceled", "left"])
def test_an_open_trade_follows_a_split(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger, legs: str
) -> None:
    """Units, entry and levels; without stop and target for all units the position is closed."""
    server, _ = account
    alpaca.submit(ORDER)
    server.fill(server.order(ID), 200.0)
    alpaca.advance(history())
    server.split("AAPL", 4.0, legs)
    assert alpaca.advance(history()) == 1
    assert alpaca.advance(history()) == 0

    names = ["status", "quantity", "entry_price", "stop_price", "target_price", "stop_offset"]
    assert row(ledger)[names].tolist() == ["open", 40.0, 50.0, 48.999, 51.0, 1.001]
    closing = [order for order in server.orders if order["client_order_id"] != ID]
    assert [float(order["qty"]) for order in closing] == ([] if legs == "adjusted" else [40.0])


def test_units_that_no_split_explains_stop_trading(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Four times the units at the old price were bought by somebody else."""
    server, _ = account
    alpaca.submit(ORDER)
    server.fill(server.order(ID), 200.0)
    server.positions["AAPL"] = 40.0

    with pytest.raises(ReconcileAccount, match="the account holds 40 AAPL, the ledger 10"):
        alpaca.advance(history())


@pytest.mark.parametrize("levels", [(NO_LEVEL,) * 4, (195.0, 206.0, NO_LEVEL, 6.0)])
@pytest.mark.parametrize(("status", "factor"), [("open", 0.25), ("open", 0.97), ("submitted", 4.0)])
def test_a_paper_trade_follows_the_scale_of_its_bars(
    ledger: Ledger, status: str, factor: float, levels: tuple[float, float, float, float]
) -> None:
    """After a split or dividend quantity, entry and levels change and the equity does not."""
    paper = PaperBroker(ledger, BracketPolicy(), 1e5)
    paper.submit(replace(ORDER, levels=levels))
    bars = 1 if status == "open" else 0
    paper.advance(history(bars))
    before, equity = row(ledger), paper.equity(history(bars))
    later = {
        symbol: replace(
            same,
            **{name: getattr(same, name) * factor for name in ("open", "high", "low", "close")},
        )
        for symbol, same in history(bars).items()
    }
    paper.advance(later)
    paper.advance(later)

    after = row(ledger)
    assert after["status"] == before["status"] == status
    assert after["quantity"] == pytest.approx(before["quantity"] / factor)
    for name in SCALED[1:]:
        assert after[name] == pytest.approx(before[name] * factor, nan_ok=True)
    assert paper.equity(later) == pytest.approx(equity)


def test_a_paper_trade_enters_after_its_decision(ledger: Ledger) -> None:
    """A log's decision at midday is not entered at the open of that day, nor measured by it."""
    paper = PaperBroker(ledger, BracketPolicy(), 1e5)
    paper.submit(replace(ORDER, decided_at=ORDER.decided_at + timedelta(hours=12)))
    [flat] = history(3).values()
    jumped = replace(flat, open=np.array([200.0, 210.0, 200.0, 200.0]))
    paper.advance({"AAPL": jumped[:2]})
    assert row(ledger)["status"] == "submitted"
    paper.advance({"AAPL": jumped[:3]})
    paper.advance({"AAPL": jumped})

    assert row(ledger)["entry_at"] == DAY + timedelta(days=2)
    assert row(ledger)["quantity"] == ORDER.quantity


def test_a_position_closed_by_hand_ends_the_trade(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """The exit price is the account's own."""
    server, _ = account
    alpaca.submit(ORDER)
    entry = server.order(ID)
    server.fill(entry, 200.0)
    server.cancel(entry["legs"][0])
    hand = order_document("AAPL", "sell", 10, "market", "by-somebody")
    server.orders.append(hand)
    server.fill(hand, 202.0)
    alpaca.advance(history())

    assert row(ledger)[["status", "exit_reason", "exit_price"]].tolist() == [
        "closed",
        "by_hand",
        202.0,
    ]


def test_what_nobody_can_explain_stops_trading(
    account: tuple[Account, str], alpaca: AlpacaBroker
) -> None:
    """An unknown position or order, a missing position, a blocked account: one clear line each."""
    server, _ = account
    server.positions["TSLA"] = 5.0
    with pytest.raises(ReconcileAccount, match="the account holds 5 TSLA, the ledger 0"):
        alpaca.advance(history())
    server.positions.clear()

    server.orders.append(order_document("TSLA", "buy", 1, "market", "somebody-else"))
    with pytest.raises(
        ReconcileAccount, match="the open order somebody-else on TSLA is not in the ledger"
    ):
        alpaca.advance(history())
    server.orders.clear()

    alpaca.submit(ORDER)
    server.fill(server.order(ID), 200.0)
    server.positions.clear()
    with pytest.raises(ReconcileAccount, match="the ledger holds 10 AAPL, the account none"):
        alpaca.advance(history())

    server.blocked = True
    with pytest.raises(ReconcileAccount, match="blocked"):
        alpaca.advance(history())


def test_a_fill_between_two_questions_is_no_disagreement(
    account: tuple[Account, str],
    alpaca: AlpacaBroker,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A target filled between reading orders and positions is resolved by reading again."""
    server, _ = account
    alpaca.submit(ORDER)
    entry = server.order(ID)
    server.fill(entry, 200.0)
    listed = server.listed

    def late(query: dict[str, list[str]]) -> list[dict[str, object]]:
        documents = [
            document | {"legs": [dict(leg) for leg in document["legs"] or ()]}
            for document in listed(query)
        ]
        if entry["legs"][0]["status"] == "new":
            server.fill(entry["legs"][0], 204.0)
        return documents

    monkeypatch.setattr(server, "listed", late)
    alpaca.advance(history())
    assert row(ledger)["status"] == "closed"


def test_an_order_that_is_not_listed_is_found_with_its_legs(
    account: tuple[Account, str],
    alpaca: AlpacaBroker,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looked up by its id it is still protected, so nothing is closed at the market."""
    server, _ = account
    alpaca.submit(ORDER)
    server.fill(server.order(ID), 200.0)
    listed = server.listed
    monkeypatch.setattr(
        server, "listed", lambda query: [] if query.get("status") == ["all"] else listed(query)
    )
    alpaca.advance(history())

    assert len(server.orders) == 1
    assert row(ledger)["status"] == "open"
    assert {leg["status"] for leg in server.order(ID)["legs"]} == {"new", "held"}


def test_one_that_cannot_be_left_keeps_nobody_from_the_others(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Of two expired positions one is refused, the other closed; the line names the first."""
    server, _ = account
    second = replace(ORDER, symbol="MSFT", signal_id=ID.replace("AAPL", "MSFT"))
    for order in (ORDER, second):
        alpaca.submit(order)
        server.fill(server.order(order.signal_id), 200.0)
    server.halted = {"AAPL"}
    bars = {"AAPL": history(48)["AAPL"], "MSFT": history(48)["AAPL"]}
    with pytest.raises(
        ReconcileAccount, match=r"AAPL must be closed and Alpaca refuses \(trading is halted\)"
    ):
        alpaca.advance(bars)

    assert server.order(f"{second.signal_id}:time:1")["side"] == "sell"
    assert set(ledger.trades()["status"]) == {"open"}


def test_keys_are_asked_for_and_named(
    account: tuple[Account, str], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing keys are refused before anything is sent, wrong ones by Alpaca."""
    with pytest.raises(FixConfiguration, match="alpaca refuses APCA_API_KEY_ID"):
        opened(account[1], ledger, ("key", "wrong")).advance({})
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    with pytest.raises(FixConfiguration, match="APCA_API_KEY_ID is not set"):
        open_broker(BrokerSettings(name="alpaca"), BracketPolicy(), ledger)
    monkeypatch.setenv("APCA_API_KEY_ID", "key")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "secret")
    assert open_broker(BrokerSettings(name="alpaca"), BracketPolicy(), ledger).name == "alpaca"


def test_the_paper_account_is_the_default(ledger: Ledger) -> None:
    """Real money needs ``live: true``."""
    paper, live = (
        AlpacaBroker(ledger, BracketPolicy(), BrokerSettings(live=live), KEYS)
        for live in (False, True)
    )

    assert "paper-api" in paper._client._base_url
    assert "paper-api" not in live._client._base_url


def test_a_change_of_broker_waits_for_open_trades(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """With open trades at one broker the other is refused."""
    alpaca.submit(ORDER)
    paper = PaperBroker(ledger, BracketPolicy(), 1e5)

    with pytest.raises(ReconcileAccount, match="still working at the broker alpaca"):
        paper.advance(history())


def test_another_account_does_not_forget_open_trades(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Other keys, or ``live`` changed: the trade stays open and nothing is ordered."""
    entered(account[0], alpaca)
    told = pytest.raises(ReconcileAccount, match="the account does not know the order of AAPL")
    with running_account() as (_, address), told:
        opened(address, ledger).advance(history())

    assert row(ledger)["status"] == "open"


def test_paper_trades_without_bars_stop_trading(ledger: Ledger) -> None:
    """A symbol without bars can be neither filled nor sized."""
    paper = PaperBroker(ledger, BracketPolicy(), 1e5)
    paper.submit(ORDER)

    with pytest.raises(ReconcileAccount, match="the lake has no bars of AAPL"):
        paper.advance({})


def test_only_whole_units_are_ordered(alpaca: AlpacaBroker) -> None:
    """A bracket takes whole units; less than one is none."""
    assert [alpaca.tradable(units) for units in (10.9, 1.0, 0.7)] == [10.0, 1.0, 0.0]


# positions without a stop


def entered(server: Account, alpaca: AlpacaBroker) -> dict[str, Any]:
    """A trade that is entered and protected, over its time at the next run."""
    alpaca.submit(ORDER)
    placed = server.order(ID)
    server.fill(placed, 200.0)
    alpaca.advance(history())
    return placed


def unprotected(ledger: Ledger) -> bool:
    return not pd.isna(row(ledger)["unprotected_since"])


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
@pytest.mark.parametrize("request_number", range(9))
def test_a_connection_cut_at_any_request_of_an_exit_leaves_no_position_unnoticed(
    account: tuple[Account, str],
    alpaca: AlpacaBroker,
    ledger: Ledger,
    kind: str,
    request_number: int,
) -> None:
    """From this request on every one fails: what has no stop is in the ledger, and closed next."""
    server, address = account
    placed = entered(server, alpaca)
    server.faults = [("*", "none", None)] * request_number + [("*", kind, None)] * 99
    with suppress(RestoreService, ReconcileAccount):
        opened(address, ledger).advance(history(48))
    protected = any(leg["status"] not in ENDED for leg in placed["legs"])
    assert protected or unprotected(ledger)

    server.faults = []
    again = opened(address, ledger)
    again.protect()
    assert protected or len(server.orders) == 2  # closed before anything else
    again.advance(history(48))
    exits = [order for order in server.orders if order["client_order_id"] != ID]
    assert [float(order["qty"]) for order in exits] == [10.0]
    server.fill(exits[0], 201.0)
    again.advance(history(49))
    assert (row(ledger)["status"], unprotected(ledger)) == ("closed", False)
    assert server.positions["AAPL"] == 0.0


def test_a_cancel_that_takes_its_time_is_told_and_closed_by_the_next_run(
    account: tuple[Account, str],
    alpaca: AlpacaBroker,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Legs that are being cancelled protect nothing."""
    monkeypatch.setattr(module, "LOOKS", 2)
    server, address = account
    placed = entered(server, alpaca)
    server.slow_cancels = True
    with pytest.raises(ReconcileAccount, match=r"AAPL have not ended after 0\.4 s"):
        alpaca.advance(history(48))
    assert unprotected(ledger)
    for leg in placed["legs"]:
        leg["status"] = "canceled"
    opened(address, ledger).protect()

    assert server.order(f"{ID}:unprotected:1")["side"] == "sell"
    assert unprotected(ledger)  # until the exit is filled
    server.fill(server.orders[-1], 201.0)
    opened(address, ledger).advance(history(49))
    assert (row(ledger)["status"], unprotected(ledger)) == ("closed", False)


def test_a_position_without_stop_is_alerted_and_closed_before_bars_are_read(
    account: tuple[Account, str],
    ledger: Ledger,
    tmp_path: Path,
    conf: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A home without bars cannot trade, and closes it all the same."""
    server, address = account
    (conf / "broker.yaml").write_text(f"name: alpaca\naddress: {address}\n")
    monkeypatch.setenv("APCA_API_KEY_ID", "key")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "secret")
    home = open_home(tmp_path / "home", conf)
    broker = opened(address, home.ledger)
    placed = entered(server, broker)
    for leg in placed["legs"]:
        server.cancel(leg)
    with pytest.raises(CollectMoreData):
        trade.fn(home=str(home.folder), conf=str(conf))
    assert server.orders[-1]["client_order_id"] == ID  # nothing says yet that it has no stop

    broker.advance(history())
    for _ in range(2):
        with pytest.raises(CollectMoreData):
            trade.fn(home=str(home.folder), conf=str(conf))
    assert [order["client_order_id"] for order in server.orders[1:]] == [f"{ID}:unprotected:1"]
    titles = [stored.alert.title for stored in home.alerts.open()]
    assert titles.count("no stop: signal-confidence: 10 AAPL (buy)") == 1


def test_more_units_out_than_in_are_told(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """Target and a sale by hand: the account is short, and once it is level the run before told."""
    server, _ = account
    placed = entered(server, alpaca)
    server.fill(placed["legs"][0], 204.0)
    hand = order_document("AAPL", "sell", 10, "market", "by-somebody")
    server.orders.append(hand)
    server.fill(hand, 202.0)
    server.positions["AAPL"] = 0.0
    with pytest.raises(ReconcileAccount, match=r"20 AAPL left the trade .*, 10 entered"):
        alpaca.advance(history())
    assert row(ledger)["status"] == "closed"


@pytest.mark.parametrize("status", ["vetoed", "closed", "canceled", "rejected"])
def test_a_signal_that_was_left_or_ended_is_not_ordered(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger, status: str
) -> None:
    """The ledger says what became of it; only a submitted one may be sent again."""
    ledger.record_trades([order_row(ORDER, "alpaca", status)])

    assert f"is {status} in the ledger" in str(alpaca.submit(ORDER))
    assert account[0].orders == []
    assert row(ledger)["status"] == status


def test_a_rollback_cancels_what_has_not_entered(
    account: tuple[Account, str], alpaca: AlpacaBroker, ledger: Ledger
) -> None:
    """A position keeps its stop; an order that waits is cancelled, once."""
    server, _ = account
    entered(server, alpaca)
    waiting = replace(ORDER, symbol="MSFT", signal_id=ID.replace("AAPL", "MSFT"))
    alpaca.submit(waiting)

    assert alpaca.cancel_entries([ID, waiting.signal_id, "unknown"]) == 1
    assert alpaca.cancel_entries([ID, waiting.signal_id]) == 0
    assert {leg["status"] for leg in server.order(ID)["legs"]} == {"new", "held"}
    alpaca.advance(history())
    assert row(ledger, waiting.signal_id)["status"] == "canceled"
