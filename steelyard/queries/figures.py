"""Figures of a home that are cheap to read: for metrics, and to see whether anything is new."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from steelyard.gateways.ledger.tally import LedgerTally, tally
from steelyard.gateways.spool import Spool
from steelyard.home import Home
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.queries.drift import last_drift
from steelyard.queries.status import brake_words
from steelyard.weight.state import State


@dataclass(frozen=True, slots=True)
class JournalFigures:
    """The last state that can be believed, and what is wrong with the state tag (None: nothing)."""

    state: State | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """Counts of the ledger, the last check for drift, and who pulled the brake."""

    tally: LedgerTally
    drift: DriftRecord | None
    brake: str | None


@dataclass(frozen=True, slots=True)
class FolderFigures:
    """What the files of the home tell.

    Attributes:
        newest_bars: Symbol → open of its newest bar (UTC).
        open_alerts: Number of alerts that a channel has not accepted.
        alerts_changed: When alerts last changed, seconds since 1970; 0 without any.
        spooled: Evaluations and outcomes that are not in the ledger yet.
    """

    newest_bars: Mapping[str, datetime]
    open_alerts: int
    alerts_changed: float
    spooled: int


def journal_figures(home: Home) -> JournalFigures:
    """Return what the journal tells; one state is read, whatever its length.

    Raises:
        RestoreService: If MLflow cannot be reached.
    """
    return JournalFigures(*home.journal.verified())


def ledger_figures(home: Home, state: State | None) -> LedgerFigures:
    """Return what the ledger tells.

    Args:
        home: Opened home.
        state: State of the lineage; None before it begins.

    Raises:
        RestoreService: If the ledger cannot be reached.
        VerifyState: If it is gone although a trading process has seen it.
    """
    return LedgerFigures(tally(home.ledger), last_drift(home), brake_words(home, state))


def folder_figures(home: Home) -> FolderFigures:
    """Return what lake, alerts and spool tell.

    Raises:
        RestoreService: If a file of the lake cannot be read.
    """
    return FolderFigures(
        newest_bars=home.lake.newest(),
        open_alerts=len(home.alerts.open()),
        alerts_changed=home.alerts.changed_at,
        spooled=Spool(home.state_folder / "spool").left(),
    )


def newest_mark(home: Home) -> str:
    """Return a mark of everything a report shows; it stays while no record comes or changes.

    Raises:
        RestoreService: If a store cannot be reached.
        VerifyState: If a store is gone that this home had.
    """
    home.require_stores()  # an open connection goes on reading a file that was moved away
    journal = journal_figures(home)
    figures = (journal, ledger_figures(home, journal.state), folder_figures(home))
    return hashlib.sha256(repr(figures).encode()).hexdigest()
