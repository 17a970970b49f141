"""Leakage canaries: checks that fail if training rows know their future.

- *prefix*: features of sampled training rows, recomputed from the bars up to their decision, equal
  the stored ones.
- *shuffled*: with the outcomes of each block flipped by a fair coin, nothing is predicted out of
  sample on any fold or the holdout.
- *stale*: features from some bars earlier predict no better than the true ones; they would if rows
  and outcomes had slipped against each other.
- *future*: the true features predict no better than the next bars themselves, which no honest
  feature does.
- *disguised*: the existing system gives the same answers on the holdout if symbol, year and price
  level are not what they are (``disguise``).
- *planted*: each check fails on a leak planted for it; a check that does not is blind and proves
  nothing.

Skill is the sum over blocks of rank times outcome (Mann and Whitney, Ann. Math. Stat. 18, 1947),
over the root of its sum of squares, in deviations. Under the null the signs of the block sums are
fair coins, so it exceeds x with probability at most exp(−x²/2) (Hoeffding, JASA 58, 1963; Efron,
JASA 64, 1969): exactly for *shuffled*, where the coins are ours, and for the paired checks if the
difference of two equal models is symmetric. The bound shares ``FALSE_ALARM`` among all tests of a
promotion: 4.4 with five folds.

"Some bars" are a quarter of the median duration of a bracket. Blocks are days; if the holdout has
fewer than ``BLOCKS`` of them, runs of neighbouring signals. The boosters have fixed parameters:
those of a version were chosen on this very data, and may be too weak to find a leak.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from steelyard.errors import FixData
from steelyard.learning.boosters import GROWING_BOOSTERS, BoosterData, Params
from steelyard.learning.disguise import catches_planted, disguise_check
from steelyard.learning.folds import split_holdout, walk_forward
from steelyard.learning.policy import BoosterFamily, Family, LearningPolicy
from steelyard.learning.samples import Bools, Floats, Index, Samples, WeightedRows
from steelyard.market import indicators
from steelyard.market.bars import Bars, until
from steelyard.market.brackets import decision_bars, side_signs
from steelyard.market.features import FEATURES, OWN, SCORE, features
from steelyard.market.logged_history import on_last_known_bars
from steelyard.market.own_features import own_features
from steelyard.market.strategy import Strategy

FALSE_ALARM = 0.0005
"""Largest share of promotions on honest rows that chance alone refuses."""
TOLERANCE = 1e-9
"""Accepted difference of a recomputed feature, relative to its size if that is over 1."""
BLOCKS = 60
CHECKING: Mapping[Family, BoosterFamily] = {
    "logistic": "lightgbm",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
}
"""Booster that checks the rows of each family, LightGBM those of one of the user's own.

A linear model would miss most leaks."""
ROUNDS = 40
ROWS, BARS_READ = 8, 1_000_000
"""Largest numbers of training rows recomputed and of bars read for it; at least one row is."""
PARAMS: Mapping[BoosterFamily, Params] = {
    "lightgbm": {"learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 5},
    "xgboost": {"eta": 0.1, "max_depth": 4},
}
_PLANTED = "a bar ahead"
_SIGNAL_ID = r"^(?P<symbol>.*):(?P<timestamp>[^:]*:[^:]*:[^:]*):(?P<side>buy|sell)$"

Split = tuple[Index, Index]
"""Rows to fit on, and later rows to score."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Result of one check.

    Attributes:
        name: Of the check.
        figure: Measured value; NaN fails.
        bound: Largest value (for ``planted``: the value) that passes.
        failed: True if the check found a leak.
        reason: The result in one sentence.
    """

    name: str
    figure: float
    bound: float
    failed: bool
    reason: str


def run_canaries(
    samples: Samples,
    bars: Mapping[str, Bars] | None,
    strategy: Strategy | None,
    family: Family,
    policy: LearningPolicy,
    looked_up: Collection[str] = (),
) -> tuple[Canary, ...]:
    """Return the result of each check on the rows of a version; same rows, same result.

    Nothing can be asked again of a log: its own features and confidences are taken at its word.
    Without bars only *shuffled* can be checked.

    Args:
        samples: Rows the version was trained and held out on.
        bars: Symbol → the bars they were made from, up to any later time; None without bars.
        strategy: The existing system, run again for the sampled rows; None for a log.
        family: Family of the version.
        policy: Folds and holdout as in its training.
        looked_up: Own features that the user says come from outside the bars; they are not asked
            in disguise.

    Raises:
        CollectMoreData: If the rows are too few for a training.
        FixData: If a row's decision bar is not among ``bars``.
    """
    rng = np.random.default_rng(int(samples.data_hash[:16], 16))
    setup = _make_setup(samples, family, policy)
    if bars is None:
        shuffled, shuffled_caught = _check_shuffled(setup, rng)
        return _check_planted({"shuffled": shuffled_caught}), shuffled
    signals = parse_signals(samples)
    if strategy is None:
        signals = on_last_known_bars(signals, bars)
    prefix, prefix_caught = _check_prefix(samples, signals, bars, strategy, rng)
    shuffled, shuffled_caught = _check_shuffled(setup, rng)
    stale, future, stale_caught, future_caught = _check_shifted(setup, signals, bars)
    caught = {
        "prefix": prefix_caught,
        "shuffled": shuffled_caught,
        "stale": stale_caught,
        "future": future_caught,
    }
    checks = (prefix, shuffled, stale, future)
    if strategy is None:
        return _check_planted(caught), *checks
    holdout = setup.splits[-1][1]
    decisions = _decisions(samples.take(holdout), signals.iloc[holdout])
    asked = decisions.drop(columns=[f"{OWN}{name}" for name in looked_up], errors="ignore")
    disguised, disguised_caught = _check_disguised(bars, strategy, asked)
    if looked_up:
        told = f"{disguised.reason}; by conf/strategy.yaml looked up elsewhere, and not asked: "
        disguised = replace(disguised, reason=told + ", ".join(looked_up))
    return _check_planted(caught | {"disguised": disguised_caught}), *checks, disguised


def parse_signals(samples: Samples) -> pd.DataFrame:
    """Return one row a sample.

    Columns ``symbol``, ``timestamp`` (open of the decision bar), ``side``, ``decided_at`` and
    ``settled_at``, times in UTC.
    """
    signals = pd.Series(samples.signal_id, dtype="str").str.extract(_SIGNAL_ID)
    opened_at = pd.to_datetime(signals["timestamp"], utc=True).astype("datetime64[ns, UTC]")
    stamps = {
        name: pd.DatetimeIndex(getattr(samples, name), tz="UTC")
        for name in ("decided_at", "settled_at")
    }
    return signals.assign(timestamp=opened_at, **stamps)


@dataclass(frozen=True, slots=True, eq=False)
class _Setup:
    """Rows, split as a training splits them, and the booster that is fitted on them.

    Attributes:
        x: Features, shape (n, k).
        won: Outcomes, shape (n,).
        splits: Fit and scored rows of each walk-forward fold, then of the holdout.
        block: Number of each row's block, shape (n,).
        family: Booster that is fitted.
        seed: Random seed of the booster.
        bound: Deviations of skill chance does not explain, over all splits and both paired checks.
    """

    x: Floats
    won: Bools
    splits: tuple[Split, ...]
    block: Index
    family: BoosterFamily
    seed: int
    bound: float

    def ranks(self, x: Floats, won: Bools, split: Split) -> Floats:
        """Return the centred ranks, within ±1, that a booster gives the split's scored rows.

        Args:
            x: Features, shape (n, any number).
            won: Outcomes to fit, shape (n,).
            split: Fit and scored rows.
        """
        fit, scored = split
        fit_data = BoosterData.from_rows(WeightedRows(x[fit], won[fit], np.ones(len(fit))))
        booster = GROWING_BOOSTERS[self.family](PARAMS[self.family], fit_data, self.seed)
        for _ in range(ROUNDS):
            booster.grow()
        order = rankdata(booster.predict(x[scored]))
        return np.asarray((2 * order - len(order) - 1) / len(order))

    def points(self, x: Floats) -> Floats:
        """Return rank times outcome of every scored row of every split, in order.

        Their sum grows with the area under the curve. ``x`` has shape (n, any number).
        """
        return np.concatenate(
            [self.ranks(x, self.won, split) * _signs(self.won[split[1]]) for split in self.splits]
        )

    def split_skill(self, x: Floats, won: Bools, split: Split) -> float:
        """Return the skill, deviations, on the scored rows of one split.

        Args:
            x: Features, shape (n, any number).
            won: Outcomes to fit and to score, shape (n,).
            split: Fit and scored rows.
        """
        points = self.ranks(x, won, split) * _signs(won[split[1]])
        return _block_skill(points, self.block[split[1]])

    def skill(self, points: Floats) -> float:
        """Return the skill, deviations, of ``points`` of every scored row of every split."""
        scored = np.concatenate([test for _, test in self.splits])
        return _block_skill(points, self.block[scored])


def _make_setup(samples: Samples, family: Family, policy: LearningPolicy) -> _Setup:
    development, holdout = split_holdout(samples, policy)
    folds = walk_forward(samples, development, policy)
    splits = (*((fold.train, fold.test) for fold in folds), (development, holdout))
    return _Setup(
        x=samples.x,
        won=samples.won,
        splits=splits,
        block=_blocks(samples, holdout),
        family=CHECKING.get(family, "lightgbm"),
        seed=policy.seed,
        bound=float(np.sqrt(2 * np.log((len(splits) + 2) / FALSE_ALARM))),
    )


def _blocks(samples: Samples, holdout: Index) -> Index:
    dates = samples.decided_at.astype("datetime64[D]")
    days = np.unique(dates, return_inverse=True)[1].astype(np.int64)
    if len(np.unique(days[holdout])) >= BLOCKS:
        return days
    return np.arange(len(samples)) // max(len(holdout) // BLOCKS, 1)


def _block_skill(points: Floats, block: Index) -> float:
    """Return the sum over the root of the sum of squares of the block sums; 0 without points.

    Args:
        points: Rank times outcome, shape (m,).
        block: Number of each row's block, shape (m,).
    """
    sums = np.bincount(block - block.min(), weights=points)
    size = float(np.sqrt((sums * sums).sum()))
    return float(sums.sum() / size) if size > 0 else 0.0


def _signs(won: Bools) -> Floats:
    return np.where(won, 1.0, -1.0)


def _check_planted(caught: Mapping[str, bool]) -> Canary:
    blind = [name for name, passed in caught.items() if not passed]
    missed = f"the checks are blind: {', '.join(blind)} missed a planted leak"
    reason = missed if blind else "every planted leak was caught"
    checks = float(len(caught))
    return Canary("planted", checks - len(blind), checks, bool(blind), reason)


def _check_prefix(
    samples: Samples,
    signals: pd.DataFrame,
    bars: Mapping[str, Bars],
    strategy: Strategy | None,
    rng: np.random.Generator,
) -> tuple[Canary, bool]:
    """Return the largest difference of sampled rows, and whether a planted column was caught."""
    count = int(np.clip(BARS_READ // sum(map(len, bars.values())), 1, ROWS))
    differences, caught = [], True
    for row in rng.choice(len(samples), size=count, replace=False):
        signal = signals.iloc[[row]]
        stored = dict(zip(samples.feature_names, samples.x[row], strict=True))
        stored[_PLANTED] = float(_move_ahead(bars, signal, 1)[0])
        recomputed = _features_at_decision(bars, signal, strategy)
        if strategy is None:
            stored = {name: value for name, value in stored.items() if name in recomputed}
        for name, value in stored.items():
            difference = _relative_difference(value, recomputed.get(name, np.inf))
            if name == _PLANTED:
                caught = caught and difference > TOLERANCE
            else:
                differences.append((difference, f"{name} of {samples.signal_id[row]}"))
    largest, feature = max(differences)
    failed = not largest <= TOLERANCE
    reason = f"{count} training rows recomputed from the bars up to their decision"
    reason += (
        f": {feature} differs by {largest:.3g}, so it was not known at the decision"
        if failed
        else " are the same"
    )
    return Canary("prefix", float(largest), TOLERANCE, failed, reason), caught


def _features_at_decision(
    bars: Mapping[str, Bars], signal: pd.DataFrame, strategy: Strategy | None
) -> dict[str, float]:
    """Return the features of one signal from the bars closed by its decision, the planted too."""
    past = until(bars, signal["decided_at"].iloc[0])
    values = {str(name): float(value) for name, value in features(past, signal).iloc[0].items()}
    values[_PLANTED] = float(_move_ahead(past, signal, 1)[0])
    if strategy is None:
        return values
    candidate = strategy.propose(past[signal["symbol"].iloc[0]])
    if candidate is not None:
        values["confidence_existing"] = candidate.confidence
        values |= {f"{SCORE}{name}": score for name, score in candidate.scores.items()}
    own = own_features(past, signal, strategy).iloc[0]
    return values | {str(name): float(value) for name, value in own.items()}


def _relative_difference(stored: float, recomputed: float) -> float:
    """Return the difference in units of the stored value, at least 1; infinity with one NaN."""
    if np.isnan(stored) and np.isnan(recomputed):
        return 0.0
    difference = abs(stored - recomputed) / max(abs(stored), 1.0)
    return difference if np.isfinite(difference) else float("inf")


def _move_ahead(bars: Mapping[str, Bars], signals: pd.DataFrame, shift: int) -> Floats:
    """Return the move from entry to the close ``shift`` bars after the decision, shape (n,).

    In ATRs, signed by side; NaN if there are no such bars.
    """
    moves = np.full(len(signals), np.nan)
    for symbol, rows in _rows_by_symbol(bars, signals):
        series = bars[symbol]
        decision = decision_bars(series, signals.iloc[rows])
        reached = decision + shift < len(series)
        entry, exit_ = decision[reached] + 1, decision[reached] + shift
        ranges = indicators.atr(series)[decision[reached]]
        moves[rows[reached]] = (series.close[exit_] - series.open[entry]) / ranges
    return np.asarray(moves * side_signs(signals))


def _rows_by_symbol(bars: Mapping[str, Bars], signals: pd.DataFrame) -> list[tuple[str, Index]]:
    """Return each symbol with the positions of its signals.

    Raises:
        FixData: If there are no bars of a symbol.
    """
    groups = {
        str(symbol): np.asarray(rows) for symbol, rows in signals.groupby("symbol").indices.items()
    }
    missing = sorted(set(groups) - set(bars))
    if missing:
        raise FixData(
            f"no bars of {', '.join(missing)} any more, which training rows came from; "
            "collect them again"
        )
    return list(groups.items())


def _check_shuffled(setup: _Setup, rng: np.random.Generator) -> tuple[Canary, bool]:
    """Return the largest skill on coins over all splits, and whether a planted one was caught.

    Planted are the coins themselves, as a feature.
    """
    coins = rng.integers(0, 2, size=int(setup.block.max()) + 1).astype(bool)
    won = setup.won ^ coins[setup.block]
    largest = max(setup.split_skill(setup.x, won, split) for split in setup.splits)
    leaking = np.column_stack([setup.x, won])
    caught = setup.split_skill(leaking, won, setup.splits[-1]) > setup.bound
    meaning = "skill out of sample on outcomes flipped by coins"
    return _bounded_check("shuffled", largest, setup.bound, meaning), caught


def _check_shifted(
    setup: _Setup, signals: pd.DataFrame, bars: Mapping[str, Bars]
) -> tuple[Canary, Canary, bool, bool]:
    """Return the checks against older features and next bars, and whether each caught its plant."""
    shift = _quarter_duration(bars, signals)
    earlier = features(bars, _move_back(bars, signals, shift)).to_numpy(dtype=np.float64)
    true, own = setup.points(setup.x), setup.points(setup.x[:, : len(FEATURES)])
    older = setup.points(earlier)
    ahead = setup.points(_move_ahead(bars, signals, shift)[:, None])
    leaking = setup.points(np.column_stack([setup.x, setup.won]))
    return (
        _bounded_check(
            "stale",
            setup.skill(older - own),
            setup.bound,
            f"advantage of features {shift} bars old over the true ones",
        ),
        _bounded_check(
            "future",
            setup.skill(true - ahead),
            setup.bound,
            f"advantage of the features over the next {shift} bars themselves",
        ),
        setup.skill(leaking - older) > setup.bound,
        setup.skill(leaking - ahead) > setup.bound,
    )


def _decisions(samples: Samples, signals: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of the existing system that samples came from, one row a sample.

    Columns as ``disguise_check`` takes them.
    """
    columns = dict(zip(samples.feature_names, samples.x.T, strict=True))
    scores = {name: values for name, values in columns.items() if name.startswith((SCORE, OWN))}
    return signals.assign(confidence_existing=samples.confidence_existing, **scores)


def _check_disguised(
    bars: Mapping[str, Bars], strategy: Strategy, decisions: pd.DataFrame
) -> tuple[Canary, bool]:
    """Return how many answers differ in disguise, and whether planted systems were caught."""
    check = disguise_check(bars, strategy, decisions)
    count = len(check.differences)
    caught = catches_planted(bars[decisions["symbol"].iloc[0]])
    return Canary("disguised", float(count), 0.0, count > 0, check.reason), caught


def _quarter_duration(bars: Mapping[str, Bars], signals: pd.DataFrame) -> int:
    """Return a quarter of the median duration of a bracket, bars, at least one."""
    durations = np.zeros(len(signals), dtype=np.int64)
    for symbol, rows in _rows_by_symbol(bars, signals):
        settled_at = signals["settled_at"].iloc[rows].to_numpy(dtype="datetime64[ns]")
        settling = np.searchsorted(bars[symbol].closes_at, settled_at)
        durations[rows] = settling - decision_bars(bars[symbol], signals.iloc[rows])
    return max(int(np.median(durations)) // 4, 1)


def _move_back(bars: Mapping[str, Bars], signals: pd.DataFrame, shift: int) -> pd.DataFrame:
    """Return the signals as if they had been decided ``shift`` bars earlier."""
    stamps = signals["timestamp"].to_numpy(dtype="datetime64[ns]").copy()
    for symbol, rows in _rows_by_symbol(bars, signals):
        decision = decision_bars(bars[symbol], signals.iloc[rows])
        stamps[rows] = bars[symbol].timestamp[np.maximum(decision - shift, 0)]
    return signals.assign(timestamp=pd.DatetimeIndex(stamps, tz="UTC"))


def _bounded_check(name: str, skill: float, bound: float, meaning: str) -> Canary:
    reason = f"{meaning}: {skill:+.1f} deviations, {bound:.1f} allowed"
    return Canary(name, skill, bound, not skill <= bound, reason)
