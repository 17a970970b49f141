"""Signals of the existing system with features and outcomes, as known at a time."""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.gateways.cluster import open_workers
from steelyard.gateways.coverage import Coverage, CoverageFile
from steelyard.gateways.lake import Lake
from steelyard.gateways.plugins import load_strategy
from steelyard.home import Home
from steelyard.market.bars import Bars
from steelyard.market.brackets import BracketPolicy
from steelyard.market.history import Part, history, part_of, whole_history, with_real_outcomes
from steelyard.market.logged_history import logged_history
from steelyard.market.overlap import SignalCount, signal_uniqueness
from steelyard.market.strategy import Strategy, StrategySettings, checked_bars, signals

LEAST_SYMBOLS = 300
"""Symbols from which workers compute the history: of fewer it is there before they have begun."""
PARTS = 16
"""Parts of a history, each some symbols; the result does not depend on their number."""


def known_history(home: Home, as_of: datetime) -> pd.DataFrame:
    """Return every signal with features and outcome, as far as known at ``as_of``.

    Args:
        home: Opened home.
        as_of: Time of the knowledge (UTC).

    Returns:
        One row per signal; outcome columns are missing if it had not settled. An outcome that a
        trading process reported or a broker's fills gave stands in place of the kernel's.

    Raises:
        CollectMoreData: If there are no bars yet, in a home that has any.
    """
    settings = home.settings
    if settings.strategy.is_log:
        bars = known_bars(home, as_of)
        log, logged = settings.strategy.log, home.ledger.log_signals(as_of)
        known = logged_history(
            logged, bars, home.own_names, settings.brackets, log.stop_distance, as_of
        )
    else:
        known = _computed_history(home, pd.Timestamp(as_of))
    return with_real_outcomes(known, home.ledger.real_outcomes(as_of))


@dataclass(frozen=True, slots=True)
class PartWork:
    """What a worker needs to know to compute a part of a history by itself.

    Attributes:
        lake: The lake, which the worker reads.
        until: Time by which a bar must be known, UTC.
        strategy: Settings of the existing system, which the worker loads.
        code: Digest of the module of its class; a worker with another one must not answer.
        bracket: Exit rule and costs of every signal.
        checked: Result of ``checked_bars`` for the whole universe.
    """

    lake: Lake
    until: pd.Timestamp
    strategy: StrategySettings
    code: str
    bracket: BracketPolicy
    checked: int

    def part(self, symbols: Sequence[str]) -> Part | None:
        """Return the part of some symbols; None if none of them has a bar yet.

        Raises:
            FixConfiguration: If the module of the system is not the one of whoever asks.
        """
        strategy = load_strategy(self.strategy)
        if _code_of(strategy) != self.code:
            raise FixConfiguration(
                f"{inspect.getfile(type(strategy))} of a worker differs from the one here; "
                "give all workers the same, and start them again"
            )
        bars = self.lake.bars(self.until, symbols)
        return part_of(bars, strategy, self.bracket, self.checked) if bars else None


def _code_of(strategy: Strategy) -> str:
    return hashlib.sha256(Path(inspect.getfile(type(strategy))).read_bytes()).hexdigest()


def _computed_history(home: Home, until: pd.Timestamp) -> pd.DataFrame:
    """Return the history of a system that looks at bars; of a large universe by the workers."""
    strategy, bracket, scale = home.strategy, home.settings.brackets, home.settings.scale
    symbols = () if scale.is_alone else sorted(home.lake.newest())
    if len(symbols) < LEAST_SYMBOLS:
        return history(home.lake.bars(until), strategy, bracket)
    work = PartWork(
        home.lake,
        until,
        home.settings.strategy,
        _code_of(strategy),
        bracket,
        checked_bars(len(symbols)),
    )
    count = min(PARTS, len(symbols))
    with open_workers(scale) as apply:
        computed = (apply or map)(work.part, [symbols[first::count] for first in range(count)])
        parts = [part for part in computed if part is not None]
    return whole_history(parts, strategy) if parts else history({}, strategy, bracket)


def known_bars(home: Home, as_of: datetime) -> dict[str, Bars] | None:
    """Return the bars known at ``as_of`` by symbol; None in a home of a log without bars.

    Args:
        home: Opened home.
        as_of: Time of the knowledge (UTC).

    Raises:
        CollectMoreData: If there are no bars yet.
    """
    return home.lake.bars(until=pd.Timestamp(as_of)) if home.has_source else None


def count_settled(history: pd.DataFrame) -> SignalCount:
    """Return the number of settled signals, and what they are worth.

    Args:
        history: One row per signal with columns ``symbol``, ``decided_at`` and ``settled_at``,
            missing if not settled.
    """
    settled = history["settled_at"].notna().to_numpy(dtype=bool)
    return SignalCount.of(signal_uniqueness(history[settled]))


def proposed_signals(home: Home, bars: Mapping[str, Bars], as_of: datetime) -> pd.DataFrame:
    """Return the existing system's signals decided by ``as_of``, one row each.

    Args:
        home: Opened home.
        bars: Bars by symbol, known at ``as_of``; of no use to a log without bars.
        as_of: Time of the knowledge (UTC).

    Returns:
        Columns of ``market.strategy.signals`` at least; of a log only what was taken in before its
        outcome, with its own features.
    """
    if not home.settings.strategy.is_log:
        return signals(bars, home.strategy)
    known = known_history(home, as_of)
    return known[known["earns"].to_numpy(dtype=bool)].reset_index(drop=True)


def signals_between(home: Home, since: datetime, until: datetime) -> pd.DataFrame | None:
    """Return the existing system's signals decided in (since, until].

    Args:
        home: Opened home.
        since: Start of the interval (UTC), excluded.
        until: End of the interval (UTC).

    Returns:
        One row per signal, as ``proposed_signals`` returns it; None if bars are to come.
    """
    try:
        proposed = proposed_signals(home, known_bars(home, until) or {}, until)
    except CollectMoreData:
        return None
    decided = (proposed["decided_at"] > since).to_numpy(dtype=bool)
    return proposed[decided].reset_index(drop=True)


def coverage_now(home: Home, through: datetime, longest_bars: int) -> Coverage:
    """Return what a settlement now would have seen; no bar is read.

    Args:
        home: Opened home.
        through: Time of the settlement (UTC).
        longest_bars: Bars that the longest signal may last.
    """
    newest = home.lake.newest() if home.has_source else {}
    return Coverage(
        through=through,
        newest={symbol: opened.isoformat() for symbol, opened in newest.items()},
        logged=home.ledger.log_signal_count() if home.settings.strategy.is_log else 0,
        system=home.settings.strategy.model_dump_json(),
        longest_bars=longest_bars,
    )


def recent_signals(home: Home, since: datetime, until: datetime) -> pd.DataFrame | None:
    """Return the existing system's signals decided in (since, until], of the lineage's life.

    If nothing came since the last settlement they are the ledger's: no bar is read then, and the
    existing system is not asked.

    Args:
        home: Opened home.
        since: Start of the interval (UTC), excluded; not before the lineage began.
        until: End of the interval (UTC).

    Returns:
        One row per signal, columns ``signal_id``, ``decided_at`` and ``LEVELS`` as far as there are
        any; None if bars are to come.
    """
    covered = CoverageFile(home.state_folder).read()
    if covered is None or not _is_all_there_is(home, covered, until):
        return signals_between(home, since, until)
    recorded = home.ledger.predictions(since, until, ("signal_id", "decided_at"))
    return recorded.assign(level_bars=float(covered.longest_bars))


def _is_all_there_is(home: Home, covered: Coverage, until: datetime) -> bool:
    """Return whether a settlement saw all that is known at a time."""
    if coverage_now(home, covered.through, covered.longest_bars) != covered:
        return False
    if until <= covered.through or not covered.newest:
        return True
    newest = max(pd.Timestamp(opened) for opened in covered.newest.values())
    return bool(newest + home.lake.known_after <= covered.through)
