"""Orders through ccxt over real sockets, to a local account with Bybit's documented endpoints."""

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ccxt
import numpy as np
import pandas as pd
import pytest

from factories.bybit_server import Account, document, running_bybit
from factories.registry import LINEAGE
from steelyard.errors import FixConfiguration, ReconcileAccount, RestoreService
from steelyard.gateways.brokers import BrokerSettings, Order
from steelyard.gateways.brokers.ccxt_account import CcxtBroker, client_id, unsuitable
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.venues import requests
from steelyard.home import open_broker
from steelyard.market.bars import Bars
from steelyard.market.brackets import BracketPolicy
from steelyard.market.strategy import Entry, Exiting
from steelyard.ops.doctor.configuration import broker as doctor_broker
from steelyard.settings import Settings

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
SYMBOL = "BTC/USDT:USDT"
ORDER = Order(
    signal_id=f"{SYMBOL}:{DAY.isoformat()}:buy",
    symbol=SYMBOL,
    side="buy",
    timestamp=DAY,
    decided_at=DAY + timedelta(days=1),
    quantity=10.0004,
    price=200.0,
    stop_offset=4.004,
    target_offset=4.0,
)
ID = ORDER.signal_id
OTHER = replace(
    ORDER, symbol="ETH/USDT:USDT", signal_id=ID.replace("BTC", "ETH"), price=100.0, quantity=5.0
)
NO_LEVEL = math.nan


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(CcxtBroker, "settling_seconds", 0.0)


@pytest.fixture
def account() -> Iterator[tuple[Account, str]]:
    with running_bybit() as running:
        yield running


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    opened = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE)
    opened.migrate()
    return opened


@pytest.fixture
def broker(account: tuple[Account, str], ledger: Ledger) -> CcxtBroker:
    return opened(account[1], ledger)


def settings(address: str | None, **changes: Any) -> BrokerSettings:
    options = {"exchange": "bybit", "apiKey": "key", "secret": "secret", "rateLimit": 1}
    values = {"name": "ccxt", "address": address, "timeout_seconds": 0.5, "options": options}
    return BrokerSettings.model_validate(values | changes)


def opened(address: str, ledger: Ledger, rule: Exiting | None = None) -> CcxtBroker:
    return CcxtBroker(ledger, BracketPolicy(), settings(address), rule)


def history(bars: int = 1) -> dict[str, Bars]:
    """Bars that follow the decision bar."""
    flat = np.full(bars + 1, 200.0)
    stamps = np.datetime64(DAY.replace(tzinfo=None), "ns") + np.arange(bars + 1) * np.timedelta64(
        1, "D"
    )
    return {
        symbol: Bars(symbol, pd.Timedelta("1D"), stamps, flat, flat, flat, flat, flat)
        for symbol in (SYMBOL, OTHER.symbol)
    }


def row(ledger: Ledger, signal_id: str = ID) -> pd.Series:
    return ledger.trades().set_index("signal_id").loc[signal_id]


def sent(server: Account) -> int:
    return server.requests.count(("POST", "/v5/order/create"))


def test_stop_and_target_travel_with_the_entry_and_end_the_trade(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger
) -> None:
    """One request: whole steps, whole ticks, levels of the whole position; fees of both sides."""
    server, _ = account
    assert broker.submit(ORDER) is None
    placed = server.order(client_id(ID))
    assert [placed[name] for name in ("qty", "stopLoss", "takeProfit", "tpslMode")] == [
        "10",
        "196",
        "204",
        "Full",
    ]
    assert sent(server) == 1
    assert broker.advance(history()) == 1
    assert row(ledger)[["status", "quantity", "entry_price"]].tolist() == ["open", 10.0, 200.0]

    server.fire("BTCUSDT", "TakeProfit", 204.2)
    assert broker.advance(history()) == 1
    closed = row(ledger)
    assert closed[["status", "exit_price", "exit_reason"]].tolist() == ["closed", 204.2, "target"]
    assert closed["fees"] == pytest.approx(10 * (200 + 204.2) * 0.00055)
    assert closed["exit_at"] >= closed["entry_at"] > closed["submitted_at"]
    assert broker.advance(history()) == 0
    assert broker.equity({}) == 50_000.0


def test_a_sell_is_a_short_with_levels_the_other_way_round(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger
) -> None:
    """A signal without target has a stop alone."""
    server, _ = account
    short = replace(ORDER, side="sell", signal_id=ID.replace("buy", "sell"), target_offset=NO_LEVEL)
    broker.submit(short)
    placed = server.order(client_id(short.signal_id))
    assert (placed["side"], placed["stopLoss"], placed["takeProfit"]) == ("Sell", "204", "")

    server.fire("BTCUSDT", "StopLoss", 204.0)
    broker.advance(history())
    assert row(ledger, short.signal_id)["exit_reason"] == "stop"


@pytest.mark.parametrize(
    ("kind", "value", "outcome"),
    [
        ("drop_after", None, "arrived"),
        ("hang_after", 0.8, "arrived"),
        ("status_after", 502, "arrived"),
        ("status_after", 200, "arrived"),
        ("status_after", 110_072, "arrived"),
        ("status", 429, "sent again"),
        ("status", 10_006, "sent again"),
        ("drop_before", None, "unknown"),
        ("status", 503, "unknown"),
        ("status", 10_016, "unknown"),
        ("status", 987_654, "unknown"),
    ],
    ids=str,
)
def test_an_order_that_may_have_arrived_is_one_order(
    account: tuple[Account, str],
    broker: CcxtBroker,
    ledger: Ledger,
    kind: str,
    value: Any,
    outcome: str,
) -> None:
    """Found under its id; sent again only if the exchange did not take it; else told, and asked."""
    server, address = account
    server.faults = [("POST", kind, value)]
    if outcome == "unknown":
        with pytest.raises(RestoreService, match="unknown whether the order in BTC/USDT:USDT arr"):
            broker.submit(ORDER)
        opened(address, ledger).advance(history())
        assert row(ledger)[["status", "veto"]].tolist() == ["canceled", "not_sent"]
        assert server.positions == {}
        return
    assert broker.submit(ORDER) is None
    assert [order["orderLinkId"] for order in server.orders if order["orderLinkId"]] == [
        client_id(ID)
    ]
    assert sent(server) == (2 if outcome == "sent again" else 1)
    assert row(ledger)["broker_order_id"] == server.orders[0]["orderId"]
    assert broker.advance(history()) == 1
    assert row(ledger)["status"] == "open"


@pytest.mark.parametrize("arrived", [True, False])
def test_an_exchange_that_stays_away_leaves_the_question_to_the_next_start(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger, arrived: bool
) -> None:
    """No answer to the order, nor to any look for it."""
    server, address = account
    server.faults = [("POST", "drop_after" if arrived else "drop_before", None)]
    server.faults += [("GET", "status", 503)] * 4
    with pytest.raises(RestoreService, match="orders and stops stay in force"):
        broker.submit(ORDER)

    server.faults = []
    opened(address, ledger).advance(history())
    assert row(ledger)["status"] == ("open" if arrived else "canceled")


def test_the_same_signal_again_is_the_same_order(
    account: tuple[Account, str], broker: CcxtBroker, tmp_path: Path
) -> None:
    """Submitted twice, and again by a process whose ledger has no row; the id has 80 bits."""
    server, address = account
    broker.submit(ORDER)
    broker.submit(ORDER)
    empty = Ledger(f"sqlite:///{tmp_path}/empty.db", LINEAGE)
    empty.migrate()
    assert opened(address, empty).submit(ORDER) is None

    assert sent(server) == 1
    ids = {client_id(f"{SYMBOL}:{number}:buy") for number in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[a-z0-9]{21}", made) for made in ids)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"quantity": 0.0009},
            r"0.0009 BTC/USDT:USDT are less than the smallest order of bybit: 0",
        ),
        ({"quantity": 0.02}, "smallest order of bybit: 0.001 contracts, and 5 USDT"),
        (
            {"symbol": "BTC/USDT"},
            r"BTC/USDT is no perpetual contract of bybit that settles in USDT",
        ),
        ({"symbol": "ETH/USDT:USDT"}, "the account holds ETH/USDT:USDT already"),
        ({"quantity": 1e6}, "^ab not enough for new order$"),
        ({"price": 210.0}, "^StopLoss should be on the other side of base_price$"),
    ],
    ids=["too small", "worth too little", "spot", "taken", "no margin", "stop passed"],
)
def test_a_refusal_is_told_in_one_line_and_noted(
    account: tuple[Account, str],
    broker: CcxtBroker,
    ledger: Ledger,
    changes: dict[str, Any],
    reason: str,
) -> None:
    """By the contract's sizes before anything is sent, or in Bybit's words."""
    server, _ = account
    server.trade("ETHUSDT", "Buy", 1.0)
    assert re.search(reason, str(broker.submit(replace(ORDER, **changes))))
    assert row(ledger)[["status", "veto"]].tolist() == ["rejected", "broker_rejected"]
    assert sent(server) == reason.startswith("^")


def test_a_second_trade_in_a_symbol_is_refused(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger, tmp_path: Path
) -> None:
    """Stop and target belong to the position; also a second system's trade could not be told."""
    broker.submit(ORDER)
    second = replace(ORDER, signal_id=ID.replace("buy", "sell"), side="sell")
    assert "is still working; bybit keeps one stop" in str(broker.submit(second))
    assert row(ledger)["status"] == "submitted"

    neighbour = Ledger(f"sqlite:///{tmp_path}/ledger.db", "neighbour", LINEAGE)
    beside = opened(account[1], neighbour)
    assert beside.advance(history()) == 0  # the position is not its own
    of_its_own = replace(ORDER, lineage="neighbour")
    assert f"{ID} is still working" in str(beside.submit(of_its_own))
    assert beside.submit(replace(OTHER, lineage="neighbour")) is None
    assert beside.advance(history()) == broker.advance(history()) == 1


@pytest.mark.parametrize(("units", "status"), [(4.0, "open"), (0.0, "canceled")])
def test_an_entry_that_finds_too_few_units(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger, units: float, status: str
) -> None:
    """What was filled has its stop and is a trade; without any there is none."""
    server, _ = account
    server.liquidity = units
    broker.submit(ORDER)
    broker.advance(history())

    assert row(ledger)["status"] == status
    assert row(ledger)["veto"] == (None if units else "not_filled")
    assert sent(server) == 1


@pytest.mark.parametrize("state", ["live", "restarted"])
def test_exits_between_runs_are_found(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger, state: str
) -> None:
    """In the live list while the history is late, in the history once the live list lost them."""
    server, _ = account
    broker.submit(ORDER)
    broker.advance(history())
    server.fire("BTCUSDT", "StopLoss", 195.5, 4.0)
    server.fire("BTCUSDT", "TakeProfit", 204.0)
    server.history_is_late, server.restarted = state == "live", state == "restarted"
    broker.advance(history())

    assert row(ledger)[["status", "exit_reason"]].tolist() == ["closed", "target"]
    assert row(ledger)["exit_price"] == pytest.approx(200.6)


def test_an_entry_that_is_told_late_is_not_taken_for_unsent(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger
) -> None:
    """Bybit accepted it and holds the position, but has lost its live list: told, then found."""
    server, _ = account
    broker.submit(ORDER)
    server.restarted = server.history_is_late = True
    with pytest.raises(ReconcileAccount, match="the ledger has as submitted; name the account"):
        broker.advance(history())
    assert row(ledger)["status"] == "submitted"

    server.history_is_late = False
    broker.advance(history())
    assert row(ledger)["status"] == "open"


def test_a_trade_of_weeks_is_read_page_by_page(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger
) -> None:
    """Weeks after the entry, behind a page of orders that somebody gave before it."""
    server, _ = account
    decided_at = DAY - timedelta(days=30)
    broker.submit(replace(ORDER, timestamp=decided_at - timedelta(days=1), decided_at=decided_at))
    [entry, *_] = server.orders
    entered = int(decided_at.timestamp() * 1000) + 60_000
    entry |= dict.fromkeys(("createdTime", "updatedTime"), str(entered))
    earlier = dict.fromkeys(("createdTime", "updatedTime"), str(entered - 120_000))
    sale = {"orderStatus": "Filled", "cumExecQty": "1", "avgPrice": "190", **earlier}
    server.orders[1:1] = [document("BTCUSDT", "Sell", 1.0, **sale) for _ in range(60)]
    broker.advance(history())
    server.fire("BTCUSDT", "StopLoss", 196.0)
    broker.advance(history())

    closed = row(ledger)
    assert closed[["status", "exit_price", "exit_reason"]].tolist() == ["closed", 196.0, "stop"]
    assert closed["entry_at"].to_pydatetime() == decided_at + timedelta(minutes=1)


class ThirdClose:
    """Leaves at the third close."""

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return len(bars) - entry.position == 3


@pytest.mark.parametrize(
    ("levels", "rule", "bars", "letter", "reason"),
    [
        ((NO_LEVEL,) * 4, None, 48, "t", "time"),
        ((NO_LEVEL, NO_LEVEL, NO_LEVEL, 10.0), None, 5, "r", "trail"),
        ((NO_LEVEL,) * 4, ThirdClose(), 3, "x", "exit"),
    ],
    ids=["time", "trail", "exit"],
)
def test_what_is_due_is_left_while_its_stop_stays(
    account: tuple[Account, str],
    ledger: Ledger,
    levels: tuple[float, float, float, float],
    rule: Exiting | None,
    bars: int,
    letter: str,
    reason: str,
) -> None:
    """An order that can only reduce; the same run writes its fill, and nothing was cancelled."""
    server, address = account
    broker = opened(address, ledger, rule)
    broker.submit(replace(ORDER, levels=levels, target_offset=NO_LEVEL))
    rise = np.where(np.arange(bars + 1) == bars - 1, 16.0, 0.0)  # the bar before the last
    flats = history(bars).items()
    known = {symbol: replace(flat, high=flat.high + rise) for symbol, flat in flats}
    broker.advance({symbol: later[:bars] for symbol, later in known.items()})
    assert sent(server) == 1
    broker.advance(known)

    leaving = server.order(f"{client_id(ID)}{letter}1")
    assert (leaving["side"], leaving["qty"], leaving["reduceOnly"]) == ("Sell", "10", True)
    assert row(ledger)[["status", "exit_reason"]].tolist() == ["closed", reason]
    assert broker.advance(known) == 0


def test_one_that_cannot_be_left_keeps_its_stop_and_nobody_from_the_others(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger
) -> None:
    """Of two that are over their time one is refused, the other closed."""
    server, _ = account
    for order in (ORDER, OTHER):
        broker.submit(order)
    server.halted = {"BTCUSDT"}
    with pytest.raises(ReconcileAccount, match=r"BTC/USDT:USDT must be closed and bybit refuses"):
        broker.advance(history(48))

    assert row(ledger, OTHER.signal_id)["status"] == "closed"
    assert row(ledger)["status"] == "open"
    assert pd.isna(row(ledger)["unprotected_since"])


def test_a_position_without_stop_is_noted_and_closed_first(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger
) -> None:
    """The run that finds it closes it; if it cannot, the next one does so before all else."""
    server, address = account
    broker.submit(ORDER)
    server.remove_stop("BTCUSDT")
    server.faults = [("POST", "drop_before", None)] * 3
    with pytest.raises(ReconcileAccount, match="may be without a stop until the next run closes"):
        broker.advance(history())
    assert not pd.isna(row(ledger)["unprotected_since"])

    opened(address, ledger).protect()
    assert server.positions == {}
    broker.advance(history())
    assert row(ledger)[["status", "exit_reason"]].tolist() == ["closed", "unprotected"]
    assert pd.isna(row(ledger)["unprotected_since"])


@pytest.mark.parametrize(
    ("kind", "request_number"),
    [*(("drop_before", number) for number in range(8)), ("drop_after", 6)],
)
def test_a_connection_cut_at_any_request_of_an_exit_closes_it_once(
    account: tuple[Account, str],
    broker: CcxtBroker,
    ledger: Ledger,
    kind: str,
    request_number: int,
) -> None:
    """From this request on every one fails: the position has its stop or is gone, never turned."""
    server, address = account
    broker.submit(ORDER)
    broker.advance(history())
    again = opened(address, ledger)
    again.advance(history())  # contracts and account are known
    server.faults = [("*", "none", None)] * request_number + [("*", kind, None)] * 99
    with suppress(RestoreService, ReconcileAccount):
        again.advance(history(48))
    held = server.positions.get("BTCUSDT")
    assert (held is None) == (kind == "drop_after" or request_number > 6)
    assert held is None or (held["side"], held["stopLoss"]) == ("Buy", "196")

    server.faults = []
    opened(address, ledger).advance(history(48))
    assert server.positions == {}
    assert row(ledger)[["status", "exit_reason"]].tolist() == ["closed", "time"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("CreateByUser", "by_hand"),
        ("CreateByClosing", "by_hand"),
        ("CreateByLiq", "liquidated"),
        ("CreateByAdl_PassThrough", "liquidated"),
    ],
)
def test_a_position_that_others_closed_ends_its_trade(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger, made: str, reason: str
) -> None:
    """The operator, or Bybit itself."""
    server, _ = account
    broker.submit(ORDER)
    broker.advance(history())
    server.trade("BTCUSDT", "Sell", 10.0, made)
    broker.advance(history())

    assert row(ledger)[["status", "exit_reason"]].tolist() == ["closed", reason]


def test_what_the_ledger_does_not_explain_stops_trading(
    account: tuple[Account, str], broker: CcxtBroker
) -> None:
    """A position by hand, more units, an open order, more out than in."""
    server, _ = account
    server.trade("ETHUSDT", "Buy", 1.0)
    with pytest.raises(ReconcileAccount, match="holds 1 ETH/USDT:USDT, the ledger 0; close the di"):
        broker.advance(history())
    server.trade("ETHUSDT", "Sell", 1.0)
    broker.submit(ORDER)
    assert broker.advance(history()) == 1

    server.orders.append(document("ETHUSDT", "Buy", 1.0, orderType="Limit"))
    with pytest.raises(ReconcileAccount, match=r"the open order .* in ETH/USDT:USDT is not in the"):
        broker.advance(history())
    server.orders.pop()
    server.trade("BTCUSDT", "Buy", 1.0)
    with pytest.raises(ReconcileAccount, match="holds 11 BTC/USDT:USDT, the ledger 10"):
        broker.advance(history())
    server.trade("BTCUSDT", "Sell", 11.0)
    with pytest.raises(ReconcileAccount, match=r"11 BTC/USDT:USDT left the trade .*, 10 en"):
        broker.advance(history())


def test_an_account_that_cannot_be_read_soundly_is_refused(
    account: tuple[Account, str], ledger: Ledger
) -> None:
    """Both directions apart, no unified account, no USDT, other keys: one line each."""
    server, address = account
    server.hedged = True
    with pytest.raises(ReconcileAccount, match="is in hedge mode; set it to one-way mode"):
        opened(address, ledger).submit(ORDER)
    server.hedged, server.equity = False, ""
    with pytest.raises(ReconcileAccount, match="has no USDT; transfer some into it"):
        opened(address, ledger).equity({})
    server.unified = False
    with pytest.raises(ReconcileAccount, match="no unified trading account; upgrade it"):
        opened(address, ledger).advance(history())
    server.keys = ("key", "another")
    with pytest.raises(FixConfiguration, match="bybit refuses the keys"):
        opened(address, ledger).advance(history())


def test_another_account_does_not_forget_open_trades(broker: CcxtBroker, ledger: Ledger) -> None:
    """Another key, the sandbox instead of the live account: the trades stay, and it is told."""
    broker.submit(ORDER)
    broker.advance(history())
    with running_bybit() as (_, address):
        with pytest.raises(ReconcileAccount, match="does not know the order of BTC/USDT:USDT"):
            opened(address, ledger).advance(history())
        live = CcxtBroker(ledger, BracketPolicy(), settings(address, live=True))
        with pytest.raises(ReconcileAccount, match="working at the broker ccxt:bybit:sandbox"):
            live.advance(history())

    assert row(ledger)["status"] == "open"


def test_fees_in_another_coin_count_at_the_contracts_rate(
    account: tuple[Account, str], broker: CcxtBroker, ledger: Ledger
) -> None:
    """A discount coin's amount is not money of the account."""
    account[0].fee_coin = "MNT"
    broker.submit(ORDER)
    broker.advance(history())

    assert row(ledger)["fees"] == pytest.approx(10 * 200 * 0.0006)


def test_the_sandbox_is_the_default(ledger: Ledger) -> None:
    """Real money needs ``live: true``; an order is never sent again by ccxt itself."""
    sandbox, live = (
        CcxtBroker(ledger, BracketPolicy(), settings(None, live=live)) for live in (False, True)
    )
    addresses = [broker._exchange.urls["api"]["private"] for broker in (sandbox, live)]

    assert addresses == ["https://api-testnet.{hostname}", "https://api.{hostname}"]
    assert [sandbox.name, live.name] == ["ccxt:bybit:sandbox", "ccxt:bybit"]
    assert live._exchange.options["maxRetriesOnFailure"] == 0


def test_keys_are_filled_from_the_environment(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is not set, a key that is not there, and the doctor's row."""
    keys = {"apiKey": "${BYBIT_KEY}", "secret": "${BYBIT_SECRET}"}
    configured = BrokerSettings(name="ccxt", options={"exchange": "bybit", **keys})
    with pytest.raises(FixConfiguration, match="environment variable BYBIT_KEY is not set"):
        open_broker(configured, BracketPolicy(), ledger)
    monkeypatch.setenv("BYBIT_KEY", "key")
    monkeypatch.setenv("BYBIT_SECRET", "secret")
    assert open_broker(configured, BracketPolicy(), ledger).name == "ccxt:bybit:sandbox"
    [row] = doctor_broker(Settings(broker=configured))
    assert row.found == "bybit through ccxt, sandbox, not contacted"
    with pytest.raises(FixConfiguration, match=r"apiKey is missing; add it as \$\{NAME\}"):
        open_broker(
            BrokerSettings(name="ccxt", options={"exchange": "bybit"}), BracketPolicy(), ledger
        )


def test_every_exchange_is_taken_or_refused_with_a_reason(ledger: Ledger) -> None:
    """By what ccxt declares, and by whether its stops can be followed; no request is made."""
    reasons = {name: unsuitable(getattr(ccxt, name)()) for name in ccxt.exchanges}
    assert [name for name, reason in reasons.items() if reason is None] == ["bybit"]
    expected = {
        "kraken": "has no linear perpetual contracts",
        "binance": "takes no stop with the entry",
        "okx": "does not tell by ccxt's unified answers whether a stop is in force",
    }
    for name, reason in expected.items():
        line = rf"options: {name} {reason}.*; use bybit$"
        with pytest.raises(FixConfiguration, match=line):
            CcxtBroker(ledger, BracketPolicy(), settings(None, options={"exchange": name}))
