"""Several processes that run commands at the same moment leave the rows of one."""

import random
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from factories.children import run_together
from factories.living import Deed, assert_same_life, living_conf, moments, rows
from factories.registry import copy_mlflow
from factories.sizes import FULL
from steelyard.home import open_home
from steelyard.ops.verify import verified

CROWD, DAYS = 8, 1


@pytest.mark.soak
def test_a_crowd_leaves_the_rows_of_one_process(
    tmp_path: Path, empty_mlflow: Path, processes: ForkServerContext
) -> None:
    """The same command at once, then each another one of the last day: nothing is there twice."""
    conf = living_conf(tmp_path)
    alone, crowded = (copy_mlflow(empty_mlflow, tmp_path / one / "mlruns").parent for one in "ac")
    first, *days = moments()[: 1 + DAYS]

    def life(home: Path) -> list[Deed]:
        daily = [Deed(name, day, home, conf) for day in days for name in FULL.names]
        return [Deed("guard", first, home, conf), *daily]

    run_together(processes, [life(alone)])
    run_together(processes, [life(crowded)] * CROWD)
    stores = open_home(crowded, conf)
    assert_same_life(open_home(alone, conf), stores)
    assert not verified(stores).faults

    before, last_day = rows(stores), life(crowded)[-len(FULL.names) :]
    chance = random.Random(CROWD)  # noqa: S311  # an order, no secret
    run_together(processes, [chance.sample(last_day, len(last_day)) for _ in range(CROWD)])
    assert rows(open_home(crowded, conf)) == before
    assert not verified(open_home(crowded, conf)).faults


@pytest.mark.soak
def test_a_crowd_in_disorder_does_nothing_twice(
    tmp_path: Path, empty_mlflow: Path, processes: ForkServerContext
) -> None:
    """Commands of two new days at once, training among them, each process in an order of its own.

    Which row comes first is chance; afterwards the days are repeated in their order, and once more.
    """
    conf = living_conf(tmp_path)
    home = copy_mlflow(empty_mlflow, tmp_path / "mlruns").parent
    first, *days = moments()[:3]
    run_together(processes, [[Deed(name, first, home, conf) for name in ("guard", "collect")]])
    chance = random.Random(CROWD)  # noqa: S311  # an order, no secret
    for day in days:
        orderly = [Deed(name, day, home, conf) for name in FULL.names]
        run_together(processes, [chance.sample(orderly, len(orderly)) for _ in range(CROWD)])
        run_together(processes, [orderly])
        stores = open_home(home, conf)
        before = rows(stores)
        keys = [entry.decision.key for entry in stores.journal.entries()]
        trained = [version.key for version in stores.registry.versions()]
        assert len(set(keys)) == len(keys) > 0
        assert len(set(trained)) == len(trained) > 0
        assert not verified(stores).faults

        run_together(processes, [orderly] * CROWD)
        assert rows(open_home(home, conf)) == before
