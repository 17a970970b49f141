"""A small edge on real bars: its evidence, losing streaks, and the weight in both modes.

``python benchmarks/edge.py FILE --atr 1 --limit 12 --every 6``: a plain booster is retrained every
30 days on signals settled at least a day before, scaled by its own earlier predictions, and
predicts the signals of the next 30 days. ``--true 0.52`` uses predictions with a known edge
instead. Without a file it uses the built-in sample.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from steelyard.environment import go_offline
from steelyard.errors import CollectMoreData, SteelyardError
from steelyard.evaluation.books import SizingPolicy, account_returns
from steelyard.evaluation.positions import PositionLimits, take_positions
from steelyard.evaluation.skill import Origin, Skill, measure_skill
from steelyard.learning.calibration import fit_scale
from steelyard.market import indicators
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.strategy import Scan, TrendStrategy
from steelyard.monitoring.false_alarms import streak_alarm
from steelyard.queries.replay import open_replay_home
from steelyard.settings import load
from steelyard.simulation.bounds import compile_bounds
from steelyard.simulation.lives import Beginning, Signals, live
from steelyard.tasks.bars import read_source, store_bars, validate_bars
from steelyard.weight.policy import WeightPolicy

Floats = NDArray[np.float64]
SIZING = SizingPolicy()
REFIT, EMBARGO, DAY = pd.Timedelta(days=30), pd.Timedelta(days=1), pd.Timedelta(days=1)
FIRST, MONTH = 0.3, 30  # share of the signals used for training only; days
MIN_SIGNALS = 1000  # settled signals


class EveryBars(TrendStrategy):
    """The built-in system, entered every so many bars instead of at its triggers."""

    every = 0

    def scan(self, bars: Bars) -> Scan:
        """Return the candidates of every bar."""
        candidates = super().scan(bars)
        if not self.every:
            return candidates
        trend = np.sign(
            np.nan_to_num(indicators.ema(bars.close, 12) - indicators.ema(bars.close, 26))
        ).astype(np.int64)
        turn = np.arange(len(bars)) % self.every == 0
        sides = np.where(turn & np.isfinite(candidates.confidence), trend, 0)
        return Scan(sides, candidates.confidence, candidates.scores)


def main() -> None:
    """Print skill and losing streaks of the predictions, and the result of both modes."""
    options = parse_options()
    go_offline()
    settled = settled_signals(options)
    frame = (
        plant_edge(settled, options.true)
        if options.true
        else pd.concat(list(predict_walk_forward(settled, feature_names(EveryBars()))))
    )
    predictions = frame.sort_values("settled_at", kind="stable").reset_index(drop=True)
    print_skill(predictions)
    print_streaks(predictions)
    for mode in ("ladder", "sequential"):
        for streak in (10, 60):
            print_life(
                predictions,
                weight_policy(mode, streak, options.gate),
                f"{mode}, breaker_streak {streak}",
            )


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "bars", nargs="?", default="sample", help="a bars file or folder, sample, or simulated:EDGE"
    )
    parser.add_argument("--atr", type=float, default=2.0, help="distance of stop and target, ATRs")
    parser.add_argument("--limit", type=int, default=48, help="time limit, bars")
    parser.add_argument(
        "--every", type=int, default=0, help="enter every N bars; 0: the built-in triggers"
    )
    parser.add_argument(
        "--true",
        type=float,
        default=0.0,
        help="use predictions of this accuracy instead of a booster's",
    )
    parser.add_argument("--gate", type=float, default=0.55, help="accuracy needed to leave shadow")
    return parser.parse_args()


def settled_signals(options: argparse.Namespace) -> pd.DataFrame:
    """Return the settled signals of the bars, collected as in the flows, one row each."""
    with tempfile.TemporaryDirectory() as home:
        stores = open_replay_home(options.bars, None, None, None, Path(home), None)
        store_bars(stores, validate_bars(stores, read_source(stores), datetime.now(UTC)))
        bars = by_symbol(stores.lake.read(), stores.lake.bar_size)
    EveryBars.every = options.every
    bracket = BracketPolicy(
        stop_atr=options.atr, target_atr=options.atr, time_limit_bars=options.limit
    )
    frame = history(bars, EveryBars(), bracket)
    if frame["won"].count() < MIN_SIGNALS:
        raise CollectMoreData(
            f"{frame['won'].count()} settled signals, {MIN_SIGNALS} needed; "
            "use more bars or a smaller --every"
        )
    return (
        frame[frame["won"].notna()].sort_values("decided_at", kind="stable").reset_index(drop=True)
    )


def predict_walk_forward(settled: pd.DataFrame, names: tuple[str, ...]) -> Iterator[pd.DataFrame]:
    """Yield the signals of 30 days at a time with predictions of a model fitted before.

    Args:
        settled: Settled signals, one row each, ordered by ``decided_at``.
        names: Columns of the features.
    """
    x, won, decided = (
        settled[list(names)].to_numpy(float),
        settled["won"].to_numpy(bool),
        settled["decided_at"],
    )
    existing, p_win = settled["confidence_existing"].to_numpy(float), np.full(len(settled), np.nan)
    begin = decided.iloc[int(len(settled) * FIRST)]
    while begin <= decided.iloc[-1]:
        past = (settled["settled_at"] < begin - EMBARGO).to_numpy(bool)
        current = ((decided >= begin) & (decided < begin + REFIT)).to_numpy(bool)
        own_past = past & np.isfinite(p_win)
        if current.any():
            p_win[current] = fit_booster(x[past], won[past]).predict_proba(x[current])[:, 1]
            reference = own_past if own_past.any() else current
            scale = fit_scale("matched", p_win[reference], existing[reference])
            yield settled[current].assign(
                p_win=p_win[current], confidence_ml=scale.apply(p_win[current])
            )
        begin += REFIT


def plant_edge(settled: pd.DataFrame, accuracy: float) -> pd.DataFrame:
    """Return the signals with calibrated predictions of a known mean accuracy.

    Args:
        settled: Settled signals, one row each.
        accuracy: Mean accuracy; the claimed edge is uniform up to twice its mean.
    """
    draws = np.random.default_rng(1)
    edge = (accuracy - 0.5) * 2 * draws.random(len(settled))
    right = draws.random(len(settled)) < 0.5 + edge
    p_win = np.where(settled["won"].to_numpy(bool) == right, 0.5 + edge, 0.5 - edge)
    scale = fit_scale("matched", p_win, settled["confidence_existing"].to_numpy(float))
    return settled.assign(p_win=p_win, confidence_ml=scale.apply(p_win))


def fit_booster(x: Floats, won: NDArray[np.bool_]) -> lgb.LGBMClassifier:
    """Return a plain booster with the same settings for all bars.

    Args:
        x: Features, shape (n, k).
        won: Outcomes, shape (n,).
    """
    booster = lgb.LGBMClassifier(
        n_estimators=150,
        learning_rate=0.03,
        num_leaves=8,
        min_child_samples=max(30, len(won) // 100),
        subsample=0.7,
        subsample_freq=1,
        colsample_bytree=0.4,
        reg_lambda=10,
        random_state=1,
        n_jobs=1,
        verbose=-1,
    )
    return booster.fit(x, won)


def print_skill(predictions: pd.DataFrame) -> None:
    """Print accuracy, AUC, deviations and e-value of ``predictions``, one row a signal."""
    p_win, won = predictions["p_win"].to_numpy(float), predictions["won"].to_numpy(bool)
    larger = max(won.mean(), 1 - won.mean())
    first, last = predictions["decided_at"].min(), predictions["decided_at"].max()
    print(f"{len(predictions):,} signals, {monthly_signals(predictions):.0f} a month", end="; ")
    print(f"{first:%Y-%m} to {last:%Y-%m}")
    print(f"accuracy {((p_win > 0.5) == won).mean():.1%}, larger class {larger:.1%}", end=", ")
    print(f"AUC {roc_auc_score(won, p_win):.3f}")
    products = (p_win - p_win.mean()) * (won - won.mean())
    for label, group in (
        ("signals as clusters", np.arange(len(predictions))),
        ("days as clusters", settling_days(predictions)),
    ):
        sums = np.bincount(group, weights=products)
        deviations = sums.sum() / np.sqrt((sums**2).sum())
        print(f"standard deviations from no skill, {label}: {deviations:.1f}")
    skill = lifetime_skill(predictions)
    print(
        f"evidence of skill {skill.skill:.3g}, 100 needed; decay {skill.decay_evidence:.1f} months"
    )


def lifetime_skill(predictions: pd.DataFrame) -> Skill:
    """Return the evidence of ``predictions``, one row a signal, over their whole time."""
    since, end = (
        predictions["decided_at"].min().to_pydatetime(),
        predictions["settled_at"].max().to_pydatetime(),
    )
    held = take_positions(predictions, SIZING, PositionLimits(), ("baseline", "ml"))
    return measure_skill(held, end, Origin(since), load(None).weight.sequential.bets)


def print_streaks(predictions: pd.DataFrame) -> None:
    """Print the seen and the stated share of months with losing streaks, one row a signal."""
    won = predictions["won"].to_numpy(bool)
    correlation, month = (
        float(np.corrcoef(won[:-1], won[1:])[0, 1]),
        round(monthly_signals(predictions)),
    )
    months = [won[first : first + month] for first in range(0, len(won) - month + 1, month)]
    share = np.mean([longest_run(month_won) > 10 for month_won in months])
    stated = (streak_alarm(month, 11, won.mean(), correlation), streak_alarm(month, 11, won.mean()))
    print(
        f"more than 10 losses in a row in {share:.0%} of {len(months)} months; "
        f"stated {stated[0]:.0%} with neighbours",
        end=" ",
    )
    print(f"correlating by {correlation:.2f}, {stated[1]:.0%} were they independent")


def longest_run(won: NDArray[np.bool_]) -> int:
    """Return the longest run of losses in ``won``, shape (n,)."""
    ends = np.flatnonzero(np.concatenate(([True], won, [True])))
    return int(np.diff(ends).max() - 1)


def print_life(predictions: pd.DataFrame, bounds: WeightPolicy, label: str) -> None:
    """Print weights and returns of a life under a policy.

    Args:
        predictions: Settled predictions, one row a signal.
        bounds: Policy of the weight.
        label: Name of the policy.
    """
    day, returns = settling_days(predictions) + 1, account_returns(predictions, SIZING)
    days, existing, ml = (
        int(day.max()),
        predictions["confidence_existing"].to_numpy(float),
        predictions["confidence_ml"].to_numpy(float),
    )
    starts = np.searchsorted(day, np.arange(days + 2))
    treated = np.random.default_rng(1).random(len(predictions)) < 0.5
    life = Signals(
        starts,
        day,
        predictions["p_win"].to_numpy(float),
        existing,
        ml,
        predictions["won"].to_numpy(bool),
        returns,
        treated,
    )
    weights, phases, breakers = (
        np.zeros(days + 1),
        np.zeros(days + 1, np.int64),
        np.zeros(days + 1, np.int64),
    )
    begins = Beginning(0, 0, first_gate=False, head_start=False)
    live(life, days, begins, compile_bounds(bounds, SIZING.threshold), weights, phases, breakers)
    moves, weight = np.diff(weights), weights[day - 1]
    books = {"baseline": existing, "ml": ml, "blended": (1 - weight) * existing + weight * ml}
    gained = ", ".join(
        f"{name} {returns[book > SIZING.threshold].sum():+.0%}" for name, book in books.items()
    )
    print(
        f"{label}: mean weight {weights.mean():.1%}, highest {weights.max():.0%}, "
        f"{(moves > 0).sum()} rises",
        end=", ",
    )
    print(f"{(moves < 0).sum()} falls, {(breakers > 0).sum()} breakers; {gained}")


def weight_policy(mode: str, streak: int, gate: float) -> WeightPolicy:
    """Return the policy of ``conf/`` with changes.

    Args:
        mode: ``ladder`` or ``sequential``.
        streak: Losses in a row at which the breaker fires.
        gate: Accuracy needed to leave shadow.
    """
    base = load(None).weight
    limits, gates = base.limits.model_copy(update={"breaker_streak": streak}), base.gates
    gates = gates.model_copy(update={"shadow_accuracy": gate})
    return base.model_copy(update={"evidence": mode, "limits": limits, "gates": gates})


def settling_days(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Return the day each signal settled on, from 0, shape (n,)."""
    return (
        (predictions["settled_at"] - predictions["decided_at"].min().normalize()) // DAY
    ).to_numpy(dtype=np.int64)


def monthly_signals(predictions: pd.DataFrame) -> float:
    """Return the mean number of signals (rows) in 30 days."""
    return (
        len(predictions)
        / ((predictions["settled_at"].max() - predictions["decided_at"].min()) / DAY)
        * MONTH
    )


if __name__ == "__main__":
    try:
        main()
    except SteelyardError as error:
        sys.exit(str(error))
