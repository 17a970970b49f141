"""What a training finds of an edge planted in real features, beside the oracle and plain models.

The features are those of the built-in system's signals on a simulated market without any edge; each
outcome is drawn from odds that depend on eight of them in a line or, with ``--steps``, by six
tenths on four steps of two features each, around a base rate that swings by 3 points. Areas under
the curve are measured against the true odds of the holdout, so that the luck of its outcomes does
not blur them.

``python benchmarks/planted.py --sets 20 --trials 15`` prints one line for each number of signals
and each strength of the edge.
"""

import argparse
from dataclasses import replace
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from steelyard.evaluation.positions import take_positions
from steelyard.evaluation.skill import Origin, measure_skill
from steelyard.learning.admission import ProofRule, first_gate
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
from steelyard.settings import load

Floats = NDArray[np.float64]
COUNTS, STRENGTHS = (1_000, 3_000, 10_000), (0.55, 0.58, 0.62)
STEPS_SHARE, SWING_DAYS = 0.6, 540


class Planted(NamedTuple):
    """Signals with a planted edge.

    Attributes:
        rows: Their history, one row each.
        samples: The same as samples, outcomes drawn.
        p_win: True probability of a win, shape (n,).
    """

    rows: pd.DataFrame
    samples: Samples
    p_win: Floats


class Found(NamedTuple):
    """Result of one set: areas under the curve on its holdout, and what the first gate said.

    ``search`` is NaN if its scores could not be calibrated.
    """

    oracle: float
    search: float
    logistic: float
    lightgbm: float
    by_accuracy: bool
    by_proof: bool


def main() -> None:
    """Print a row for each number of signals and strength of the edge."""
    options = parse_options()
    bars = by_symbol(simulate(SimulatedMarket(edge="none", symbols=18)), pd.Timedelta("4h"))
    frame = history(bars, TrendStrategy(), BracketPolicy())
    frame = frame[frame["won"].notna()]
    print("| signals | edge | oracle | search | logistic | LightGBM", end=" | ")
    print("admitted by accuracy | or proven | not calibratable |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in options.signals:
        for auc in STRENGTHS:
            found = [
                find(plant_edge(frame, count, auc, seed, steps=options.steps), options.trials)
                for seed in range(options.sets)
            ]
            print_row(count, auc, found)


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=5, help="data sets of each row")
    parser.add_argument("--trials", type=int, default=15, help="trials of each search")
    parser.add_argument("--signals", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--steps", action="store_true", help="an edge that is not linear")
    return parser.parse_args()


def plant_edge(frame: pd.DataFrame, count: int, auc: float, seed: int, *, steps: bool) -> Planted:
    """Return signals whose outcomes an oracle tells apart with a given area under the curve.

    Args:
        frame: History to take signals from, at random.
        count: Number of signals.
        auc: Area under the curve of the true odds.
        seed: Random seed.
        steps: Whether six tenths of the variance of the log odds are steps.
    """
    rng = np.random.default_rng(seed)
    rows = frame.iloc[np.sort(rng.choice(len(frame), count, replace=False))]
    samples = Samples.from_history(rows, feature_names(TrendStrategy()))
    x = (samples.x - samples.x.mean(axis=0)) / np.maximum(samples.x.std(axis=0), 1e-9)
    columns = rng.choice(x.shape[1], 8, replace=False)
    score = standardise(np.clip(x[:, columns], -3, 3) @ rng.normal(size=8))
    if steps:
        stepped = standardise(sum((draw_step(x, rng) for _ in range(4)), np.zeros(count)))
        score = np.sqrt(1 - STEPS_SHARE) * score + np.sqrt(STEPS_SHARE) * stepped
    scale = brentq(lambda scale: expected_auc(score, sigmoid(scale * score)) - auc, 0, 3)
    days = (samples.decided_at - samples.decided_at[0]) / np.timedelta64(1, "D")
    swing = 0.12 * np.sin(2 * np.pi * (days / SWING_DAYS + rng.random()))
    p_win = sigmoid(scale * score + swing)
    return Planted(rows, replace(samples, won=rng.random(count) < p_win), p_win)


def draw_step(x: Floats, rng: np.random.Generator) -> Floats:
    """Return ±1 where two random columns of ``x``, shape (n, k), are both high, shape (n,)."""
    first, second = rng.choice(x.shape[1], 2, replace=False)
    high = x[:, first] > np.quantile(x[:, first], rng.uniform(0.3, 0.7))
    both = high & (x[:, second] > np.quantile(x[:, second], rng.uniform(0.2, 0.6)))
    return rng.choice([-1.0, 1.0]) * both


def standardise(values: Floats) -> Floats:
    """Return values, shape (n,), with mean 0 and deviation 1."""
    return (values - values.mean()) / max(values.std(), 1e-9)


def sigmoid(log_odds: Floats) -> Floats:
    """Return probabilities, any shape."""
    return 1 / (1 + np.exp(-log_odds))


def expected_auc(scores: Floats, p_win: Floats) -> float:
    """Return the expected area under the curve of scores, shape (n,).

    Args:
        scores: Any number that should rise with the odds, shape (n,).
        p_win: True probabilities, shape (n,).
    """
    outcomes = np.repeat([1, 0], len(p_win))
    weights = np.concatenate([p_win, 1 - p_win])
    return float(roc_auc_score(outcomes, np.tile(scores, 2), sample_weight=weights))


def find(planted: Planted, trials: int) -> Found:
    """Return what a training and two plain models find on the holdout of one set.

    Args:
        planted: Signals with a planted edge.
        trials: Trials of the search.
    """
    samples, policy = planted.samples, LearningPolicy(trials=trials)
    development, holdout = split_holdout(samples, policy)
    training, p_win = train(samples, policy), planted.p_win[holdout]
    x, won = samples.x[development], samples.won[development]
    models = plain_models(len(development))
    plain = [model.fit(x, won).predict_proba(samples.x[holdout]) for model in models]
    by_accuracy = by_proof = False
    if training.model is not None:
        predictions = planted.rows.iloc[holdout].assign(
            p_win=training.p_win, confidence_ml=training.confidence_ml, won=samples.won[holdout]
        )
        metrics = training.metrics | {"holdout_skill": holdout_skill(predictions)}
        by_accuracy, by_proof = (
            not first_gate(metrics, policy, ProofRule(20, admits=admits)).reasons
            for admits in (False, True)
        )
    return Found(
        oracle=expected_auc(p_win, p_win),
        search=expected_auc(training.p_win, p_win) if training.model else np.nan,
        logistic=expected_auc(plain[0][:, 1], p_win),
        lightgbm=expected_auc(plain[1][:, 1], p_win),
        by_accuracy=by_accuracy,
        by_proof=by_proof,
    )


def plain_models(rows: int) -> tuple[Pipeline, lgb.LGBMClassifier]:
    """Return a shrunken logistic regression and a LightGBM with fixed, common settings."""
    booster = lgb.LGBMClassifier(
        n_estimators=150, learning_rate=0.03, num_leaves=8, min_child_samples=max(30, rows // 100),
        subsample=0.7, subsample_freq=1, colsample_bytree=0.4, reg_lambda=10, random_state=1,
        n_jobs=1, verbose=-1,
    )  # fmt: skip
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.002)), booster


def holdout_skill(predictions: pd.DataFrame) -> float:
    """Return the e-value of the predictions on a holdout, one row a signal."""
    settled, conf = predictions.sort_values("settled_at", ignore_index=True), load(None)
    held = take_positions(settled, conf.books, conf.risk, ("baseline", "ml"))
    begin, end = held["decided_at"].min(), held["settled_at"].max()
    bets = conf.weight.sequential.bets
    return measure_skill(held, end.to_pydatetime(), Origin(begin.to_pydatetime()), bets).skill


def print_row(count: int, auc: float, found: list[Found]) -> None:
    """Print means and shares of the sets of one row of the table.

    Args:
        count: Signals of each set.
        auc: Area under the curve that was planted.
        found: Results of the sets.
    """
    values = np.array(found, dtype=np.float64)
    areas = " | ".join(f"{mean:.3f}" for mean in np.nanmean(values[:, :4], axis=0))
    shares = " | ".join(f"{share:.0%}" for share in values[:, 4:].mean(axis=0))
    refused = np.isnan(values[:, 1]).mean()
    print(f"| {count:,} | {auc:.2f} | {areas} | {shares} | {refused:.0%} |", flush=True)


if __name__ == "__main__":
    main()
