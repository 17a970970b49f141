"""Runs a freqtrade backtest whose every entry asks ``steelyard serve``, and looks at what was kept.

freqtrade's pins and ours do not fit together, so it has an environment of its own, made from
``freqtrade-constraints.txt``. Candles are made here and its exchange is one market per pair: no
network but pip's. Run from the root of a checkout.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steelyard.home import open_home

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "freqtrade"
PINS = Path(__file__).with_name("freqtrade-constraints.txt")
TOKEN = "a-token-of-this-check-alone"  # noqa: S105  # opens nothing but the service started here
PAIRS = ("BTC/USDT", "ETH/USDT")
START, HOURS, HOUR = pd.Timestamp("2025-01-01", tz="UTC"), 90 * 24, timedelta(hours=1)
SETTINGS = {
    "stake_currency": "USDT",
    "stake_amount": 100,
    "max_open_trades": len(PAIRS),
    "dry_run": True,
    "fee": 0.001,
    "dataformat_ohlcv": "json",
    "exchange": {"name": "kraken", "pair_whitelist": PAIRS},
    "pairlists": [{"method": "StaticPairList"}],
    "entry_pricing": {"price_side": "same"},
    "exit_pricing": {"price_side": "same"},
}
OFFLINE = """
import sys
from freqtrade.exchange import Exchange
from freqtrade.main import main

def load(exchange, reload=False):
    exchange._api_async.set_markets([
        {"id": pair, "symbol": pair, "base": pair[:3], "quote": "USDT", "spot": True,
         "type": "spot", "active": True, "precision": {"amount": 1e-6, "price": 1e-2},
         "limits": {"amount": {"min": 1e-6}, "cost": {"min": 5}}}
        for pair in ("BTC/USDT", "ETH/USDT")
    ])

Exchange._load_async_markets = load
sys.exit(main(sys.argv[1:]))
"""
ASKING = """
import os
from momentum import Momentum

class Asking(Momentum):
    steelyard_url = os.environ["STEELYARD_URL"]
    steelyard_timeout = 20.0
    steelyard_in_backtest = True

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["confidence"] > 66, "enter_long"] = 1
        return dataframe

    def confirm_trade_entry(self, **entry):
        answer = super().confirm_trade_entry(**entry)
        with open(os.environ["ASKED"], "a") as file:
            print(entry["pair"], entry["current_time"].isoformat(), answer, sep=",", file=file)
        return answer
"""


def main() -> None:
    """Check the adapter; every failure ends with the command and what it printed."""
    with tempfile.TemporaryDirectory(prefix="steelyard-freqtrade-") as name:
        folder = Path(name)
        python, user = _install(folder / "venv"), _user_data(folder / "user_data")
        home, conf = _home(folder)
        with _serving(home, conf) as address:
            asked, trades = _backtest(python, user, address)
        kept = open_home(home, conf).ledger.log_signals(datetime.now(UTC)).set_index("signal_id")
        _check_questions(asked, kept, _candles())
        _check_outcomes(trades, kept)
        alone, trades_alone = _backtest(python, user, address)
        assert all(answer == "True" for _, _, answer in alone), "without the service it decides"
        assert len(trades_alone) > len(trades)
    print(
        f"freqtrade: {len(asked)} entries asked, {len(trades)} trades and their outcomes kept, "
        f"{len(trades_alone)} trades without the service"
    )


def _install(folder: Path) -> Path:
    _run([sys.executable, "-m", "venv", folder])
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "--no-compile", "--requirement", PINS])
    return python


def _candles() -> dict[str, pd.DataFrame]:
    """Return hourly candles per pair: ``date``, ``open``, ``high``, ``low``, ``close``, volume."""
    candles = {}
    for seed, pair in enumerate(PAIRS):
        random = np.random.default_rng(seed)
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.006, HOURS)))
        opened = np.append(100.0, close[:-1])
        candles[pair] = pd.DataFrame(
            {
                "date": pd.date_range(START, periods=HOURS, freq="1h"),
                "open": opened,
                "high": np.maximum(opened, close) * 1.002,
                "low": np.minimum(opened, close) * 0.998,
                "close": close,
                "volume": random.uniform(50, 150, HOURS),
            }
        )
    return candles


def _user_data(folder: Path) -> Path:
    """Return freqtrade's folder with the example's strategy, settings and candles."""
    for name in ("strategies", "data"):
        (folder / name).mkdir(parents=True)
    for source in EXAMPLE.glob("*.py"):
        (folder / "strategies" / source.name).write_text(source.read_text())
    (folder / "strategies" / "asking.py").write_text(ASKING)
    (folder / "config.json").write_text(json.dumps(SETTINGS))
    for pair, candles in _candles().items():
        stamps = (candles["date"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1ms")
        rows = candles.assign(date=stamps).to_numpy().tolist()
        (folder / "data" / f"{pair.replace('/', '_')}-1h.json").write_text(json.dumps(rows))
    return folder


def _home(folder: Path) -> tuple[Path, Path]:
    """Return a home without bars whose existing system is another program, and its settings."""
    conf = folder / "conf"
    conf.mkdir()
    (conf / "source.yaml").write_text("kind: none\n")
    (conf / "strategy.yaml").write_text("system: log\n")
    return folder / "home", conf


@contextmanager
def _serving(home: Path, conf: Path) -> Iterator[str]:
    """Serve a home on any free port, and stop as Ctrl-C does: all records are then written."""
    serve = [sys.executable, "-P", "-m", "steelyard", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*serve, "--home", home, "--conf", conf],
        env=os.environ | {"STEELYARD_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert "serving at http" in line, line + process.stderr.read()
        yield line.split("serving at ")[1].split(";")[0]
    finally:
        process.terminate()
        process.wait(60)


def _backtest(
    python: Path, user: Path, address: str
) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Return what was asked (pair, time, answer) and freqtrade's own trades.

    Args:
        python: Python of freqtrade's environment.
        user: freqtrade's folder.
        address: Where the service answers, or did.
    """
    asked, results = user / "asked.csv", user / "backtest_results"
    asked.unlink(missing_ok=True)
    options = ["--config", user / "config.json", "--userdir", user, "--datadir", user / "data"]
    command = [python, "-c", OFFLINE, "backtesting", *options, "--strategy", "Asking"]
    variables = {"STEELYARD_TOKEN": TOKEN, "STEELYARD_URL": address, "ASKED": str(asked)}
    _run([*command, "--cache", "none", "--export", "trades"], os.environ | variables)
    newest = results / json.loads((results / ".last_result.json").read_text())["latest_backtest"]
    with zipfile.ZipFile(newest) as packed:
        result = json.loads(packed.read(f"{newest.stem}.json"))
    with asked.open() as file:
        return list(csv.reader(file)), result["strategy"]["Asking"]["trades"]


def _check_questions(
    asked: list[list[str]], kept: pd.DataFrame, candles: dict[str, pd.DataFrame]
) -> None:
    """Every entry is one signal, decided when its candle closed, on what was known then."""
    moments = [(pair, pd.Timestamp(at), answer == "True") for pair, at, answer in asked]
    ids = [_signal_id(pair, at) for pair, at, _ in moments]
    assert sorted(ids) == sorted(kept.index), "each entry is asked once and kept"
    for signal_id, (pair, at, answer) in zip(ids, moments, strict=True):
        row, known = kept.loc[signal_id], candles[pair][candles[pair]["date"] < at]
        momentum = known["close"].iloc[-1] / known["close"].iloc[-25] - 1
        assert row["decided_at"] == at == known["date"].iloc[-1] + HOUR
        assert set(row["own"]) == {"momentum", "spread", "volume_ratio"}
        assert abs(row["own"]["momentum"] - momentum) < 1e-9
        assert answer == (row["confidence"] > 70), "at weight 0 it is the strategy's confidence"
    assert {answer for _, _, answer in moments} == {True, False}


def _check_outcomes(trades: list[dict[str, Any]], kept: pd.DataFrame) -> None:
    """Every closed trade is the outcome of its signal, and no other signal has one."""
    by_id = {_signal_id(trade["pair"], pd.Timestamp(trade["open_date"])): trade for trade in trades}
    ended = kept[kept["settled_at"].notna()]
    assert set(by_id) == set(ended.index), "closed trades are reported, and nothing else"
    for signal_id, trade in by_id.items():
        row = ended.loc[signal_id]
        assert abs(row["net_return"] - trade["profit_ratio"]) < 1e-6
        assert row["settled_at"] == pd.Timestamp(trade["close_date"]) + HOUR
        assert row["exit_reason"] == trade["exit_reason"]
        assert abs(row["stop_distance"] - 0.03) < 1e-3


def _signal_id(pair: str, at: pd.Timestamp) -> str:
    return f"{pair}:{at:%Y-%m-%dT%H:%M:%SZ}:buy"


def _run(command: "list[str | Path]", environment: "dict[str, str] | None" = None) -> None:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        words = " ".join(map(str, command))
        sys.exit(
            f"{words}: exit code {ended.returncode}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
        )


if __name__ == "__main__":
    main()
