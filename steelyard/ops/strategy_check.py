"""Checks of a trading system on past bars, before it gets a home: what is wrong, and what to do.

The system is asked at as many bars as ``SECONDS`` allow, in random order. Each question is put
twice: to one instance with views of the whole history, as the flows do, and to another with copies
that end at the decision bar. Where the answers differ, a new instance and the same two kinds of
bars tell why: it reads past the bars it was given, or it remembers.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.errors import FixConfiguration, SteelyardError
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.sources import RawBars, from_argument, read
from steelyard.learning.disguise import TOLERANCE, Answer, agree, ask, disguise_check, in_words
from steelyard.market import yes_or_no
from steelyard.market.bars import PRICES, Bars, by_symbol
from steelyard.market.brackets import BracketPolicy, outcomes
from steelyard.market.exits import exit_rule
from steelyard.market.features import OWN, SCORE
from steelyard.market.jumps import explain
from steelyard.market.own_features import idle_features, missing_shares, own_features
from steelyard.market.strategy import WARMUP, Scan, Scanning, Strategy, candidate_at, signals
from steelyard.settings import load, override
from steelyard.views.operations import Check, StrategyExamination

SECONDS = 2.5
"""Time for each of the checks that ask the system again and again."""
CUTS = 4
"""Places at which a scan of the bars up to there is compared with the scan of all."""
SLOW_SECONDS = 0.002
"""Time of one ``propose`` from which a ``scan`` is recommended."""
FEW_A_MONTH = 20
"""Signals a month under which a weight takes years to earn."""
SHARE_OVER = (0.15, 0.60)
"""Share of the confidences over the threshold that leaves the model something to change."""

TRADES_FOLLOWED = 500
"""Trades that are followed to their exits."""
BRACKET = BracketPolicy()

Make = Callable[[], Strategy]


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a system answered at one bar, asked in three ways."""

    bars: Bars
    on_view: Answer
    on_copy: Answer

    @property
    def place(self) -> str:
        """Symbol and bar, in words."""
        return f"{self.bars.symbol} {pd.Timestamp(self.bars.timestamp[-1]):%Y-%m-%d %H:%M}"


def check_strategy(system: str, source: str, conf: Path | None = None) -> StrategyExamination:
    """Return what a system does on past bars, one row per check.

    Args:
        system: ``trend``, ``reversion`` or ``MODULE:CLASS``.
        source: Source of the bars: ``sample``, ``simulated:EDGE`` or a path.
        conf: Folder of the settings; None for the default.

    Raises:
        FixConfiguration: If the system cannot be loaded.
        FixData: If the bars cannot be read.
    """
    settings = load(conf)
    named = override(settings.strategy, "check-strategy", system=system)
    raw = read(from_argument(source, settings.source))
    threshold, looked_up = settings.books.threshold, named.looked_up
    make, bracket = (lambda: load_strategy(named)), settings.brackets
    return examine(make, raw, system, threshold, looked_up, bracket)


def examine(
    make: Make,
    raw: RawBars,
    name: str,
    threshold: float = yes_or_no.TRADE_ABOVE,
    looked_up: Sequence[str] = (),
    bracket: BracketPolicy = BRACKET,
) -> StrategyExamination:
    """Return what a system does on past bars, one row per check.

    Args:
        make: Makes a new instance of the system.
        raw: Past bars of one or more symbols; rows without a price and repeated stamps are left
            out.
        name: Name of the system.
        threshold: Confidence above which a signal is traded.
        looked_up: Own features that come from outside the bars, which are not asked in disguise.
        bracket: Exits and costs of signals without levels of their own.
    """
    started = time.perf_counter()
    bars = _usable(raw)
    rows = [_bars_row(bars, raw)]
    if rows[0].standing != "wrong":
        rows += _examine(make, bars, threshold, looked_up, bracket)
    return StrategyExamination(name, raw.name, time.perf_counter() - started, tuple(rows))


def _usable(raw: RawBars) -> Mapping[str, Bars]:
    frame = raw.frame.dropna(subset=["timestamp", *PRICES])
    frame = frame.sort_values(["symbol", "timestamp"], ignore_index=True)
    frame = frame.drop_duplicates(["symbol", "timestamp"], ignore_index=True)
    return by_symbol(explain(frame, raw.jumps)[0], raw.bar_size)


def _bars_row(bars: Mapping[str, Bars], raw: RawBars) -> Check:
    count = sum(map(len, bars.values()))
    found = f"{count:,} bars of {len(bars)} symbols"
    longest = max(map(len, bars.values()), default=0)
    if longest <= WARMUP:
        return Check(
            "bars", "wrong", f"{found}, at most {longest} of one", f"give more than {WARMUP}"
        )
    first = min(series.timestamp[0] for series in bars.values() if len(series))
    last = max(series.timestamp[-1] for series in bars.values() if len(series))
    span = f"{pd.Timestamp(first):%Y-%m-%d} to {pd.Timestamp(last):%Y-%m-%d}"
    return Check("bars", "ok", f"{found}, {span}, {raw.bar_size.total_seconds() / 3600:g} h each")


def _examine(
    make: Make,
    bars: Mapping[str, Bars],
    threshold: float,
    looked_up: Sequence[str],
    bracket: BracketPolicy,
) -> Iterator[Check]:
    replies, seconds = _ask_around(make, bars)
    errors = _errors(replies)
    yield errors
    yield _look_ahead(make, replies)
    yield _memory(make, replies)
    scanning = make()
    if isinstance(scanning, Scanning):
        yield _scan_check(make, scanning, bars, replies)
    if errors.standing == "wrong":
        return
    try:
        proposed = signals(bars, make())
    except SteelyardError as error:
        yield Check("signals", "wrong", str(error), "correct that, then check again")
        yield _speed(seconds, isinstance(scanning, Scanning), bars)
        return
    yield _pace(proposed, bars)
    if len(proposed):
        yield _disguise(make, bars, proposed, looked_up)
        yield _confidences(proposed, threshold)
        yield from _inputs(make, bars, proposed)
        yield _exits(make, bars, proposed, bracket)
    yield _speed(seconds, isinstance(scanning, Scanning), bars)


def _ask_around(make: Make, bars: Mapping[str, Bars]) -> tuple[list[_Reply], float]:
    """Return the replies at bars in random order, and the mean time of an answer, seconds."""
    remembering, other, rng = make(), make(), np.random.default_rng(0)
    first = max(remembering.warmup, WARMUP)
    places = [(symbol, bar) for symbol, series in bars.items() for bar in range(first, len(series))]
    replies, asking, end = [], 0.0, time.perf_counter() + SECONDS
    for number in rng.permutation(len(places)):
        symbol, bar = places[number]
        past = bars[symbol][: bar + 1]
        began = time.perf_counter()
        on_view = ask(remembering.propose, past)
        asking += time.perf_counter() - began
        replies.append(_Reply(past, on_view, ask(other.propose, _copy(past))))
        if time.perf_counter() > end:
            break
    return replies, asking / max(len(replies), 1)


def _copy(bars: Bars) -> Bars:
    """Return bars whose arrays are no views of a longer history."""
    arrays = {name: getattr(bars, name).copy() for name in ("timestamp", *PRICES, "volume")}
    return replace(bars, **arrays)


def _errors(replies: list[_Reply]) -> Check:
    failed = [reply for reply in replies if isinstance(reply.on_view, str)]
    asked = f"{len(replies):,} bars asked one by one"
    if not failed:
        return Check("answers", "ok", f"{asked}, no error")
    return Check(
        "answers",
        "wrong",
        f"{len(failed):,} of {asked} end in an error, the first: {failed[0].place}: "
        f"{failed[0].on_view}",
        "return None where there is no trade",
    )


def _look_ahead(make: Make, replies: list[_Reply]) -> Check:
    """Return whether new instances answer views and copies alike."""
    peeks = [
        (reply, on_view, on_copy)
        for reply in replies
        if not agree(reply.on_view, reply.on_copy)
        and not agree(
            on_view := ask(make().propose, reply.bars),
            on_copy := ask(make().propose, _copy(reply.bars)),
        )
    ]
    if not peeks:
        return Check("look-ahead", "ok", "the answers need no bar after the decision bar")
    reply, on_view, on_copy = peeks[0]
    return Check(
        "look-ahead",
        "wrong",
        f"propose reads past the bars it is given at {len(peeks)} bars, the first {reply.place}: "
        f"{in_words(on_view)}, but {in_words(on_copy)} where there are no later bars",
        "use only the arrays of bars, not what they are views of",
    )


def _memory(make: Make, replies: list[_Reply]) -> Check:
    """Return whether an instance that was asked before answers as a new one does."""
    end = time.perf_counter() + SECONDS
    asked = 0
    while asked < len(replies) and time.perf_counter() < end:
        reply = replies[asked]
        new = ask(make().propose, _copy(reply.bars))
        if not agree(reply.on_copy, new):
            return Check(
                "memory",
                "wrong",
                f"{reply.place}: {in_words(reply.on_copy)} from an instance that was asked about "
                f"other bars before, {in_words(new)} from a new one",
                "keep nothing between calls: a restart would answer otherwise",
            )
        asked += 1
    return Check("memory", "ok", f"a new instance gives the same answer ({asked:,} bars)")


def _scan_check(
    make: Make, scanning: Scanning, bars: Mapping[str, Bars], replies: list[_Reply]
) -> Check:
    """Return whether ``scan`` answers as ``propose`` does, and the same without the later bars."""
    scans = {symbol: scanning.scan(series) for symbol, series in bars.items()}
    for symbol, series in bars.items():
        for cut in np.linspace(WARMUP, len(series), CUTS + 2)[1:-1].astype(np.int64):
            shorter = make()
            if not isinstance(shorter, Scanning) or cut <= WARMUP:
                continue
            part = shorter.scan(_copy(series[:cut]))
            for bar in np.flatnonzero(_moved(scans[symbol], part, int(cut)))[:1]:
                place = f"{symbol} {pd.Timestamp(series.timestamp[bar]):%Y-%m-%d %H:%M}"
                return _scan_fault(
                    f"{place}: {in_words(candidate_at(scans[symbol], int(bar)))}, but "
                    f"{in_words(candidate_at(part, int(bar)))} without the bars after "
                    f"{pd.Timestamp(series.timestamp[cut - 1]):%Y-%m-%d %H:%M}"
                )
    for reply in replies:
        answer = candidate_at(scans[reply.bars.symbol], len(reply.bars) - 1)
        if not agree(reply.on_copy, answer):
            return _scan_fault(
                f"{reply.place}: {in_words(answer)}, but propose gives {in_words(reply.on_copy)}"
            )
    return Check("scan", "ok", f"answers as propose does ({len(replies):,} bars)")


def _scan_fault(found: str) -> Check:
    return Check(
        "scan", "wrong", f"scan sees past {found}", "correct scan, or remove it: propose is enough"
    )


def _moved(whole: Scan, part: Scan, cut: int) -> NDArray[np.bool_]:
    """Return at which of the first ``cut`` bars two scans differ, shape (cut,)."""
    far = np.abs(whole.confidence[:cut] - part.confidence) > TOLERANCE
    moved = (whole.side[:cut] != part.side) | ((part.side != 0) & far)
    moved[:WARMUP] = False
    return np.asarray(moved)


def _pace(proposed: pd.DataFrame, bars: Mapping[str, Bars]) -> Check:
    days = max(
        (series.timestamp[-1] - series.timestamp[0]) / np.timedelta64(1, "D")
        for series in bars.values()
    )
    monthly = len(proposed) / max(days / 30, 1)
    buys = int((proposed["side"] == "buy").sum())
    found = f"{len(proposed):,} signals, {monthly:.0f} a month, {buys:,} buys"
    if not len(proposed):
        return Check("signals", "wrong", found, "return a Candidate where the system would trade")
    if monthly < FEW_A_MONTH:
        return Check(
            "signals",
            "warning",
            found,
            "a weight takes years to earn at this pace (steelyard simulate --signals "
            f"{monthly:.0f}); more symbols give more signals",
        )
    return Check("signals", "ok", found)


def _disguise(
    make: Make, bars: Mapping[str, Bars], proposed: pd.DataFrame, looked_up: Sequence[str]
) -> Check:
    try:
        own = own_features(bars, proposed, make())
    except FixConfiguration:  # which the row of the features tells
        own = pd.DataFrame(index=proposed.index)
    own = own.drop(columns=[f"{OWN}{name}" for name in looked_up])
    check = disguise_check(bars, make(), pd.concat([proposed, own], axis=1))
    if not check.differences:
        return Check("disguise", "ok", check.reason)
    return Check(
        "disguise",
        "wrong",
        check.reason,
        "look nothing up by symbol, date or price level, or name the features that come from "
        "elsewhere as looked_up in conf/strategy.yaml: no model over it would be promoted",
    )


def _confidences(proposed: pd.DataFrame, threshold: float) -> Check:
    values = proposed["confidence_existing"]
    found = f"{values.nunique():,} distinct, {(values > threshold).mean():.0%} over {threshold:g}"
    recognised = yes_or_no.recognise(values, threshold)
    if recognised is not None:
        advice = recognised.advice or ""
        return Check("confidences", "warning" if advice else "ok", recognised.finding, advice)
    low, high = SHARE_OVER
    if not low <= (values > threshold).mean() <= high:
        return Check(
            "confidences", "warning", found, f"let a quarter to two fifths exceed {threshold:g}"
        )
    return Check("confidences", "ok", found)


def _inputs(make: Make, bars: Mapping[str, Bars], proposed: pd.DataFrame) -> Iterator[Check]:
    scores = proposed.filter(regex=f"^{SCORE}").rename(columns=lambda name: name[len(SCORE) :])
    beyond = [name for name in scores.columns if not scores[name].between(0, 100).all()]
    idle = [name for name in scores.columns if scores[name].nunique() == 1]
    if beyond:
        low, high = scores[beyond].min().min(), scores[beyond].max().max()
        yield Check(
            "scores",
            "wrong",
            f"{', '.join(beyond)}: {low:g} to {high:g}",
            "a sub-score lies in 0 to 100; give what does not as a feature of its own",
        )
    elif idle:
        yield Check("scores", "warning", f"{', '.join(idle)} never varies", "leave it out")
    else:
        yield Check("scores", "ok", _names(scores))
    try:
        own = own_features(bars, proposed, make())
    except FixConfiguration as error:
        yield Check("features", "wrong", str(error), "correct that, then check again")
        return
    idle_own, missing = idle_features(own), missing_shares(own)
    if idle_own:
        yield Check("features", "warning", "; ".join(idle_own), "leave it out, or let it vary")
    else:
        yield Check("features", "ok", "; ".join((_names(own), *missing)))


def _exits(
    make: Make, bars: Mapping[str, Bars], proposed: pd.DataFrame, bracket: BracketPolicy
) -> Check:
    """Return how trades would have ended, by exits of the system's own if it has any."""
    followed = proposed.iloc[
        np.unique(np.linspace(0, len(proposed) - 1, TRADES_FOLLOWED).astype(np.int64))
    ]
    rule = exit_rule(make())
    try:
        ended = outcomes(bars, followed, bracket, rule).dropna(subset=["exit_at"])
    except SteelyardError as error:
        return Check("exits", "wrong", str(error), "correct that, then check again")
    if ended.empty:
        return Check("exits", "warning", "no trade has ended", "give more bars")
    shares = ended["exit_reason"].value_counts(normalize=True)
    hours, won = ended["hold_minutes"].mean() / 60, ended["won"].astype(bool).mean()
    reasons = ", ".join(f"{share:.0%} {reason}" for reason, share in shares.items())
    found = f"{reasons}; {hours:,.0f} h on average, {won:.0%} won after costs"
    if rule is not None and "exit" not in shares:
        return Check(
            "exits", "warning", f"{found}; its rule never left", "let exit return True at times"
        )
    return Check("exits", "ok", found)


def _names(inputs: pd.DataFrame) -> str:
    return f"{len(inputs.columns)}: {', '.join(inputs.columns)}" if len(inputs.columns) else "none"


def _speed(seconds: float, scans: bool, bars: Mapping[str, Bars]) -> Check:
    found = f"{seconds * 1e6:,.0f} µs per propose"
    if seconds <= SLOW_SECONDS or scans:
        return Check("speed", "ok", found)
    whole = seconds * sum(map(len, bars.values()))
    return Check(
        "speed",
        "warning",
        f"{found}, {whole:,.0f} s for these bars at every run",
        "add scan(bars), which answers for all bars at once",
    )
