"""Evidence of skill and of decay, accumulated over the lifetime of a lineage.

Skill: does the model know anything the existing system does not? Decay: has it stopped knowing it?
Two betting games are played against the settled signals, one bet per day or per as many days as a
bracket lasts (Shafer and Vovk, Game-Theoretic Foundations for Probability and Finance, 2019;
Shafer, "Testing by betting", JRSS A 184, 2021). Signal i of a bet has the model's probability p_i,
the outcome y_i in {0, 1} and a class c_i: 1 if the existing system took it. The claim is what the
model adds to the existing system::

    d_i = p_i − m_c − S_c/10

m_c is the moving mean of p over about ``CENTRE_SIGNALS`` signals of the class, S_c the sum of its
claims so far. A fixed mean would leave slow claims, and claims of one sign, standing bets on the
base rate, which a market that swings pays without any skill; S_c draws the sum of the claims of a
class towards 0, so that no base rate, constant or slow, earns anything.

**Skill.** The null is composite: in each class the outcome has some base rate b_c, whatever the
model claims. For every pair (b_0, b_1) of ``BASE_RATES`` and every multiple m of ``STAKES`` the
capital K changes with each bet::

    K(b, m) ← K(b, m) · (1 + Σ_i s_i · (y_i − b_{c_i}))
    s_i = 4·m·d_i / D, scaled down if Σ_i |s_i| would exceed 1.58

4·d is the Kelly stake of p against a base rate of one half. The multiples are a portfolio: a model
that claims less than it knows is found by the large ones, one that claims too much by the small
ones (Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2006, chapter 9). D ≥ 1 is the mean
square of the sums Σ_i d_i·(y_i − ½) so far, over that of independent signals: symbols that win and
lose together are fewer signals than they look, and get smaller stakes. The sums are those of single
bets or of 4 to 32 bets in a row, whichever gives most, so that luck that outlasts a bet counts as
dependence, too. D is known before the bet: mean over mean square, as in the aGRAPA of Waudby-Smith
and Ramdas ("Estimating means of bounded random variables by betting", JRSS B 2024).

Under the null the factor has mean 1 whatever the dependence within a bet: it is linear in the
outcomes, and the stakes are fixed before them. A share of the capital plays at once and the rest is
released over time, so that an edge that begins late is found: a mixture over starting days. Capital
above a cap is dropped, so that an edge that died is not believed for years. Both leave a test
supermartingale, and the smallest sum over m of the grid, which counts, is below that of the true
rates. By Ville's inequality (Étude critique de la notion de collectif, 1939) it ever reaches
1/alpha with probability alpha at most, however often it is looked at.

**Decay.** The null is that the claims still hold: E[y_i] is b_c + g·d_i or further from b_c, g the
share of a claim that counts as kept. The bet is placed against the claims and starts anew every day
(Shiryaev and Roberts; as an e-detector: Shin, Ramdas and Rinaldo, NEJSDS 2, 2024)::

    R(b) ← (R(b) + 1/30) · (1 − Σ_i h_i · (y_i − b_{c_i} − g·d_i))
    h_i = 4·g·d_i / V, bounded like s_i

Here d_i = p_i − the mean of p in the class over the whole life, and V ≥ 1 is the variance of single
bets alone.

With each start worth 1/30 per day of the bet, R minus the months played is a martingale if the
claims just hold: a model that keeps them reaches the bound A once in A months on average, or more
rarely.

Assumption: outcomes are fair given the outcomes of earlier bets. Luck that lasts longer than a bet
breaks it; ``Skill.luck_outlasts_bets`` says when the outcomes show it. ``benchmarks/evidence.py``
plays thousands of lives without skill in markets of many kinds, and `docs/results.md` has the
table.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator

from steelyard.compiled import compiled, shared
from steelyard.evaluation import metrics
from steelyard.evaluation.books import Bools, Floats, rows_where
from steelyard.evaluation.figures import called_right, neighbour_correlation
from steelyard.values import FrozenModel

BASE_RATES = np.array([0.40, 0.45, 0.50, 0.55, 0.60])
EVEN = 2
"""Position of one half among ``BASE_RATES``."""
STAKES = np.array([0.25, 0.5, 1.0, 1.6, 2.4])
STAKE_WEIGHTS = np.array([0.15, 0.25, 0.3, 0.2, 0.1])
"""Multiples of a claim that are staked, and the share of the capital that plays each."""
CENTRE_SIGNALS, PRIOR_SIGNALS = 40.0, 2.0
"""Signals of a class in the moving mean of its claims; prior signals at one half."""
LIFE_PRIOR_SIGNALS = 10.0
"""Prior signals at one half in the mean over the life that centres the decay game."""
BALANCE = 0.1
"""Share of the sum of a class's claims that the next claim takes back."""
AT_RISK = 0.95 / BASE_RATES.max()
"""Largest sum of the stakes: if every signal is wrong at the worst base rate, 5 % is left."""
PRIOR_BETS = 10.0
"""Bets of independent signals, and rows of bets, that count as played before the first."""
ROWS = np.array([4, 8, 16, 32])
"""Bets in a row whose summed scores show luck that outlasts a bet."""
FEWEST_ROWS, LUCK_DEVIATIONS = 4, 1.5
"""Rows needed to say so, and standard errors of their variance above that of single bets."""
START_DAYS = 30.0
MAX_BET_DAYS = 90
PAIRS = 100
"""Neighbouring signals below which no autocorrelation is estimated."""


class BetPolicy(FrozenModel):
    """Rules of the two games.

    Attributes:
        days: Days whose settled signals are one bet; "auto": the mean hold of the signals that the
            model learned from when the evidence began (``Origin.hold_days``).
        initial_share: Share of the skill game's capital that plays from the first day.
        later_days: Days with settled signals in which the rest is released by a factor of e.
        cap: Largest capital of the skill game.
        claim_retention: g, the share of its claims a model must keep not to count as decayed.
    """

    renamed_keys = {  # noqa: RUF012  # a ClassVar of the base
        "at_once": "initial_share",
        "kept": "claim_retention",
    }
    retired_keys = frozenset({"claim"})

    days: Annotated[int, Field(ge=1, le=MAX_BET_DAYS)] | Literal["auto"] = "auto"
    initial_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    later_days: Annotated[int, Field(ge=1, le=3650)] = 180
    cap: Annotated[float, Field(ge=1, le=1e12)] = 2_000.0
    claim_retention: Annotated[float, Field(gt=0, le=1)] = 0.6

    @field_validator("days", mode="before")
    @classmethod
    def _days_or_auto(cls, value: object) -> object:
        whole = (
            isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_BET_DAYS
        )
        if not whole and value != "auto":
            raise ValueError(f"must be auto or a whole number of days from 1 to {MAX_BET_DAYS}")
        return value

    def bet_days(self, hold_days: int) -> int:
        """Return the days of one bet, given those that "auto" stands for."""
        return hold_days if self.days == "auto" else self.days


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the evidence of a lineage begins.

    Attributes:
        since: Predictions made from here on count (UTC).
        capital: Capital of the skill game at its begin: 1, or a holdout's ``head_start``.
        hold_days: Mean hold of a signal in whole days, rounded up: the length of a bet if the
            policy says "auto". Fixed here, so that no later outcome can choose it.
    """

    since: datetime
    capital: float = 1.0
    hold_days: int = 2


class Games(NamedTuple):
    """State of both games between two bets; the arrays change in place.

    Attributes:
        skill: Capital at stake in the skill game per pair of base rates and stake, shape (5, 5, 5).
        reserve: Capital of the skill game not yet released, shape (1,).
        decay: Value of the decay game per pair of base rates, shape (5, 5), months.
        centre: Moving mean of p, number of signals in it, sum of the claims, sum of p over the life
            and number of signals in it per class, shape (2, 5).
        growth: Sum of the skill game's log factors at base rates of one half, shape (1,), nats.
        scores: Number, sum and sum of squares of the bets' scores (deviations of independent
            signals), shape (3,).
        rows: For each length of ``ROWS``: sum of the scores of the running row; number, and sum of
            the mean squares of the complete ones; shape (4, 3).
    """

    skill: Floats
    reserve: Floats
    decay: Floats
    centre: Floats
    growth: Floats
    scores: Floats
    rows: Floats


class Bets(NamedTuple):
    """``BetPolicy`` for compiled code; ``release`` is the share of the reserve released per bet."""

    days: int
    release: float
    cap: float
    claim_retention: float


@dataclass(frozen=True, slots=True)
class Skill:
    """Evidence over the lifetime of a lineage, since its evidence began.

    Attributes:
        settled: Settled predictions.
        skill: e-value against "no skill beyond the existing system": 1 is no evidence, 100 is
            reached by chance in 1 of 100 lives.
        decay_evidence: Evidence that the claims no longer hold, months: a model that keeps its
            claims reaches a value of A once in A months on average.
        growth: Log growth of the skill game per signal, nats; NaN without signals.
        accuracy: Share of signals for which ``p_win > 0.5`` was right; NaN without any.
        no_information_rate: Share of the larger class; NaN without any.
        ml_return: Sum of the account returns of the ml book.
        baseline_return: Sum of the account returns of the baseline.
        right_autocorrelation: Correlation of being right between neighbours in settling order; NaN
            with fewer than ``PAIRS`` signals or no variation.
        win_autocorrelation: Correlation of winning between neighbours among the ml book's trades;
            NaN like ``right_autocorrelation``.
        luck_outlasts_bets: Whether wins and losses of neighbouring bets depend on each other, so
            that the e-value may be too high: a bet should last more days.
        bet_days: Days of one bet.
        mean_hold_days: Mean time from decision to exit, days; NaN without signals.
        days: Days since the evidence began.
        ml_trades: Trades of the ml book.
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
    luck_outlasts_bets: bool = False
    bet_days: int = 2
    mean_hold_days: float = math.nan
    days: float = 0.0
    ml_trades: int = 0

    def more_needed(self, bound: float) -> int | None:
        """Return how many more signals bring the skill to ``bound`` at the growth so far.

        None if the growth so far never does.
        """
        if self.skill >= bound:
            return 0
        if not (self.growth > 0 and self.skill > 0):  # so written that NaN promises nothing
            return None
        return math.ceil(math.log(bound / self.skill) / self.growth)


def new_games(policy: BetPolicy, capital: float = 1.0) -> Games:
    """Return the games before the first bet.

    Args:
        policy: Rules of the games.
        capital: Capital of the skill game.
    """
    pairs = (len(BASE_RATES), len(BASE_RATES))
    games = Games(
        skill=np.empty((*pairs, len(STAKES))),
        reserve=np.empty(1),
        decay=np.empty(pairs),
        centre=np.empty((2, 5)),
        growth=np.empty(1),
        scores=np.empty(3),
        rows=np.empty((len(ROWS), 3)),
    )
    reset_games(games, policy.initial_share, capital)
    return games


def compile_bets(policy: BetPolicy, hold_days: int = 1) -> Bets:
    """Return ``policy`` for compiled code.

    Args:
        policy: Rules of the games.
        hold_days: Days of one bet if the policy says "auto".
    """
    days = policy.bet_days(hold_days)
    return Bets(
        days=days,
        release=min(days / policy.later_days, 1.0),
        cap=policy.cap,
        claim_retention=policy.claim_retention,
    )


@compiled
def reset_games(games: Games, initial_share: float, capital: float) -> None:
    """Reset the games to their state before the first bet.

    Args:
        games: Changed in place.
        initial_share: Share of the skill game's capital that plays from the first day, (0, 1].
        capital: Capital it begins with: 1, or what a holdout gives it (``head_start``).
    """
    games.skill[:] = STAKE_WEIGHTS * initial_share * capital
    games.reserve[0] = (1 - initial_share) * capital
    games.decay[:] = 0.0
    games.centre[:, 0] = 0.5
    games.centre[:, 1] = PRIOR_SIGNALS
    games.centre[:, 2] = 0.0
    games.centre[:, 3] = 0.5 * LIFE_PRIOR_SIGNALS
    games.centre[:, 4] = LIFE_PRIOR_SIGNALS
    games.growth[0] = 0.0
    games.scores[:] = 0.0
    games.rows[:] = 0.0


@shared
def head_start(skill: float, training: int) -> float:
    """Return the capital that the holdout of an admitted version gives the skill game, at least ½.

    Trainings are tried until one is admitted. The j-th has the share 1/(j(j + 1)) of half of the
    capital; the shares sum to 1, so that whichever is admitted the mean stays at most 1 without
    skill.

    Args:
        skill: e-value on the version's untouched holdout; NaN counts as 0.
        training: j, the number of the training since the evidence began, from 1.
    """
    return 0.5 + 0.5 * (skill if skill > 0 else 0.0) / (training * (training + 1))


@shared
def copy_games(source: Games, target: Games) -> None:
    """Copy the state of the games.

    Args:
        source: Left unchanged.
        target: Overwritten in place.
    """
    target.skill[:] = source.skill
    target.reserve[:] = source.reserve
    target.decay[:] = source.decay
    target.centre[:] = source.centre
    target.growth[:] = source.growth
    target.scores[:] = source.scores
    target.rows[:] = source.rows


@compiled
def skill_value(games: Games) -> float:
    """Return the e-value of the skill game: at the base rates that leave it least."""
    lowest = math.inf
    for rejected in range(len(BASE_RATES)):
        for traded in range(len(BASE_RATES)):
            lowest = min(lowest, games.skill[rejected, traded].sum())
    return float(lowest + games.reserve[0])


@compiled
def decay_value(games: Games) -> float:
    """Return the decay game at the base rates that leave it least, months."""
    return float(games.decay.min())


@compiled
def play_bet(
    games: Games, policy: Bets, p_win: Floats, classes: NDArray[np.int64], won: Bools
) -> None:
    """Play one bet of both games on the signals of one period.

    Args:
        games: Changed in place.
        policy: Rules of the games.
        p_win: Calibrated probabilities in (0, 1), shape (n,), without NaN.
        classes: 1 if the existing system took the signal, else 0, shape (n,).
        won: Outcomes, shape (n,).
    """
    claims, lifelong = np.empty(len(p_win)), np.empty(len(p_win))
    for i in range(len(p_win)):
        mean, _, balance, total, count = games.centre[classes[i]]
        claims[i] = 4 * (p_win[i] - mean - BALANCE * balance)
        lifelong[i] = 4 * (p_win[i] - total / count)
    _bet_on_decay(games, policy, lifelong, classes, won)
    _bet_on_skill(games, policy, claims, classes, won)
    for i in range(len(p_win)):
        centre = games.centre[classes[i]]
        centre[2] += p_win[i] - centre[0] - BALANCE * centre[2]
        centre[1] = min(centre[1] + 1, CENTRE_SIGNALS)
        centre[0] += (p_win[i] - centre[0]) / centre[1]
        centre[3] += p_win[i]
        centre[4] += 1


@shared
def _dependence(games: Games) -> float:
    """Return the variance of the bets so far over that of independent signals, at least 1."""
    count = games.scores[0] + PRIOR_BETS
    mean = games.scores[1] / count
    return float(max((games.scores[2] + PRIOR_BETS) / count - mean * mean, 1.0))


@shared
def _lasting_dependence(games: Games) -> float:
    """Return D: the largest mean square of the bets so far, single or in rows, at least 1."""
    largest = (games.scores[2] + PRIOR_BETS) / (games.scores[0] + PRIOR_BETS)
    for row in range(len(ROWS)):
        squares = (games.rows[row, 2] + PRIOR_BETS) / (games.rows[row, 1] + PRIOR_BETS)
        largest = max(largest, squares)
    return float(max(largest, 1.0))


@compiled
def luck_outlasts_bets(games: Games) -> bool:
    """Return whether rows of bets vary more than single bets explain."""
    bets = max(games.scores[0], 1.0)
    mean = games.scores[1] / bets
    single = games.scores[2] / bets - mean * mean
    for row in range(len(ROWS)):
        count = max(games.rows[row, 1], 1.0)
        variance = games.rows[row, 2] / count - ROWS[row] * mean * mean
        bound = single * (1 + LUCK_DEVIATIONS * math.sqrt(2 / count))
        if count >= FEWEST_ROWS and variance > bound:
            return True
    return False


@shared
def _sum_claims(claims: Floats, classes: NDArray[np.int64], won: Bools) -> Floats:
    """Return claims times outcomes, claims and claims squared, summed per class, shape (2, 3).

    A factor is linear in the base rates: these sums give it for each pair.
    """
    sums = np.zeros((2, 3))
    for i in range(len(claims)):
        sums[classes[i], 0] += claims[i] * won[i]
        sums[classes[i], 1] += claims[i]
        sums[classes[i], 2] += claims[i] * claims[i]
    return sums


@shared
def _gain(sums: Floats, rejected: int, traded: int) -> float:
    """Return Σ claim · (outcome − base rate) at a pair of ``BASE_RATES``."""
    return float(
        sums[0, 0]
        + sums[1, 0]
        - BASE_RATES[rejected] * sums[0, 1]
        - BASE_RATES[traded] * sums[1, 1]
    )


@shared
def _bet_on_skill(
    games: Games,
    policy: Bets,
    claims: Floats,
    classes: NDArray[np.int64],
    won: Bools,
) -> None:
    sums, released = _sum_claims(claims, classes, won), games.reserve[0] * policy.release
    games.reserve[0] -= released
    limit = AT_RISK / (1e-12 + np.abs(claims).sum())
    stakes = np.minimum(STAKES / _lasting_dependence(games), limit)
    for rejected in range(len(BASE_RATES)):
        for traded in range(len(BASE_RATES)):
            gain, before, after = _gain(sums, rejected, traded), 0.0, 0.0
            capital = games.skill[rejected, traded]
            for stake in range(len(STAKES)):
                capital[stake] += released * STAKE_WEIGHTS[stake]
                before += capital[stake]
                capital[stake] *= 1 + stakes[stake] * gain
                after += capital[stake]
            if after > policy.cap:
                capital *= policy.cap / after
            if rejected == traded == EVEN:
                games.growth[0] += math.log(after / before)
    even = _gain(sums, EVEN, EVEN)
    _count_score(games, even / math.sqrt(1e-12 + (sums[0, 2] + sums[1, 2]) / 4))


@shared
def _bet_on_decay(
    games: Games,
    policy: Bets,
    claims: Floats,
    classes: NDArray[np.int64],
    won: Bools,
) -> None:
    sums, retention = _sum_claims(claims, classes, won), policy.claim_retention
    stake = min(retention / _dependence(games), AT_RISK / (1e-12 + np.abs(claims).sum()))
    retained = retention / 4 * (sums[0, 2] + sums[1, 2])
    for rejected in range(len(BASE_RATES)):
        for traded in range(len(BASE_RATES)):
            started = games.decay[rejected, traded] + policy.days / START_DAYS
            lost = retained - _gain(sums, rejected, traded)
            games.decay[rejected, traded] = started * max(1 + stake * lost, 0.0)


@shared
def _count_score(games: Games, score: float) -> None:
    games.scores[0] += 1
    games.scores[1] += score
    games.scores[2] += score * score
    for row in range(len(ROWS)):
        games.rows[row, 0] += score
        if games.scores[0] % ROWS[row] == 0:
            games.rows[row, 1] += 1
            games.rows[row, 2] += games.rows[row, 0] ** 2 / ROWS[row]
            games.rows[row, 0] = 0.0


@compiled
def _play_all(
    games: Games,
    policy: Bets,
    starts: NDArray[np.int64],
    p_win: Floats,
    classes: NDArray[np.int64],
    won: Bools,
) -> None:
    for bet in range(len(starts) - 1):
        rows = slice(starts[bet], starts[bet + 1])
        play_bet(games, policy, p_win[rows], classes[rows], won[rows])


def measure_skill(held: pd.DataFrame, end: datetime, origin: Origin, policy: BetPolicy) -> Skill:
    """Return the evidence of skill and decay at ``end``.

    Args:
        held: Settled predictions as the baseline and the ml book hold them
            (``positions.take_positions``), one row a signal, ordered by ``settled_at``, with
            columns ``settled_at``, ``decided_at``, ``p_win`` and ``won``. Rows without ``p_win``,
            settled after ``end`` or decided before the begin of the evidence are ignored.
        end: Last time counted (UTC), inclusive; a day ends at midnight, inclusive.
        origin: Where the evidence begins.
        policy: Rules of the games.
    """
    in_time = (held["settled_at"] <= end) & (held["decided_at"] >= origin.since)
    rows = rows_where(held, (in_time & held["p_win"].notna()).to_numpy(dtype=bool))
    p_win, won = rows["p_win"].to_numpy(dtype=np.float64), rows["won"].to_numpy(dtype=bool)
    ml_taken = rows["ml_taken"].to_numpy(dtype=bool)
    classes = rows["baseline_wanted"].to_numpy(dtype=np.int64)
    games, bets = new_games(policy, origin.capital), compile_bets(policy, origin.hold_days)
    starts = _bet_starts(rows, origin.since, bets.days)
    hold = (rows["settled_at"] - rows["decided_at"]).dt.total_seconds().to_numpy() / 86_400
    _play_all(games, bets, starts, p_win, classes, won)
    return Skill(
        settled=len(rows),
        skill=skill_value(games),
        decay_evidence=decay_value(games),
        growth=float(games.growth[0] / len(rows)) if len(rows) else math.nan,
        accuracy=metrics.accuracy(p_win, won),
        no_information_rate=metrics.no_information_rate(won),
        ml_return=float(rows["ml_return"].sum()),
        baseline_return=float(rows["baseline_return"].sum()),
        right_autocorrelation=_autocorrelation(called_right(p_win, won)),
        win_autocorrelation=_autocorrelation(won[ml_taken]),
        luck_outlasts_bets=bool(luck_outlasts_bets(games)),
        bet_days=bets.days,
        mean_hold_days=metrics.mean(hold),
        days=max((end - origin.since) / timedelta(days=1), 0.0),
        ml_trades=int(ml_taken.sum()),
    )


def _autocorrelation(events: Bools) -> float:
    if len(events) < PAIRS:
        return math.nan
    first, second = events[:-1], events[1:]
    both = int((first & second).sum())
    return neighbour_correlation(len(first), int(first.sum()), int(second.sum()), both)


def _bet_starts(rows: pd.DataFrame, since: datetime, days: int) -> NDArray[np.int64]:
    """Return the first row of each bet and, last, the number of rows, shape (bets + 1,)."""
    if rows.empty:
        return np.zeros(1, np.int64)
    first_day = np.datetime64(since.astimezone(UTC).replace(tzinfo=None), "D")
    stamps = rows["settled_at"].to_numpy(dtype="datetime64[ns]") - np.timedelta64(1, "ns")
    bets = (stamps.astype("datetime64[D]") - first_day).astype(np.int64) // days
    return np.flatnonzero(np.concatenate(([True], np.diff(bets) > 0, [True])))
