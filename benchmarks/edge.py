"""A small edge on real bars: what luck explains of it, what fires the breakers, and what the weight does in either mode.

``python benchmarks/edge.py FILE --atr 1 --limit 12 --every 6``: a plain booster is trained anew every 30 days on what had
settled a day before, scaled by its own earlier opinions, and asked about the signals of the next 30 days.
``--true 0.52`` plants a true edge in its place. Without a file it takes the built-in sample.
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

from steelyard.errors import CollectMoreData, SteelyardError
from steelyard.evaluation.books import SizingPolicy, account_returns
from steelyard.evaluation.skill import Skill, measure_skill
from steelyard.learning.calibration import fit_scale
from steelyard.market import indicators
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.strategy import Scan, TrendStrategy
from steelyard.monitoring.false_alarms import streak_alarm
from steelyard.queries.replay import open_replay_home
from steelyard.settings import go_offline, load
from steelyard.simulation.bounds import compile_bounds
from steelyard.simulation.lives import Signals, live
from steelyard.tasks.bars import read_source, store_bars, validate_bars
from steelyard.weight.policy import WeightPolicy

Floats = NDArray[np.float64]
SIZING = SizingPolicy()
REFIT, EMBARGO, DAY = pd.Timedelta(days=30), pd.Timedelta(days=1), pd.Timedelta(days=1)
FIRST, MONTH = 0.3, 30  # share of the signals that is only learned from; days
FEWEST = 1000  # settled signals


class EveryBars(TrendStrategy):
    """The built-in system's side and confidence, entered every so many bars instead of at its triggers."""

    every = 0

    def scan(self, bars: Bars) -> Scan:
        """Return the candidates of every bar."""
        told = super().scan(bars)
        if not self.every:
            return told
        trend = np.sign(
            np.nan_to_num(indicators.ema(bars.close, 12) - indicators.ema(bars.close, 26))
        ).astype(np.int64)
        turn = np.arange(len(bars)) % self.every == 0
        return Scan(
            np.where(turn & np.isfinite(told.confidence), trend, 0), told.confidence, told.scores
        )


def main() -> None:
    """Print what the opinions are worth, how often losses come in a row, and what the policy in either mode made of them."""
    asked = arguments()
    go_offline()
    known = settled_signals(asked)
    found = (
        planted(known, asked.true)
        if asked.true
        else pd.concat(list(opinions(known, feature_names(EveryBars()))))
    )
    told = found.sort_values("settled_at", kind="stable").reset_index(drop=True)
    worth(told)
    streaks(told)
    for mode in ("ladder", "sequential"):
        for streak in (10, 60):
            lived(told, policy(mode, streak, asked.gate), f"{mode}, breaker_streak {streak}")


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "bars", nargs="?", default="sample", help="a bars file or folder, sample, or simulated:EDGE"
    )
    parser.add_argument("--atr", type=float, default=2.0, help="ATRs to stop and target")
    parser.add_argument("--limit", type=int, default=48, help="bars until the close ends the trade")
    parser.add_argument(
        "--every", type=int, default=0, help="enter every so many bars; 0: the built-in triggers"
    )
    parser.add_argument(
        "--true",
        type=float,
        default=0.0,
        help="no booster, but opinions that are right in this share",
    )
    parser.add_argument(
        "--gate", type=float, default=0.55, help="accuracy the gate out of shadow asks for"
    )
    return parser.parse_args()


def settled_signals(asked: argparse.Namespace) -> pd.DataFrame:
    """Return the settled history of the bars, collected as the flows collect them."""
    with tempfile.TemporaryDirectory() as home:
        stores = open_replay_home(asked.bars, None, None, None, Path(home), None)
        store_bars(stores, validate_bars(stores, read_source(stores), datetime.now(UTC)))
        bars = by_symbol(stores.lake.read(), stores.lake.bar_size)
    EveryBars.every = asked.every
    bracket = BracketPolicy(stop_atr=asked.atr, target_atr=asked.atr, time_limit_bars=asked.limit)
    found = history(bars, EveryBars(), bracket)
    if found["won"].count() < FEWEST:
        raise CollectMoreData(
            f"{found['won'].count()} settled signals, {FEWEST} needed; take more bars or a smaller --every"
        )
    return (
        found[found["won"].notna()].sort_values("decided_at", kind="stable").reset_index(drop=True)
    )


def opinions(known: pd.DataFrame, names: tuple[str, ...]) -> Iterator[pd.DataFrame]:
    """Yield the signals of 30 days at a time with the opinion of a model that knew nothing later."""
    x, won, decided = (
        known[list(names)].to_numpy(float),
        known["won"].to_numpy(bool),
        known["decided_at"],
    )
    existing, p_win = known["confidence_existing"].to_numpy(float), np.full(len(known), np.nan)
    begin = decided.iloc[int(len(known) * FIRST)]
    while begin <= decided.iloc[-1]:
        past = (known["settled_at"] < begin - EMBARGO).to_numpy(bool)
        now = ((decided >= begin) & (decided < begin + REFIT)).to_numpy(bool)
        own = past & np.isfinite(p_win)
        if now.any():
            p_win[now] = fitted(x[past], won[past]).predict_proba(x[now])[:, 1]
            reference = own if own.any() else now
            scale = fit_scale("matched", p_win[reference], existing[reference])
            yield known[now].assign(p_win=p_win[now], confidence_ml=scale.apply(p_win[now]))
        begin += REFIT


def planted(known: pd.DataFrame, accuracy: float) -> pd.DataFrame:
    """Return the signals with opinions that claim up to twice their mean edge, and are right as often as they claim."""
    draws = np.random.default_rng(1)
    edge = (accuracy - 0.5) * 2 * draws.random(len(known))
    right = draws.random(len(known)) < 0.5 + edge
    p_win = np.where(known["won"].to_numpy(bool) == right, 0.5 + edge, 0.5 - edge)
    scale = fit_scale("matched", p_win, known["confidence_existing"].to_numpy(float))
    return known.assign(p_win=p_win, confidence_ml=scale.apply(p_win))


def fitted(x: Floats, won: NDArray[np.bool_]) -> lgb.LGBMClassifier:
    """Return a plain booster, its settings the same for all bars."""
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


def worth(told: pd.DataFrame) -> None:
    """Print accuracy, AUC, and the distance from luck: every signal counted, days counted, and as an e-value."""
    p_win, won = told["p_win"].to_numpy(float), told["won"].to_numpy(bool)
    larger = max(won.mean(), 1 - won.mean())
    first, last = told["decided_at"].min(), told["decided_at"].max()
    print(f"{len(told):,} signals, {pace(told):.0f} a month; {first:%Y-%m} to {last:%Y-%m}")
    print(
        f"accuracy {((p_win > 0.5) == won).mean():.1%}, larger class {larger:.1%}, AUC {roc_auc_score(won, p_win):.3f}"
    )
    each = (p_win - p_win.mean()) * (won - won.mean())
    for words, group in (
        ("every signal counted", np.arange(len(told))),
        ("days counted", days_of(told)),
    ):
        sums = np.bincount(group, weights=each)
        print(
            f"standard deviations from luck, {words}: {sums.sum() / np.sqrt((sums**2).sum()):.1f}"
        )
    judged = evidence(told)
    print(
        f"evidence of skill {judged.skill:.3g}, 100 needed; decay {judged.decay_evidence:.1f} months"
    )


def evidence(told: pd.DataFrame) -> Skill:
    """Return the evidence over the whole life."""
    since, end = told["decided_at"].min().to_pydatetime(), told["settled_at"].max().to_pydatetime()
    return measure_skill(told, end, since, SIZING, load(None).weight.sequential.bets)


def streaks(told: pd.DataFrame) -> None:
    """Print in how many months the losses came in a row, against what is stated with and without neighbours' correlation."""
    won = told["won"].to_numpy(bool)
    tied, month = float(np.corrcoef(won[:-1], won[1:])[0, 1]), round(pace(told))
    months = [won[at : at + month] for at in range(0, len(won) - month + 1, month)]
    seen = np.mean([longest_run(one) > 10 for one in months])
    stated = (streak_alarm(month, 11, won.mean(), tied), streak_alarm(month, 11, won.mean()))
    print(
        f"more than 10 losses in a row in {seen:.0%} of {len(months)} months; stated {stated[0]:.0%} with neighbours",
        end=" ",
    )
    print(f"correlating by {tied:.2f}, {stated[1]:.0%} were they independent")


def longest_run(won: NDArray[np.bool_]) -> int:
    """Return the longest run of losses."""
    ends = np.flatnonzero(np.concatenate(([True], won, [True])))
    return int(np.diff(ends).max() - 1)


def lived(told: pd.DataFrame, bounds: WeightPolicy, words: str) -> None:
    """Print what the policy did with the opinions, day by day."""
    day, returns = days_of(told) + 1, account_returns(told, SIZING)
    days, existing, ml = (
        int(day.max()),
        told["confidence_existing"].to_numpy(float),
        told["confidence_ml"].to_numpy(float),
    )
    starts = np.searchsorted(day, np.arange(days + 2))
    treated = np.random.default_rng(1).random(len(told)) < 0.5
    life = Signals(
        starts,
        day,
        told["p_win"].to_numpy(float),
        existing,
        ml,
        told["won"].to_numpy(bool),
        returns,
        treated,
    )
    weights, phases, breakers = (
        np.zeros(days + 1),
        np.zeros(days + 1, np.int64),
        np.zeros(days + 1, np.int64),
    )
    live(life, days, compile_bounds(bounds, SIZING.threshold), weights, phases, breakers)
    moves, weight = np.diff(weights), weights[day - 1]
    books = {"baseline": existing, "ml": ml, "blended": (1 - weight) * existing + weight * ml}
    gained = ", ".join(
        f"{name} {returns[book > SIZING.threshold].sum():+.0%}" for name, book in books.items()
    )
    print(
        f"{words}: mean weight {weights.mean():.1%}, highest {weights.max():.0%}, {(moves > 0).sum()} rises",
        end=", ",
    )
    print(f"{(moves < 0).sum()} falls, {(breakers > 0).sum()} breakers; {gained}")


def policy(mode: str, streak: int, gate: float) -> WeightPolicy:
    """Return the policy of ``conf/`` with another mode, streak and gate."""
    base = load(None).weight
    limits, gates = base.limits.model_copy(update={"breaker_streak": streak}), base.gates
    gates = gates.model_copy(update={"shadow_accuracy": gate})
    return base.model_copy(update={"evidence": mode, "limits": limits, "gates": gates})


def days_of(told: pd.DataFrame) -> NDArray[np.int64]:
    """Return the day each signal settled on, from 0."""
    return ((told["settled_at"] - told["decided_at"].min().normalize()) // DAY).to_numpy(
        dtype=np.int64
    )


def pace(told: pd.DataFrame) -> float:
    """Return the signals of 30 days."""
    return len(told) / ((told["settled_at"].max() - told["decided_at"].min()) / DAY) * MONTH


if __name__ == "__main__":
    try:
        main()
    except SteelyardError as error:
        sys.exit(str(error))
