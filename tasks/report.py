"""Steps that write reports: of a replay, and of the last whole period."""

from datetime import datetime
from typing import Any

from steelyard.evaluation.books import equity_curves
from steelyard.evaluation.sharpe import deflated_sharpe_metrics
from steelyard.gateways.registry import RunFigures
from steelyard.home import Home, open_home
from steelyard.queries.report import lineage_report
from steelyard.tasks.step import step
from steelyard.views import plots, report
from steelyard.views.format import weight_bands
from steelyard.weight.ladder import period_end


@step()
def draw_replay(
    title: str, document: dict[str, Any], folder: str, conf: str | None
) -> tuple[str, list[str]]:
    """Write pictures and page of a replay into its home.

    Args:
        title: Title of the page.
        document: Result of the replay.
        folder: Home of the replay.
        conf: Folder of the settings; None for the default.

    Returns:
        The answer as a sentence, and the files written.
    """
    home = open_home(folder, conf)
    start, end = (datetime.fromisoformat(document[name]) for name in ("start", "end"))
    settled = home.ledger.settled_predictions(start, end)
    equity = equity_curves(settled, start, end, home.settings.books)
    answer, bands = report.answer(document), weight_bands(home.settings.weight)
    files = {
        "story.png": plots.story(f"{title}: {answer}", document, equity, bands),
        "weight.png": plots.weight_path(document, bands),
        "equity.png": plots.equity_curves(equity),
        "report.html": report.replay_page(title, document, equity, bands, settled).encode(),
    }
    predicted = settled[settled["p_win"].notna()]
    if len(predicted):
        p_win, won = predicted["p_win"].to_numpy(), predicted["won"].to_numpy(dtype=bool)
        files["reliability.png"] = plots.reliability(p_win, won)
    for name, content in files.items():
        (home.folder / name).write_bytes(content)
    return answer, [str(home.folder / name) for name in files]


@step()
def review_performance(home: Home, as_of: datetime) -> dict[str, Any]:
    """Write the report of the last whole period into ``reports/`` and MLflow once.

    Args:
        home: Opened home.
        as_of: Report as of this time (UTC).

    Returns:
        The report as plain JSON values, with its file and its MLflow run.

    Raises:
        CollectMoreData: If nothing was decided here yet.
    """
    period = period_end(as_of, home.settings.weight.evaluation_days)
    key = f"{home.settings.services.lineage}/review/{period:%Y-%m-%d}"
    file = home.state_folder / "reports" / f"{period:%Y-%m-%d}.html"
    observations = home.registry.observations
    lineage, content = lineage_report(home, as_of)
    document = lineage.to_dict()
    run_id = observations.find(key)
    if run_id is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        figures = RunFigures(_metrics(document), {}, {"answer": document["answer"]})
        files = {"report.html": content.encode()}
        run_id = observations.record(key, f"review {period:%Y-%m-%d}", figures, files)
    page = f"{home.settings.services.pages.rstrip('/')}{observations.page(run_id)}"
    because = report.because(document["decisions"])
    return document | {"because": because, "page": str(file), "run_id": run_id, "run_page": page}


def _metrics(document: dict[str, Any]) -> dict[str, float]:
    """Return weights and the measures of the three books; unknown ones are left out."""
    books = {
        f"{book}_{measure}": value
        for book in ("baseline", "ml", "blended")
        for measure, value in document["books"][book].items()
        if value is not None
    }
    weights = {
        "weight": document["state"]["weight"],
        "weight_in_force": document["weight_in_force"],
    }
    return {**weights, **books, **deflated_sharpe_metrics(document["worth"])}
