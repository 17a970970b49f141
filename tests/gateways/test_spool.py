"""The spool: on disk when it says so, whole after a crash, in order, nothing lost."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steelyard.errors import RestoreService
from steelyard.gateways import spool as module
from steelyard.gateways.spool import Spool


def opened(folder: Path) -> Spool:
    spool = Spool(folder)
    spool.open()
    return spool


def test_lines_come_back_in_order_until_they_are_drained(tmp_path: Path) -> None:
    """Also after the process was replaced by another."""
    first = opened(tmp_path)
    first.append([{"n": n} for n in range(5)])
    lines, position = first.waiting(3)
    first.drained(position)
    first.append([{"n": 5}])
    first.close()
    rest, _ = opened(tmp_path).waiting(10)

    assert lines == [b'{"n":0}\n', b'{"n":1}\n', b'{"n":2}\n']
    assert rest == [b'{"n":3}\n', b'{"n":4}\n', b'{"n":5}\n']


def test_a_line_that_was_not_finished_is_cut_off(tmp_path: Path) -> None:
    """What a power cut leaves behind."""
    spool = opened(tmp_path)
    spool.append([{"n": 1}])
    spool.close()
    with (tmp_path / "lines.jsonl").open("ab") as file:
        file.write(b'{"n":2')
    again = opened(tmp_path)
    again.append([{"n": 3}])

    assert again.waiting(10)[0] == [b'{"n":1}\n', b'{"n":3}\n']


def test_a_large_file_starts_anew_once_it_is_drained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only then."""
    monkeypatch.setattr(module, "LARGE", 10)
    spool = opened(tmp_path)
    spool.append([{"n": 1}, {"n": 2}])
    _, half = spool.waiting(1)
    spool.drained(half)
    assert (tmp_path / "lines.jsonl").stat().st_size == 16
    spool.drained(spool.waiting(1)[1])
    assert (tmp_path / "lines.jsonl").stat().st_size == 0
    spool.append([{"n": 3}])
    assert spool.waiting(5)[0] == [b'{"n":3}\n']


def test_a_mark_beyond_the_file_drains_it_again(tmp_path: Path) -> None:
    """What a crash between starting anew and noting it leaves: rather twice than never."""
    spool = opened(tmp_path)
    spool.append([{"n": 1}])
    spool.close()
    (tmp_path / "drained").write_text("999")

    assert opened(tmp_path).waiting(5)[0] == [b'{"n":1}\n']


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The second is told so; when the first has left it may."""
    first = opened(tmp_path)
    with pytest.raises(RestoreService, match="another process records here"):
        Spool(tmp_path).open()
    first.close()
    opened(tmp_path)


def test_a_full_disk_is_one_line_and_leaves_no_half_line(tmp_path: Path) -> None:
    """/dev/full, as the file: every write says that no space is left."""
    spool = opened(tmp_path)
    (tmp_path / "lines.jsonl").unlink()
    os.symlink("/dev/full", tmp_path / "lines.jsonl")

    with pytest.raises(RestoreService, match="No space left"):
        spool.append([{"n": 1}])


def test_a_killed_process_loses_nothing_it_was_told_is_there(tmp_path: Path) -> None:
    """A process appends as fast as it can and says how far it came; kill -9 at any moment."""
    code = (
        "import sys; from pathlib import Path; from steelyard.gateways.spool import Spool\n"
        f"s = Spool(Path({str(tmp_path)!r})); s.open()\n"
        "for n in range(100000):\n    s.append([{'n': n}]); print(n, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)  # our own code
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.kill()
    reported = [int(line) for line in process.stdout.read().split()]
    stored = opened(tmp_path).waiting(1_000_000)[0]

    assert len(stored) > max(reported)
    assert stored == [f'{{"n":{n}}}\n'.encode() for n in range(len(stored))]
