"""Steps that draw what happened."""

from datetime import datetime
from pathlib import Path
from typing import Any

from steelyard import pictures, report
from steelyard.judging.books import equity_curves
from tasks.step import step
from tasks.stores import open_stores


@step()
def draw_replay(title: str, document: dict[str, Any], home: str, conf: str | None) -> tuple[str, list[str]]:
    """Write the pictures and the page of a replay into its home; returns the answer in words and the files."""
    stores = open_stores(Path(home), Path(conf) if conf else None)
    start, end = (datetime.fromisoformat(document[name]) for name in ("start", "end"))
    settled = stores.ledger.settled_predictions(start, end)
    equity = equity_curves(settled, start, end, stores.settings.books)
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
    folder = Path(home)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return answer, [str(folder / name) for name in files]
