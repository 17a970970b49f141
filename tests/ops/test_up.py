"""``steelyard up`` runs everything on one machine, keeps it running, and stops all of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from uuid import uuid4

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, temporary_settings

from factories.notified import listening
from factories.running_up import Up, answers, fetch, free_ports, running_up, wait_until
from steelyard.errors import FixConfiguration
from steelyard.home import open_home
from steelyard.ops import reaper
from steelyard.ops.deployments import ENGINE
from steelyard.ops.up import planned
from steelyard.ops.worker import EngineOnly, Worker
from steelyard.settings import (
    PACKAGE,
    Schedules,
    Settings,
    UpSettings,
    declared_deployments,
    load,
    schedule_of,
)

BY_HAND = {"collect/collect-only", "trade/trade-only", "settle/settle-only"}
ALL = BY_HAND | {
    "bar/per-bar",
    "guard/daily-guard",
    "weight/daily-weight",
    "drift/daily-drift",
    "train/weekly",
    "train/quarterly",
    "review/monthly",
}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, postgres: Callable[[], str]) -> Iterator[Up]:
    """Ledger and MLflow on PostgreSQL; the browser tests run on SQLite.

    Systemd hears that it is up, that it works, and that it stops.
    """
    folder = tmp_path_factory.mktemp("up")
    socket = str(folder / "notify")
    services = {"services": {"ledger": postgres(), "mlflow": postgres()}}
    with listening(socket) as heard, pytest.MonkeyPatch.context() as environment:
        environment.setenv("NOTIFY_SOCKET", socket)
        with running_up(folder, folder / "home", services) as running:
            environment.undo()
            yield running
        assert heard[0] == "READY=1"
        assert set(heard[1:-1]) == {"WATCHDOG=1"}
        assert heard[-1] == "STOPPING=1"


def test_the_pages_answer_and_every_deployment_is_scheduled(up: Up) -> None:
    """Deployments carry home and settings, one run at a time; the terminal says where and when."""
    registered = up.api("deployments/filter", {})
    deployments = {
        f"{entry['entrypoint'].rsplit('.')[-1]}/{entry['name']}": entry for entry in registered
    }

    assert up.err() == ""
    assert answers(f"{up.prefect}/")
    assert answers(f"{up.mlflow}/", up.login)
    assert up.page in up.out()
    assert not answers(f"{up.page}/signal-confidence/freshness")
    assert "nothing was decided here yet" in fetch(
        f"{up.page}/signal-confidence/freshness", login=up.login
    )
    assert set(deployments) == ALL
    for name, deployment in deployments.items():
        assert {folder: deployment["parameters"][folder] for folder in ("home", "conf")} == {
            "home": str(up.home),
            "conf": str(up.conf),
        }
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        times = [schedule["active"] for schedule in deployment["schedules"]]
        assert times == [name not in BY_HAND]
        when = "by hand" if name in BY_HAND else r"\d{4}-\d\d-\d\d \d\d:\d\d "
        assert re.search(rf"{name} +│ {when}", up.out())
    assert str(up.home / ".steelyard" / "login") in up.out().replace("\n", "")
    assert up.login.partition(":")[2] not in up.out()
    assert up.prefect in up.out()
    assert up.mlflow in up.out()


def test_the_doctor_finds_all_of_it_well(
    up: Up, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server of conf/up.yaml, a live worker, ten deployments for this home."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def examined() -> dict[str, tuple[str, str]]:
        _, out, _ = command("doctor", "--home", up.home, "--conf", up.conf, "--json")
        return {row["name"]: (row["standing"], row["found"]) for row in json.loads(out)["rows"]}

    assert wait_until(
        lambda: examined()["worker"][1].startswith("1 online, last heartbeat ")
    )  # once it has started
    rows = examined()
    assert rows["Prefect"] == ("ok", f"a server answers at {up.prefect}/api")
    assert rows["login"] == ("ok", "the server refuses requests without login")
    assert rows["deployments"] == ("ok", "all 10 are registered, 7 of them with times")
    assert (rows["late runs"][0], rows["runs"]) == ("ok", ("ok", "every schedule completes"))


STRANGERS = {
    "without login": (HTTPStatus.UNAUTHORIZED, {}),
    "with a wrong login": (HTTPStatus.UNAUTHORIZED, {"Authorization": "Basic c3RlZWx5YXJkOng="}),
    "from a web page": (HTTPStatus.FORBIDDEN, {"Origin": "https://stranger.example"}),
    "from another local page": (HTTPStatus.FORBIDDEN, {"Origin": "http://127.0.0.1:8888"}),
    "by DNS rebinding": (HTTPStatus.FORBIDDEN, {"Host": "10.stranger.example"}),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_starts_nothing(up: Up, who: str) -> None:
    """Neither a local user nor a web page can start a run, write to MLflow, or roll back."""
    code, headers = STRANGERS[who]
    login = up.login if code == HTTPStatus.FORBIDDEN else ""
    deployment = up.api("deployments/name/collect/collect-only")["id"]
    attacks: dict[str, dict[str, Any]] = {
        f"{up.prefect}/api/deployments/{deployment}/create_flow_run": {
            "state": {"type": "SCHEDULED"},
            "job_variables": {"command": f"touch {up.home}/planted"},
        },
        f"{up.mlflow}/api/2.0/mlflow/experiments/create": {"name": who},
        f"{up.page}/signal-confidence/actions/rollback": {"reason": who},
    }

    refused = [refusal(address, body, login, headers) for address, body in attacks.items()]
    assert refused == [code] * len(attacks)


@pytest.mark.parametrize(
    "variables", [{"command": "touch planted"}, {"env": {"STEELYARD_SEAL_KEY": ""}}], ids=str
)
def test_not_even_the_operator_gives_a_run_a_command(up: Up, variables: dict[str, Any]) -> None:
    """The pool's only job is that of the deployments."""
    deployment = up.api("deployments/name/collect/collect-only")["id"]
    body = {"state": {"type": "SCHEDULED"}, "job_variables": variables}
    address = f"{up.prefect}/api/deployments/{deployment}/create_flow_run"

    assert refusal(address, body, up.login, {}) == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize(
    "job",
    [{"command": "touch planted"}, {"env": {"PATH": "/tmp"}}, {"working_dir": "/"}],  # noqa: S108
    ids=str,
)
def test_a_worker_runs_the_engine_and_nothing_else(job: dict[str, Any]) -> None:
    """A template that was changed on the server gives a run no other command or environment."""
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="planted")
    EngineOnly(command=ENGINE).prepare_for_flow_run(run)

    with pytest.raises(FixConfiguration, match="of its own"):
        EngineOnly(**{"command": ENGINE, **job}).prepare_for_flow_run(run)
    assert Worker.job_configuration is EngineOnly


def refusal(
    address: str, body: dict[str, Any], login: str, headers: Mapping[str, str]
) -> HTTPStatus:
    """Status of a refused request."""
    with pytest.raises(HTTPError) as refused:
        fetch(address, body, login=login, headers=headers)
    return HTTPStatus(refused.value.code)


def test_a_home_is_kept_up_once(up: Up, command: Command) -> None:
    """A second ``steelyard up`` for the same home is refused in one line."""
    code, out, err = command("up", "--home", up.home, "--conf", up.conf)

    assert (code, out) == (1, "")
    assert err.startswith("steelyard: steelyard up runs already for")


def test_registering_again_changes_nothing(
    up: Up, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployments keep their ids."""
    before = {entry["id"] for entry in up.api("deployments/filter", {})}
    monkeypatch.setenv("PREFECT_API_URL", f"{up.prefect}/api")
    with temporary_settings({PREFECT_API_URL: f"{up.prefect}/api"}):
        code, out, err = command("deploy", "--home", up.home, "--conf", up.conf)

    assert code == 0, err
    assert set(re.findall(r"\w+/[\w-]+", out)) == ALL
    assert {entry["id"] for entry in up.api("deployments/filter", {})} == before


EXAMPLES = Path(__file__).parents[2] / "examples"
SAME = (
    "id",
    "parameters",
    "tags",
    "entrypoint",
    "paused",
    "global_concurrency_limit",
    "concurrency_options",
    "work_pool_name",
)


def test_prefect_deploys_the_same(up: Up) -> None:
    """``prefect deploy --all`` reads home and times from the server and undoes nothing."""

    def deployments() -> dict[str, Any]:
        return {
            entry["name"]: {name: entry[name] for name in SAME}
            | {"schedules": [(plan["schedule"], plan["active"]) for plan in entry["schedules"]]}
            for entry in up.api("deployments/filter", {})
        }

    before = deployments()
    server = {"PREFECT_API_URL": f"{up.prefect}/api", "PREFECT_API_AUTH_STRING": up.login}
    deployed = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **server, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert deployments() == before


def automate(up: Up, example: Path, deployment: str) -> None:
    """Create the automation of an example, as ``prefect automation create --from-file`` does."""
    automation = AutomationCore.model_validate(yaml.safe_load(example.read_text()))
    created = automation.model_dump(mode="json")
    created["actions"][0]["deployment_id"] = up.api(f"deployments/name/{deployment}")["id"]
    up.api("automations/", created)


def test_a_training_by_hand_shows_what_came_of_it(up: Up) -> None:
    """A training started over Prefect's API gives a version, artifacts and a report.

    The run says so in its name, tags and state, and the verdict starts the review as an automation.
    """
    automate(up, EXAMPLES / "automation" / "report-on-a-verdict.yaml", "review/monthly")
    up.completed("collect/collect-only")
    run = up.completed(
        "train/weekly", request={"trials": 3, "families": ["lightgbm"], "reason": "tried by hand"}
    )
    up.completed("guard/daily-guard")
    assert wait_until(lambda: started_by_an_automation(up), 30)
    [review] = started_by_an_automation(up)
    assert up.ended(review) == "COMPLETED"
    [version] = up.registered()
    [report] = (up.home / ".steelyard" / "reports").iterdir()

    shown = up.api(f"flow_runs/{run}")
    assert shown["name"] == f"train {datetime.now(UTC):%Y-%m-%d} (tried by hand)"
    assert {"signal-confidence", "train"} < set(shown["tags"])
    assert shown["state"]["message"].startswith("version 1 (lightgbm): ")
    assert "ersion 1" in up.artifacts(run)["train-summary"]
    assert up.artifacts(run)["train-progress"] == 100
    assert up.mlflow in up.artifacts(run)["train-summary"]
    assert "tried by hand" in fetch(
        f"{up.mlflow}/api/2.0/mlflow/runs/get?run_id={version['run_id']}", login=up.login
    )
    assert "The existing system decides alone" in up.artifacts(review)["review-summary"]
    assert "The existing system decides alone" in report.read_text()


def started_by_an_automation(up: Up) -> list[str]:
    """Ids of the reviews that an automation started."""
    reviews = up.api("flow_runs/filter", {"flows": {"name": {"any_": ["review"]}}})
    automated = [run for run in reviews if (run["created_by"] or {}).get("type") == "AUTOMATION"]
    return [run["id"] for run in automated]


def test_a_worker_killed_in_a_training_registers_nothing_and_the_next_training_does(up: Up) -> None:
    """The worker's successor closes the abandoned run, so that the next one need not wait."""
    killed, before = up.child("ops.worker"), up.registered()
    run = up.started("train/weekly", request={"trials": 1000, "reason": "to be interrupted"})
    assert wait_until(lambda: up.artifacts(run).get("train-progress", 0) > 0)
    os.kill(killed, signal.SIGKILL)
    following = up.started("train/weekly", request={"trials": 3, "families": ["xgboost"]})

    assert up.ended(run) == "CRASHED"
    assert up.ended(following) == "COMPLETED"
    assert [version["version"] for version in up.registered()] == ["1", "2"]
    assert up.registered()[:1] == before
    assert up.child("ops.worker") not in (0, killed)
    assert "worker was ended by signal 9" in up.err()


def test_the_journal_is_read_from_the_tables_of_postgresql(up: Up, command: Command) -> None:
    """The runs read at once are those that MLflow's client returns."""
    for act in ("hold", "resume"):
        command(act, "--reason", "a look", "--home", up.home, "--conf", up.conf)
    tracking = open_home(up.home, up.conf).registry._tracking
    one, other = (
        [(run.info.run_id, run.info.artifact_uri, run.data.tags, run.data.metrics) for run in read]
        for read in (tracking.decision_runs(), tracking.all_decision_runs())
    )

    assert len(one) >= 2
    assert one == other


def test_a_scrape_knows_the_runs(up: Up) -> None:
    """Prometheus logs in with the content of the login file; runs and stores are told."""

    def scrape() -> str:
        return fetch(f"{up.page}/metrics", headers={"Authorization": f"Bearer {up.login}"})

    wait_until(lambda: "steelyard_prefect_up 1.0" in scrape())  # a busy server answers late
    scraped = scrape()
    lineage = 'lineage="signal-confidence"'
    success = "steelyard_flow_last_success_timestamp_seconds"

    assert "steelyard_prefect_up 1.0" in scraped
    assert re.search(r'steelyard_flow_runs_total{state="completed"} [1-9]', scraped)
    assert re.search(rf'{success}{{deployment="guard/daily-guard",{lineage}}} 1\.', scraped)
    assert f'steelyard_store_up{{{lineage},store="ledger"}} 1.0' in scraped


def test_a_server_that_is_killed_comes_back(up: Up) -> None:
    """After kill -9 on both servers and the reaper new ones answer, and the worker goes on."""
    killed = {part: up.child(part) for part in ("pages prefect", "pages mlflow", "reaper")}
    for process in killed.values():
        os.kill(process, signal.SIGKILL)

    assert wait_until(lambda: all(up.child(part) not in (0, killed[part]) for part in killed))
    assert wait_until(lambda: answers(f"{up.mlflow}/health"))
    assert wait_until(lambda: answers(f"{up.prefect}/api/health", up.login))
    up.completed("guard/daily-guard")
    assert "prefect was ended by signal 9" in up.err()
    assert "mlflow was ended by signal 9" in up.err()
    assert "the reaper, which ends the services" in up.err()


def test_an_interrupt_stops_all_of_it(up: Up) -> None:
    """No process is left and the ports are free. Last in this file: it stops the fixture."""
    parts = ("pages prefect", "pages mlflow", "pages live", "ops.worker", "reaper")
    groups = [up.child(part) for part in parts]
    assert all(groups)
    up.process.send_signal(signal.SIGINT)

    assert up.process.wait(60) == 0
    assert wait_until(lambda: not any(map(reaper.alive, groups)), 5)
    for address in (up.prefect, up.mlflow, up.page):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(address.rsplit(":")[-1])))


@pytest.mark.parametrize("setting", ["prefect_port", "mlflow_port", "page_port"])
def test_a_taken_port_is_one_line_and_nothing_starts(
    setting: str, home: Path, conf: Path, command: Command
) -> None:
    """The line names the port and its setting."""
    ports = dict(zip(("prefect_port", "mlflow_port", "page_port"), free_ports(), strict=True))
    (conf / "up.yaml").write_text(yaml.safe_dump(ports))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[setting]))
        taken.listen()
        code, out, err = command("up", "--home", home, "--conf", conf)

    assert (code, out) == (1, "")
    message = (
        f"port {ports[setting]} on 127.0.0.1 is taken; stop its owner, "
        f"or change {setting} in {conf}/up.yaml"
    )
    assert err == f"steelyard: {message}"
    assert not (home / ".steelyard" / "logs").exists()


@pytest.mark.parametrize("entry", declared_deployments(), ids=lambda entry: entry["entrypoint"])
def test_a_declared_deployment_is_a_flow_that_takes_its_parameters(entry: dict[str, Any]) -> None:
    """The entrypoint exists, home and times come from the server, and runs wait for each other."""
    module, _, name = entry["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), name)
    places = {name: f"{{{{ prefect.variables.steelyard_{name} }}}}" for name in ("home", "conf")}

    assert isinstance(flow, Flow)
    assert set(entry["parameters"]) <= set(flow.validate_parameters(entry["parameters"]))
    assert entry["parameters"].items() >= places.items()
    [schedule] = entry["schedules"]
    assert schedule["slug"] == schedule_of(entry)
    assert schedule["cron"] == f"{{{{ prefect.variables.steelyard_{schedule_of(entry)} }}}}"
    assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert entry["work_pool"]["name"] == "steelyard"


def test_every_schedule_of_the_settings_has_its_deployment() -> None:
    """Every deployment has a schedule, too."""
    assert [schedule_of(entry) for entry in declared_deployments()] == list(Schedules.model_fields)
    assert len({entry["name"] for entry in declared_deployments()}) == len(ALL)


def test_the_server_of_somebody_else_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an http address for MLflow its page is the configured one, and its port may be taken."""
    monkeypatch.setenv("PASSWORD", "planted")
    elsewhere = {
        "services": {"mlflow": "https://mlflow.example.org", "pages": "https://pages.example.org"}
    }
    ours = planned(
        Settings.model_validate({"services": {"mlflow": "postgresql://u:${PASSWORD}@h/d"}}),
        tmp_path,
    )
    theirs = planned(Settings.model_validate(elsewhere), tmp_path)

    assert [service.name for service in theirs.servers] == ["prefect", "live"]
    assert theirs.pages["MLflow"] == "https://pages.example.org"
    assert [port.number for port in theirs.ports] == [4200, 8788]
    assert [service.name for service in ours.servers] == ["prefect", "mlflow", "live"]
    assert all("planted" not in " ".join(service.command) for service in ours.servers)


def test_prefects_database_of_the_postgres_profile_is_told_to_its_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ledger, MLflow and Prefect lie on one server; an address of SQLite is refused in one line."""
    profile, variable = PACKAGE / "conf/profiles/postgres", "PREFECT_API_DATABASE_CONNECTION_URL"
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("STEELYARD_POSTGRES", raising=False)
    with pytest.raises(FixConfiguration, match="environment variable STEELYARD_POSTGRES is not"):
        load(profile)

    monkeypatch.setenv("STEELYARD_POSTGRES", "u:planted@h:5432")
    services = load(profile).services
    at = services.at(tmp_path)
    plan = planned(load(profile), tmp_path)
    told = [service for service in plan.servers + plan.workers if variable in service.environment]
    assert {at.ledger, at.mlflow} == {
        f"postgresql+psycopg://u:planted@h:5432/{name}" for name in ("steelyard", "mlflow")
    }
    assert [service.name for service in told] == ["prefect"]
    assert told[0].environment[variable] == "postgresql+asyncpg://u:planted@h:5432/prefect"
    assert "planted" not in str(services)

    (tmp_path / "services.yaml").write_text("prefect: sqlite:///prefect.db")
    with pytest.raises(FixConfiguration, match=r"prefect: .*must be postgresql\+asyncpg"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefect_port: 5000", "prefect_port and mlflow_port are both 5000; they must differ"),
        ("page_port: 4200", "prefect_port and page_port are both 4200; they must differ"),
        ("timezone: Mars/Olympus", "no time zone"),
        ("schedules: {guard: daily}", "schedules.guard"),
        ("mlflow_port: 70000", "mlflow_port"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    text: str, message: str, conf: Path, command: Command
) -> None:
    """One line, before anything starts."""
    (conf / "up.yaml").write_text(text)
    code, _, err = command("up", "--conf", conf)

    assert code == 1
    assert message in err


def test_deploying_needs_a_server(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says how to configure one."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code, _, err = command("deploy", "--home", home)

    assert code == 1
    assert "PREFECT_API_URL names no Prefect server" in err
    assert load().up == UpSettings()
