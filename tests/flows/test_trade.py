"""Paper trading in simulated time: every trade is traceable, and nothing is ordered twice."""

import errno
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

from factories.alpaca_server import running_account
from factories.crash import killed_after_its_first_order
from factories.digests import ledger_digest
from steelyard.desk.streak_breaker import StreakBreaker
from steelyard.errors import ReconcileAccount, RestoreService
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.gateways import spool
from steelyard.gateways.brokers import PaperBroker
from steelyard.home import Home, open_home
from steelyard.queries.history import known_history
from steelyard.queries.status import status
from steelyard.tasks.predictions import record_outcomes
from steelyard.tasks.trading import broker_of, newest_signals, trade_signals
from steelyard.trading import open_session

Command = Callable[..., tuple[int, str, str]]
MONDAY = datetime(2011, 8, 8, tzinfo=UTC)


@pytest.fixture
def patient(conf: Path) -> str:
    """A deadline long enough for a busy machine; deadlines are tested elsewhere."""
    (conf / "desk.yaml").write_text("deadline_ms: 10000  # milliseconds")
    return str(conf)


def lived(home: Path, conf: str, days: int) -> Home:
    """Collect once, then trade and settle every day on the sample's bars."""
    collect.fn(MONDAY + timedelta(days=150), str(home), conf)
    guard.fn(MONDAY - timedelta(days=1), str(home), conf)
    for number in range(days):
        day = MONDAY + timedelta(days=number, minutes=10)
        trade.fn(day, str(home), conf)
        settle.fn(day, str(home), conf)
    return open_home(home, Path(conf))


def test_two_weeks_on_the_sample_can_be_traced_from_signal_to_outcome(
    home: Path, patient: str
) -> None:
    """Every signal has a prediction and an order or a veto; exits are the kernel's."""
    stores = lived(home, patient, 14)
    end = MONDAY + timedelta(days=120)
    trade.fn(end, str(home), patient)
    settle.fn(end, str(home), patient)
    trades = stores.ledger.trades()
    trades = trades[
        (trades["timestamp"] < pd.Timestamp(MONDAY) + pd.Timedelta("14D")).to_numpy(dtype=bool)
    ]
    ordered = trades[trades["status"] != "vetoed"]
    settled = stores.ledger.settled_predictions(MONDAY, end).set_index("signal_id")

    assert len(ordered) >= 3
    assert set(trades["status"]) <= {"vetoed", "closed"}
    assert set(trades.loc[trades["status"] == "vetoed", "veto"]) <= {
        "not_decided",
        "stale",
        "symbol_taken",
        "too_wild",
    }
    for row in ordered.to_dict("records"):
        outcome = settled.loc[row["signal_id"]]
        assert outcome["decision"]
        assert outcome["exit_reason"] == row["exit_reason"]
        assert outcome["slippage_bps"] == pytest.approx(4.0, abs=0.01)
        assert row["quantity"] > 0
        assert row["entry_at"] > row["timestamp"]
    by_bars = known_history(stores, end).set_index("signal_id").loc[ordered["signal_id"]]
    assert settled.loc[ordered["signal_id"], "net_return"].tolist() == pytest.approx(
        by_bars["net_return"].tolist(), abs=1e-12
    )
    assert (
        settled.loc[ordered["signal_id"], "hold_minutes"].tolist()
        == by_bars["hold_minutes"].tolist()
    )


def test_trading_twice_orders_nothing_twice(home: Path, patient: str) -> None:
    """A second run at the same time leaves the ledger unchanged."""
    stores = lived(home, patient, 5)
    before = ledger_digest(stores.ledger)
    for number in range(5):
        day = MONDAY + timedelta(days=number, minutes=10)
        trade.fn(day, str(home), patient)
    again = MONDAY + timedelta(days=4, minutes=10)
    trade.fn(again, str(home), patient)
    settle.fn(again, str(home), patient)

    assert ledger_digest(stores.ledger) == before


def test_a_missed_signal_is_recorded_and_not_traded(home: Path, patient: str) -> None:
    """After two months without a run, only signals of the newest bar are traded."""
    lived(home, patient, 1)
    late = MONDAY + timedelta(days=60, minutes=10)
    document = trade.fn(late, str(home), patient)
    trades = open_home(home, Path(patient)).ledger.trades()
    missed = trades[trades["timestamp"] < pd.Timestamp(late) - pd.Timedelta("5D")]

    assert len(missed) >= 3
    assert set(missed["veto"].dropna()) <= {"stale", "not_decided"}
    assert {signal.veto for signal in document.signals} <= {None, "not_decided", "symbol_taken"}


@pytest.mark.parametrize(
    ("scheduled", "started", "stale"),
    [(0.75, 0.75, False), (16, 16, False), (17, 17, True), (0.75, 17, True)],
)
def test_a_signal_is_stale_once_its_entry_has_passed(
    home: Path, patient: str, scheduled: float, started: float, stale: bool
) -> None:
    """Until New York opens again it can be ordered; then an alert says that all were stale.

    A run that starts later than it was scheduled is as late as it is.
    """
    stores = lived(home, patient, 1)
    close = datetime(2011, 8, 16, 21, tzinfo=UTC)
    late = close + timedelta(hours=started)
    found = newest_signals(stores, close + timedelta(hours=scheduled))
    traded = trade_signals(stores, found, lambda: late)
    trades = stores.ledger.trades()
    newest = trades[(trades["submitted_at"] == pd.Timestamp(close)).to_numpy(dtype=bool)]

    alerted = [one.alert.figure for one in stores.alerts.open() if one.alert.kind == "stale"]
    warned = [line for line in status(stores, late).warnings if "entry of each" in line]

    assert len(newest) >= 1
    assert (newest["veto"] == "stale").all() == stale
    assert len(traded.signals) == (0 if stale else len(newest))
    assert traded.stale >= len(newest) * stale
    assert any(f"{late:%Y-%m-%d %H:%M} UTC" in figure for figure in alerted) == stale
    assert bool(warned) == stale


def test_the_broker_goes_on_after_a_restart_and_adds_up(home: Path, patient: str) -> None:
    """A reopened broker knows every trade; equity is start plus profits minus fees."""
    stores = lived(home, patient, 14)
    end = MONDAY + timedelta(days=120)
    trade.fn(end, str(home), patient)
    broker = broker_of(open_home(home, Path(patient)))
    closed = stores.ledger.trades(("closed",))
    sign = closed["side"].map({"buy": 1, "sell": -1}).astype(float)
    brought = (
        closed["quantity"] * sign * (closed["exit_price"] - closed["entry_price"]) - closed["fees"]
    ).sum()

    assert isinstance(broker, PaperBroker)
    assert broker.equity({}) == pytest.approx(100_000 + brought)
    assert broker.advance({}) == 0
    assert record_outcomes(stores, known_history(stores, end)) >= 0


def test_the_command_line_says_what_was_ordered_and_why_not(
    home: Path, patient: str, command: Command
) -> None:
    """The output has one line per signal."""
    stores = lived(home, patient, 9)
    code, out, err = command(
        "trade",
        "--home",
        home,
        "--conf",
        patient,
        "--as-of",
        (MONDAY + timedelta(days=30)).isoformat(),
    )  # type: ignore[operator]

    assert code == 0, err
    assert "trades changed by fills" in out
    assert len(stores.ledger.trades()) >= 1


def test_without_mlflow_the_existing_system_trades(home: Path, patient: str) -> None:
    """Without the registry the orders are the same, decided by the existing system alone."""
    stores = lived(home, patient, 1)
    database = home / "mlruns" / "mlflow.db"
    database.rename(home / "gone.db")
    database.mkdir()
    signals = []
    for number in range(1, 10):
        day = MONDAY + timedelta(days=number, minutes=10)
        signals += trade.fn(day, str(home), patient).signals
    ordered = [signal for signal in signals if signal.veto is None]

    assert len(ordered) >= 1
    assert all(signal.decision == (signal.confidence_existing > 70) for signal in signals)
    assert {signal.weight for signal in signals} == {0.0}
    assert len(stores.ledger.trades(("submitted", "open", "closed"))) >= len(ordered)


def test_a_brake_that_cannot_be_pulled_stops_no_trade(
    home: Path, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If settling fails, one alert a day is sent and the signals are traded."""
    lived(home, patient, 1)
    stores = open_home(home, Path(patient))
    monkeypatch.setattr(StreakBreaker, "check", unpullable)
    days = [MONDAY + timedelta(days=number, minutes=10) for number in range(1, 10)]
    ordered = [
        signal
        for day in days
        for signal in trade.fn(day, str(home), patient).signals
        if signal.veto is None
    ]

    assert len(ordered) >= 1
    assert {stored.alert.figure for stored in stores.alerts.open()} == {
        "the brake cannot be written"
    }


def unpullable(breaker: StreakBreaker, state: object, as_of: datetime) -> bool:
    raise RestoreService("the brake cannot be written")


def test_alpaca_gets_one_order_for_each_traded_signal(
    home: Path, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alpaca gets whole units under the signal's id; an unknown position stops trading."""
    for name, value in {"APCA_API_KEY_ID": "key", "APCA_API_SECRET_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    with running_account() as (account, address):
        (Path(patient) / "broker.yaml").write_text(f"name: alpaca\naddress: {address}\n")
        lived(home, patient, 9)
        stores = open_home(home, Path(patient))
        ordered = stores.ledger.trades(("submitted",))

        assert len(ordered) >= 1
        sent_ids = [order["client_order_id"] for order in account.orders]
        assert sent_ids == ordered["signal_id"].tolist()
        assert all(float(order["qty"]).is_integer() for order in account.orders)
        account.positions["TSLA"] = 1.0
        with pytest.raises(ReconcileAccount, match="TSLA"):
            trade.fn(MONDAY + timedelta(days=9, minutes=10), str(home), patient)
        assert len(account.orders) == len(ordered)


def test_every_order_has_its_reason_after_a_kill(home: Path, patient: str) -> None:
    """Killed right after the order, before the recorder's next round: the evaluation is on disk."""
    collect.fn(MONDAY + timedelta(days=30), str(home), patient)
    guard.fn(MONDAY - timedelta(days=1), str(home), patient)
    process = multiprocessing.get_context("spawn").Process(
        target=killed_after_its_first_order,
        args=(str(home), patient, MONDAY + timedelta(minutes=10)),
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    open_session(home, Path(patient)).close()  # the next process drains the spool
    stores = open_home(home, Path(patient))
    [ordered] = stores.ledger.trades(("submitted",))["signal_id"]
    evaluated = stores.ledger.signal(ordered)

    assert evaluated is not None
    assert evaluated["decision"]


@pytest.mark.soak
def test_what_cannot_be_recorded_is_not_ordered(
    home: Path, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the signal is evaluated: one line, no order, and none is missed."""
    collect.fn(MONDAY + timedelta(days=30), str(home), patient)
    guard.fn(MONDAY - timedelta(days=1), str(home), patient)
    stores = open_home(home, Path(patient))
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(spool.os, "fsync", Mock(side_effect=full))
    days = iter(MONDAY + timedelta(days=number, minutes=10) for number in range(30))
    reached: list[datetime] = []
    with pytest.raises(RestoreService, match="free space on this disk"):
        trade_until_refused(days, reached, home, patient)
    assert stores.ledger.trades(("submitted", "open", "closed")).empty
    monkeypatch.undo()

    assert trade.fn(reached[-1], str(home), patient).signals


def trade_until_refused(
    days: Iterator[datetime], reached: list[datetime], home: Path, conf: str
) -> None:
    for day in days:
        reached.append(day)
        trade.fn(day, str(home), conf)


def test_two_lineages_trade_within_the_limits_of_one_account(home: Path, patient: str) -> None:
    """With room for one position the second lineage is refused, in words of the account.

    Both propose the same signals; their orders have ids of their own.
    """
    names, conf = ("first", "second"), Path(patient)
    for name in names:
        (conf / "lineages" / name).mkdir(parents=True)
    (conf / "risk.yaml").write_text("max_positions: 1")
    collect.fn(MONDAY + timedelta(days=150), str(home), patient)
    for number in range(4):
        for name in names:
            trade.fn(MONDAY + timedelta(days=number, minutes=10), str(home), patient, name)

    first, second = (open_home(home, conf, name).ledger for name in names)
    trades = first.account_trades()
    ordered = trades[(trades["status"] != "vetoed").to_numpy(dtype=bool)]
    assert set(first.trades()["signal_id"]) == set(second.trades()["signal_id"])
    assert set(ordered["lineage"]) == {"first"}
    assert ordered["order_id"].tolist() == [f"first/{key}" for key in ordered["signal_id"]]
    assert len(first.account_trades(("submitted", "open"))) <= 1
    refused = second.trades().set_index("signal_id")["veto"]
    assert set(refused[ordered["signal_id"]]) <= {"account_symbol_taken", "account_max_positions"}
