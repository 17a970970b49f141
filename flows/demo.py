"""Demo: the real sample, and a simulated market whose edge dies, replayed and drawn."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from steelyard.flows.replay import replay
from steelyard.gateways.cluster import local_processes
from steelyard.progress import progress_named
from steelyard.tasks.report import draw_replay
from steelyard.views.replay import DemoResult, DrawnReplay

DYING: dict[str, Any] = {
    "bars": "simulated:dying",
    "start": datetime(2020, 10, 1, tzinfo=UTC),
    "end": datetime(2022, 4, 1, tzinfo=UTC),
    "retrain_days": 30,
    "trials": 10,
}
REPLAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "Seven US stocks, daily": (
        "sample",
        {
            "bars": "sample",
            "start": datetime(2004, 1, 1, tzinfo=UTC),
            "end": datetime(2013, 3, 1, tzinfo=UTC),
            "retrain_days": 91,
            "trials": 10,
        },
    ),
    "A simulated market whose edge appears in July 2020 and dies in January 2022": (
        "simulated",
        DYING,
    ),
    "The same market, by the ladder's plain rules": (
        "ladder",
        {**DYING, "evidence": "ladder"},
    ),
}
"""Title → folder under the home, and arguments of the replay."""


@flow(name="demo")
def demo(home: str = "demo", conf: str | None = None) -> DemoResult:
    """Run every replay in a home and a process of its own, and draw what happened.

    Args:
        home: Folder in which each replay gets a folder of its own.
        conf: Folder of the settings; None for the default.
    """
    lives = [
        (title, f"{home}/{folder}", conf, arguments)
        for title, (folder, arguments) in REPLAYS.items()
    ]
    with local_processes(min(len(lives), os.cpu_count() or 1)) as apply:
        ended = list(apply(_live, lives))
    replays = {title: drawn for title, (drawn, _) in zip(REPLAYS, ended, strict=True)}
    return DemoResult(replays, tuple(file for _, files in ended for file in files))


def _live(life: tuple[str, str, str | None, dict[str, Any]]) -> tuple[DrawnReplay, list[str]]:
    """Return a replay with its answer, and the files of its pictures."""
    title, home, conf, arguments = life
    with progress_named(Path(home).name):
        result = replay.fn(home=home, conf=conf, **arguments)
    answer, files = draw_replay(title, result, home, conf)
    return DrawnReplay(result, answer), files
