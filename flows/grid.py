"""Grid: one replay for every combination of settings, each in a home of its own."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow

from steelyard.errors import SteelyardError
from steelyard.flows.replay import replay, replay_log
from steelyard.gateways.cluster import open_workers
from steelyard.home import open_home
from steelyard.progress import progress_named
from steelyard.settings import load_shared
from steelyard.tasks.grid import count_grid, lay_out, read_grid
from steelyard.views.replay import GridPoint, GridReplay, GridResult

BEGIN = datetime.fromtimestamp(0, UTC)
"""When the settings of a grid were tried for a log, whose first day is read from it."""


@flow(name="replay-grid", flow_run_name="replay-grid {grid}")
def replay_grid(
    grid: str,
    replayed: dict[str, Any],
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> GridResult:
    """Replay every combination of the settings in a grid, on the workers of ``conf/scale.yaml``.

    Args:
        grid: File of the grid: setting → list of values.
        replayed: Other arguments of ``replay``, or of ``replay_log`` if ``log`` is among them.
        home: Folder under which every replay has its home.
        conf: Folder of the settings they have in common; None for the default.
        lineage: Name of the lineage that is replayed; None for the only one, or that of the grid.
    """
    folder = Path(conf) if conf else None
    points = lay_out(read_grid(Path(grid)), Path(home), folder, lineage)
    tried = [dict(point.settings) for point in points]
    with open_workers(load_shared(folder).scale) as apply:
        replays = list((apply or map)(partial(_replay, replayed=replayed, tried=tried), points))
    return GridResult(tuple(replays))


def _replay(point: GridPoint, replayed: dict[str, Any], tried: list[dict[str, Any]]) -> GridReplay:
    """Return the replay with one combination of settings, or why there is none."""
    home, conf, lineage = str(point.home), str(point.conf), point.lineage
    others = [settings for settings in tried if settings != point.settings]
    flow = replay_log if "log" in replayed else replay
    try:
        count_grid(open_home(home, conf, lineage), others, replayed["start"] or BEGIN)
        with progress_named(point.home.name):
            result = flow.fn(**replayed, home=home, conf=conf, lineage=lineage)
    except SteelyardError as error:
        return GridReplay(point, None, str(error))
    return GridReplay(point, result)
