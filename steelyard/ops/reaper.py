"""Holds the processes of a supervisor: should it be killed, they are ended for it.

Run as a script with its standard input held open by the supervisor. It reads ``+GROUP`` for a process group that was started
and ``-GROUP`` for one that is gone; when the input ends, whatever is left is ended.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

GRACE_SECONDS = 10.0


def end(groups: Iterable[int], grace_seconds: float = GRACE_SECONDS) -> None:
    """End process groups: SIGTERM, then SIGKILL for those that are still there after ``grace_seconds``."""
    send(groups, signal.SIGTERM)
    until = time.monotonic() + grace_seconds
    while any(map(alive, groups)) and time.monotonic() < until:
        time.sleep(0.05)
    send(groups, signal.SIGKILL)


def send(groups: Iterable[int], number: int) -> None:
    """Send a signal to every process of the groups that is still there."""
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def alive(group: int) -> bool:
    """Whether any process of the group is there."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Follow the input to its end, then end what is left."""
    held: set[int] = set()
    for line in sys.stdin:
        (held.add if line[0] == "+" else held.discard)(int(line[1:]))
    end(held)


if __name__ == "__main__":
    main()
