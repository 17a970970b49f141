"""A rollback tries every way to take the weight away, and says which worked."""

import shutil
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from factories.homes import LAST, pilot_home
from factories.registry import LINEAGE
from steelyard.gateways.brokers import Order, PaperBroker, order_row
from steelyard.gateways.ledger import Ledger
from steelyard.home import Home, open_home
from steelyard.queries.status import status
from steelyard.trading import open_watch

Command = Callable[..., tuple[int, str, str]]
MLFLOW, LEDGER = "sqlite:///{home}/mlruns/mlflow.db", "sqlite:///{home}/.steelyard/ledger.db"


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    return pilot_home(tmp_path / "home", empty_mlflow)


def change(conf: Path, old: str, new: str) -> None:
    file = conf / "services.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def unwritable(home: Home) -> None:
    """Put a file in the state folder's place: nothing can be written there, by root either."""
    shutil.move(home.state_folder, home.folder / "away")
    home.state_folder.write_text("")


def roll_back(command: Command, home: Home, conf: Path) -> tuple[int, str, str]:
    return command(
        "rollback", "--reason", "now", "--by", "anna", "--home", home.folder, "--conf", conf
    )


def test_without_mlflow_the_brakes_hold(pilot: Home, command: Command, conf: Path) -> None:
    """Exit 1, and each way with its result; a rollback later records it and releases both."""
    right = (conf / "services.yaml").read_text()
    change(conf, MLFLOW, "http://127.0.0.1:9")
    code, _, err = roll_back(command, pilot, conf)

    assert code == 1
    assert "brake: pulled; ledger: pulled; journal: FAILED, " in err
    assert "broker: no order of the model waits; the brake is pulled" in err
    assert pilot.ledger.brake("signal-confidence") == "anna: now"
    pilot.brake.release()  # as if somebody had removed the file
    held = status(pilot, LAST)
    assert held.current is not None
    assert (held.brake, held.current.weight_in_force) == ("anna: now", 0.0)
    (conf / "services.yaml").write_text(right)
    code, out, err = roll_back(command, pilot, conf)
    assert (code, "journal: decision 3" in out) == (0, True), err
    assert (pilot.brake.pulled, pilot.ledger.brake("signal-confidence")) == (False, None)


class Unready(BaseHTTPRequestHandler):
    """A Prefect server that has lost its database."""

    def do_GET(self) -> None:  # the name http.server calls
        self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("server_listens", [False, True], ids=["gone", "without database"])
def test_a_prefect_server_that_takes_no_run_holds_nothing_up(
    server_listens: bool,
    pilot: Home,
    command: Command,
    conf: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The weight is 0, and one line says that Prefect has no record of it."""
    with HTTPServer(("127.0.0.1", 0), Unready) as server:
        address = f"http://127.0.0.1:{server.server_port}/api"
        if server_listens:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        else:
            server.server_close()
        monkeypatch.setenv("PREFECT_API_URL", address)
        with temporary_settings({PREFECT_API_URL: address}):
            code, out, err = roll_back(command, pilot, conf)
        if server_listens:
            server.shutdown()

    assert (code, err) == (0, "no Prefect server answers; this run is not recorded there\n")
    assert "journal: decision 3" in out


def test_with_an_unwritable_disk_the_journal_holds(
    pilot: Home, command: Command, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 0: the weight is 0 in MLflow, and what failed is named; the seal key can be read."""
    key = (pilot.state_folder / "seal.key").read_text().strip()
    monkeypatch.setenv("STEELYARD_SEAL_KEY", key)
    unwritable(pilot)
    code, out, err = roll_back(command, pilot, conf)

    assert code == 0, err
    for words in ("brake: FAILED", "ledger: FAILED", "journal: decision", "broker: FAILED"):
        assert words in out
    state, _ = open_home(pilot.folder, conf).journal.verified()
    assert state is not None
    assert (state.weight, state.phase) == (0.0, "shadow")


def test_with_neither_the_operator_is_told_to_stop_trading(
    pilot: Home, command: Command, conf: Path
) -> None:
    """Nothing could be written anywhere; the line says so."""
    unwritable(pilot)
    change(conf, MLFLOW, "http://127.0.0.1:9")
    code, _, err = roll_back(command, pilot, conf)

    assert code == 1
    assert "brake: FAILED" in err
    assert "NOTHING takes the weight away: stop the trading processes" in err
    assert len(err.strip().splitlines()) == 1


def test_a_ledger_on_a_server_is_a_brake_of_its_own(
    pilot: Home, command: Command, conf: Path, postgres: Callable[[], str]
) -> None:
    """Disk and MLflow are away; a trading process elsewhere reads the brake from the ledger."""
    change(conf, LEDGER, postgres())
    trading = open_watch(pilot.folder, conf)
    trading.refresh()
    assert trading.weight(LAST) == 0.15
    right = (conf / "services.yaml").read_text()
    change(conf, MLFLOW, "http://127.0.0.1:9")
    unwritable(pilot)
    code, _, err = roll_back(command, pilot, conf)
    assert (code, "brake: FAILED" in err, "ledger: pulled" in err) == (1, True, True)

    trading.refresh()
    assert (trading.weight(LAST), trading.terms(LAST)[2]) == (0.0, "brake")
    (conf / "services.yaml").write_text(right)
    pilot.state_folder.unlink()
    shutil.move(pilot.folder / "away", pilot.state_folder)
    again = open_home(pilot.folder, conf)
    assert status(again, LAST).brake == "anna: now"
    assert roll_back(command, again, conf)[0] == 0
    assert again.ledger.brake("signal-confidence") is None


def test_an_order_that_only_the_model_wanted_is_cancelled(
    pilot: Home, command: Command, conf: Path
) -> None:
    """It has not entered yet; what the existing system wants, too, stays."""
    rows = pilot.ledger.predictions(datetime.min.replace(tzinfo=LAST.tzinfo), LAST)
    pivotal, plain = (rows[rows["pivotal"] == flag].iloc[-1] for flag in (True, False))
    orders = [
        Order(
            row["signal_id"],
            row["symbol"],
            row["side"],
            row["decided_at"].to_pydatetime() - timedelta(hours=1),
            row["decided_at"].to_pydatetime(),
            1.0,
            100.0,
            1.0,
            1.0,
        )
        for row in (pivotal, plain)
    ]
    pilot.ledger.record_trades([order_row(order, PaperBroker.name) for order in orders])
    code, out, _ = roll_back(command, pilot, conf)

    assert (code, "broker: 1 orders of the model cancelled" in out) == (0, True)
    trades = pilot.ledger.trades().set_index("signal_id")
    assert trades.loc[pivotal["signal_id"], ["status", "veto"]].tolist() == [
        "canceled",
        "rolled_back",
    ]
    assert trades.loc[plain["signal_id"], "status"] == "submitted"


def test_looking_for_the_brake_makes_no_ledger(tmp_path: Path) -> None:
    """A ledger that vanished stays missing; an empty one would look like a fresh start."""
    assert Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE).brake("x") is None
    assert list(tmp_path.iterdir()) == []
