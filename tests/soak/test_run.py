"""``steelyard run`` killed and started again, in real time."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from factories.running_up import wait_until
from factories.ticking import tick, ticking_conf
from steelyard.home import Home, open_home

pytestmark = pytest.mark.soak
SECONDS = 120.0


def ordered(home: Home) -> int:
    """Number of orders that the paper broker took."""
    if not (home.state_folder / "ledger.db").exists():
        return 0
    return int((home.ledger.trades()["status"] != "vetoed").sum())


def test_a_process_killed_and_started_again_doubles_nothing(
    home: Path, conf: Path, tmp_path: Path
) -> None:
    """After SIGKILL among orders the next process goes on; each signal has one order or veto."""
    ticking_conf(conf, tmp_path)
    bars = tmp_path / "bars" / "bars.parquet"
    threading.Thread(target=tick, args=(bars, time.monotonic() + 3 * SECONDS), daemon=True).start()
    opened = open_home(home, conf)

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "steelyard", "run", "--home", home, "--conf", conf]
        path = str(Path(__file__).parents[2])
        return subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})

    killed = start()
    assert wait_until(lambda: ordered(opened), SECONDS)
    before = ordered(opened)
    killed.kill()
    killed.wait()
    time.sleep(12)
    again = start()
    assert wait_until(lambda: ordered(opened) > before, SECONDS)
    again.send_signal(signal.SIGTERM)

    assert again.wait(60) == 0
    trades = opened.ledger.trades()
    assert trades["signal_id"].is_unique
    assert (trades["veto"] == "stale").any()
