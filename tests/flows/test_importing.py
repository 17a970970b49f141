"""Importing a log of past trades into a home whose existing system is a log."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factories.trade_logs import freqtrade_trades, write_log
from steelyard.flows.importing import import_trades
from steelyard.gateways.ledger.tables import LOG_SIGNAL
from steelyard.home import open_home
from steelyard.queries.history import known_history
from steelyard.views.reconciliation import import_summary

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def log_conf(conf: Path) -> Path:
    """Settings of a home that takes signals of a log and has no bars."""
    (conf / "strategy.yaml").write_text("system: log\n", encoding="utf-8")
    (conf / "source.yaml").write_text("kind: none\n", encoding="utf-8")
    return conf


@pytest.fixture
def imported(home: Path, log_conf: Path, command: Command) -> Callable[..., dict[str, Any]]:
    """Import a file without a training, and return the document that the command prints."""

    def run(file: Path, *arguments: object) -> dict[str, Any]:
        given = ("--no-train", "--as-of", NOW.isoformat(), "--json", *arguments)
        code, out, err = command("import", file, "--home", home, "--conf", log_conf, *given)
        assert code == 0, err
        return dict(json.loads(out))

    return run


def write(trades: pd.DataFrame, file: Path) -> Path:
    trades.to_csv(file, index=False)
    return file


def test_file_and_ledger_have_the_same_totals(
    tmp_path: Path, imported: Callable[..., dict[str, Any]]
) -> None:
    """What is imported is what the file says; importing it again adds nothing and says so."""
    trades = freqtrade_trades(40)
    file = write(trades, tmp_path / "trades.csv")
    first, again = imported(file), imported(file)

    assert (first["read"], first["added"], first["already_there"]) == (40, 40, 0)
    assert first["totals"]["file"] == pytest.approx(first["totals"]["ledger"])
    assert first["totals"]["file"]["net"] == pytest.approx(trades["profit_abs"].sum())
    assert first["totals"]["file"]["win_rate"] == (trades["profit_abs"] > 0).mean()
    assert first["in_money"]
    assert (again["added"], again["settled"], again["already_there"]) == (0, 0, 40)
    assert again["differing"] == []


def test_a_second_file_adds_what_is_new(
    tmp_path: Path, imported: Callable[..., dict[str, Any]]
) -> None:
    """An open trade gets its outcome, a new one is added, one with another exit is told."""
    trades = freqtrade_trades(10)
    earlier = trades.iloc[:8].assign(is_open=[False] * 7 + [True])
    imported(write(earlier, tmp_path / "earlier.csv"))
    trades.loc[0, "profit_abs"] = -1.0
    later = imported(write(trades, tmp_path / "later.csv"))

    assert (later["added"], later["settled"], later["already_there"]) == (2, 1, 8)
    assert later["differing"] == ["BTC/USDT:2026-01-05T00:00:00Z:buy"]
    assert later["totals"]["file"]["trades"] == later["totals"]["ledger"]["trades"] == 10
    assert later["totals"]["file"]["net"] != pytest.approx(later["totals"]["ledger"]["net"])


def test_rows_left_out_and_faults_are_in_a_file_of_the_home(
    tmp_path: Path, imported: Callable[..., dict[str, Any]]
) -> None:
    """A fill outside the log's own range, an exit before its entry, and a trade still to come."""
    trades = freqtrade_trades(30)
    trades.loc[0, "min_rate"] = 101.0
    trades.loc[1, "close_date"] = trades.loc[0, "open_date"]
    trades.loc[2, ["open_date", "close_date"]] = pd.Timestamp("2026-04-01", tz="UTC")
    report = imported(write(trades, tmp_path / "trades.csv"))

    assert [(row["line"], row["kind"]) for row in report["skipped"]] == [
        (3, "impossible"),
        (4, "impossible"),
    ]
    assert report["faults"] == {"entry outside its bar": 1}
    details = Path(report["details"]).read_text(encoding="utf-8")
    assert "3,impossible,exit before entry" in details
    assert "2,imported with fault,entry outside its bar: 100 under the low 101" in details


def bars(symbol: str, hours: int) -> pd.DataFrame:
    """Hourly bars that walk around 100, wide enough for the trades of the factory."""
    walk = 100 + np.random.default_rng(1).normal(0, 0.1, hours)
    opens = pd.Timestamp("2025-12-29", tz="UTC") + pd.to_timedelta(range(hours), unit="h")
    prices = {"open": walk, "high": walk + 3, "low": walk - 3, "close": walk}
    return pd.DataFrame({"symbol": symbol, "timestamp": opens, **prices, "volume": 1.0})


def test_with_bars_a_trade_is_decided_on_the_last_closed_one(
    home: Path, log_conf: Path, tmp_path: Path
) -> None:
    """Its features are those of that bar; fills that the bar did not have are named."""
    (log_conf / "source.yaml").write_text("kind: files\npath: bars.csv\n", encoding="utf-8")
    hour = pd.Timedelta("1h")
    opened = open_home(home, log_conf)
    opened.lake.append(bars("BTC/USDT", 24 * 20), hour, hour)
    trades = freqtrade_trades(20, start="2026-01-05T00:20")
    trades.loc[3, "open_rate"] = 50.0
    file = write(trades.drop(columns=["min_rate", "max_rate"]), tmp_path / "trades.csv")
    result = import_trades.fn(str(file), learn=False, as_of=NOW, home=str(home), conf=str(log_conf))

    assert dict(result.reconciliation.faults) == {"entry outside its bar": 1}
    history = known_history(opened, NOW)
    assert history["signal_id"].iloc[0] == "BTC/USDT:2026-01-04T23:00:00Z:buy"
    assert (history["decided_at"] == history["timestamp"] + hour).all()
    assert (history["decided_at"] <= trades["open_date"]).all()
    assert history["net_return"].tolist() == pytest.approx(
        (trades["profit_abs"] / trades["amount"] / trades["open_rate"]).tolist()
    )
    assert not history["earns"].any()


def test_bars_that_come_later_make_no_second_signal(
    home: Path, log_conf: Path, tmp_path: Path
) -> None:
    """The trade is known by its entry, whatever its decision bar is called."""
    (log_conf / "source.yaml").write_text("kind: files\npath: bars.csv\n", encoding="utf-8")
    hour = pd.Timedelta("1h")
    file = write(freqtrade_trades(5, start="2026-01-05T00:20"), tmp_path / "trades.csv")

    def run() -> tuple[int, tuple[str, ...]]:
        result = import_trades.fn(
            str(file), learn=False, as_of=NOW, home=str(home), conf=str(log_conf)
        )
        return result.reconciliation.added, result.reconciliation.differing

    assert run() == (5, ())
    open_home(home, log_conf).lake.append(bars("BTC/USDT", 24 * 20), hour, hour)
    assert run() == (0, ())


@pytest.mark.parametrize(
    "kind", ["mt5", "tradingview", "backtesting", "ibkr", "pyfolio", "generic"]
)
def test_every_format_reaches_the_ledger(
    kind: str, home: Path, log_conf: Path, tmp_path: Path, imported: Callable[..., dict[str, Any]]
) -> None:
    """Totals agree, and no signal is decided after its entry."""
    report = imported(write_log(tmp_path, kind), "--timezone", "Europe/Athens", "--symbol", "BTC")

    assert report["format"] == kind
    assert report["totals"]["file"] == pytest.approx(report["totals"]["ledger"])
    signals = open_home(home, log_conf).ledger.log_signals(NOW)
    assert set(signals) == set(LOG_SIGNAL)
    assert len(signals) == report["added"] > 0
    entered = signals[signals["entry_at"].notna()]
    assert (entered["decided_at"] <= entered["entry_at"]).all()
    assert (entered["settled_at"].dropna() > entered["entry_at"][entered["won"].notna()]).all()


def test_what_the_import_did_is_on_the_terminal_and_on_prefects_page(
    home: Path, log_conf: Path, tmp_path: Path, command: Command
) -> None:
    """A log without a loser is imported, and the training says why there is none."""
    trades = freqtrade_trades(300, winners=1.0)
    file = write(pd.concat([trades, trades.iloc[:1]]), tmp_path / "trades.csv")
    arguments = (file, "--home", home, "--conf", log_conf, "--as-of", NOW.isoformat())
    code, out, err = command("import", *arguments, "--no-train")

    assert code == 0, err
    assert "300 signals imported, 0 outcomes filled in, 0 there already, 1 rows left out" in out
    assert "the same as an earlier line" in out
    assert "100.0%" in out
    result = import_trades.fn(str(file), learn=False, as_of=NOW, home=str(home), conf=str(log_conf))
    page = import_summary(result)
    assert page.startswith("**nothing new: the ledger has all 300 signals of trades.csv**")
    assert "| win rate | 100.0% | 100.0% |" in page


@pytest.mark.parametrize(
    ("strategy", "arguments", "message"),
    [
        ("system: trend\n", (), "conf/strategy.yaml names .*TrendStrategy; signals of a log"),
        ("system: log\n", ("--timezone", "Mars"), "import: timezone: .*use a time zone such as"),
        ("system: log\n", ("--columns", "symbol"), "--columns symbol: write OURS=THEIRS"),
        ("system: log\n", ("--columns", "coin=Pair"), "unknown column coin; use one of symbol"),
    ],
    ids=["another system", "no zone", "no pair", "no name of ours"],
)
def test_a_refused_import_is_one_clear_line(
    strategy: str,
    arguments: tuple[str, ...],
    message: str,
    home: Path,
    log_conf: Path,
    tmp_path: Path,
    command: Command,
) -> None:
    """Nothing is stored."""
    (log_conf / "strategy.yaml").write_text(strategy, encoding="utf-8")
    file = write(freqtrade_trades(3), tmp_path / "trades.csv")
    code, _, err = command("import", file, "--home", home, "--conf", log_conf, *arguments)

    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err)
