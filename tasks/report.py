"""Steps that draw what happened, and how a lineage stands."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from steelyard import pictures, report
from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.evaluation.books import equity_curves, judge
from steelyard.evaluation.sharpe import worth_figures
from steelyard.gateways.alerts import Stored
from steelyard.gateways.registry import Figures
from steelyard.home import Home, open_home
from steelyard.tasks.health import model_health
from steelyard.tasks.records import decision_record, version_record
from steelyard.tasks.status import status
from steelyard.tasks.step import step
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

RECENT_ALERTS = 10


@step()
def draw_replay(title: str, document: dict[str, Any], folder: str, conf: str | None) -> tuple[str, list[str]]:
    """Write the pictures and the page of a replay into its home; returns the answer in words and the files."""
    home = open_home(folder, conf)
    start, end = (datetime.fromisoformat(document[name]) for name in ("start", "end"))
    settled = home.ledger.settled_predictions(start, end)
    equity = equity_curves(settled, start, end, home.settings.books)
    answer = report.answer(document)
    judged = settled[settled["p_win"].notna()]
    files = {
        "story.png": pictures.story(f"{title}: {answer}", document, equity),
        "weight.png": pictures.weight_path(document),
        "equity.png": pictures.equity_curves(equity),
        "report.html": report.page(title, document, equity, settled).encode(),
    }
    if len(judged):
        files["reliability.png"] = pictures.reliability(judged["p_win"].to_numpy(), judged["won"].to_numpy(dtype=bool))
    for name, content in files.items():
        (home.folder / name).write_bytes(content)
    return answer, [str(home.folder / name) for name in files]


@step()
def lineage_report(home: Home, as_of: datetime) -> tuple[dict[str, Any], str]:
    """Return how the lineage stands at ``as_of``, as plain JSON values and as one page; it looks and changes nothing.

    Raises:
        CollectMoreData: If nothing was decided here yet.
    """
    document = status(home, as_of)
    if document["state"] is None:
        raise CollectMoreData(f"{home.folder}: nothing was decided here yet; run steelyard guard, then report")
    start, last = (datetime.fromisoformat(document["state"][name]) for name in ("began", "as_of"))
    end, sizing = max(as_of, last), home.settings.books
    settled = home.ledger.settled_predictions(start, end)
    state = State.model_validate(document["state"])
    document |= _life(home, start, end, settled) | {"health": model_health(home, state, as_of)}
    equity = equity_curves(settled, start, end, sizing)
    return document, report.standing(document, equity, settled, sizing)


def written_report(home: Home, as_of: datetime, file: Path) -> dict[str, Any]:
    """Write the page into ``file``; returns what it says.

    Raises:
        FixConfiguration: If the file cannot be written.
    """
    document, content = lineage_report(home, as_of)
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise FixConfiguration(f"{file} cannot be written ({error.strerror}); pass another --out") from error
    return document | {"page": str(file)}


@step()
def review_performance(home: Home, as_of: datetime) -> dict[str, Any]:
    """Write the report of the last whole period into ``reports/`` and into MLflow, once; later the same run comes back.

    Raises:
        CollectMoreData: If nothing was decided here yet.
    """
    period = period_end(as_of, home.settings.weight.evaluation_days)
    key = f"{home.settings.services.lineage}/review/{period:%Y-%m-%d}"
    observations, file = home.registry.observations, home.state_folder / "reports" / f"{period:%Y-%m-%d}.html"
    document, content = lineage_report(home, as_of)
    run_id = observations.find(key)
    if run_id is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        figures = Figures(_figures(document), {}, {"answer": document["answer"]})
        run_id = observations.record(key, f"review {period:%Y-%m-%d}", figures, {"report.html": content.encode()})
    page = f"{home.settings.services.pages.rstrip('/')}{observations.page(run_id)}"
    because = report.because(document["decisions"])
    return document | {"because": because, "page": str(file), "run_id": run_id, "run_page": page}


def _figures(document: dict[str, Any]) -> dict[str, float]:
    """Return weight and the measures of the three books as plain metrics; what is unknown is left out."""
    books = {
        f"{book}_{measure}": value
        for book in ("baseline", "ml", "blended")
        for measure, value in document["books"][book].items()
        if value is not None
    }
    weights = {"weight": document["state"]["weight"], "weight_in_force": document["weight_in_force"]}
    return {**weights, **books, **worth_figures(document["worth"])}


def _life(home: Home, start: datetime, end: datetime, settled: pd.DataFrame) -> dict[str, Any]:
    """Return what the page shows beyond the status: the whole life of the lineage."""
    entries = home.journal.entries()
    return {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "signals": len(home.ledger.predictions(start, end)),
        "signals_settled": len(settled),
        "decisions": [decision_record(entry) | {"page": home.page(entry.run_id)} for entry in entries],
        "promotions": [decision_record(entry) for entry in entries if entry.decision.kind == "promotion"],
        "trainings": [version_record(version) for version in home.registry.versions()],
        "books": judge(settled, start, end, home.settings.books).as_dict(),
        "recent_alerts": [_alert(stored) for stored in home.alerts.recent(RECENT_ALERTS)],
    }


def _alert(stored: Stored) -> dict[str, str]:
    alert = stored.alert
    return {"at": alert.at.isoformat(), "kind": alert.kind, "title": alert.title, "trouble": stored.trouble}
