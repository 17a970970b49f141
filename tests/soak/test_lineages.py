"""Three lineages replay half a year in one home, each as it lives alone, trainings included."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from factories.living import assert_same_life, living_conf
from steelyard.flows.collect import collect
from steelyard.home import Home, open_home
from steelyard.queries.replay import ReplayDays
from steelyard.tasks.bars import read_history
from steelyard.tasks.replay import live_through

pytestmark = pytest.mark.soak

START = datetime(2020, 7, 1, tzinfo=UTC)
PAUSE, END = datetime(2020, 10, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
OWN: dict[str, dict[str, Any]] = {
    "healthy": {},
    "other-system": {"strategy": {"system": "reversion"}},
    "strict": {"weight": {"limits": {"breaker_streak": 3}}},
}
"""Lineage → its own settings; the first and the last have the same signals."""


def home_of(folder: Path, names: tuple[str, ...]) -> Path:
    """Write the settings of some lineages, collect their bars, and return the settings' folder."""
    conf = living_conf(folder)
    for name in names:
        (conf / "lineages" / name).mkdir(parents=True)
        for subject, values in OWN[name].items():
            (conf / "lineages" / name / f"{subject}.yaml").write_text(yaml.safe_dump(values))
    collect.fn(END, str(folder), str(conf))
    return conf


def live(stores: Home, until: datetime) -> None:
    """Replay a lineage's days up to a time, from where it stopped."""
    live_through(stores, read_history(stores, until), ReplayDays(START, until, 60))


def test_no_life_differs_from_that_of_a_lineage_alone(tmp_path: Path) -> None:
    """Taking turns in one home leaves the rows, versions and decisions of a home of its own."""
    together = home_of(tmp_path / "together", tuple(OWN))
    for until in (PAUSE, END):
        for name in OWN:
            live(open_home(tmp_path / "together", together, name), until)
    for name in OWN:
        conf = home_of(tmp_path / name, (name,))
        alone = open_home(tmp_path / name, conf, name)
        for until in (PAUSE, END):
            live(alone, until)
        assert_same_life(alone, open_home(tmp_path / "together", together, name))
