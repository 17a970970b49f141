"""``steelyard run``: one process handles every bar as it arrives, in real time."""

import os
import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from factories.notified import listening
from factories.running_up import wait_until
from factories.ticking import tick, ticking_conf
from steelyard.errors import RestoreService
from steelyard.flows import run as loop
from steelyard.flows.waiting import waiting
from steelyard.gateways import service_manager
from steelyard.gateways.heartbeat import Beat, Heartbeat
from steelyard.home import open_home

LONGEST_SECONDS = 60.0
ORDERED = re.compile(r"[1-9]\d* ordered")


def test_bars_that_arrive_every_few_seconds_are_traded(
    home: Path, conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed round is alerted and survived, a second process refused, SIGTERM ends the loop.

    While a source hangs, systemd gets no sign of life, after which it would start the loop again.
    """
    monkeypatch.setenv("NOTIFY_SOCKET", "@steelyard-" + uuid4().hex)
    monkeypatch.setattr(loop, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(service_manager, "BEAT_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waiting, "stopped", False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    ticking_conf(conf, tmp_path)
    bars = tmp_path / "bars" / "bars.parquet"
    bars.unlink()
    os.mkfifo(bars)  # whoever reads waits until somebody writes
    said, refused, silent = list[str](), list[str](), list[bool]()

    def operate() -> None:
        try:
            wait_until(lambda: heard)
            time.sleep(1.0)
            silent.append(heard == ["READY=1"])
            with bars.open("wb"):
                bars.unlink()
            wait_until(lambda: any("round failed" in line for line in said), LONGEST_SECONDS)
            with pytest.raises(RestoreService) as error:
                loop.run(str(home), str(conf), said.append)
            refused.append(str(error.value))
            ticking = threading.Thread(target=tick, args=(bars, time.monotonic() + LONGEST_SECONDS))
            ticking.daemon = True
            ticking.start()
            wait_until(lambda: any(map(ORDERED.search, said)), LONGEST_SECONDS)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    operator = threading.Thread(target=operate)
    with listening(os.environ["NOTIFY_SOCKET"]) as heard:
        operator.start()
        loop.run(str(home), str(conf), said.append)
        operator.join()
    opened = open_home(home, conf)
    trades = opened.ledger.trades()

    assert "round failed: " in said[0]
    assert silent == [True]
    assert set(heard[1:-1]) == {"WATCHDOG=1"}
    assert heard[-1] == "STOPPING=1"
    assert "flow failed: bar" in {stored.alert.title for stored in opened.alerts.open()}
    assert "run handles" in refused[0]
    assert (trades["status"] != "vetoed").any()
    assert trades["signal_id"].is_unique
    assert said[-1] == "stopped; the round under way was finished"
    beat = Heartbeat(opened.shared_folder).last()
    assert beat is not None
    assert not beat.is_stale(datetime.now(UTC))


def test_a_sign_of_life_grows_old(tmp_path: Path) -> None:
    """Five minutes without one are too many; a file that cannot be read is none."""
    heartbeat, noon = Heartbeat(tmp_path), datetime(2026, 11, 26, 12, tzinfo=UTC)
    heartbeat.beat(noon, 2)
    beat = heartbeat.last()

    assert beat is not None
    assert (beat.next_bar, beat.failures) == (noon, 2)
    aged = Beat(noon, None, 0, 1)
    assert not aged.is_stale(noon.replace(minute=5))
    assert aged.is_stale(noon.replace(minute=5, second=1))
    assert aged.words(noon.replace(minute=2)) == "last sign of life 120 s ago"
    (tmp_path / "run.json").write_text("{")
    assert heartbeat.last() is None
