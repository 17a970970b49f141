"""Recording off the hot path: once and in order, whatever happens to database or disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from factories.evidence import EARLIER
from factories.registry import LINEAGE
from steelyard.desk.recorder import BUSY_BATCH, Recorder
from steelyard.desk.signals import Evaluation, Outcome
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.spool import Spool
from steelyard.market.features import feature_names
from steelyard.market.strategy import TrendStrategy

SCORES = TrendStrategy.score_names
NAMES = feature_names(TrendStrategy())
LATER = EARLIER + timedelta(days=9999)
LONG_AGO = EARLIER - timedelta(days=9999)


def evaluation(number: int, *, predicted: bool = True) -> Evaluation:
    at = EARLIER + timedelta(minutes=number)
    return Evaluation(
        signal_id=f"S:{number:06d}:buy",
        symbol="S",
        side="buy",
        timestamp=at,
        decided_at=at + timedelta(hours=1),
        model_version="1" if predicted else "",
        p_win=0.6 if predicted else float("nan"),
        confidence_existing=71.5,
        confidence_ml=80.25 if predicted else float("nan"),
        weight=0.25,
        blended=73.6875,
        arm="all",
        decision=True,
        pivotal=False,
        latency_ms=0.07,
        fallback_reason=None if predicted else "exception",
        features=np.arange(len(NAMES), dtype=float) if predicted else np.empty(0),
    )


def outcome(signal_id: str) -> Outcome:
    return Outcome(
        signal_id=signal_id,
        settled_at=EARLIER + timedelta(days=1),
        net_return=0.01,
        won=True,
        exit_reason="target",
        hold_minutes=60.0,
        slippage_bps=0.0,
        stop_distance=0.02,
    )


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    running = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool"), SCORES
    ).start()
    yield running
    running.stop()


def recorded(folder: Path) -> list[str]:
    ledger = Ledger(f"sqlite:///{folder}/ledger.db", LINEAGE)
    ledger.migrate()
    return ledger.predictions(LONG_AGO, LATER)["signal_id"].tolist()


def test_what_was_evaluated_is_in_the_ledger_to_the_last_bit(
    recorder: Recorder, tmp_path: Path
) -> None:
    """Every number, features by name, NaN without a prediction."""
    recorder.record(evaluation(1))
    recorder.record(evaluation(2, predicted=False))
    recorder.stop()
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE)
    first, second = ledger.predictions(LONG_AGO, LATER).to_dict("records")
    stored = ledger.signal("S:000001:buy")

    assert (first["p_win"], first["confidence_ml"], first["blended"], first["weight"]) == (
        0.6,
        80.25,
        73.6875,
        0.25,
    )
    assert first["decided_at"] == evaluation(1).decided_at
    assert np.isnan(second["p_win"])
    assert second["fallback_reason"] == "exception"
    assert stored is not None
    assert stored["features"] == {name: float(number) for number, name in enumerate(NAMES)}
    assert recorder.lost == 0


def test_while_the_database_is_down_it_waits_on_disk_and_drains_by_itself(tmp_path: Path) -> None:
    """Once and in order, also after the process was replaced."""
    (tmp_path / "ledger.db").mkdir()
    down = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool"), SCORES
    ).start()
    for number in range(1200):
        down.record(evaluation(number))
    down.stop()
    assert down.trouble is not None
    (tmp_path / "ledger.db").rmdir()
    up = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool"), SCORES
    ).start()
    up.record(evaluation(1200))
    up.stop()

    assert recorded(tmp_path) == [f"S:{number:06d}:buy" for number in range(1201)]
    assert up.trouble is None


def test_while_trades_are_decided_the_ledger_gets_a_small_batch_at_a_time(tmp_path: Path) -> None:
    """A burst would hold the processor for a tenth of a second; an outcome brings all of it in."""
    ledger, spool = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool")
    recorder = Recorder(ledger, spool, SCORES)
    stored = []
    for first in (0, 200, 201):
        for number in range(first, max(first + 1, 200)):
            recorder.record(evaluation(number))
        recorder.flush()
        stored.append(len(recorded(tmp_path)))
    recorder.settle(outcome("S:000003:buy"))
    recorder.flush()
    spool.close()

    assert stored == [BUSY_BATCH, 2 * BUSY_BATCH, 3 * BUSY_BATCH]
    assert recorded(tmp_path) == [f"S:{number:06d}:buy" for number in range(202)]
    assert ledger.signal("S:000003:buy")["won"]  # type: ignore[index]


def test_lines_that_were_stored_before_the_crash_are_not_stored_twice(tmp_path: Path) -> None:
    """Without the mark everything is drained again, and no row is doubled."""
    for _ in range(2):
        recorder = Recorder(
            Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool"), SCORES
        ).start()
        recorder.record(evaluation(1))
        recorder.stop()
        (tmp_path / "spool" / "drained").unlink()

    assert recorded(tmp_path) == ["S:000001:buy"]


def test_a_full_disk_keeps_it_in_memory_until_there_is_room(tmp_path: Path) -> None:
    """Trading continues."""
    spool = Spool(tmp_path / "spool")
    recorder = Recorder(Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), spool, SCORES).start()
    lines = tmp_path / "spool" / "lines.jsonl"
    lines.unlink()
    os.symlink("/dev/full", lines)
    for number in range(10):
        recorder.record(evaluation(number))
    time.sleep(0.3)
    assert recorder.trouble is not None
    lines.unlink()
    recorder.stop()

    assert len(recorded(tmp_path)) == 10
    assert recorder.lost == 0


def test_a_disk_that_fails_outside_the_spools_lines_ends_no_recording(tmp_path: Path) -> None:
    """The mark cannot be written: it is told, and what came meanwhile is recorded later."""
    told: list[str] = []
    recorder = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE),
        Spool(tmp_path / "spool"),
        SCORES,
        alarm=told.append,
    ).start()
    (tmp_path / "spool" / "drained.new").mkdir()
    for number in range(10):
        recorder.record(evaluation(number))
    deadline = time.monotonic() + 10
    while recorder.trouble is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "free space on this disk" in str(recorder.trouble)
    (tmp_path / "spool" / "drained.new").rmdir()
    recorder.record(evaluation(10))
    recorder.stop()

    assert len(recorded(tmp_path)) == 11
    assert (recorder.trouble, told) == (None, [])


def test_records_that_are_only_in_memory_are_told(tmp_path: Path) -> None:
    """Once, not at every attempt."""
    told: list[str] = []
    spool = Spool(tmp_path / "spool")
    recorder = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), spool, SCORES, alarm=told.append
    ).start()
    lines = tmp_path / "spool" / "lines.jsonl"
    lines.unlink()
    lines.mkdir()
    recorder.record(evaluation(1))
    time.sleep(0.5)
    lines.rmdir()
    recorder.stop()

    assert len(told) == 1
    assert told[0].startswith("1 records are only in memory")
    assert recorded(tmp_path) == ["S:000001:buy"]


def test_a_record_that_the_ledger_refuses_keeps_no_other_waiting(tmp_path: Path) -> None:
    """A time without a zone is set aside; a number of NumPy is a number."""
    recorder = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool"), SCORES
    ).start()
    naive = evaluation(2).decided_at.replace(tzinfo=None)
    recorder.record(replace(evaluation(1), confidence_existing=np.float32(71.5)))
    recorder.record(replace(evaluation(2), decided_at=naive))
    recorder.record(evaluation(3))
    recorder.stop()

    assert recorded(tmp_path) == ["S:000001:buy", "S:000003:buy"]
    assert recorder.set_aside == 1
    assert "S:000002:buy" in (tmp_path / "spool" / "damaged.jsonl").read_text()


def test_a_damaged_line_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    """The line is kept for the operator."""
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.append([{"nonsense": 1}])
    spool.close()
    recorder = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool"), SCORES
    ).start()
    recorder.record(evaluation(1))
    recorder.stop()

    assert recorded(tmp_path) == ["S:000001:buy"]
    assert (tmp_path / "spool" / "damaged.jsonl").read_text() == '{"nonsense":1}\n'


def test_a_killed_process_loses_what_was_handed_over_in_the_last_moment_at_most(
    tmp_path: Path,
) -> None:
    """After kill -9 half a second later, the next process finds all 2,000 records."""
    code = (
        f"import sys, time; sys.path[:0] = {[str(path) for path in Path(__file__).parents[:2]]}\n"
        "from pathlib import Path; import test_recorder as t\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "ledger = t.Ledger(f'sqlite:///{folder}/none/ledger.db', 'signal-confidence')\n"
        "r = t.Recorder(ledger, t.Spool(folder / 'spool'), t.SCORES).start()\n"
        "[r.record(t.evaluation(n)) for n in range(2000)]\n"
        "time.sleep(0.5); print('there', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)  # our own code
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    after = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE), Spool(tmp_path / "spool"), SCORES
    ).start()
    after.stop()
    killed = Ledger(f"sqlite:///{tmp_path}/none/ledger.db", LINEAGE)
    killed.migrate()  # it may have been killed before its tables were made
    first = killed.predictions(LONG_AGO, LATER)["signal_id"].tolist()

    assert sorted({*first, *recorded(tmp_path)}) == [
        f"S:{number:06d}:buy" for number in range(2000)
    ]
