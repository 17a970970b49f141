"""Leakage canaries: checks that sing where training rows know their future, and are themselves tried on planted leaks.

- *prefix*: features of sampled training rows, recomputed from the bars up to their decision, are the stored ones.
- *shuffled*: with outcomes turned by a fair coin a block, nothing is learned out of sample on any fold or the holdout.
- *stale*: features from some bars earlier know no more than the true ones; they would where rows and outcomes slipped.
- *future*: the true features know no more than whoever has seen as many of the next bars, which no honest feature has.
- *planted*: each check sang at a leak planted for it; one that did not is blind, and what it says is worth nothing.

Skill is the sum over blocks of rank times outcome (Mann and Whitney, Ann. Math. Stat. 18, 1947), over the root of its sum of
squares. Under the null the signs of the block sums are fair coins, so it exceeds x with probability at most exp(−x²/2)
(Hoeffding, JASA 58, 1963; Efron, JASA 64, 1969): exactly for *shuffled*, where the coins are ours, and where the difference
of two equal models is symmetric for the paired checks. The bound shares ``FALSE_ALARM`` among all tests of a promotion: 4.4
with five folds.

"Some bars" are a quarter of what the median bracket lasts. Blocks are days; where the holdout has fewer than ``BLOCKS`` of
them, runs of neighbouring signals. The boosters have fixed parameters: those of a version were chosen on this very data, and
may be too tame to find a leak.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from steelyard.errors import FixData
from steelyard.learning.boosters import GROWING_BOOSTERS, BoosterData, Params
from steelyard.learning.folds import split_holdout, walk_forward
from steelyard.learning.policy import Family, LearningPolicy
from steelyard.learning.samples import Bools, Floats, Index, Samples
from steelyard.market import indicators
from steelyard.market.bars import Bars, until
from steelyard.market.brackets import decision_bars, side_signs
from steelyard.market.features import FEATURES, SCORE, features
from steelyard.market.strategy import Strategy

FALSE_ALARM = 0.0005
"""Share of promotions on honest rows that chance alone may refuse, at most."""
TOLERANCE = 1e-9
"""Difference of a recomputed feature, relative to its size where that is over 1."""
BLOCKS = 60
ROUNDS = 40
ROWS, BARS_READ = 8, 1_000_000
"""Training rows that are recomputed, and bars that may be read for it; a large universe gets fewer rows, at least one."""
PARAMS: Mapping[Family, Params] = {
    "lightgbm": {"learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 5},
    "xgboost": {"eta": 0.1, "max_depth": 4},
}
_PLANT = "a bar ahead"
_SIGNAL = r"^(?P<symbol>.*):(?P<timestamp>[^:]*:[^:]*:[^:]*):(?P<side>buy|sell)$"

Path = tuple[Index, Index]
"""Rows to fit on, and later rows to score."""


@dataclass(frozen=True, slots=True)
class Canary:
    """What one check found; it sang where ``figure`` is not within ``bound``."""

    name: str
    figure: float
    bound: float
    failed: bool
    reason: str


def run_canaries(
    samples: Samples,
    bars: Mapping[str, Bars],
    strategy: Strategy,
    family: Family,
    policy: LearningPolicy,
) -> tuple[Canary, ...]:
    """Return what each canary found on the rows a version was trained and held out on; same rows, same answer.

    Args:
        samples: The rows.
        bars: The bars they were made from, up to any later moment.
        strategy: The existing system, asked again about the sampled rows.
        family: The version's.
        policy: Folds and holdout as in its training.

    Raises:
        CollectMoreData: If the rows are too few for a training.
        FixData: If a row's decision bar is not among ``bars``.
    """
    rng = np.random.default_rng(int(samples.data_hash[:16], 16))
    trial = _Trial.of(samples, family, policy)
    signals = parse_signals(samples)
    prefix, caught_ahead = _prefix(samples, signals, bars, strategy, rng)
    shuffled, caught_shuffled = _shuffled(trial, rng)
    stale, future, caught_stale, caught_future = _shifted(trial, signals, bars)
    caught = {
        "prefix": caught_ahead,
        "shuffled": caught_shuffled,
        "stale": caught_stale,
        "future": caught_future,
    }
    return _planted(caught), prefix, shuffled, stale, future


def parse_signals(samples: Samples) -> pd.DataFrame:
    """Return ``symbol``, ``timestamp`` (decision bar), ``side``, ``decided_at`` and ``settled_at`` of each row."""
    found = pd.Series(samples.signal_id, dtype="str").str.extract(_SIGNAL)
    found["timestamp"] = pd.to_datetime(found["timestamp"], utc=True).astype("datetime64[ns, UTC]")
    stamps = {
        name: pd.DatetimeIndex(getattr(samples, name), tz="UTC")
        for name in ("decided_at", "settled_at")
    }
    return found.assign(**stamps)


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """The rows, cut as a training cuts them, and the booster that is tried on them.

    Attributes:
        paths: The walk-forward folds, and the holdout last.
        block: Number of each row's block, shape (n,).
        bound: Deviations of skill that chance does not explain, over the paths and the two paired checks together.
    """

    x: Floats
    won: Bools
    paths: tuple[Path, ...]
    block: Index
    family: Family
    seed: int
    bound: float

    @classmethod
    def of(cls, samples: Samples, family: Family, policy: LearningPolicy) -> "_Trial":
        development, holdout = split_holdout(samples, policy)
        folds = walk_forward(samples, development, policy)
        paths = (*((fold.train, fold.test) for fold in folds), (development, holdout))
        bound = float(np.sqrt(2 * np.log((len(paths) + 2) / FALSE_ALARM)))
        return cls(
            samples.x, samples.won, paths, _blocks(samples, holdout), family, policy.seed, bound
        )

    def ranks(self, x: Floats, won: Bools, path: Path) -> Floats:
        """Return the centred ranks, within ±1, that a booster fitted on the path's first rows gives its others."""
        fit, test = path
        booster = GROWING_BOOSTERS[self.family](
            PARAMS[self.family], BoosterData.from_rows(x[fit], won[fit]), self.seed
        )
        for _ in range(ROUNDS):
            booster.grow()
        order = rankdata(booster.predict(BoosterData.from_rows(x[test], won[test])))
        return np.asarray((2 * order - len(test) - 1) / len(test))

    def points(self, x: Floats) -> Floats:
        """Return rank times outcome of every row that some path scores; their sum grows with the area under the curve."""
        return np.concatenate(
            [self.ranks(x, self.won, path) * _signs(self.won[path[1]]) for path in self.paths]
        )

    def deviations(self, points: Floats) -> float:
        """Return the skill in ``points`` of the rows that some path scores."""
        return _deviations(points, self.block[np.concatenate([test for _, test in self.paths])])


def _blocks(samples: Samples, holdout: Index) -> Index:
    days = np.unique(samples.decided_at.astype("datetime64[D]"), return_inverse=True)[1].astype(
        np.int64
    )
    if len(np.unique(days[holdout])) >= BLOCKS:
        return days
    return np.arange(len(samples)) // max(len(holdout) // BLOCKS, 1)


def _deviations(points: Floats, block: Index) -> float:
    """Return the sum over the root of the sum of squares of the block sums; 0 where nothing was scored."""
    sums = np.bincount(block - block.min(), weights=points)
    size = float(np.sqrt((sums * sums).sum()))
    return float(sums.sum() / size) if size > 0 else 0.0


def _signs(won: Bools) -> Floats:
    return np.where(won, 1.0, -1.0)


def _planted(caught: Mapping[str, bool]) -> Canary:
    blind = [name for name, found in caught.items() if not found]
    words = (
        f"the checks are blind: {', '.join(blind)} missed a planted leak"
        if blind
        else "every planted leak was caught"
    )
    return Canary(
        "planted", float(len(caught) - len(blind)), float(len(caught)), bool(blind), words
    )


def _prefix(
    samples: Samples,
    signals: pd.DataFrame,
    bars: Mapping[str, Bars],
    strategy: Strategy,
    rng: np.random.Generator,
) -> tuple[Canary, bool]:
    """Return the largest difference of sampled rows, and whether that of a column which looks a bar ahead was seen."""
    rows = int(np.clip(BARS_READ // sum(map(len, bars.values())), 1, ROWS))
    differences, caught = [], True
    for row in rng.choice(len(samples), size=rows, replace=False):
        signal = signals.iloc[[row]]
        stored = dict(zip(samples.feature_names, samples.x[row], strict=True)) | {
            _PLANT: float(_ahead(bars, signal, 1)[0])
        }
        now = _at_decision(bars, signal, strategy)
        found = {name: _difference(value, now.get(name, np.nan)) for name, value in stored.items()}
        caught = caught and found.pop(_PLANT) > TOLERANCE
        differences += [
            (size, f"{name} of {samples.signal_id[row]}") for name, size in found.items()
        ]
    worst, where = max(differences)
    failed = not worst <= TOLERANCE
    words = f"{rows} training rows recomputed from the bars up to their decision"
    words += (
        f": {where} differs by {worst:.3g}, it was not known then" if failed else " are the same"
    )
    return Canary("prefix", float(worst), TOLERANCE, failed, words), caught


def _at_decision(
    bars: Mapping[str, Bars], signal: pd.DataFrame, strategy: Strategy
) -> dict[str, float]:
    """Return the features of one signal as the bars closed by its decision give them, and the planted one."""
    known = until(bars, signal["decided_at"].iloc[0])
    values = {str(name): float(value) for name, value in features(known, signal).iloc[0].items()}
    candidate = strategy.propose(known[signal["symbol"].iloc[0]])
    if candidate is not None:
        values["confidence_existing"] = candidate.confidence
        values |= {f"{SCORE}{name}": score for name, score in candidate.scores.items()}
    return values | {_PLANT: float(_ahead(known, signal, 1)[0])}


def _difference(stored: float, now: float) -> float:
    difference = abs(stored - now) / max(abs(stored), 1.0)
    return difference if np.isfinite(difference) else float("inf")


def _ahead(bars: Mapping[str, Bars], signals: pd.DataFrame, by: int) -> Floats:
    """Return the move from entry to the close ``by`` bars after the decision, in ATRs, signed; NaN without such bars."""
    moves = np.full(len(signals), np.nan)
    for symbol, rows in _each_symbol(bars, signals):
        one, at = bars[symbol], decision_bars(bars[symbol], signals.iloc[rows])
        there = at + by < len(one)
        entry, later = at[there] + 1, at[there] + by
        moves[rows[there]] = (one.close[later] - one.open[entry]) / indicators.atr(one)[at[there]]
    return np.asarray(moves * side_signs(signals))


def _each_symbol(bars: Mapping[str, Bars], signals: pd.DataFrame) -> list[tuple[str, Index]]:
    """Return each symbol with the positions of its signals.

    Raises:
        FixData: If there are no bars of a symbol.
    """
    groups = {
        str(symbol): np.asarray(rows) for symbol, rows in signals.groupby("symbol").indices.items()
    }
    gone = sorted(set(groups) - set(bars))
    if gone:
        raise FixData(
            f"no bars of {', '.join(gone)} any more, which training rows came from; collect them again"
        )
    return list(groups.items())


def _shuffled(trial: _Trial, rng: np.random.Generator) -> tuple[Canary, bool]:
    """Return the largest skill on coins over all paths, and whether it was seen where the coins stood among the features."""
    coins = rng.integers(0, 2, size=int(trial.block.max()) + 1).astype(bool)
    won = trial.won ^ coins[trial.block]

    def skill(x: Floats, path: Path) -> float:
        return _deviations(trial.ranks(x, won, path) * _signs(won[path[1]]), trial.block[path[1]])

    largest = max(skill(trial.x, path) for path in trial.paths)
    caught = skill(np.column_stack([trial.x, won]), trial.paths[-1]) > trial.bound
    return _within(
        "shuffled",
        largest,
        trial.bound,
        "outcomes turned by a coin a day were foreseen out of sample",
    ), caught


def _shifted(
    trial: _Trial, signals: pd.DataFrame, bars: Mapping[str, Bars]
) -> tuple[Canary, Canary, bool, bool]:
    """Return what the checks against older features and against the next bars found, and whether each saw its plant."""
    own, shift = len(FEATURES), _quarter_held(bars, signals)
    true, now = trial.points(trial.x), trial.points(trial.x[:, :own])
    older = trial.points(features(bars, _earlier(bars, signals, shift)).to_numpy(dtype=np.float64))
    ahead = trial.points(_ahead(bars, signals, shift)[:, None])
    leaking = trial.points(np.column_stack([trial.x, trial.won]))
    stale, future = trial.deviations(older - now), trial.deviations(true - ahead)
    return (
        _within(
            "stale",
            stale,
            trial.bound,
            f"features {shift} bars old foresaw more than the true ones",
        ),
        _within(
            "future",
            future,
            trial.bound,
            f"features foresaw more than the next {shift} bars themselves tell",
        ),
        trial.deviations(leaking - older) > trial.bound,
        trial.deviations(leaking - ahead) > trial.bound,
    )


def _quarter_held(bars: Mapping[str, Bars], signals: pd.DataFrame) -> int:
    """Return a quarter of the bars that the median bracket lasted, at least one."""
    held = np.zeros(len(signals), dtype=np.int64)
    for symbol, rows in _each_symbol(bars, signals):
        one, settled = (
            bars[symbol],
            signals["settled_at"].iloc[rows].to_numpy(dtype="datetime64[ns]"),
        )
        held[rows] = np.searchsorted(one.closes_at, settled) - decision_bars(
            one, signals.iloc[rows]
        )
    return max(int(np.median(held)) // 4, 1)


def _earlier(bars: Mapping[str, Bars], signals: pd.DataFrame, by: int) -> pd.DataFrame:
    """Return the signals as if they had been decided ``by`` bars earlier."""
    stamps = signals["timestamp"].to_numpy(dtype="datetime64[ns]").copy()
    for symbol, rows in _each_symbol(bars, signals):
        at = decision_bars(bars[symbol], signals.iloc[rows])
        stamps[rows] = bars[symbol].timestamp[np.maximum(at - by, 0)]
    return signals.assign(timestamp=pd.DatetimeIndex(stamps, tz="UTC"))


def _within(name: str, figure: float, bound: float, words: str) -> Canary:
    failed = not figure <= bound
    return Canary(
        name, figure, bound, failed, f"{words}: {figure:+.1f} deviations, {bound:.1f} allowed"
    )
