"""The report of a lineage, as plain values and as one page."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.evaluation.books import equity_curves, measure_books
from steelyard.gateways.alerts import StoredAlert
from steelyard.home import Home
from steelyard.queries.health import model_health
from steelyard.queries.records import decision_record, version_record
from steelyard.queries.status import status
from steelyard.views import report
from steelyard.views.format import weight_bands
from steelyard.weight.state import State

RECENT_ALERTS = 10


def lineage_report(home: Home, as_of: datetime) -> tuple[dict[str, Any], str]:
    """Return the report of the lineage.

    Args:
        home: Opened home.
        as_of: Report as of this time (UTC).

    Returns:
        Plain JSON values, and the HTML page.

    Raises:
        CollectMoreData: If nothing was decided here yet.
    """
    document = status(home, as_of)
    if document["state"] is None:
        raise CollectMoreData(
            f"{home.folder}: nothing was decided here yet; run steelyard guard, then report"
        )
    start, last = (datetime.fromisoformat(document["state"][name]) for name in ("began", "as_of"))
    end, sizing = max(as_of, last), home.settings.books
    settled = home.ledger.settled_predictions(start, end)
    state = State.model_validate(document["state"])
    document |= _life(home, start, end, settled) | {"health": model_health(home, state, as_of)}
    equity = equity_curves(settled, start, end, sizing)
    return document, report.lineage_page(
        document, equity, weight_bands(home.settings.weight), settled, sizing
    )


def written_report(home: Home, as_of: datetime, file: Path) -> dict[str, Any]:
    """Write the page of the lineage into a file and return its values.

    Args:
        home: Opened home.
        as_of: Report as of this time (UTC).
        file: File to write.

    Raises:
        FixConfiguration: If the file cannot be written.
    """
    document, content = lineage_report(home, as_of)
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise FixConfiguration(
            f"{file} cannot be written ({error.strerror}); pass another --out"
        ) from error
    return document | {"page": str(file)}


def _life(home: Home, start: datetime, end: datetime, settled: pd.DataFrame) -> dict[str, Any]:
    """Return the parts of the page beyond the status: the whole life of the lineage."""
    entries = home.journal.entries()
    return {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "signals": len(home.ledger.predictions(start, end)),
        "signals_settled": len(settled),
        "decisions": [
            decision_record(entry) | {"page": home.run_url(entry.run_id)} for entry in entries
        ],
        "promotions": [
            decision_record(entry) for entry in entries if entry.decision.kind == "promotion"
        ],
        "trainings": [version_record(version) for version in home.registry.versions()],
        "books": measure_books(settled, start, end, home.settings.books).as_dict(),
        "recent_alerts": [_alert(stored) for stored in home.alerts.recent(RECENT_ALERTS)],
    }


def _alert(stored: StoredAlert) -> dict[str, str]:
    alert = stored.alert
    return {
        "at": alert.at.isoformat(),
        "kind": alert.kind,
        "title": alert.title,
        "trouble": stored.trouble,
    }
