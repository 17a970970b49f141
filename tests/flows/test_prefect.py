"""With a Prefect server the same flows are recorded there with their steps."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.events import Event
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_URL
from prefect.states import Running
from prefect.testing.utilities import prefect_test_harness

from factories.homes import LAST, pilot_home
from factories.running_up import wait_until
from factories.trade_logs import freqtrade_trades
from steelyard.flows.bar import bar
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.importing import import_trades
from steelyard.flows.prefect_pages import progress
from steelyard.flows.review import review
from steelyard.flows.rollback import rollback
from steelyard.flows.settle import settle
from steelyard.flows.train import train
from steelyard.home import open_home, open_lineages
from steelyard.market.simulated import SimulatedMarket
from steelyard.ops import deployments
from steelyard.ops.deployments import close_abandoned_rounds, register
from steelyard.ops.doctor.server import server as checked
from steelyard.progress import report_progress
from steelyard.settings import load
from steelyard.tasks.step import DECIDING, step


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


def runs() -> tuple[list[str], list[str]]:
    """States of the flow runs and names of the task runs on the server."""
    with get_client(sync_client=True) as client:
        flows = [f"{run.name and run.state_name}" for run in client.read_flow_runs()]
        tasks = [run.name.rsplit("-", 1)[0] for run in client.read_task_runs()]
    return flows, tasks


def runs_of(flow_name: str) -> list[Any]:
    """Runs of a flow on the server."""
    with get_client(sync_client=True) as client:
        name = FlowFilter(name=FlowFilterName(any_=[flow_name]))
        return client.read_flow_runs(flow_filter=name)


def events() -> list[Event]:
    """Events of this project that the server has."""
    ours = EventFilter(event=EventNameFilter(prefix=["steelyard."]))
    with get_client(sync_client=True) as client:
        return list(client.read_events(ours, limit=50).events)


def test_a_flow_run_is_recorded_with_its_steps(server: str, home: Path) -> None:
    """Collect is one completed run with its steps."""
    collection = collect(home=str(home))
    states, steps = runs()

    assert collection.added > 18_000
    assert states == ["Completed"]
    assert sorted(steps) == ["announce_quarantine", "read_source", "store_bars", "validate_bars"]
    assert artifacts()["collect-data-summary"].startswith("**bars: ")
    assert collection.docs in artifacts()["collect-data-summary"]


def test_the_doctor_finds_a_server_with_nothing_registered(server: str, home: Path) -> None:
    """No pool and no deployments are both wrong, with the command that creates them."""
    checks = {row.name: row for row in checked(load(), [open_home(home)], datetime.now(UTC))}

    assert (checks["Prefect"].standing, checks["Prefect"].found) == (
        "ok",
        f"a server answers at {server}",
    )
    assert (checks["login"].standing, checks["login"].found) == (
        "warning",
        "it asks for no login: whoever reaches it can start runs, and so can any web page in a "
        "browser that reaches it",
    )
    assert (checks["worker"].standing, checks["worker"].found) == (
        "wrong",
        "work pool steelyard does not exist",
    )
    assert checks["deployments"].found.startswith(
        "not registered: bar/per-bar, collect/collect-only, trade/trade-only"
    )
    assert "steelyard deploy" in checks["deployments"].advice
    assert (checks["late runs"].standing, checks["runs"].standing) == ("ok", "ok")


def test_each_lineage_has_deployments_of_its_own(
    server: str, home: Path, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bars are collected once; the rest runs by lineage, at its own times, and goes with it.

    A deployment that somebody else has made for one of these flows stays.
    """
    monkeypatch.setattr(deployments, "SCHEDULED_WITHIN_SECONDS", 0.0)
    for name in ("trend", "reversion"):
        (conf / "lineages" / name).mkdir(parents=True)
    (conf / "lineages" / "trend" / "up.yaml").write_text("schedules: {guard: 5 5 * * *}\n")

    names = {one.name: one.cron for one in register(open_lineages(home, conf))}
    assert {"bar/per-bar", "collect/collect-only"} < set(names)
    assert {"train/weekly-trend", "train/weekly-reversion", "trade/trade-only-trend"} < set(names)
    assert "train/weekly" not in names
    assert len(names) == 2 + 2 * 8
    assert names["guard/daily-guard-trend"] == "5 5 * * *"
    assert names["guard/daily-guard-reversion"] == "15 22 * * *"
    with get_client(sync_client=True) as client:
        trend = client.read_deployment_by_name("train/weekly-trend")
        own = train.to_deployment("mine", parameters={"home": str(home)})
        own.work_pool_name = "steelyard"
        own.apply()
    assert trend.parameters["lineage"] == "trend"
    assert trend.tags == ["train", "trend"]

    shutil.rmtree(conf / "lineages" / "reversion")
    register(open_lineages(home, conf))
    with get_client(sync_client=True) as client:
        left = {f"{one.entrypoint.split('.')[-1]}/{one.name}" for one in client.read_deployments()}
        for one in client.read_deployments():
            client.delete_deployment(one.id)
    assert not [name for name in left if "reversion" in name]
    assert len(left) == 2 + 8 + 1


def test_an_import_leaves_its_reconciliation_on_its_page(
    server: str, home: Path, conf: Path, tmp_path: Path
) -> None:
    """Rows and totals of file and ledger, by the run of this file."""
    (conf / "strategy.yaml").write_text("system: log\n", encoding="utf-8")
    (conf / "source.yaml").write_text("kind: none\n", encoding="utf-8")
    freqtrade_trades(7).to_csv(file := tmp_path / "trades.csv", index=False)
    import_trades(str(file), learn=False, home=str(home), conf=str(conf))

    page = artifacts()["import-summary"]
    assert page.startswith("**7 signals imported")
    assert "| settled trades | 7 | 7 |" in page
    [run] = runs_of("import")
    assert run.name == f"import {datetime.now(UTC):%Y-%m-%d} (trades.csv)"
    assert run.state.message.startswith("7 signals imported, ")
    assert {"signal-confidence", "import", "imported"} == set(run.tags)


def artifacts() -> dict[str, str]:
    """The latest artifact of each key, as text."""
    with get_client(sync_client=True) as client:
        latest = client.read_latest_artifacts(limit=50)
        return {str(artifact.key): str(artifact.data) for artifact in latest}


def test_a_long_fit_shows_its_progress(server: str) -> None:
    """The progress artifact ends at one hundred."""

    @flow(name="fits")
    def fits() -> None:
        with progress("fit"):
            for number in range(3):
                report_progress("trials", number + 1, 3)

    fits()

    assert float(artifacts()["fit-progress"]) == 100.0


def test_the_command_line_uses_the_server_that_is_configured(
    server: str,
    home: Path,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With PREFECT_API_URL set, a command is a recorded run; a replay is one long step."""
    monkeypatch.setenv("PREFECT_API_URL", server)
    before = len(runs()[0])
    start = SimulatedMarket().start.replace(month=6)
    code, _, err = command(
        "replay",
        "--bars",
        "simulated:hidden",
        "--start",
        f"{start:%Y-%m-%d}",
        "--end",
        "2020-06-03",
        "--trials",
        1,
        "--home",
        home,
    )
    states, steps = runs()

    assert code == 0, err
    assert len(states) == before + 1
    assert set(states) == {"Completed"}
    assert steps.count("live_through") == 1
    assert "guard_weight" not in steps


def test_steps_that_decide_wait_for_each_other(server: str) -> None:
    """Of three simultaneous runs never two decide at once; the server shows the limit."""
    inside, most = list[int](), list[int]()

    @step(one_at_a_time=True)
    def decide(number: int) -> None:
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.5)
        inside.remove(number)

    @flow
    def deciding(number: int) -> None:
        decide(number)

    threads = [threading.Thread(target=deciding, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1, 1, 1]
    with get_client(sync_client=True) as client:
        assert client.read_global_concurrency_limit_by_name(DECIDING).limit == 1


def test_a_failed_run_posts_an_alert(server: str, home: Path) -> None:
    """Settling without bars fails the run, and its hook leaves an alert in the home."""
    assert settle(home=str(home), return_state=True).is_failed()
    [alert] = open_home(home).alerts.open()

    assert alert.alert.title == "flow failed: settle"
    assert "no bars yet" in alert.alert.figure


def test_rounds_of_a_killed_process_are_closed(server: str, home: Path) -> None:
    """Those of its home that no deployment started, and no others."""
    with get_client(sync_client=True) as client:
        rounds = [
            client.create_flow_run(bar, parameters={"home": name}, state=Running())
            for name in (str(home), "other")
        ]
        closed = close_abandoned_rounds(str(home))
        states = [client.read_flow_run(run.id).state for run in rounds]

    assert closed == 1
    assert [state and state.type.value for state in states] == ["CRASHED", "RUNNING"]


def test_data_that_stops_the_run_is_shown_on_its_page(server: str, home: Path) -> None:
    """The run fails because no bar had closed; its page lists the checks, the broken rule first."""
    assert collect(
        as_of=datetime(1990, 1, 1, tzinfo=UTC), home=str(home), return_state=True
    ).is_failed()
    summary = artifacts()["collect-data-summary"]

    assert " broken** (" in summary.splitlines()[0]
    assert "| broken, found 0 |" in summary
    assert f"`{home}/.steelyard/data_docs/bars.html`" in summary


def test_runs_that_decide_say_what_they_decided(
    server: str, tmp_path: Path, empty_mlflow: Path
) -> None:
    """In name, tags, state and summary, and a change of the weight as an event."""
    home = str(pilot_home(tmp_path, empty_mlflow).folder)
    guard(as_of=LAST, home=home)
    rollback(reason="odd fills", operator="operator", as_of=LAST, home=home)
    review(as_of=LAST, home=home)
    published, [guarded], [rolled_back] = artifacts(), runs_of("guard"), runs_of("rollback")

    assert guarded.name == f"guard {LAST:%Y-%m-%d}"
    assert guarded.state.message == "nothing new; weight 15.0%, phase pilot"
    assert rolled_back.name == f"rollback {LAST:%Y-%m-%d} (odd fills)"
    assert rolled_back.state.message == "rollback: DISABLE 15.0% → 0.0%, phase shadow"
    assert set(rolled_back.tags) == {"signal-confidence", "rollback", "DISABLE"}
    assert wait_until(events, 20)
    [event] = events()
    assert event.event == "steelyard.weight.disabled"
    assert event.resource.id == "steelyard.lineage.signal-confidence"
    assert (event.payload["weight_before"], event.payload["weight_after"]) == (0.15, 0.0)
    assert published["guard-summary"].startswith("**Nothing changed.** Weight 15.0%, phase pilot")
    assert published["rollback-summary"].startswith(
        "**DISABLE 15.0% → 0.0%** (rollback), phase shadow"
    )
    assert "odd fills" in published["rollback-summary"]
    assert "| rule | figure | bound |" in published["rollback-summary"]
    assert (
        "[The decision in MLflow](http://127.0.0.1:5000/#/experiments/"
        in published["rollback-summary"]
    )
    assert published["review-summary"].startswith("**The existing system decides alone")
    assert "[The report in MLflow](" in published["review-summary"]
    assert published["rollback-page"].startswith(
        "[Open in MLflow](http://127.0.0.1:5000/#/experiments/"
    )
