"""Deeds in processes of their own, as the command line runs them: harmed, in a crowd, elsewhere."""

import locale
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any

from factories.living import Deed
from steelyard.errors import RestoreService, SteelyardError

UNEXPECTED = 70
"""Exit code after an error that is not ours."""
TRIES = 40


def start(
    processes: ForkServerContext, deed: Deed, circumstances: Callable[[], object] | None = None
) -> BaseProcess:
    """Start a deed in a child: exit code 1 if it is refused in one line.

    Args:
        processes: Starts the child.
        deed: What to do.
        circumstances: Called first; they make the child's life harder.
    """
    child = processes.Process(target=_attempt, args=(deed, circumstances))
    child.start()
    return child


def ended(child: BaseProcess) -> int:
    """Wait for a child and return its exit code; an error that is not ours fails the test."""
    child.join(300)
    assert child.exitcode not in (None, UNEXPECTED)
    return int(child.exitcode or 0)


def _attempt(deed: Deed, circumstances: Callable[[], object] | None) -> None:
    if circumstances:
        circumstances()
    try:
        deed.run()
    except SteelyardError as error:
        sys.exit(f"steelyard: {error}")
    except Exception:  # noqa: BLE001  # told apart by the exit code
        traceback.print_exc()
        os._exit(UNEXPECTED)


def run_together(processes: ForkServerContext, lives: Sequence[Sequence[Deed]]) -> None:
    """Run each life in a process of its own; they wait for each other before every deed."""
    barrier = processes.Barrier(len(lives))
    children = [processes.Process(target=_live_in_step, args=(life, barrier)) for life in lives]
    for child in children:
        child.start()
    for child in children:
        child.join(600)
    assert [child.exitcode for child in children] == [0] * len(lives)


def _live_in_step(deeds: Sequence[Deed], barrier: Any) -> None:
    for deed in deeds:
        barrier.wait(300)
        _run_insistently(deed)


def _run_insistently(deed: Deed) -> None:
    """Run a deed again as long as another process is in its way, as its one line says."""
    for _ in range(TRIES):
        with suppress(RestoreService):
            deed.run()
            return
        time.sleep(0.25)
    deed.run()


def move(variables: Mapping[str, str]) -> None:
    """Live in another zone and language, and let only the owner read new files."""
    os.environ.update(variables)
    time.tzset()
    with suppress(locale.Error):  # not installed everywhere
        locale.setlocale(locale.LC_ALL, "")
    os.umask(0o077)
