"""The report on a lineage: status, books, decisions and health, as a value and as one page."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from steelyard.errors import CollectMoreData
from steelyard.evaluation.books import equity_curves, measure_books
from steelyard.home import Home
from steelyard.queries.health import model_health
from steelyard.queries.records import decision_records, version_record
from steelyard.queries.status import posted_alert, status
from steelyard.views import report
from steelyard.views.format import weight_bands
from steelyard.views.lineage import LineageReport

RECENT_ALERTS = 10


def lineage_report(home: Home, as_of: datetime) -> tuple[LineageReport, str]:
    """Return the report on the lineage, as a value and as one HTML page.

    Args:
        home: Opened home.
        as_of: Report as of this time (UTC).

    Raises:
        CollectMoreData: If nothing was decided here yet.
    """
    shown = status(home, as_of)
    if shown.current is None:
        raise CollectMoreData(
            f"{home.folder}: nothing was decided here yet; run steelyard guard, then report"
        )
    state = shown.current.state
    start, end, sizing = state.began, max(as_of, state.as_of), home.settings.books
    settled = home.ledger.settled_predictions(start, end)
    decisions = decision_records(home, home.journal.entries())
    document = LineageReport(
        status=shown,
        current=shown.current,
        start=start,
        end=end,
        signals=len(home.ledger.predictions(start, end)),
        signals_settled=len(settled),
        decisions=tuple(decisions),
        promotions=tuple(_promotions(decisions)),
        trainings=tuple(version_record(version) for version in home.registry.versions()),
        books=measure_books(settled, start, end, sizing).as_dict(),
        recent_alerts=tuple(posted_alert(stored) for stored in home.alerts.recent(RECENT_ALERTS)),
        health=model_health(home, state, as_of),
    )
    equity = equity_curves(settled, start, end, sizing)
    bands = weight_bands(home.settings.weight)
    return document, report.lineage_page(document, equity, bands, settled, sizing)


def _promotions(decisions: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the promotions among the decisions, without their pages."""
    for decision in decisions:
        if decision["kind"] == "promotion":
            yield {name: value for name, value in decision.items() if name != "page"}
