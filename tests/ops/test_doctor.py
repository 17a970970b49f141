"""The doctor checks everything, changes nothing, and says what to do."""

import contextlib
import hashlib
import json
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement

from factories.homes import LAST, pilot_home
from factories.pilot import BAR, bars_frame
from factories.registry import LINEAGE
from steelyard.errors import FixConfiguration
from steelyard.gateways.alerts import Alert
from steelyard.gateways.calendars import known_after
from steelyard.gateways.spool import Spool
from steelyard.home import Home, open_home
from steelyard.ops.doctor import configuration, doctor
from steelyard.ops.doctor import home as home_checks
from steelyard.ops.doctor.configuration import missing
from steelyard.ops.doctor.home import Tag
from steelyard.settings import Settings, load
from steelyard.views.operations import Check

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def alone(conf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No secrets and no Prefect server; its port is taken so that no other server answers."""
    for name in ("PREFECT_API_URL", "STEELYARD_ALERTS", "STEELYARD_TOKEN", "STEELYARD_SEAL_KEY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        (conf / "up.yaml").write_text(f"prefect_port: {taken.getsockname()[1]}")
        yield


@pytest.fixture
def pilot(home: Path, empty_mlflow: Path) -> Home:
    return pilot_home(home, empty_mlflow)


def tree(folder: Path) -> dict[str, str]:
    """Every file with its content, except SQLite's own lock files."""
    files = [path for path in folder.rglob("*") if not path.name.endswith(("-shm", "-wal"))]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in files
    }


def standings(document: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["standing"] for row in document["rows"]}


def finding(document: dict[str, Any], name: str) -> str:
    return next(row["found"] for row in document["rows"] if row["name"] == name)


def only(rows: Iterator[Check]) -> Check:
    [row] = rows
    return row


def test_the_doctor_names_what_others_can_read(pilot: Home) -> None:
    """A home made before, or opened by hand; inside a private home nobody gets that far."""
    folders = [pilot.folder, pilot.state_folder, Path(pilot.settings.services.artifacts)]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    [row] = home_checks.permissions(pilot)
    pilot.folder.chmod(0o700)
    [closed] = home_checks.permissions(pilot)

    assert row.standing == "warning"
    assert str(pilot.state_folder) in row.found
    assert row.advice.startswith("chmod -R go= /")
    assert pilot.state_folder.stat().st_mode & 0o777 == 0o755
    assert closed.standing == "ok"


def test_a_home_that_is_well_has_nothing_wrong_and_is_left_as_it_was(
    pilot: Home, conf: Path
) -> None:
    """All checks pass in their order; no byte is written."""
    pilot.folder.chmod(0o700)
    (conf / "source.yaml").write_text("kind: simulated\nbar_size: auto\ncalendar: 24/7\n")
    with (conf / "up.yaml").open("a") as times:
        times.write("\nschedules: {collect: 1 */4 * * *, trade: 5 */4 * * *}\n")
    pilot.lake.append(bars_frame(), BAR)
    before = tree(pilot.folder)
    document = doctor(pilot.folder, conf, LAST).to_dict()

    assert tree(pilot.folder) == before
    assert document["wrong"] == 0
    assert [name for name, standing in standings(document).items() if standing == "ok"] == [
        *(
            "conf",
            "times",
            "strategy",
            "source",
            "broker",
            "STEELYARD_TOKEN",
            "Python",
            "libraries",
            "ledger",
            "MLflow",
        ),
        *(
            "origin",
            "journal",
            "folder: home",
            "folder: lake",
            "folder: spool",
            "folder: bundle",
            "folder: artifacts",
            "permissions",
            "spool",
        ),
        *(
            "lake",
            "entries",
            "run",
            "confidences",
            "approval",
            "lease",
            "alerts",
            "brake",
            "state",
            "seal key",
            "settled rows",
        ),
    ]
    assert finding(document, "journal") == "2 decisions, the chain is whole"
    assert finding(document, "lease") == "runs until 2025-03-05 00:00 UTC"
    assert [row["advice"] for row in document["rows"] if row["name"] == "Prefect"] == [
        "steelyard up starts one"
    ]


def test_one_broken_thing_keeps_nothing_else_from_being_checked(
    pilot: Home, conf: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight faults are eight rows with advice, exit code 1; every other check still runs."""
    pilot.brake.pull("anna", "MLflow was down")
    pilot.registry._tracking.client.set_registered_model_tag(LINEAGE, "steelyard.state", "{}")
    for file in pilot.state_folder.glob("ledger.db*"):
        file.unlink()
    (pilot.state_folder / "ledger.db").write_bytes(b"no database" * 500)
    (pilot.state_folder / "spool").write_text("no folder")
    (conf / "weight.yaml").write_text("ceilling: 0.5")
    (conf / "wieght.yaml").write_text("")
    (conf / "strategy.yaml").write_text("system: nowhere:Found")
    (conf / "broker.yaml").write_text("name: alpaca")
    monkeypatch.setenv("STEELYARD_TOKEN", "short")
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    code, out, err = command("doctor", "--home", pilot.folder, "--conf", conf, "--json")
    document = json.loads(out)

    assert code == 1, err
    wrong = {row["name"]: row for row in document["rows"] if row["standing"] == "wrong"}
    assert list(wrong) == [
        *(
            "conf: weight",
            "conf: wieght",
            "strategy",
            "broker",
            "STEELYARD_TOKEN",
            "ledger",
            "journal",
            "folder: spool",
        ),
        *("brake", "state"),
    ]
    assert document["wrong"] == len(wrong)
    assert "unknown key ceilling" in wrong["conf: weight"]["found"]
    assert "APCA_API_KEY_ID is not set" in wrong["broker"]["found"]
    assert "holds 5 characters" in wrong["STEELYARD_TOKEN"]["found"]
    assert "not a database" in wrong["ledger"]["found"]
    assert "the state tag" in wrong["state"]["found"]
    assert all(row["advice"] for row in wrong.values())
    assert standings(document)["folder: home"] == "ok"


def test_a_home_that_is_not_there_is_said_and_not_made(
    home: Path, conf: Path, command: Command
) -> None:
    """A misspelt folder is exit code 1 and is not created."""
    code, out, _ = command("doctor", "--home", home, "--conf", conf)

    assert code == 1
    assert "does not exist; nothing was made" in " ".join(out.replace("│", " ").split())
    assert "1 wrong" in out
    assert not home.exists()


def test_an_empty_home_is_not_filled(home: Path, conf: Path) -> None:
    """Missing parts are warnings that name the command that creates them."""
    home.mkdir()
    document = doctor(home, conf, LAST).to_dict()

    assert list(home.rglob("*")) == []
    assert document["wrong"] == 0
    assert {
        name: standings(document)[name] for name in ("ledger", "MLflow", "lake")
    } == dict.fromkeys(("ledger", "MLflow", "lake"), "warning")


def test_a_decision_that_was_cut_short_stays_so(pilot: Home) -> None:
    """The outdated state tag is a fault; readers get the next state, and recovery writes it."""
    client = pilot.registry._tracking.client
    before = client.get_registered_model(LINEAGE).tags["steelyard.state"]
    runs = pilot.registry._tracking.decision_runs()
    client.set_registered_model_tag(
        LINEAGE, "steelyard.state", pilot.journal.seal.sealed(pilot.journal.entries()[0].state)
    )
    stale = client.get_registered_model(LINEAGE).tags["steelyard.state"]
    again = open_home(pilot.folder)
    state, journal = only(home_checks.sealed(Tag(again))), list(home_checks.lineage(again))[-1]

    assert client.get_registered_model(LINEAGE).tags["steelyard.state"] == stale != before
    assert len(again.registry._tracking.decision_runs()) == len(runs)
    assert (state.standing, journal.standing) == ("wrong", "wrong")
    assert again.journal.state() == again.journal.entries()[-1].state
    assert client.get_registered_model(LINEAGE).tags["steelyard.state"] == stale
    again.journal.recover()
    assert client.get_registered_model(LINEAGE).tags["steelyard.state"] != stale
    assert only(home_checks.sealed(Tag(again))).standing == "ok"


def test_databases_of_another_version_are_named(pilot: Home, conf: Path) -> None:
    """A flow migrates the ledger; for MLflow the advice is its own."""
    elsewhere = Path(
        shutil.copytree(pilot.folder, pilot.folder.parent / "elsewhere")
    )  # not open in this process yet
    places = {
        elsewhere / ".steelyard" / "ledger.db": "0001",
        elsewhere / "mlruns" / "mlflow.db": "451aebb31d03",
    }
    for file, revision in places.items():
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    document = doctor(elsewhere, conf, LAST).to_dict()

    newest = pilot.ledger.revisions()[1]
    assert finding(document, "ledger") == f"tables of version 0001, {newest} is current"
    assert "Detected out-of-date database schema" in finding(document, "MLflow")
    assert {finding(document, name) for name in ("lease", "state", "schedules")} == {
        "not checked: MLflow cannot be used"
    }


@pytest.mark.parametrize(
    ("days", "weight", "standing"),
    [
        pytest.param(2, 0.15, "ok", id="it runs"),
        pytest.param(4, 0.15, "wrong", id="a weight out of force"),
        pytest.param(4, 0.0, "warning", id="no weight to lose"),
    ],
)
def test_a_lease_that_ran_out_is_as_bad_as_what_it_takes(
    home: Path, empty_mlflow: Path, days: int, weight: float, standing: str
) -> None:
    """The row says since when, and which flow renews it."""
    stores = pilot_home(home, empty_mlflow, weight=weight, phase="pilot" if weight else "shadow")
    row = only(home_checks.lease(Tag(stores), LAST + timedelta(days=days)))

    assert row.standing == standing
    assert ("steelyard guard renews it" in row.advice) == (standing != "ok")


def test_what_waits_is_counted(pilot: Home) -> None:
    """Complete lines of the spool and open alerts are counted; the spool is not locked."""
    spool = Spool(pilot.state_folder / "spool")
    spool.open()
    spool.append([{"n": 1}, {"n": 2}, {"n": 3}])
    spool.drained(spool.waiting(1)[1])
    (pilot.state_folder / "spool" / "lines.jsonl").open("ab").write(b'{"n":')
    pilot.alerts.post(Alert(key="k", at=LAST, kind="flow", title="flow failed", advice="look"))

    assert only(home_checks.spool(pilot)).found == "2 lines wait"
    assert only(home_checks.alerts(pilot)).found.startswith(
        "1 undelivered, the first since 2025-03-02 00:00 UTC"
    )


def test_the_lake_tells_its_age_and_who_is_behind(pilot: Home) -> None:
    """One of three symbols stopped a month earlier."""
    bars = bars_frame()
    last = bars["timestamp"].max() + BAR
    early = (bars["symbol"] == bars["symbol"].iloc[0]) & (
        bars["timestamp"] > last - timedelta(days=30)
    )
    pilot.lake.append(bars[~early.to_numpy(dtype=bool)], BAR)
    row = only(home_checks.bars(pilot, last.to_pydatetime() + timedelta(days=2)))

    assert row.standing == "warning"
    assert "3 symbols" in row.found
    assert "2.0 days ago; 1 are more than 7 days behind: " in row.found


@pytest.mark.parametrize(
    ("calendar", "trade", "standing", "words"),
    [
        ("XNYS", "45 21 * * *", "ok", "bars are traded in time"),
        ("XNYS", "0 14 * * *", "ok", "bars are traded in time"),  # half an hour before the open
        ("XNYS", "0 15 * * *", "wrong", "is traded 12-01 15:00, its entry ends 12-01 14:30"),
        ("24/7", "45 21 * * *", "wrong", "is traded 11-26 21:45, its entry ends 11-26 06:00"),
    ],
)
def test_times_are_held_against_the_bars_to_come(
    home: Path, conf: Path, calendar: str, trade: str, standing: str, words: str
) -> None:
    """The delivered times fit New York; under them every daily bar of a 24/7 market is stale."""
    (conf / "source.yaml").write_text(f"kind: files\npath: .\nbar_size: 1D\ncalendar: {calendar}\n")
    (conf / "up.yaml").write_text(f"schedules: {{trade: {trade}}}\n")
    opened = open_home(home, conf)
    day = pd.Timedelta("1D")
    opened.lake.append(
        daily_bars(), day, known_after(daily_bars()["timestamp"], day, calendar, "UTC")
    )
    row = only(home_checks.entries(opened, datetime(2026, 11, 25, 21, 50, tzinfo=UTC)))

    assert row.standing == standing
    assert words in row.found


def test_a_system_that_says_only_yes_or_no_is_named(home: Path, conf: Path) -> None:
    """With a yes of 100 no weight of a pilot changes a decision; the advice says what would."""
    (conf / "strategy.yaml").write_text("system: yes:Yes\n")
    module = "from steelyard.market.strategy import Candidate\n\n\nclass Yes:\n    warmup = 120\n"
    module += "    score_names = ()\n\n    def propose(self, bars):\n"
    (conf.parent / "yes.py").write_text(module + "        return Candidate('buy', 100.0, {})\n")
    opened = open_home(home, conf)
    opened.lake.append(daily_bars(), pd.Timedelta("1D"))
    with contextlib.chdir(conf.parent):
        row = only(home_checks.confidences(opened, datetime(2026, 11, 25, tzinfo=UTC)))

    assert row.standing == "warning"
    assert "only yes or no (1 distinct confidences in 80 signals)" in row.found
    assert row.advice == "let a yes be 75, and a no 65"


def daily_bars() -> pd.DataFrame:
    """Daily bars of one symbol until 24 November 2026."""
    stamps = pd.date_range(end="2026-11-24", periods=200, freq="1D", tz="UTC", unit="ns")
    close = 100 + np.sin(np.arange(200))
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame({"symbol": "X", "timestamp": stamps, **prices, "volume": 5.0})


def test_a_key_under_its_former_name_is_read_and_named(home: Path, conf: Path) -> None:
    """For one version; under both names at once the file is refused."""
    file = conf / "weight.yaml"
    file.write_text("smallest: 0.02\nsequential: {bets: {kept: 0.5, claim: 0.7}}")

    assert load(conf).weight.min_weight == 0.02
    assert load(conf).weight.sequential.bets.claim_retention == 0.5
    assert finding(doctor(home, conf, LAST).to_dict(), "conf: names") == (
        "weight.yaml: smallest is now min_weight; "
        "weight.yaml: sequential.bets.kept is now sequential.bets.claim_retention; "
        "weight.yaml: sequential.bets.claim is no longer used"
    )
    file.write_text("smallest: 0.02\nmin_weight: 0.02")
    with pytest.raises(FixConfiguration, match="smallest and min_weight are the same key"):
        load(conf)


def test_pages_on_another_port_than_mlflow_are_a_contradiction(pilot: Home, conf: Path) -> None:
    """Only if steelyard up serves them."""
    settings = pilot.settings
    moved = settings.model_copy(update={"up": settings.up.model_copy(update={"mlflow_port": 5001})})
    theirs = settings.services.model_copy(
        update={"mlflow": "http://127.0.0.1:7000", "pages": "http://127.0.0.1:7000"}
    )

    assert list(configuration.pages(settings)) == []
    assert "mlflow_port in conf/up.yaml is 5001" in only(configuration.pages(moved)).found
    assert list(configuration.pages(moved.model_copy(update={"services": theirs}))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("pandas<1", "pandas is 3.", id="too new"),
        pytest.param("pandas>=3.0", "", id="fits"),
        pytest.param(
            "no-such-library>=2", "no-such-library is not installed, >=2 required", id="absent"
        ),
    ],
)
def test_a_library_is_held_against_what_is_required(text: str, message: str) -> None:
    """A mismatch names the installed version and the bound; a match says nothing."""
    said = missing(Requirement(text))

    assert said.startswith(message)
    assert bool(said) == bool(message)


def test_alerts_and_sources_that_lead_nowhere_are_said(
    pilot: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing file of bars is wrong, no channel a warning; channels are never printed."""
    files = pilot.settings.source.model_copy(
        update={"kind": "files", "path": str(tmp_path / "nowhere.csv")}
    )

    assert (
        only(configuration.source(pilot.settings.model_copy(update={"source": files}))).standing
        == "wrong"
    )
    assert only(configuration.channels()).standing == "warning"
    monkeypatch.setenv("STEELYARD_ALERTS", "json://planted-token@127.0.0.1 json://127.0.0.1:2")
    assert only(configuration.channels()).found == "2 channels"


@pytest.mark.parametrize(("code", "standing"), [(200, "warning"), (401, "ok"), (0, None)])
def test_a_server_of_somebody_else_is_asked_whether_it_wants_a_login(
    code: int, standing: str | None
) -> None:
    """MLflow's server without a login is a warning; one that does not answer has its own row."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_port if code else 9
        services = {"mlflow": f"http://user:secret@127.0.0.1:{port}"}
        rows = list(configuration.login(Settings.model_validate({"services": services})))

    assert [row.standing for row in rows] == ([standing] if standing else [])
    assert "secret" not in str(rows)
