"""Disguised bars: a system answers the same if nothing but their course tells which bars they are.

In disguise a stock nobody knows has gone through a reverse split and lives 28 years later: another
symbol, prices times ``SCALE``, volumes divided by it, other dates. 28 years are 1,461 whole weeks
after which the calendar repeats (from 1901 to 2099), so weekday, day of the month, season and time
of day are kept; so is what a volume was worth. ``SCALE`` is a power of two, which keeps every ratio
of prices to the last bit. What a system reads off the course of its bars does not change; what it
looks up elsewhere by symbol, date or price is not found, or is about other bars.

The arrays of a question end at its decision bar, so that nothing later can be reached through them.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.market.bars import PRICES, Bars, Floats
from steelyard.market.brackets import decision_bars
from steelyard.market.features import OWN, SCORE
from steelyard.market.strategy import (
    WARMUP,
    Candidate,
    Entry,
    Exiting,
    Featuring,
    Scanning,
    Strategy,
    candidate_at,
    own_names,
)

SCALE = 4.0
SHIFT = np.timedelta64(1461 * 7, "D")
TOLERANCE = 1e-6
"""Accepted difference of a confidence, score or own feature, relative to its size."""
ROUNDING = 1e-9
"""Accepted besides, for figures near zero."""
BARS_READ = 10_000_000
"""Largest number of bars given to ``propose`` of a system with ``scan``; one is asked at least."""
LEVEL_PRICES = ("stop", "target", "trail")
"""Exit levels that are prices."""
TRADES_FOLLOWED, BARS_FOLLOWED = 100, 60
"""Trades, and bars of each from the entry on, about which an exit rule is asked."""
MORE_BARS = 20
"""Bars besides the decisions that are asked, too; most of them have no candidate."""

Answer = Candidate | str | None
"""A candidate, None for no trade, or the error with which the system failed, in words."""
Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True)
class DisguiseCheck:
    """Result of asking a system about disguised bars.

    Attributes:
        asked: Number of decisions ``propose`` was asked about.
        decisions: Number of decisions there are.
        differences: One line for each answer that differs: symbol, bar, and both answers.
        system: Name of the system.
    """

    asked: int
    decisions: int
    differences: tuple[str, ...]
    system: str

    @property
    def reason(self) -> str:
        """The result in one sentence."""
        asked = f"{self.asked} of {self.decisions} decisions asked one by one"
        if not self.differences:
            return f"{self.system} answers disguised bars as it answers the true ones ({asked})"
        return (
            f"{self.system} answers otherwise if symbol, year and price level are disguised, so it "
            f"knows bars by them: {len(self.differences)} answers differ ({asked}), the first: "
            f"{self.differences[0]}"
        )


Place = tuple[str, pd.Timestamp]
"""Symbol and bar of an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Bars of a symbol up to a decision, and the answer of a system without disguise."""

    bars: Bars
    answer: Answer

    @property
    def place(self) -> Place:
        """Symbol and decision bar."""
        return self.bars.symbol, pd.Timestamp(self.bars.timestamp[-1])


class _Knowing:
    """A planted system that trades the bars it knows by one of their marks, and no others."""

    warmup = 0
    score_names: tuple[str, ...] = ()

    def __init__(self, mark: Callable[[Bars], object], known: Bars) -> None:
        self._mark, self._known = mark, mark(known)

    def propose(self, bars: Bars) -> Candidate | None:
        return Candidate("buy", 80.0, {}) if self._mark(bars) == self._known else None


_MARKS: tuple[Callable[[Bars], object], ...] = (
    lambda bars: bars.symbol,
    lambda bars: bars.timestamp[-1],
    lambda bars: bars.close[-1],
)


def disguise_check(
    bars: Mapping[str, Bars], strategy: Strategy, decisions: pd.DataFrame
) -> DisguiseCheck:
    """Return whether a system gives on disguised bars the answers it gave on the true ones.

    A fresh instance is asked by ``propose`` and ``features``, in random order, about each decision
    and some bars more, and its exit rule about the first bars of some trades. A ``scan`` is
    compared at every bar of the symbols with decisions; where there is one, a random part of the
    decisions is asked if all took more than ``BARS_READ`` bars.

    Args:
        bars: Symbol → bars, up to any later time, of every symbol of ``decisions``.
        strategy: The system; its class is called without arguments.
        decisions: Answers of the system, one row each, as ``market.strategy.signals`` and
            ``market.own_features.own_features`` return them; what has no column is not compared.

    Raises:
        FixData: If a decision bar is not among ``bars``.
    """
    rng, system = np.random.default_rng(0), type(strategy)()
    decided = list(_recorded(bars, strategy, decisions))
    asked = [decided[row] for row in rng.permutation(len(decided))]
    if isinstance(strategy, Scanning):
        asked = _within_budget(asked)
    asked = _with_levels(asked, system)
    series = [bars[symbol] for symbol in sorted({question.bars.symbol for question in decided})]
    questions = [*asked, *_further(series, strategy, rng)]
    found = _find_differences([questions[row] for row in rng.permutation(len(questions))], system)
    if isinstance(strategy, Scanning):
        for symbol_bars in series:
            found |= _scan_differences(symbol_bars, strategy, strategy.warmup)
    if isinstance(system, Exiting):
        found |= _exit_differences(bars, system, decisions, rng)
    lines = tuple(found[place] for place in sorted(found))
    return DisguiseCheck(len(asked), len(decided), lines, type(strategy).__name__)


def catches_planted(bars: Bars) -> bool:
    """Return whether systems that know bars by symbol, by date and by price are caught.

    Args:
        bars: Bars of any symbol.
    """
    planted = [_Knowing(mark, bars) for mark in _MARKS]
    return all(
        _find_differences([_Question(bars, system.propose(bars))], system) for system in planted
    )


def disguise(bars: Bars) -> Bars:
    """Return bars under another symbol, at another price level and 28 years later; a copy."""
    digest = hashlib.sha256(bars.symbol.encode()).hexdigest()
    return replace(
        bars,
        symbol=f"X{digest[:7].upper()}",
        timestamp=bars.timestamp + SHIFT,
        volume=bars.volume / SCALE,
        **{name: getattr(bars, name) * SCALE for name in PRICES},
    )


def _find_differences(questions: Sequence[_Question], system: Strategy) -> dict[Place, str]:
    """Return the questions a system answers otherwise in disguise, each in a sentence.

    Args:
        questions: In the order in which they are asked.
        system: The system.
    """
    found = {}
    for question in questions:
        answer, known = _respond(system, disguise(question.bars)), _at_scale(question.answer)
        if not agree(known, answer):
            found[question.place] = _difference(question.place, known, answer)
    return found


def _at_scale(answer: Answer) -> Answer:
    """Return an answer with the prices of its exit levels as they are in disguise."""
    if not isinstance(answer, Candidate):
        return answer
    prices = {name: getattr(answer.levels, name) * SCALE for name in LEVEL_PRICES}
    return replace(answer, levels=replace(answer.levels, **prices))


def _with_levels(questions: list[_Question], system: Strategy) -> list[_Question]:
    """Return questions with the exit levels of a system, which no record of a decision names.

    A system that has none at the first decisions is not asked about the others.
    """
    first = (ask(system.propose, question.bars) for question in questions[:MORE_BARS])
    if not any(isinstance(answer, Candidate) and answer.levels.given for answer in first):
        return questions
    asked = ((question, ask(system.propose, question.bars)) for question in questions)
    return [
        replace(question, answer=replace(question.answer, levels=answer.levels))
        if isinstance(question.answer, Candidate) and isinstance(answer, Candidate)
        else question
        for question, answer in asked
    ]


def _exit_differences(
    bars: Mapping[str, Bars], rule: Exiting, decisions: pd.DataFrame, rng: np.random.Generator
) -> dict[Place, str]:
    """Return the bars of some trades at which an exit rule answers otherwise in disguise."""
    found: dict[Place, str] = {}
    followed = decisions.iloc[rng.permutation(len(decisions))[:TRADES_FOLLOWED]]
    for symbol, rows in followed.groupby("symbol", sort=True):
        series = bars[str(symbol)]
        for decided, side in zip(decision_bars(series, rows), rows["side"], strict=True):
            if decided + 1 < len(series):
                entry = Entry(side, float(series.open[decided + 1]), int(decided) + 1)
                found |= _trade_differences(series[: entry.position + BARS_FOLLOWED], entry, rule)
    return found


def _trade_differences(bars: Bars, entry: Entry, rule: Exiting) -> dict[Place, str]:
    """Return the first bar of a trade at which an exit rule answers otherwise in disguise."""
    hidden_entry = replace(entry, price=entry.price * SCALE)
    for bar in range(entry.position, len(bars)):
        past = bars[: bar + 1]
        answer = ask(lambda seen: rule.exit(seen, entry), past)
        hidden = ask(lambda seen: rule.exit(seen, hidden_entry), disguise(past))
        if answer != hidden:
            stamp = pd.Timestamp(bars.timestamp[bar])
            line = f"{bars.symbol} {stamp:%Y-%m-%d %H:%M}: exit {answer}, in disguise {hidden}"
            return {(bars.symbol, stamp): line}
        if answer is not False:
            break
    return {}


def _recorded(
    bars: Mapping[str, Bars], strategy: Strategy, decisions: pd.DataFrame
) -> Iterator[_Question]:
    columns = {SCORE + name: name for name in strategy.score_names}
    columns |= {OWN + name: OWN + name for name in own_names(strategy)}
    columns = {column: name for column, name in columns.items() if column in decisions}
    for symbol, rows in decisions.groupby("symbol", sort=True):
        series = bars[str(symbol)]
        records = rows.to_dict("records")
        for bar, row in zip(decision_bars(series, rows), records, strict=True):
            scores = {name: float(row[column]) for column, name in columns.items()}
            answer = Candidate(row["side"], float(row["confidence_existing"]), scores)
            yield _Question(series[: bar + 1], answer)


def _within_budget(questions: list[_Question]) -> list[_Question]:
    read = np.cumsum([len(question.bars) for question in questions])
    return questions[: max(int(np.searchsorted(read, BARS_READ, side="right")), 1)]


def _further(
    series: Sequence[Bars], strategy: Strategy, rng: np.random.Generator
) -> Iterator[_Question]:
    """Yield questions about bars at random, answered by a fresh instance without disguise."""
    system, first = type(strategy)(), max(strategy.warmup, WARMUP)
    for _ in range(MORE_BARS if series else 0):
        bars = series[int(rng.integers(len(series)))]
        past = bars[: int(rng.integers(min(first, len(bars) - 1), len(bars))) + 1]
        yield _Question(past, _respond(system, past))


def _respond(system: Strategy, bars: Bars) -> Answer:
    """Return the answer of a system, its own features among the scores."""
    answer = ask(system.propose, bars)
    if not (isinstance(answer, Candidate) and isinstance(system, Featuring)):
        return answer
    own = ask(lambda past: _own_figures(system.features(past)), bars)
    return own if isinstance(own, str) else replace(answer, scores={**answer.scores, **own})


def _own_figures(given: Mapping[str, float]) -> dict[str, float]:
    return {OWN + name: float(value) for name, value in given.items()}


def ask(method: Callable[[Bars], Reply], bars: Bars) -> Reply | str:
    """Return the reply of a system to some bars; an error is a reply, too.

    Args:
        method: Method of the system.
        bars: What it is asked about.
    """
    try:
        return method(bars)
    except Exception as error:  # noqa: BLE001  # the user's code, which may miss what it looks up
        return f"{type(error).__name__}: {error}"


def _scan_differences(bars: Bars, strategy: Scanning, warmup: int) -> dict[Place, str]:
    """Return the bars at which a scan of disguised bars differs from that of the true ones."""
    plain, hidden = strategy.scan(bars), ask(type(strategy)().scan, disguise(bars))
    if isinstance(hidden, str):
        place = (bars.symbol, pd.Timestamp(bars.timestamp[-1]))
        return {place: f"{bars.symbol}: its scan fails in disguise with {hidden}"}
    moved, first = plain.side != hidden.side, max(warmup, WARMUP)
    missing = np.full(len(bars), np.nan)
    pairs = [(values, hidden.scores[name]) for name, values in plain.scores.items()]
    for name in {*plain.levels, *hidden.levels}:
        levels, others = (scan.levels.get(name, missing) for scan in (plain, hidden))
        pairs.append((levels * (SCALE if name in LEVEL_PRICES else 1.0), others))
    for values, others in [(plain.confidence, hidden.confidence), *pairs]:
        moved |= (plain.side != 0) & ~_close(values, others)
    found = {}
    for bar in map(int, np.flatnonzero(moved[first:]) + first):
        place = (bars.symbol, pd.Timestamp(bars.timestamp[bar]))
        answer = _at_scale(candidate_at(plain, bar))
        found[place] = _difference(place, answer, candidate_at(hidden, bar))
    return found


def agree(answer: Answer, other: Answer) -> bool:
    """Return whether two answers are the same within the tolerance, exit levels among them.

    Args:
        answer: An answer; its scores are the ones compared.
        other: Another.
    """
    if not (isinstance(answer, Candidate) and isinstance(other, Candidate)):
        return answer == other
    levels, others = np.array(astuple(answer.levels)), np.array(astuple(other.levels))
    return (
        answer.side == other.side
        and _same(answer.confidence, other.confidence)
        and bool(_close(levels, others).all())
        and not _moved(answer, other)
    )


def _moved(answer: Candidate, other: Candidate) -> list[str]:
    """Return the names of the scores of ``answer`` that ``other`` has otherwise."""
    return [
        name
        for name, figure in answer.scores.items()
        if not _same(figure, other.scores.get(name, np.nan))
    ]


def _same(figure: float, other: float) -> bool:
    return bool(_close(np.asarray(figure), np.asarray(other)))


def _close(figures: Floats, others: Floats) -> NDArray[np.bool_]:
    """Return which figures are the same within the tolerance, two NaN among them, shape (n,)."""
    bound = ROUNDING + TOLERANCE * np.abs(figures)
    both_missing = np.isnan(figures) & np.isnan(others)
    with np.errstate(invalid="ignore"):  # two infinities are the same
        near = np.abs(figures - others) <= bound
    return np.asarray(near | both_missing | (figures == others))


def _difference(place: Place, answer: Answer, other: Answer) -> str:
    """Return both answers in words, with the scores that differ."""
    if isinstance(answer, Candidate) and isinstance(other, Candidate):
        moved = _moved(answer, other)
        answer, other = (
            replace(candidate, scores={name: candidate.scores.get(name, np.nan) for name in moved})
            for candidate in (answer, other)
        )
    symbol, bar = place
    return f"{symbol} {bar:%Y-%m-%d %H:%M}: {in_words(answer)}, in disguise {in_words(other)}"


def in_words(answer: Answer) -> str:
    """Return an answer in words."""
    if not isinstance(answer, Candidate):
        return answer or "no trade"
    named = {**answer.scores, **answer.levels.given}
    scores = ", ".join(f"{name} {value:.7g}" for name, value in named.items())
    return f"{answer.side} with {answer.confidence:.7g}" + (f" ({scores})" if scores else "")
