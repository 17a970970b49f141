"""Trainings of 30 trials beside a naive trial loop, and beside FLAML with the same time.

Both learn from the same development rows and are scored on the same holdout. ``--signals N`` takes
one size instead of two; the naive loop is left out above 5,000 signals.
"""

import argparse
import time

import lightgbm as lgb
import numpy as np
import pandas as pd
from flaml import AutoML
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from sklearn.model_selection import TimeSeriesSplit

from steelyard.learning.folds import split_holdout
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.training import train
from steelyard.market.bars import by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy

TRIALS = 30
SIZES = (5_000, 100_000)
MARKET_SIGNALS, MARKET_SYMBOLS = 600, 100
"""Signals of one simulated symbol, at least, and the most symbols of one simulated market."""


def make_samples(count: int) -> Samples:
    """Return signals of simulated markets with a hidden edge, one market after the other."""
    parts = []
    for seed in range(1, 2 + count // (MARKET_SIGNALS * MARKET_SYMBOLS)):
        symbols = min(1 + count // MARKET_SIGNALS, MARKET_SYMBOLS)
        market = SimulatedMarket(edge="hidden", symbols=symbols, seed=seed)
        bars = by_symbol(simulate(market), pd.Timedelta("4h"))
        part = history(bars, TrendStrategy(), BracketPolicy())
        parts.append(part.assign(symbol=f"{seed}-" + part["symbol"].astype(str)))
    settled = pd.concat(parts).sort_values("decided_at", kind="stable", ignore_index=True)
    samples = Samples.from_history(settled, feature_names(TrendStrategy()))
    return samples.take(np.linspace(0, len(samples) - 1, count).astype(np.int64))


def run_naive_trials(samples: Samples) -> None:
    """Run 30 trials in scikit-learn style: five folds, 200 rounds, one thread, no pruning."""
    for trial in range(TRIALS):
        for fit, test in TimeSeriesSplit(5).split(samples.x):
            model = lgb.LGBMClassifier(
                n_estimators=200, max_depth=2 + trial % 4, n_jobs=1, verbose=-1
            )
            model.fit(samples.x[fit], samples.won[fit])
            model.predict_proba(samples.x[test])


def run_flaml(samples: Samples, seconds: float) -> NDArray[np.float64]:
    """Return FLAML's probabilities of the holdout, shape (h,).

    Args:
        samples: Settled signals.
        seconds: Time it has.
    """
    development, holdout = split_holdout(samples, LearningPolicy())
    automl = AutoML()
    automl.fit(
        samples.x[development], samples.won[development], task="classification", metric="log_loss",
        time_budget=seconds, split_type="time", n_jobs=2, seed=7, verbose=0,
    )  # fmt: skip
    return np.asarray(automl.predict_proba(samples.x[holdout])[:, 1])


def main() -> None:
    """Print the seconds of all, and the log-loss of trainings on the holdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, nargs="+", default=SIZES)
    for count in parser.parse_args().signals:
        compare(count)


def compare(count: int) -> None:
    """Print what each made of a number of signals.

    Args:
        count: Settled signals.
    """
    samples = make_samples(count)
    started, began = time.perf_counter(), time.process_time()
    training = train(samples, LearningPolicy(trials=TRIALS))
    seconds, cpu = time.perf_counter() - started, time.process_time() - began
    won, size = samples.won[training.holdout], f"{count:7,} signals"
    loss = log_loss(won, training.p_win) if training.model else np.nan
    print(f"steelyard train  {size}  {seconds:6.1f} s  {cpu:6.1f} s CPU  log-loss {loss:.5f}")
    print(f"  {training.comparison or training.refusal}")
    flaml = log_loss(won, run_flaml(samples, seconds))
    print(f"FLAML            {size}  {seconds:6.1f} s                log-loss {flaml:.5f}")
    if count <= min(SIZES):
        started = time.perf_counter()
        run_naive_trials(samples)
        naive = time.perf_counter() - started
        print(f"naive trial loop {size}  {naive:6.1f} s  ratio {naive / seconds:.1f}")


if __name__ == "__main__":
    main()
