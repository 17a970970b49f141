"""A week of flows with every database on PostgreSQL, MLflow's files on S3, and a killed server."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from factories.bars import small_history, small_market
from factories.living import MONTHS, SETTINGS, living_conf, moments, rows
from factories.object_store import object_store
from factories.postgres_server import PostgresServer, postgres_server
from factories.running_up import Up, running_up, wait_until
from steelyard.desk.signals import Evaluation
from steelyard.home import open_home
from steelyard.ops.drills.ground import Past
from steelyard.settings import PACKAGE
from steelyard.tasks.recording import server_answers
from steelyard.tasks.trading import signal_of
from steelyard.trading import open_session

pytestmark = pytest.mark.postgres
Command = Callable[..., tuple[int, str, str]]
PAGE = Path(__file__).parents[2] / "docs" / "operating" / "postgres.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROFILE = "profiles/postgres"
NEVER = "0 0 1 1 *"
"""Time of every schedule: the test says what runs, and as of when."""
DAILY = ("bar", "guard", "weight")
DEPLOYMENTS = ("bar/per-bar", "guard/daily-guard", "weight/daily-weight")
SCHEDULED = ("bar", "guard", "weight", "drift", "train", "deep_search", "review")
ENDED = ["COMPLETED", "FAILED", "CRASHED"]
WEEK = moments()[1:8]
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
MOST_CONNECTIONS = 40
"""What docs/operating/postgres.md says that a home needs."""


@dataclass(frozen=True)
class Life:
    """The commands of a home."""

    command: Command
    home: Path
    conf: Path

    def refused(self, name: str, at: datetime) -> str:
        """Run a command; return its error, empty if it is done."""
        folders = ("--home", self.home, "--conf", self.conf)
        code, _, err = self.command(name, "--as-of", at.isoformat(), *folders)
        return err.splitlines()[-1] if code else ""

    def live(self, days: Sequence[datetime]) -> None:
        """Live through days, with a training on the first of the week."""
        for day in days:
            names = ("bar", "train", "guard", "weight") if day == WEEK[0] else DAILY
            assert [self.refused(name, day) for name in names] == [""] * len(names), day

    def trade_through(
        self, at: datetime, meanwhile: Callable[[], object] = lambda: None
    ) -> list[Evaluation]:
        """Evaluate the signals of the bar that closed before ``at`` in a trading process.

        Args:
            at: Time of the process (UTC).
            meanwhile: Called when the process has started.
        """
        market = Past(small_market(months=MONTHS), small_history(months=MONTHS))
        names = open_home(self.home, self.conf).feature_names
        with closing(open_session(self.home, self.conf, lambda: at)) as session:
            session.warm(market.until(at - timedelta(hours=1)))
            session.refresh()
            meanwhile()
            rows = market.decided(at - timedelta(hours=1), at).to_dict("records")
            known = market.until(at)
            return [session.evaluate(signal_of(row, names), known) for row in rows]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A server, of which the environment knows the administrator."""
    with postgres_server() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket that the environment has the keys to."""
    with object_store("steelyard") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield "s3://steelyard"


def follow_page(heading: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the commands under a heading of the page as they stand, and keep what they export."""
    [text] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    exported, program = folder / "exported", f'"{sys.executable}" -P -m steelyard "$@"'
    script = [f"steelyard() {{ {program}; }}", *BLOCK.findall(text), f'env > "{exported}"']
    subprocess.run(["sh", "-euc", "\n".join(script)], cwd=folder, check=True)
    for line in exported.read_text().splitlines():
        name, _, value = line.partition("=")
        if name.startswith("STEELYARD_"):
            monkeypatch.setenv(name, value)


@contextmanager
def recording(up: Up, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Prefect's server record the commands inside."""
    api = f"{up.prefect}/api"
    with temporary_settings({PREFECT_API_URL: api}), monkeypatch.context() as environment:
        environment.setenv("PREFECT_API_URL", api)
        yield


def survive(life: Life, server: PostgresServer, at: datetime) -> set[str]:
    """Kill the server beside a trading process, try every command, and start it again.

    Returns:
        Ids of the signals that were evaluated meanwhile.
    """
    evaluated = life.trade_through(at, meanwhile=server.kill)
    assert evaluated
    assert all((signal.weight, signal.fallback_reason) == (0, None) for signal in evaluated)
    for name in DAILY:
        line = life.refused(name, at)
        assert line.startswith(("steelyard: ledger postgresql", "steelyard: MLflow at")), line
        assert os.environ["STEELYARD_PASSWORD"] not in line
    server.start()
    assert wait_until(server_answers)
    return {signal.signal_id for signal in evaluated}


def test_a_week_of_flows(
    server: PostgresServer,
    bucket: str,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is lost though the server was killed, and the restored backup is the home again."""
    follow_page("Set up", tmp_path, monkeypatch)
    living_conf(tmp_path / "market")
    profile = (PACKAGE / "conf" / PROFILE / "services.yaml").read_text()
    settings: dict[str, Any] = {
        **SETTINGS,
        "source": {**SETTINGS["source"], "path": str(tmp_path / "market" / "bars")},
        "services": {"artifacts": f"{bucket}/mlflow"},
        "up": {"schedules": dict.fromkeys(SCHEDULED, NEVER)},
        f"{PROFILE}/services": yaml.safe_load(profile),
    }
    with running_up(tmp_path, tmp_path, settings, PROFILE) as up:
        assert up.err() == ""
        ours = Life(command, up.home, up.conf)
        with recording(up, monkeypatch):
            ours.live(WEEK[:4])
            evaluated = survive(ours, server, WEEK[4])
            ours.live(WEEK[4:6])
        for deployment in DEPLOYMENTS:
            up.completed(deployment, as_of=WEEK[6].isoformat())
        recorded = up.api("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ENDED}}}})
        connections = int(server.ask(CONNECTIONS))

    assert [run["state"]["type"] for run in recorded] == ["COMPLETED"] * (7 * len(DAILY) + 1)
    assert connections <= MOST_CONNECTIONS
    lived = rows(open_home(ours.home, ours.conf))
    predicted = open_home(ours.home, ours.conf).ledger.predictions(WEEK[0], WEEK[-1])
    assert evaluated <= set(predicted["signal_id"])
    follow_page("Back up", tmp_path, monkeypatch)
    follow_page("Restore", tmp_path, monkeypatch)
    assert rows(open_home(ours.home, ours.conf)) == lived
