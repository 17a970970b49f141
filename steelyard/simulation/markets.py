"""The evidence of skill in markets of many kinds: rarely high without skill (SPEC §6).

In ``NULL_MARKETS`` the claims of a model are drawn without a look at the outcomes. By Ville's
inequality an e-value reaches 1/alpha in at most alpha of such lives; a base rate that swings,
claims that persist and luck that outlasts a bet are what could break it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steelyard.compiled import compiled
from steelyard.evaluation.books import Bools, Floats
from steelyard.evaluation.chances import normal_shares
from steelyard.evaluation.figures import MONTH_DAYS
from steelyard.evaluation.skill import (
    BetPolicy,
    Bets,
    Games,
    compile_bets,
    luck_outlasts_bets,
    new_games,
    play_bet,
    reset_games,
    skill_value,
)
from steelyard.simulation.characteristics import claim_spread

Ints = NDArray[np.int64]
TAKEN = 0.3
"""Share of the signals that the existing system takes."""
SWING, SWING_DAYS = 0.10, 180
"""Amplitude and period of a base rate that swings."""


@dataclass(frozen=True, slots=True)
class Market:
    """A market, and the claims of a model in it.

    Attributes:
        name: Name in tables.
        accuracy: Accuracy the model claims on average, in (0.5, 1).
        claim_retention: True share of its claims: 0 without skill, above 1 if it knows more than it
            claims.
        base_rates: Base rates of the signals the existing system leaves and takes, in (0, 1).
        swing: How both base rates move: not at all, as a sine or in jumps, by ``SWING`` around
            one half in ``SWING_DAYS``.
        claim_persistence: Autocorrelation of the claims of neighbouring signals, in [0, 1).
        luck_persistence: Autocorrelation of the luck of neighbouring signals, in [0, 1).
        burst: Signals of one day that share claim and outcome.
        run: Signals in a row, over many days, that share claim and outcome.
    """

    name: str
    accuracy: float = 0.55
    claim_retention: float = 0.0
    base_rates: tuple[float, float] = (0.5, 0.5)
    swing: Literal["none", "sine", "square"] = "none"
    claim_persistence: float = 0.0
    luck_persistence: float = 0.0
    burst: int = 1
    run: int = 1


NULL_MARKETS = (
    Market("honest claims"),
    Market("claims twice as large", accuracy=0.60),
    Market("bursts of 20 with one outcome", burst=20),
    Market("base rates of 30 %", base_rates=(0.3, 0.3)),
    Market("base rates of 30 and 70 %", base_rates=(0.3, 0.7)),
    Market("base rate of 30 %, claims AR(.98)", base_rates=(0.3, 0.3), claim_persistence=0.98),
    Market("sine of 40 to 60 %, claims AR(.98)", swing="sine", claim_persistence=0.98),
    Market("jumps of 40 to 60 %, claims AR(.98)", swing="square", claim_persistence=0.98),
    Market("claims and luck AR(.9)", claim_persistence=0.9, luck_persistence=0.9),
    Market("claims and luck AR(.98)", claim_persistence=0.98, luck_persistence=0.98),
    Market("runs of 20 with one outcome", run=20),
)


class EvidenceReached(NamedTuple):
    """Course of the evidence of skill in many lives.

    Attributes:
        months: Months of 30 days until each bound was reached, shape (lives, bounds); infinite if
            it never was.
        warned: Whether ``Skill.luck_outlasts_bets`` said then that the evidence may be too high,
            shape (lives, bounds).
    """

    months: Floats
    warned: Bools


def evidence_reached(
    market: Market,
    lives: int,
    months: int,
    signals: int,
    bounds: Sequence[float],
    bets: BetPolicy,
    seed: int = 1,
) -> EvidenceReached:
    """Return when the evidence of skill reaches each bound.

    Args:
        market: The market of all lives.
        lives: Number of lives.
        months: Length of a life, months of 30 days.
        signals: Settled signals a month.
        bounds: e-values to reach.
        bets: Rules of the evidence.
        seed: Random seed.
    """
    rng, rules, games = np.random.default_rng(seed), compile_bets(bets), new_games(bets)
    levels = np.array(bounds, dtype=np.float64)
    reached = np.full((lives, len(levels)), np.inf)
    warned = np.zeros((lives, len(levels)), dtype=bool)
    for life in range(lives):
        day, p_win, classes, won = _simulate_life(market, months, signals, rng)
        bet = day // rules.days
        starts = np.flatnonzero(np.diff(bet, prepend=-1, append=bet.max(initial=0) + 1))
        reset_games(games, bets.initial_share, 1.0)
        first = _play_life(games, rules, starts, p_win, classes, won, levels, warned[life])
        hit = first < len(starts) - 1
        reached[life, hit] = (bet[starts[first[hit]]] + 1) * rules.days / MONTH_DAYS
    return EvidenceReached(reached, warned)


def _simulate_life(
    market: Market, months: int, signals: int, rng: np.random.Generator
) -> tuple[Ints, Floats, Ints, Bools]:
    """Return day, claim, class and outcome of each signal, shape (n,)."""
    days = months * MONTH_DAYS
    day = np.repeat(np.arange(days), rng.poisson(signals / MONTH_DAYS / market.burst, days))
    day = np.repeat(day, market.burst)
    shared = np.arange(len(day)) // (market.burst * market.run)
    claim = _autoregression(rng, len(day), market.claim_persistence)[shared]
    luck = _autoregression(rng, len(day), market.luck_persistence)[shared]
    classes = (rng.random(len(day)) < TAKEN).astype(np.int64)
    base_rate = np.array(market.base_rates)[classes]
    p_win = np.clip(base_rate + claim_spread(market.accuracy) * claim, 0.02, 0.98)
    edge, phase = market.claim_retention * (p_win - base_rate), day / SWING_DAYS + rng.random()
    if market.swing == "sine":
        edge = edge + SWING * np.sin(2 * np.pi * phase)
    elif market.swing == "square":
        edge = edge + SWING * np.where(phase % 1 < 0.5, 1, -1)
    return day, p_win, classes, normal_shares(luck) < base_rate + edge


def _autoregression(rng: np.random.Generator, count: int, persistence: float) -> Floats:
    """Return standard normal values whose neighbours correlate by ``persistence``."""
    noise = rng.standard_normal(count)
    noise[1:] *= math.sqrt(1 - persistence**2)
    _accumulate(noise, persistence)
    return noise


@compiled
def _accumulate(values: Floats, persistence: float) -> None:
    """Add to each value, in place, ``persistence`` times the sum before it."""
    for position in range(1, len(values)):
        values[position] += persistence * values[position - 1]


@compiled
def _play_life(
    games: Games,
    rules: Bets,
    starts: Ints,
    p_win: Floats,
    classes: Ints,
    won: Bools,
    bounds: Floats,
    warned: Bools,
) -> Ints:
    """Return the bet that reaches each bound, the number of bets if none does; fill in warned."""
    first = np.full(len(bounds), len(starts) - 1)
    for bet in range(len(starts) - 1):
        rows = slice(starts[bet], starts[bet + 1])
        play_bet(games, rules, p_win[rows], classes[rows], won[rows])
        evidence = skill_value(games)
        for bound in range(len(bounds)):
            if evidence >= bounds[bound] and first[bound] == len(starts) - 1:
                first[bound], warned[bound] = bet, luck_outlasts_bets(games)
    return first
