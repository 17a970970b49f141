"""The report on a lineage: status, accounts, decisions and health, as a value."""

from datetime import datetime

from steelyard.errors import CollectMoreData
from steelyard.evaluation.books import measure_books
from steelyard.home import Home
from steelyard.queries.account import lineage_account
from steelyard.queries.books import held_predictions
from steelyard.queries.health import model_health
from steelyard.queries.history import signals_between
from steelyard.queries.records import decision_records, version_record
from steelyard.queries.status import posted_alert, status
from steelyard.views.lineage import LineageReport

RECENT_ALERTS = 10


def lineage_report(home: Home, as_of: datetime) -> LineageReport:
    """Return the report on the lineage; ``views.report.lineage_page`` shows it.

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
    start, end = state.began, max(as_of, state.as_of)
    held = held_predictions(home, start, end)
    proposed = signals_between(home, start, end)
    return LineageReport(
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
        health=model_health(home, state, as_of, proposed),
        account=lineage_account(home, held, proposed, start, end),
        policy=home.settings.weight,
    )
