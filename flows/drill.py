"""Fire drill: faults made on purpose in a copied home, to see who notices them, and when."""

import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from steelyard.environment import isolated_environment
from steelyard.errors import FixConfiguration
from steelyard.flows.collect import collect
from steelyard.flows.common import alert_on_failure
from steelyard.flows.drift import drift
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle
from steelyard.flows.train import train
from steelyard.ops.drills import SCENARIOS
from steelyard.ops.drills.ground import claim, copy_home, prepare_home
from steelyard.progress import report_progress
from steelyard.views.drills import FireDrill, FireDrills

FLOWS: dict[str, Any] = {
    "collect": collect,
    "drift": drift,
    "guard": guard,
    "settle": settle,
    "train": train,
}


def fire_drill(
    scenarios: Sequence[str] = (), home: str | None = None, conf: str | None = None
) -> FireDrills:
    """Run each scenario on a copy of the same home and return who noticed what.

    Args:
        scenarios: Names of the scenarios; empty for all.
        home: Folder of the drills; None for a temporary one.
        conf: Folder of the settings; None for the default.

    Raises:
        FixConfiguration: If a scenario is unknown, or ``home`` holds what no drill made.
    """
    names = require_scenarios(scenarios or tuple(SCENARIOS))
    folder = Path(home or tempfile.mkdtemp(prefix="steelyard-drill-")).resolve()
    settings_folder = Path(conf) if conf else None
    claim(folder, settings_folder)
    with isolated_environment():
        source = prepare_home(folder, settings_folder, _run_flow)
        drills = tuple(
            _run_scenario(name, source, folder, number, len(names))
            for number, name in enumerate(names)
        )
    return FireDrills(str(folder), drills)


def require_scenarios(names: Sequence[str]) -> Sequence[str]:
    """Return ``names`` if each is a scenario.

    Raises:
        FixConfiguration: If one is not.
    """
    for name in names:
        if name not in SCENARIOS:
            raise FixConfiguration(f"'{name}' is no scenario; known are {', '.join(SCENARIOS)}")
    return names


def _run_scenario(name: str, source: Path, folder: Path, done: int, total: int) -> FireDrill:
    report_progress("drill", done, total, name)
    story, scenario = SCENARIOS[name]
    started = time.perf_counter()
    result = scenario(copy_home(source, folder / name, _run_flow))
    seconds = round(time.perf_counter() - started, 1)
    return FireDrill(name, story, result, str(folder / name), seconds)


def _run_flow(name: str, at: datetime, home: Path, conf: Path, **parameters: Any) -> Any:
    """Run a flow as the command line does: a plain function that alerts if it fails."""
    arguments = {"as_of": at, "home": str(home), "conf": str(conf), **parameters}
    with alert_on_failure(FLOWS[name], arguments):
        return FLOWS[name].fn(**arguments)
