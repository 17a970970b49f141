"""Drill: trouble made on purpose in a home of its own, to see who notices it, and when."""

import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from steelyard.errors import FixConfiguration
from steelyard.flows.collect import collect
from steelyard.flows.common import alert_on_failure
from steelyard.flows.drift import drift
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle
from steelyard.flows.train import train
from steelyard.ops.drills import SCENARIOS
from steelyard.ops.drills.ground import claim, copied, ground
from steelyard.progress import report_progress
from steelyard.settings import isolated_environment

FLOWS: dict[str, Any] = {
    "collect": collect,
    "drift": drift,
    "guard": guard,
    "settle": settle,
    "train": train,
}


def fire_drill(
    scenarios: Sequence[str] = (), home: str | None = None, conf: str | None = None
) -> dict[str, Any]:
    """Run each scenario (default: all) on a copy of the same home in the folder ``home`` (default: one made for it).

    Raises:
        FixConfiguration: If a scenario is unknown, or ``home`` holds what no drill made.
    """
    names = require(scenarios or tuple(SCENARIOS))
    folder = Path(home or tempfile.mkdtemp(prefix="steelyard-drill-")).resolve()
    claim(folder, Path(conf) if conf else None)
    with isolated_environment():
        source = ground(folder, Path(conf) if conf else None, _run)
        drills = [
            _drilled(name, source, folder, place, len(names)) for place, name in enumerate(names)
        ]
    return {"home": str(folder), "noticed": all(one["noticed"] for one in drills), "drills": drills}


def require(names: Sequence[str]) -> Sequence[str]:
    """Return ``names`` if each is a scenario.

    Raises:
        FixConfiguration: If one is not.
    """
    for name in names:
        if name not in SCENARIOS:
            raise FixConfiguration(f"'{name}' is no scenario; known are {', '.join(SCENARIOS)}")
    return names


def _drilled(name: str, source: Path, folder: Path, done: int, total: int) -> dict[str, Any]:
    report_progress("drill", done, total, name)
    story, scenario = SCENARIOS[name]
    started = time.perf_counter()
    found = scenario(copied(source, folder / name, _run))
    seconds = round(time.perf_counter() - started, 1)
    return {
        "scenario": name,
        "story": story,
        **found.to_dict(),
        "home": str(folder / name),
        "seconds": seconds,
    }


def _run(name: str, at: datetime, home: Path, conf: Path, **parameters: Any) -> Any:
    """Run a flow as the command line does: a plain function, whose failure is told."""
    given = {"as_of": at, "home": str(home), "conf": str(conf), **parameters}
    with alert_on_failure(FLOWS[name], given):
        return FLOWS[name].fn(**given)
