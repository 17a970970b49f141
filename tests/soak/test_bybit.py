"""Weeks of trading at Bybit's stand-in, whose connection breaks at any request."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories.bybit_server import Account, running_bybit
from steelyard.errors import ReconcileAccount, RestoreService
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.trade import trade
from steelyard.gateways.brokers.ccxt_account import CcxtBroker
from steelyard.gateways.venues import requests
from steelyard.home import open_home

DAYS = 45
CONTRACTS = {"BTCUSDT": 200.0, "ETHUSDT": 100.0, "SOLUSDT": 50.0, "XRPUSDT": 20.0, "LTCUSDT": 80.0}
FAULTS = [("drop_before", None), ("drop_after", None), ("status", 503), ("status_after", 502)]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Account, str]]:
    monkeypatch.setattr(requests, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(CcxtBroker, "settling_seconds", 0.0)
    with running_bybit() as running:
        yield running


@pytest.mark.soak
def test_no_break_leaves_a_position_without_stop_or_trades_a_signal_twice(
    tmp_path: Path, conf: Path, account: tuple[Account, str]
) -> None:
    """Each run is cut somewhere and made again; account and ledger agree on every trade."""
    server, address = account
    home, days = tmp_path / "home", DAYS
    bars = walks(days)
    written(tmp_path, conf, address, bars)
    today = pd.Timestamp.now("UTC").floor("D")
    collect.fn(today.to_pydatetime(), str(home), str(conf))
    guard.fn((today - pd.Timedelta(days=days + 1)).to_pydatetime(), str(home), str(conf))
    luck = np.random.default_rng(11)
    for number in range(days):
        day = today - pd.Timedelta(days=days - number)
        as_of = (day + pd.Timedelta("10min")).to_pydatetime()
        server.prices = {name: round(bars[name].at[day, "open"], 1) for name in CONTRACTS}
        kind, value = FAULTS[luck.integers(len(FAULTS))]
        server.faults = [("*", "none", None)] * int(luck.integers(60)) + [("*", kind, value)] * 9
        with suppress(RestoreService, ReconcileAccount):
            trade.fn(as_of, str(home), str(conf))
        assert all(float(held["stopLoss"]) for held in server.positions.values())
        server.faults = []
        trade.fn(as_of, str(home), str(conf))
        fire(server, bars, day)

    trades = open_home(home, conf).ledger.trades(("submitted", "open", "closed"))
    entries = [order for order in server.orders if order["stopLoss"]]
    assert len(trades) == len(entries) > days / 10
    assert {order["orderId"] for order in entries} == set(trades["broker_order_id"])
    closed = trades[(trades["status"] == "closed").to_numpy(dtype=bool)]
    assert closed["exit_price"].notna().all()
    assert set(closed["exit_reason"]) <= {"stop", "target", "time"}


def walks(days: int) -> dict[str, pd.DataFrame]:
    """Daily bars of each contract up to yesterday."""
    rows, luck = 300 + days, np.random.default_rng(3)
    end = pd.Timestamp.now("UTC").floor("D")
    stamps = pd.date_range(end - pd.Timedelta(days=rows), periods=rows, name="timestamp")
    bars = {}
    for name, first in CONTRACTS.items():
        close = first * np.exp(np.cumsum(luck.normal(0, 0.03, rows)))
        begin = np.r_[first, close[:-1]]
        high, low = np.maximum(begin, close) * 1.01, np.minimum(begin, close) * 0.99
        columns = {"open": begin, "high": high, "low": low, "close": close, "volume": 1e5}
        bars[name] = pd.DataFrame(columns, index=stamps)
    return bars


def written(folder: Path, conf: Path, address: str, bars: dict[str, pd.DataFrame]) -> None:
    """Write bars and settings: daily files, exits after four bars, the account at ``address``."""
    frames = [
        frame.reset_index().assign(symbol=f"{name.removesuffix('USDT')}/USDT:USDT")
        for name, frame in bars.items()
    ]
    (folder / "bars").mkdir()
    pd.concat(frames).to_csv(folder / "bars" / "bars.csv", index=False)
    files = f"kind: files\npath: {folder / 'bars'}\ncalendar: 24/7\nbar_size: 1D\n"
    options = "{exchange: bybit, apiKey: key, secret: secret, rateLimit: 1}"
    (conf / "source.yaml").write_text(files)
    (conf / "broker.yaml").write_text(f"name: ccxt\naddress: {address}\noptions: {options}\n")
    (conf / "brackets.yaml").write_text("time_limit_bars: 4\n")
    (conf / "desk.yaml").write_text("deadline_ms: 10000\n")


def fire(server: Account, bars: dict[str, pd.DataFrame], day: pd.Timestamp) -> None:
    """Let stops and targets that the day's bar touches leave their positions."""
    for name, held in list(server.positions.items()):
        low, high = bars[name].loc[day, ["low", "high"]]
        for kind, field in (("StopLoss", "stopLoss"), ("TakeProfit", "takeProfit")):
            if name in server.positions and low <= float(held[field]) <= high:
                server.fire(name, kind, float(held[field]))
