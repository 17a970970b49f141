"""Time of a training of 30 trials over 5,000 settled signals, beside a naive trial loop."""

import time

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.model_selection import TimeSeriesSplit

from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.training import train
from steelyard.market.bars import by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy

SIGNALS, TRIALS = 5_000, 30


def run_naive_trials(samples: Samples) -> None:
    """Run 30 trials in scikit-learn style: five folds, 200 rounds, one thread, no pruning."""
    for trial in range(TRIALS):
        for fit, test in TimeSeriesSplit(5).split(samples.x):
            model = lgb.LGBMClassifier(
                n_estimators=200, max_depth=2 + trial % 4, n_jobs=1, verbose=-1
            )
            model.fit(samples.x[fit], samples.won[fit])
            model.predict_proba(samples.x[test])


def main() -> None:
    """Print the seconds of both."""
    bars = by_symbol(simulate(SimulatedMarket()), pd.Timedelta("4h"))
    settled = history(bars, TrendStrategy(), BracketPolicy())
    samples = Samples.from_history(settled, feature_names(TrendStrategy())).take(np.arange(SIGNALS))
    started = time.perf_counter()
    training = train(samples, LearningPolicy(trials=TRIALS))
    steelyard_seconds = time.perf_counter() - started
    started = time.perf_counter()
    run_naive_trials(samples)
    naive_seconds = time.perf_counter() - started
    size = f"{SIGNALS} signals  {TRIALS} trials"
    print(f"steelyard train  {size}  {steelyard_seconds:6.1f} s  ({training.comparison})")
    ratio = naive_seconds / steelyard_seconds
    print(f"naive trial loop {size}  {naive_seconds:6.1f} s  ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
