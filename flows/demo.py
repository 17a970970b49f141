"""Demo: a simulated market whose edge dies, and the real sample, replayed; or a live market."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow

from steelyard.flows.collect import collect
from steelyard.flows.replay import replay
from steelyard.gateways.cluster import local_processes
from steelyard.home import open_home
from steelyard.ops.live_demo import past_days
from steelyard.progress import progress_named
from steelyard.queries.replay import first_day
from steelyard.tasks.bars import read_history
from steelyard.tasks.replay import live_through
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
    "A simulated market whose edge appears in July 2020 and dies in January 2022": (
        "simulated",
        DYING,
    ),
    "Seven US stocks, daily": (
        "sample",
        {
            "bars": "sample",
            "start": datetime(2004, 1, 1, tzinfo=UTC),
            "end": datetime(2013, 3, 1, tzinfo=UTC),
            "retrain_days": 182,
            "trials": 10,
        },
    ),
    "The same market, by the ladder's plain rules": (
        "ladder",
        {**DYING, "evidence": "ladder"},
    ),
}
"""Title → folder under the home, and arguments of the replay; the most telling one first."""


@flow(name="demo")
def demo(
    home: str = "demo", conf: str | None = None, titles: list[str] | None = None
) -> DemoResult:
    """Run replays, each in a home and a process of its own, and draw what happened.

    Args:
        home: Folder in which each replay gets a folder of its own.
        conf: Folder of the settings; None for the default.
        titles: Titles of the replays to run; None for all.
    """
    lives = [
        (title, f"{home}/{folder}", conf, arguments)
        for title, (folder, arguments) in REPLAYS.items()
        if titles is None or title in titles
    ]
    with local_processes(min(len(lives), os.cpu_count() or 1)) as apply:
        ended = list(apply(_live, lives))
    replays = {life[0]: drawn for life, (drawn, _) in zip(lives, ended, strict=True)}
    return DemoResult(replays, tuple(file for _, files in ended for file in files))


@flow(name="demo-live")
def earn_weight(home: str, conf: str) -> None:
    """Live through the past of a market that goes live, unless that was done before.

    Args:
        home: Folder of the market.
        conf: Folder of its settings, which ``open_market`` wrote.
    """
    opened_home = open_home(home, conf)
    days = past_days(opened_home.settings.source)
    if first_day(opened_home, days) <= days.end:
        collect.fn(None, home, conf)
        live_through(opened_home, read_history(opened_home, days.end), days)


def _live(life: tuple[str, str, str | None, dict[str, Any]]) -> tuple[DrawnReplay, list[str]]:
    """Return a replay with its answer, and the files of its pictures."""
    title, home, conf, arguments = life
    with progress_named(Path(home).name):
        result = replay.fn(home=home, conf=conf, **arguments)
    answer, files = draw_replay(title, result, home, conf)
    return DrawnReplay(result, answer), files
