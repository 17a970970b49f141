"""Review: a report of the last whole period, kept in the home and in MLflow."""

from datetime import datetime

from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import operation
from steelyard.flows.prefect_pages import publish
from steelyard.home import open_home
from steelyard.tasks.report import review_performance
from steelyard.views import markdown
from steelyard.views.lineage import PerformanceReview


@operation("review")
def review(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> PerformanceReview:
    """Write the report of the last whole period once.

    Args:
        as_of: Report as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    reviewed = review_performance(open_home(home, conf, lineage), resolve_as_of(as_of))
    publish("review", markdown.review_summary(reviewed), reviewed.run_page)
    return reviewed
