"""Demo: the real sample, and a simulated market whose edge dies by both rules of evidence, lived through and drawn."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow

from steelyard.flows.replay import replay
from steelyard.tasks.report import draw_replay

DYING: dict[str, Any] = {
    "bars": "simulated:dying",
    "start": datetime(2020, 10, 1, tzinfo=UTC),
    "end": datetime(2022, 4, 1, tzinfo=UTC),
    "retrain_days": 30,
    "trials": 10,
}
REPLAYS: dict[str, dict[str, Any]] = {
    "Seven US stocks, daily": {
        "bars": "sample",
        "start": datetime(2004, 1, 1, tzinfo=UTC),
        "end": datetime(2013, 3, 1, tzinfo=UTC),
        "retrain_days": 91,
        "trials": 10,
        "folder": "sample",
    },
    "A simulated market whose edge appears in July 2020 and dies in January 2022": {
        **DYING,
        "folder": "simulated",
    },
    "The same market, with the evidence binding": {
        **DYING,
        "evidence": "sequential",
        "folder": "sequential",
    },
}


@flow(name="demo")
def demo(home: str = "demo", conf: str | None = None) -> dict[str, Any]:
    """Replay them all, each in a home of its own under ``home``, and draw what happened."""
    replays, pictures = {}, []
    for title, settings in REPLAYS.items():
        arguments = {name: value for name, value in settings.items() if name != "folder"}
        place = f"{home}/{settings['folder']}"
        document = replay.fn(home=place, conf=conf, **arguments)
        words, files = draw_replay(title, document, place, conf)
        replays[title] = {**document, "answer": words}
        pictures += files
    return {"replays": replays, "pictures": pictures}
