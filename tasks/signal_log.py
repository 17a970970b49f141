"""Steps from a log another program writes to the signals of the ledger."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from steelyard.errors import CollectMoreData, FixConfiguration, SteelyardError
from steelyard.gateways.files import write_page
from steelyard.gateways.ledger.log_signals import LogIntake
from steelyard.gateways.log_rows import DECISION, LogRows, LogTerms, log_rows
from steelyard.gateways.outside import in_sheet
from steelyard.gateways.signal_log import BadRow, RawLog, read_log
from steelyard.home import Home
from steelyard.tasks.events import emit_quarantine
from steelyard.tasks.step import step
from steelyard.views import alerts
from steelyard.views.runs import LogCollection

SHOWN = 5


def take_in_logs(
    homes: Sequence[Home], as_of: datetime
) -> tuple[LogCollection | None, list[SteelyardError]]:
    """Record what is new in the logs of several lineages; none waits for another.

    Args:
        homes: Lineages of a home; those without a log that is read are passed over.
        as_of: Time of the run (UTC).

    Returns:
        What was taken in, None without a log that is read; the error of each log that failed.
    """
    taken, failures = list[LogCollection](), list[SteelyardError]()
    reading = [home for home in homes if home.reads_log]
    for home in reading:
        try:
            taken.append(take_in_log(home, read_signal_log(home), as_of))
        except SteelyardError as error:
            name = f"{home.lineage}: " if home.lineage else ""
            failures.append(type(error)(f"{name}{error}"))
    return (sum(taken[1:], taken[0]) if taken else None), failures


def require_all(failures: Sequence[SteelyardError]) -> None:
    """Raise the first of the errors, with all of them in its line; do nothing without any."""
    if failures:
        raise type(failures[0])("; ".join(map(str, failures)))


@step(retries=2, retry_delay_seconds=5)
def read_signal_log(home: Home) -> RawLog:
    """Read the log of the existing system as it is written; a half-written line waits."""
    return read_log(home.settings.strategy.log)


@step()
def take_in_log(home: Home, raw: RawLog, as_of: datetime) -> LogCollection:
    """Record what is new in a log; bad rows go to quarantine, recorded signals stay as they are.

    A signal counts as seen at ``as_of``: what was decided or ended later waits for a later run.

    Args:
        home: Opened home of a log.
        raw: Rows as they are written.
        as_of: Time of the run (UTC).

    Raises:
        FixConfiguration: If all confidences lie within 0 to 1, or stamps are opens of bars in a
            home without bars.
        FixData: If a column without which there are no signals is missing.
    """
    terms = _terms(home, as_of)
    if terms is None:
        return LogCollection(0, 0, 0, 0, (FIRST_BARS,))
    name = home.settings.strategy.log.path or home.settings.strategy.log.table
    rows = log_rows(raw, terms, Path(name).name)
    told, strangers = _with_recorded_decisions(home, rows, as_of)
    for signal in told:
        ended = signal["settled_at"] is not None
        signal |= {"taken_in_at": as_of, "outcome_taken_in_at": as_of if ended else None}
    intake = home.ledger.record_log_signals(pd.DataFrame(told)) if told else NOTHING
    bad = (*rows.bad, *strangers)
    taken = LogCollection(
        added=intake.added,
        settled=intake.settled,
        differing=len(intake.differing),
        quarantined=len(bad),
        findings=(*_findings(bad, intake), *rows.findings),
        quarantine=_quarantine(home, bad),
    )
    alert = alerts.bad_log_rows(home.settings.services.lineage, taken, as_of)
    if alert:
        home.alerts.post(alert)
        emit_quarantine(home, alert)
    return taken


NOTHING = LogIntake(0, 0, ())
FIRST_BARS = "the log waits for the first bars, whose size says when a decision was made"


def _terms(home: Home, as_of: datetime) -> LogTerms | None:
    """Return how the log is read; None if its stamps are opens and the first bars are to come."""
    settings = home.settings.strategy.log
    known_after = None
    if settings.stamps == "open":
        if not home.has_source:
            raise FixConfiguration(
                "conf/strategy.yaml: log.stamps: open needs bars, whose size says when a decision "
                "was made; name a source of bars, or write the times of the decisions"
            )
        try:
            known_after = home.lake.known_after
        except CollectMoreData:
            return None
    now = datetime.now(UTC)
    return LogTerms(settings, now, as_of, known_after, home.settings.brackets.fee_bps)


def _with_recorded_decisions(
    home: Home, rows: LogRows, as_of: datetime
) -> tuple[list[dict[str, object]], list[BadRow]]:
    """Return the signals with their outcomes, and outcomes of signals that were never given.

    Args:
        home: Opened home of a log.
        rows: Signals of the log; some rows tell an outcome alone.
        as_of: Time of the run (UTC).
    """
    told, strangers = list(rows.signals), list[BadRow]()
    if not rows.outcomes:
        return told, strangers
    recorded = home.ledger.log_signals(as_of).set_index("signal_id", drop=False)
    for outcome in rows.outcomes:
        signal_id = outcome["signal_id"]
        if signal_id in recorded.index:
            told.append({**outcome, **{name: recorded.at[signal_id, name] for name in DECISION}})
        else:
            reason = "an outcome of a signal that the log never gave"
            strangers.append(BadRow(str(outcome["source"]), reason, str(signal_id)))
    return told, strangers


def _findings(bad: tuple[BadRow, ...], intake: LogIntake) -> list[str]:
    lines = [f"{row.where}: {row.reason}; in quarantine" for row in bad[:SHOWN]]
    if len(bad) > SHOWN:
        lines.append(f"{len(bad) - SHOWN} more rows in quarantine")
    if intake.differing:
        lines.append(
            f"{len(intake.differing)} signals are in the log otherwise than they were taken in "
            f"(first {intake.differing[0]}); they stay as they were: was an earlier line changed?"
        )
    return lines


def _quarantine(home: Home, bad: tuple[BadRow, ...]) -> str:
    """Write bad rows to a file named by its content, and return the file; empty without any."""
    if not bad:
        return ""
    frame = pd.DataFrame([(row.where, row.reason, row.text) for row in bad])
    content = in_sheet(frame.set_axis(["where", "reason", "row"], axis=1))
    name = f"signal-log-{hashlib.sha256(content).hexdigest()[:12]}.csv"
    file = home.state_folder / "quarantine" / name
    if not file.exists():
        write_page(file, content)
    return str(file)
