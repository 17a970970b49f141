"""Evidence that accumulates: does the model know anything the existing system does not, and does it still?

Two games are played against the settled signals, one bet a day, or one in as many days as a bracket lasts (Shafer and Vovk,
Game-Theoretic Foundations for Probability and Finance, 2019; Shafer, "Testing by betting", JRSS A 184, 2021). Signal i of a
bet has the model's probability p_i, the outcome y_i in {0, 1} and a class c_i: whether the existing system took it. With
m_c the mean of p in the class before, the claim is d_i = p_i − m_c: what the model says beyond the existing system.

**Skill.** The null is composite: in each class the outcome has some base rate b_c, whatever the model says. For every pair
(b_0, b_1) of ``BASE_RATES`` the capital K changes with each bet::

    K(b) ← K(b) · (1 + Σ_i s_i · (y_i − b_{c_i}))        s_i = 4·k·d_i · A / D, less where Σ_i |s_i| would exceed 1.58

A is the share of its claims the model has kept so far, shrunk to 1 and within [¼, 2]: one that says less than it knows gets
larger stakes. D ≥ 1 is the variance that the sums Σ_i d_i·(y_i − ½) have had so far, over that of independent signals:
symbols that win and lose together are fewer signals than they look, and get smaller ones. Both are known before the bet:
mean over variance, as in the aGRAPA of Waudby-Smith and Ramdas ("Estimating means of bounded random variables by
betting", JRSS B 2024).

Under the null the factor has mean 1 however the signals of a bet hang together: it is linear in their outcomes, and the
stakes are fixed before them. 4·d is the Kelly stake of p against a base rate of one half; k = 0.7 makes the bet the
posterior odds of the capped expert 0.3·b + 0.7·p against b (Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006,
chapter 9). A share of the capital plays at once and the rest comes in over time, so that an edge that begins late is found:
a mixture over starting days. What exceeds a cap is thrown away, so that an edge that died is not believed for years. Both
leave a test supermartingale, and the smallest K of the grid, which counts, lies under that of the true rates. By Ville's
inequality (Étude critique de la notion de collectif, 1939) it ever reaches 1/alpha with probability alpha at most,
however often one looks.

**Decay.** The null is that the claims still hold: E[y_i] = b_c + g·d_i or further out, g the share of a claim that counts as
kept. The bet is placed against the claims, and anew every time (Shiryaev and Roberts; as an e-detector: Shin, Ramdas and
Rinaldo, NEJSDS 2, 2024)::

    R(b) ← (R(b) + 1/30) · (1 − Σ_i h_i · (y_i − b_{c_i} − g·d_i))        h_i = 4·g·d_i / D, bounded like s_i

With each start worth 1/30 for each day of the bet, R minus the months played is a martingale where claims just hold: a
model that keeps them reaches the bound A once in A months on average, or more seldom.

Assumed are base rates between 40 and 60 % and outcomes that are fair given what settled before. Brackets that
overlap for several days hang together more than that; a bet of as many days as a bracket lasts takes them together.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from steelyard.evaluation import metrics
from steelyard.evaluation.books import Bools, Floats, SizingPolicy, account_returns
from steelyard.values import FrozenModel

BASE_RATES = np.array([0.40, 0.45, 0.50, 0.55, 0.60])
CENTRE, CENTRE_SIGNALS = 0.5, 10.0
AT_RISK = 0.95 / BASE_RATES.max()
"""Sum of the stakes, at most: where every signal of a bet goes wrong at the worst base rate, 5 % of the capital is left."""
SCORED = 10.0
"""Bets of independent signals that are taken as seen before the first."""
SPREAD, SHARES = 0.4, (0.25, 2.0)
"""Deviation from 1 expected of the share of its claims a model keeps, and the shares that are bet on."""
START_DAYS = 30.0
PAIRS = 100


class BetPolicy(FrozenModel):
    """How the two games are played.

    Attributes:
        days: Days whose settled signals are one bet: as many as a bracket usually lasts.
        claim: k, the share of a claim the first game bets on.
        at_once: Share of the first game's capital that plays from the first day.
        later_days: Days with settled signals over which the rest comes in, by the factor e.
        cap: Largest capital of the first game.
        kept: g, the share of its claims a model must keep for the second game to find nothing.
    """

    renamed_keys = {"at_once": "initial_share", "kept": "claim_retention"}  # noqa: RUF012  # a ClassVar of the base

    days: Annotated[int, Field(ge=1, le=90)] = 2
    claim: Annotated[float, Field(gt=0, le=1)] = 0.7
    initial_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    later_days: Annotated[int, Field(ge=1, le=3650)] = 180
    cap: Annotated[float, Field(ge=1, le=1e12)] = 2_000.0
    claim_retention: Annotated[float, Field(gt=0, le=1)] = 0.6


class Games(NamedTuple):
    """What lies on the table between two days; arrays are played in place.

    Attributes:
        skill: Capital at stake of the first game for each pair of base rates, shape (5, 5).
        reserve: Capital of the first game that has not started, shape (1,).
        decay: Value of the second game, shape (5, 5), months.
        centre: For each class the sum and the count of p so far, shape (2, 2).
        growth: Sum of the log factors of the first game at base rates of one half, shape (1,), nats.
        scores: What the bets so far came to: their number, sum and sum of squares in deviations of independent signals,
            and the sums of what came and of what was claimed; shape (5,).
    """

    skill: Floats
    reserve: Floats
    decay: Floats
    centre: Floats
    growth: Floats
    scores: Floats


class Bets(NamedTuple):
    """``BetPolicy`` for compiled code."""

    days: int
    claim: float
    later: float
    cap: float
    claim_retention: float


@dataclass(frozen=True, slots=True)
class Skill:
    """What the whole life of a lineage says, since its evidence began.

    Attributes:
        settled: Settled signals with an opinion.
        skill: e-value against "no skill beyond the existing system": 1 says nothing, 100 is chance in 1 of 100 lives.
        decay_evidence: Evidence that the claims no longer hold, months: a model that keeps its claims
            reaches a value of A once in A months on average.
        growth: Log growth of the first game per signal, nats; NaN without signals.
        accuracy: Share of signals where ``p_win > 0.5`` was right; NaN without any.
        no_information_rate: Share of the larger class; NaN without any.
        ml_return: Account return of the ml book, summed.
        baseline_return: The same for the baseline.
        right_autocorrelation: Correlation of being right between neighbours in the order they settled; NaN where fewer than
            ``PAIRS`` signals, or no difference, show it.
        win_autocorrelation: The same of winning, among the trades of the ml book.
    """

    settled: int
    skill: float
    decay_evidence: float
    growth: float
    accuracy: float
    no_information_rate: float
    ml_return: float
    baseline_return: float
    right_autocorrelation: float = math.nan
    win_autocorrelation: float = math.nan

    def more_needed(self, bound: float) -> int | None:
        """Return how many more signals would bring the skill over ``bound`` at the growth so far; None where none would."""
        if self.skill >= bound:
            return 0
        if not (self.growth > 0 and self.skill > 0):  # so written that NaN promises nothing
            return None
        return math.ceil(math.log(bound / self.skill) / self.growth)


def new_games(policy: BetPolicy) -> Games:
    """Return the table before the first bet."""
    side = len(BASE_RATES)
    centre = np.array([[CENTRE * CENTRE_SIGNALS, CENTRE_SIGNALS]] * 2)
    return Games(
        np.full((side, side), policy.initial_share),
        np.array([1 - policy.initial_share]),
        np.zeros((side, side)),
        centre,
        np.zeros(1),
        np.zeros(5),
    )


def compile_bets(policy: BetPolicy) -> Bets:
    """Return ``policy`` for compiled code."""
    return Bets(
        policy.days,
        policy.claim,
        min(policy.days / policy.later_days, 1.0),
        policy.cap,
        policy.claim_retention,
    )


@njit(cache=True, nogil=True)
def reset_games(table: Games, initial_share: float) -> None:
    """Put the table back to how it is before the first bet."""
    table.skill[:] = initial_share
    table.reserve[0] = 1 - initial_share
    table.decay[:] = 0.0
    table.centre[:, 0] = CENTRE * CENTRE_SIGNALS
    table.centre[:, 1] = CENTRE_SIGNALS
    table.growth[0] = 0.0
    table.scores[:] = 0.0


@njit(cache=True, nogil=True)
def copy_games(table: Games, onto: Games) -> None:
    """Make ``onto`` what ``table`` is."""
    onto.skill[:] = table.skill
    onto.reserve[:] = table.reserve
    onto.decay[:] = table.decay
    onto.centre[:] = table.centre
    onto.growth[:] = table.growth
    onto.scores[:] = table.scores


@njit(cache=True, nogil=True)
def skill_value(table: Games) -> float:
    """Return the e-value of the first game: that of the base rates which leave it least."""
    return float(table.skill.min() + table.reserve[0])


@njit(cache=True, nogil=True)
def decay_value(table: Games) -> float:
    """Return the second game under the base rates that leave it least, months."""
    return float(table.decay.min())


@njit(cache=True, nogil=True)
def play_bet(
    table: Games, policy: Bets, p_win: Floats, classes: NDArray[np.int64], won: Bools
) -> None:
    """Place one bet in both games on signals of shape (n,), in place."""
    claims, staked = np.empty(len(p_win)), 1e-12
    for i in range(len(p_win)):
        claims[i] = 4 * (p_win[i] - table.centre[classes[i], 0] / table.centre[classes[i], 1])
        staked += abs(claims[i])
    most, wide = AT_RISK / staked, _width(table)
    on = min(policy.claim * _retention(table, wide) / wide, most)
    _bet(table, policy, claims, on, min(policy.claim_retention / wide, most), classes, won)
    for i in range(len(p_win)):
        table.centre[classes[i], 0] += p_win[i]
        table.centre[classes[i], 1] += 1


@njit(cache=True, nogil=True)
def _width(table: Games) -> float:
    """Return the variance of the bets so far over that of independent signals, at least 1."""
    count = table.scores[0] + SCORED
    mean = table.scores[1] / count
    return float(max((table.scores[2] + SCORED) / count - mean * mean, 1.0))


@njit(cache=True, nogil=True)
def _retention(table: Games, wide: float) -> float:
    """Return the share of its claims the model has kept so far, shrunk to all of it, within ``SHARES``."""
    certain = wide / SPREAD**2
    share = (certain + table.scores[3]) / (certain + table.scores[4])
    return float(min(max(share, SHARES[0]), SHARES[1]))


@njit(cache=True, nogil=True)
def _bet(
    table: Games,
    policy: Bets,
    claims: Floats,
    on: float,
    against: float,
    classes: NDArray[np.int64],
    won: Bools,
) -> None:
    """Multiply both games by their factor, stakes ``on`` and ``against`` times the claims.

    The sums over each class are taken once: a factor is linear in the base rates.
    """
    sums = np.zeros((2, 3))  # for each class: claims times outcomes, claims, claims squared
    for i in range(len(claims)):
        sums[classes[i], 0] += claims[i] * won[i]
        sums[classes[i], 1] += claims[i]
        sums[classes[i], 2] += claims[i] * claims[i]
    moved = table.reserve[0] * policy.later
    table.reserve[0] -= moved
    said = policy.claim_retention / 4 * (sums[0, 2] + sums[1, 2])
    for left in range(len(BASE_RATES)):
        for right in range(len(BASE_RATES)):
            gain = (
                sums[0, 0]
                + sums[1, 0]
                - BASE_RATES[left] * sums[0, 1]
                - BASE_RATES[right] * sums[1, 1]
            )
            table.skill[left, right] = min(
                (table.skill[left, right] + moved) * (1 + on * gain), policy.cap
            )
            begun = table.decay[left, right] + policy.days / START_DAYS
            table.decay[left, right] = begun * max(1 - against * (gain - said), 0.0)
    even = sums[0, 0] + sums[1, 0] - 0.5 * (sums[0, 1] + sums[1, 1])
    table.growth[0] += math.log(1 + on * even)
    claimed = (sums[0, 2] + sums[1, 2]) / 4
    score = even / math.sqrt(1e-12 + claimed)
    table.scores[0] += 1
    table.scores[1] += score
    table.scores[2] += score * score
    table.scores[3] += even
    table.scores[4] += claimed


@njit(cache=True, nogil=True)
def _play_all(
    table: Games,
    policy: Bets,
    starts: NDArray[np.int64],
    p_win: Floats,
    classes: NDArray[np.int64],
    won: Bools,
) -> None:
    for bet in range(len(starts) - 1):
        rows = slice(starts[bet], starts[bet + 1])
        play_bet(table, policy, p_win[rows], classes[rows], won[rows])


def measure_skill(
    settled: pd.DataFrame, end: datetime, since: datetime, sizing: SizingPolicy, policy: BetPolicy
) -> Skill:
    """Return the evidence of ``settled`` (settled predictions, ordered by ``settled_at``) at ``end``.

    Nothing settled after ``end`` and nothing decided before ``since`` is looked at. A day (UTC) ends at midnight, inclusive.
    """
    known = (
        (settled["settled_at"] <= end) & (settled["decided_at"] >= since) & settled["p_win"].notna()
    )
    rows = settled[known.to_numpy(dtype=bool)]
    p_win, won = rows["p_win"].to_numpy(dtype=np.float64), rows["won"].to_numpy(dtype=bool)
    taken = rows["confidence_existing"].to_numpy(dtype=np.float64) > sizing.threshold
    table = new_games(policy)
    _play_all(
        table,
        compile_bets(policy),
        _blocks(rows, since, policy.days),
        p_win,
        taken.astype(np.int64),
        won,
    )
    returns, followed = (
        account_returns(rows, sizing),
        rows["confidence_ml"].to_numpy(dtype=np.float64) > sizing.threshold,
    )
    return Skill(
        settled=len(rows),
        skill=skill_value(table),
        decay_evidence=decay_value(table),
        growth=float(table.growth[0] / len(rows)) if len(rows) else math.nan,
        accuracy=metrics.accuracy(p_win, won),
        no_information_rate=metrics.no_information_rate(won),
        ml_return=float(returns[followed].sum()),
        baseline_return=float(returns[taken].sum()),
        right_autocorrelation=_autocorrelation((p_win > 0.5) == won),
        win_autocorrelation=_autocorrelation(won[followed]),
    )


def _autocorrelation(happened: Bools) -> float:
    pairs = np.stack((happened[:-1], happened[1:])).astype(np.float64)
    if len(happened) < PAIRS or pairs.std(axis=1).min() == 0:
        return math.nan
    return float(np.corrcoef(pairs[0], pairs[1])[0, 1])


def _blocks(rows: pd.DataFrame, since: datetime, days: int) -> NDArray[np.int64]:
    """Return where the rows of each bet begin, and their number last; the days of a bet are counted from ``since``."""
    if rows.empty:
        return np.zeros(1, np.int64)
    stamps = rows["settled_at"].to_numpy(dtype="datetime64[ns]") - np.timedelta64(1, "ns")
    day = stamps.astype("datetime64[D]") - np.datetime64(
        since.astimezone(UTC).replace(tzinfo=None), "D"
    )
    block = day.astype(np.int64) // days
    return np.flatnonzero(np.concatenate(([True], np.diff(block) > 0, [True])))
