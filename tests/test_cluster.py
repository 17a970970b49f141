"""Work in other processes, here or on a Dask cluster: the same results, come what may."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from distributed import LocalCluster

from factories.bars import FOUR_HOURS
from factories.counting import (
    count,
    die,
    forget_version,
    square,
    square_after_a_death,
    square_inside,
)
from factories.samples import make_samples
from steelyard.errors import CollectMoreData, FixConfiguration, RestoreService
from steelyard.evaluation.books import SizingPolicy
from steelyard.gateways import cluster
from steelyard.gateways.cluster import ScaleSettings, installed, open_workers
from steelyard.home import home_under
from steelyard.learning.folds import split_holdout, walk_forward
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.search import search
from steelyard.market.simulated import SimulatedMarket
from steelyard.market.simulated import simulate as simulated_bars
from steelyard.progress import progress_to
from steelyard.queries import history
from steelyard.queries.history import known_history
from steelyard.settings import Settings
from steelyard.simulation.characteristics import SCENARIOS, Design, simulate
from steelyard.values import OrderedMap
from steelyard.weight.policy import WeightPolicy

MARKET = SimulatedMarket(symbols=5, end=datetime(2020, 3, 1, tzinfo=UTC))
PLACES = ("processes", "dask")
LARGE = (pytest.param("processes", marks=pytest.mark.soak), "dask")
"""For work that takes seconds to import."""


@pytest.fixture(scope="module")
def dask() -> Iterator[LocalCluster]:
    """A scheduler and two worker processes."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as started:
        yield started


@pytest.fixture(scope="module")
def maps(dask: LocalCluster) -> Iterator[dict[str, OrderedMap]]:
    """The ordered map of two local processes, and that of the cluster."""
    with (
        open_workers(ScaleSettings(processes=2)) as local,
        open_workers(ScaleSettings(dask=dask.scheduler_address)) as far,
    ):
        assert local is not None
        assert far is not None
        yield {"processes": local, "dask": far}


@pytest.fixture(params=PLACES)
def apply(request: pytest.FixtureRequest, maps: dict[str, OrderedMap]) -> OrderedMap:
    return maps[request.param]


def test_results_come_in_the_order_of_the_items(apply: OrderedMap) -> None:
    """Whoever was faster; an error of the work comes back as it is; nothing is left of the rest."""
    assert list(apply(square, range(20))) == [number**2 for number in range(20)]
    with pytest.raises(CollectMoreData, match="nothing to count"):
        list(apply(partial(count, "left"), (1, 0, 1)))


def test_a_worker_that_is_killed_costs_a_retry(apply: OrderedMap, tmp_path: Path) -> None:
    """Every result is there, once and in its place, and the workers go on afterwards."""
    work = partial(square_after_a_death, marker=str(tmp_path / "died"))

    assert list(apply(work, range(6))) == [number**2 for number in range(6)]
    assert list(apply(square, (7,))) == [49]


def test_work_that_kills_every_worker_is_given_up(maps: dict[str, OrderedMap]) -> None:
    """One line says that the processes died again and again."""
    with pytest.raises(RestoreService, match="died 3 times over the same work"):
        list(maps["processes"](die, (1,)))


def test_work_inside_of_work_stays_where_it_is(
    dask: LocalCluster, maps: dict[str, OrderedMap]
) -> None:
    """A worker that waited for other workers would hold the place they need."""
    settings = {
        "processes": ScaleSettings(processes=2),
        "dask": ScaleSettings(dask=dask.scheduler_address),
    }
    for place, apply in maps.items():
        assert list(apply(partial(square_inside, settings=settings[place]), (3,))) == [9]


@pytest.mark.parametrize("place", PLACES)
def test_workers_report_where_they_were_asked(place: str, dask: LocalCluster) -> None:
    """Each step once and in order, under the name of its work."""
    address = dask.scheduler_address
    settings = ScaleSettings(processes=2) if place == "processes" else ScaleSettings(dask=address)
    reports: list[tuple[str, int, int, str]] = []
    with progress_to(lambda *report: reports.append(report)), open_workers(settings) as apply:
        assert apply is not None
        assert list(apply(partial(count, to=3), ("left", "right"))) == ["left", "right"]

    for name in ("left", "right"):
        own = [report for report in reports if report[0] == f"{name} counting"]
        assert own == [(f"{name} counting", done, 3, "") for done in (1, 2, 3)]
    assert len(reports) == 6


@pytest.mark.parametrize("apply", LARGE, indirect=True)
def test_simulated_lives_are_the_same_everywhere(apply: OrderedMap) -> None:
    """Every figure of both modes, to the last bit, in the same order."""
    simulated = partial(
        simulate, WeightPolicy(), SizingPolicy(), [Design(lives=10, months=6)], SCENARIOS[:3]
    )
    alone = list(simulated())

    assert list(simulated(apply=apply)) == alone


@pytest.mark.parametrize("apply", LARGE, indirect=True)
def test_a_search_is_the_same_everywhere(apply: OrderedMap) -> None:
    """Every trial, its value and the choice, to the last bit."""
    samples = make_samples(600, signal=1.0)
    policy = LearningPolicy(trials=5, rounds=20, batch=2)
    folds = walk_forward(samples, split_holdout(samples, policy)[0], policy)
    alone, shared = (
        search(samples, samples.uniqueness, folds, policy, workers=workers)
        for workers in (None, apply)
    )

    assert repr(shared.trials) == repr(alone.trials)
    assert repr((shared.family, shared.params)) == repr((alone.family, alone.params))
    assert shared.out_of_fold.tobytes() == alone.out_of_fold.tobytes()


@pytest.mark.parametrize("place", LARGE)
def test_a_history_in_parts_is_the_history(
    place: str, dask: LocalCluster, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers read the lake themselves; every column is the same to the last bit, in order."""
    alone = home_under(Settings(), home)
    alone.lake.append(simulated_bars(MARKET), FOUR_HOURS)
    address = dask.scheduler_address
    scale = ScaleSettings(processes=2) if place == "processes" else ScaleSettings(dask=address)
    parted = home_under(Settings(scale=scale), home)
    monkeypatch.setattr(history, "LEAST_SYMBOLS", 2)
    as_of = datetime(2030, 1, 1, tzinfo=UTC)

    whole = known_history(alone, as_of)
    assert len(whole) > 20
    pd.testing.assert_frame_equal(known_history(parted, as_of), whole, check_exact=True)
    before_all = MARKET.start - timedelta(days=1)
    assert known_history(parted, before_all).empty == known_history(alone, before_all).empty


def test_a_worker_with_other_libraries_is_refused(maps: dict[str, OrderedMap]) -> None:
    """Before it does any work; the line names what differs, and where."""
    with pytest.raises(FixConfiguration, match=r"worker at tcp:.* has numba 0.1, this process"):
        list(maps["dask"](forget_version, ["numba"] * 8))


def test_a_cluster_that_cannot_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers, or there is no worker."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        nobody = pytest.raises(RestoreService, match=f"no Dask scheduler answers at {address}")
        with nobody, open_workers(ScaleSettings(dask=address)):
            pass
    with LocalCluster(n_workers=0, dashboard_address=None) as empty:
        idle = pytest.raises(RestoreService, match="has no worker; start one: dask worker tcp:")
        with idle, open_workers(ScaleSettings(dask=empty.scheduler_address)):
            pass


def test_a_process_alone_has_no_map() -> None:
    """The default: nothing is started."""
    with open_workers(ScaleSettings()) as apply:
        assert apply is None


def test_what_decides_a_result_is_known() -> None:
    """Every library that a worker is compared by is there."""
    assert "missing" not in installed().values()


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"processes": 2, "dask": "tcp://a:1"}, "keep one of them"),
        ({"dask": "a:1"}, "should match pattern"),
        ({"processes": 0}, "greater than or equal to 1"),
    ],
    ids=["both", "no scheme", "nobody"],
)
def test_settings_name_one_place(keys: dict[str, object], complaint: str) -> None:
    """Bad values are refused when the settings are read."""
    with pytest.raises(ValueError, match=complaint):
        ScaleSettings.model_validate(keys)
