"""Steps that write the pictures of a replay, and the report of the last whole period."""

import math
from dataclasses import asdict
from datetime import datetime

from steelyard.evaluation.books import equity_curves
from steelyard.gateways.files import write_page
from steelyard.gateways.registry import RunFigures
from steelyard.home import Home, open_home
from steelyard.queries.books import held_predictions
from steelyard.queries.report import lineage_report
from steelyard.tasks.step import step
from steelyard.views import plots, report
from steelyard.views.format import weight_bands
from steelyard.views.lineage import LineageReport, PerformanceReview
from steelyard.views.replay import ReplayResult
from steelyard.weight.ladder import period_end


@step()
def draw_replay(
    title: str, replay: ReplayResult, folder: str, conf: str | None
) -> tuple[str, list[str]]:
    """Write the pictures of a replay into its home.

    Args:
        title: Title of the pictures.
        replay: Result of the replay.
        folder: Home of the replay.
        conf: Folder of the settings; None for the default.

    Returns:
        The answer as a sentence, and the files written.
    """
    home = open_home(folder, conf)
    settled = held_predictions(home, replay.start, replay.end)
    equity = equity_curves(settled, replay.start, replay.end)
    answer = report.course(replay.decisions, replay.trainings)
    bands = weight_bands(home.settings.weight)
    files = {
        "story.png": plots.story(f"{title}: {answer}", replay.history, equity, bands),
        "weight.png": plots.weight_path(replay.history, bands),
        "equity.png": plots.equity_curves(equity),
    }
    predicted = settled[settled["p_win"].notna()]
    if len(predicted):
        p_win, won = predicted["p_win"].to_numpy(), predicted["won"].to_numpy(dtype=bool)
        files["reliability.png"] = plots.reliability(p_win, won)
    for name, content in files.items():
        (home.folder / name).write_bytes(content)
    return answer, [str(home.folder / name) for name in files]


@step()
def review_performance(home: Home, as_of: datetime) -> PerformanceReview:
    """Write the report of the last whole period into ``reports/`` and MLflow once.

    Args:
        home: Opened home.
        as_of: Report as of this time (UTC).

    Returns:
        The report, with its file and its MLflow run.

    Raises:
        CollectMoreData: If nothing was decided here yet.
    """
    period = period_end(as_of, home.settings.weight.evaluation_days)
    key = f"{home.settings.services.lineage}/review/{period:%Y-%m-%d}"
    file = home.state_folder / "reports" / f"{period:%Y-%m-%d}.html"
    observations = home.registry.observations
    lineage = lineage_report(home, as_of)
    run_id = observations.find(key)
    if run_id is None:
        content = report.lineage_page(lineage)
        write_page(file, content)
        figures = RunFigures(_metrics(lineage), {}, {"answer": lineage.status.answer})
        files = {"report.html": content.encode()}
        name = f"review {period:%Y-%m-%d}"
        run_id = observations.record(key, name, lineage.status.answer, figures, files)
    page = f"{home.settings.services.pages.rstrip('/')}{observations.page(run_id)}"
    return PerformanceReview(lineage, report.because(lineage.decisions), str(file), run_id, page)


def _metrics(lineage: LineageReport) -> dict[str, float]:
    """Return weights and the measures of the three books; unknown ones are left out."""
    current = lineage.current
    books = {
        f"{book}_{measure}": value
        for book in ("baseline", "ml", "blended")
        for measure, value in asdict(getattr(lineage.books, book)).items()
        if math.isfinite(value)
    }
    worth = current.worth.sharpes.metrics() if current.worth else {}
    weights = {"weight": current.state.weight, "weight_in_force": current.weight_in_force}
    return {**weights, **books, **worth}
