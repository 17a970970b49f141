"""CPU time of a weekly retrained year-half: FreqAI's backtest and our replay of the same bars.

Seven symbols of simulated 4 h bars, 27 weeks. FreqAI fits a LightGBM model per pair and week, with
the features, label and settings of its own documentation; our replay searches over 30 trials a
week, of two kinds of boosters and a linear model, and lives through every day with guard, weight
and journal. FreqAI runs in an environment of its own (``freqai-constraints.txt``), because its pins
and ours do not fit together.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from steelyard.market.simulated import SimulatedMarket, simulate

PINS = Path(__file__).with_name("freqai-constraints.txt")
SYMBOLS, WEEKS = 7, 27
BEGIN, START = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2021))
"""First bar, and first day of the backtest: a year is known by then."""
END = START + timedelta(weeks=WEEKS)
TRAIN_DAYS = 364
PAIRS = tuple(f"SIM{number:02d}/USDT" for number in range(SYMBOLS))
SETTINGS = {
    "stake_currency": "USDT",
    "stake_amount": 100,
    "max_open_trades": SYMBOLS,
    "dry_run": True,
    "fee": 0.001,
    "timeframe": "4h",
    "dataformat_ohlcv": "json",
    "exchange": {"name": "binance", "pair_whitelist": PAIRS},
    "pairlists": [{"method": "StaticPairList"}],
    "entry_pricing": {"price_side": "same"},
    "exit_pricing": {"price_side": "same"},
    "freqai": {
        "enabled": True,
        "purge_old_models": 2,
        "train_period_days": TRAIN_DAYS,
        "backtest_period_days": 7,
        "identifier": "benchmark",
        "feature_parameters": {
            "include_timeframes": ["4h"],
            "include_corr_pairlist": [],
            "label_period_candles": 24,
            "include_shifted_candles": 2,
            "indicator_periods_candles": [10, 20],
        },
        "data_split_parameters": {"test_size": 0.25},
        "model_training_parameters": {"n_estimators": 100, "n_jobs": 1},
    },
}
OFFLINE = f"""
import sys
from freqtrade.exchange import Exchange
from freqtrade.main import main

def load(exchange, reload=False):
    exchange._api_async.set_markets([
        {{"id": pair, "symbol": pair, "base": pair[:5], "quote": "USDT", "spot": True,
          "type": "spot", "active": True, "precision": {{"amount": 1e-6, "price": 1e-4}},
          "limits": {{"amount": {{"min": 1e-6}}, "cost": {{"min": 5}}}}}}
        for pair in {PAIRS}
    ])

Exchange._load_async_markets = load
sys.exit(main(sys.argv[1:]))
"""
STRATEGY = """
from freqtrade.templates.FreqaiExampleStrategy import FreqaiExampleStrategy

class Weekly(FreqaiExampleStrategy):
    can_short = False
    timeframe = "4h"
"""


def main() -> None:
    """Print CPU time and largest memory of both, and their ratio."""
    with tempfile.TemporaryDirectory(prefix="steelyard-freqai-") as name:
        folder = Path(name)
        bars = simulate(SimulatedMarket(symbols=SYMBOLS, start=BEGIN, end=END))
        python, user = _install(folder / "venv"), _user_data(folder / "user_data", bars)
        options = ["--config", user / "config.json", "--userdir", user, "--datadir", user / "data"]
        backtest = [python, "-c", OFFLINE, "backtesting", *options, "--strategy", "Weekly"]
        model = [
            "--freqaimodel",
            "LightGBMRegressor",
            "--timerange",
            f"{START:%Y%m%d}-{END:%Y%m%d}",
        ]
        theirs = _measure([*backtest, *model, "--cache", "none"])
        models = len(list(user.glob("models/benchmark/sub-train-*")))
        if models != SYMBOLS * WEEKS:
            sys.exit(f"FreqAI fitted {models} models, not {SYMBOLS * WEEKS}")
        file = folder / "bars.csv"
        bars.to_csv(file, index=False)
        replay = [sys.executable, "-P", "-m", "steelyard", "replay", "--bars", file]
        weekly = ["--start", f"{START:%F}", "--end", f"{END:%F}", "--retrain-days", "7"]
        ours = _measure([*replay, *weekly, "--trials", "30", "--home", folder / "home", "--json"])
    print(f"{'':34}{'CPU, s':>10}{'MB':>8}{'ratio':>8}")
    for name, (seconds, megabytes) in {
        f"FreqAI, {models} models": theirs,
        f"Steelyard, {WEEKS} searches of 30": ours,
    }.items():
        print(f"{name:34}{seconds:10.0f}{megabytes:8.0f}{seconds / theirs[0]:8.2f}")


def _install(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--requirement", PINS], check=True)
    return python


def _user_data(folder: Path, bars: pd.DataFrame) -> Path:
    """Return freqtrade's folder with strategy, settings and candles.

    Args:
        folder: Folder to make.
        bars: Bars as ``simulate`` returns them.
    """
    for name in ("strategies", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "strategies" / "weekly.py").write_text(STRATEGY)
    (folder / "config.json").write_text(json.dumps(SETTINGS))
    for symbol, own in bars.groupby("symbol"):
        stamps = (own["timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1ms")
        candles = own.assign(stamp=stamps)[["stamp", "open", "high", "low", "close", "volume"]]
        rows = candles.to_numpy().tolist()
        (folder / "data" / f"{symbol}_USDT-4h.json").write_text(json.dumps(rows))
    return folder


def _measure(command: "list[str | Path]") -> tuple[float, float]:
    """Return seconds of CPU and the largest memory in MB that a command took.

    Its threads and its children count.
    """
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            sys.exit(f"{' '.join(map(str, command))}\n{printed.read()[-4000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
