"""``steelyard demo`` as a newcomer starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factories.running_up import answers, fetch, running_up, wait_until
from steelyard.home import open_home
from steelyard.ops import reaper

pytestmark = pytest.mark.soak
FIRST_PAGE_SECONDS, ALL_SECONDS, LIVE_SECONDS = 120.0, 300.0, 400.0


@contextmanager
def running_demo(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run ``steelyard demo`` while inside."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "steelyard", "demo", "--home", home],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()


def test_the_first_page_stands_before_the_other_replays_begin(tmp_path: Path) -> None:
    """On two free processors: the page and its line within two minutes, everything in five."""
    began, home = time.monotonic(), tmp_path / "demo"
    with running_demo(home) as process:
        assert process.stdout is not None
        told = next(line for line in process.stdout if "the other replays follow" in line)
        first = time.monotonic() - began
        pages = [page.parent.name for page in home.glob("*/lineage.html")]
        rest = process.stdout.read()
        process.wait(60)
    total = time.monotonic() - began

    assert process.returncode == 0
    assert pages == ["simulated"]
    assert str(home / "simulated" / "lineage.html") in told
    assert {page.parent.name for page in home.glob("*/lineage.html")} == {
        "simulated",
        "sample",
        "ladder",
    }
    assert "Seven US stocks" in rest
    assert first < FIRST_PAGE_SECONDS
    assert total < ALL_SECONDS


def test_a_live_market_is_traded_with_a_weight_that_was_earned(tmp_path: Path) -> None:
    """Pages answer, new signals are blended and settled within minutes, and Ctrl-C ends all."""
    home = tmp_path / "live"
    home.mkdir()
    began = datetime.now(UTC)
    with running_up(
        home,
        home,
        {"up": {"run": True}},
        command=("demo", "--live", "--home", tmp_path),
        seconds=LIVE_SECONDS,
    ) as up:
        opened = open_home(home, home / "conf")
        state = opened.journal.state()
        assert state is not None
        assert state.weight >= 0.2

        def settled() -> int:
            rows = opened.ledger.settled_predictions(began, began + timedelta(hours=1))
            return int((rows["p_win"].notna() & (rows["weight"] == state.weight)).sum())

        assert wait_until(settled, LIVE_SECONDS)
        assert wait_until(lambda: (opened.ledger.trades()["status"] != "vetoed").any(), 60)
        assert answers(f"{up.mlflow}/", up.login)
        assert wait_until(lambda: answers(f"{up.page}/signal-confidence/", up.login), LIVE_SECONDS)
        page = fetch(f"{up.page}/signal-confidence/", login=up.login)
        assert f"The model decides {state.weight:.1%}" in page
        assert json.loads(fetch(f"{up.prefect}/api/health", login=up.login))
        groups = [up.child(part) for part in ("pages live", "ops.worker", "steelyard run")]
        assert all(groups)
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0
        assert wait_until(lambda: not any(map(reaper.alive, groups)), 5)
