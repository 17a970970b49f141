"""The report on a lineage: status, books, decisions and health, as a value and as one page."""

from datetime import datetime

from steelyard.errors import CollectMoreData
from steelyard.evaluation.books import equity_curves, measure_books
from steelyard.home import Home
from steelyard.queries.books import held_predictions
from steelyard.queries.health import model_health
from steelyard.queries.records import decision_records, version_record
from steelyard.queries.status import posted_alert, status
from steelyard.views import report
from steelyard.views.format import weight_bands
from steelyard.views.lineage import LineageReport
from steelyard.views.live import LiveBar

RECENT_ALERTS = 10


def lineage_report(
    home: Home, as_of: datetime, live: LiveBar | None = None
) -> tuple[LineageReport, str]:
    """Return the report on the lineage, as a value and as one HTML page.

    Args:
        home: Opened home.
        as_of: Report as of this time (UTC).
        live: Bar above a page that is served; None for a file.

    Raises:
        CollectMoreData: If nothing was decided here yet.
    """
    shown = status(home, as_of)
    if shown.current is None:
        raise CollectMoreData(
            f"{home.folder}: nothing was decided here yet; run steelyard guard, then report"
        )
    state = shown.current.state
    start, end = state.began, max(as_of, state.as_of)
    held = held_predictions(home, start, end)
    document = LineageReport(
        status=shown,
        current=shown.current,
        start=start,
        end=end,
        signals=len(home.ledger.predictions(start, end)),
        signals_settled=len(held),
        decisions=decision_records(home, home.journal.entries()),
        trainings=tuple(version_record(version) for version in home.registry.versions()),
        books=measure_books(held, start, end),
        recent_alerts=tuple(posted_alert(stored) for stored in home.alerts.recent(RECENT_ALERTS)),
        health=model_health(home, state, as_of),
    )
    equity = equity_curves(held, start, end)
    bands = weight_bands(home.settings.weight)
    return document, report.lineage_page(document, equity, bands, held, live)
