"""Commands that are killed, find no room or find their databases locked: a life as without harm."""

import random
import resource
import signal
import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

from factories.children import ended, start
from factories.living import Deed, assert_same_life, living_conf, moments
from factories.registry import copy_mlflow
from factories.sizes import Size, sized
from steelyard.home import open_home
from steelyard.ops.verify import verified

SEED = 13
UNFINISHED = "begun, never finished"
"""What ``verify`` says of a run whose process died; the next decision closes it."""
ROOMS = (0, 4_096, 65_536, 500_000, 2_000_000)
"""Bytes to which a file may grow; some files of a home are already longer."""


@dataclass(frozen=True)
class Hardship:
    """What is at hand to do harm.

    Attributes:
        processes: Starts children.
        chance: Decides when.
        seconds: How long the deed takes unharmed.
        size: Size of the test.
    """

    processes: ForkServerContext
    chance: random.Random
    seconds: float
    size: Size


def killed(deed: Deed, hardship: Hardship) -> None:
    """Kill it at a random moment; one that was quicker is run again and killed earlier."""
    exit_code, seconds = 0, hardship.seconds
    while exit_code == 0:
        child = start(hardship.processes, deed)
        child.join(hardship.chance.uniform(0, seconds))
        child.kill()
        exit_code, seconds = ended(child), seconds / 2
    assert exit_code == -signal.SIGKILL, deed


def without_room(deed: Deed, hardship: Hardship) -> None:
    """Let no file grow beyond a random size, as on a full disk: done, or refused in one line."""
    room = hardship.chance.choice(ROOMS)
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
    child = start(hardship.processes, deed, full)
    assert ended(child) in (0, 1), (deed, room)


def locked_out(deed: Deed, hardship: Hardship) -> None:
    """Hold ledger and MLflow for a while: it waits, or gives up in one line."""
    files = (deed.home / ".steelyard" / "ledger.db", deed.home / "mlruns" / "mlflow.db")
    with ExitStack() as held:
        for file in files:
            if file.exists():
                connection = held.enter_context(closing(sqlite3.connect(file)))
                connection.execute("BEGIN IMMEDIATE")
        child = start(hardship.processes, deed)
        child.join(hardship.size.locked_seconds)
    assert ended(child) in (0, 1), deed


HARMS = (killed, without_room, locked_out)


@sized
def test_a_life_with_every_harm_in_every_command_leaves_the_rows_of_one_without(
    tmp_path: Path, empty_mlflow: Path, processes: ForkServerContext, size: Size
) -> None:
    """Harmed, verified, repeated, each command of each day: the same rows as in the twin's life.

    At most, a run of MLflow that was begun stays unfinished until the command is repeated, and a
    trade that could not read the state was decided by the existing system alone.
    """
    chance = random.Random(SEED)  # noqa: S311  # moments, no secrets
    conf = living_conf(tmp_path)
    twin, victim = (copy_mlflow(empty_mlflow, tmp_path / one / "mlruns").parent for one in "tv")
    for deed in _deeds(size, twin, conf):
        hardship = Hardship(processes, chance, 1.0, size)
        started = time.monotonic()
        assert ended(start(hardship.processes, deed)) == 0, deed
        hardship = replace(hardship, seconds=time.monotonic() - started)
        harmed = replace(deed, home=victim)
        for harm in chance.sample(HARMS, len(HARMS)):
            harm(harmed, hardship)
            _require_whole(harmed, unfinished=True)
        assert ended(start(hardship.processes, harmed)) == 0, harmed
        _require_whole(harmed)

    assert_same_life(open_home(twin, conf), open_home(victim, conf), doubted=True)


def _deeds(size: Size, home: Path, conf: Path) -> list[Deed]:
    """The lineage begins first, so that the first evaluation has something to judge."""
    first, *days = moments()[: 1 + size.days]
    daily = [Deed(name, day, home, conf) for day in days for name in size.names]
    return [Deed("guard", first, home, conf), *daily, Deed("rollback", days[-1], home, conf)]


def _require_whole(deed: Deed, *, unfinished: bool = False) -> None:
    faults = verified(open_home(deed.home, deed.conf)).faults
    wrong = [fault for fault in faults if not (unfinished and fault.endswith(UNFINISHED))]
    assert wrong == [], deed
