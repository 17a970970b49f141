"""Work that another process can do, or die of."""

import os
import signal
from pathlib import Path

from steelyard.errors import CollectMoreData
from steelyard.gateways.cluster import ScaleSettings, installed, open_workers
from steelyard.progress import progress_named, report_progress


def count(name: str, to: int) -> str:
    """Take some steps under a name, and return it."""
    with progress_named(name):
        for done in range(1, to + 1):
            report_progress("counting", done, to)
    if not to:
        raise CollectMoreData("nothing to count")
    return name


def square(number: int) -> int:
    return number**2


def square_after_a_death(number: int, marker: str) -> int:
    """Return the square; the first process that comes here dies by SIGKILL."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return number**2
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def die(_number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def square_inside(number: int, settings: ScaleSettings) -> int | None:
    """Return the square if work inside of work gets no workers of its own."""
    with open_workers(settings) as apply:
        return None if apply else number**2


def forget_version(name: str) -> None:
    """Let this process have another version of a library."""
    installed()[name] = "0.1"
