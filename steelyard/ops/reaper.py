"""The reaper process: ends the services of a supervisor that was killed.

Run as a script whose standard input the supervisor keeps open. It reads ``+GROUP`` for a process
group that was started and ``-GROUP`` for one that has ended; at the end of the input it ends all
others.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

GRACE_SECONDS = 10.0


def end(groups: Iterable[int], grace_seconds: float = GRACE_SECONDS) -> None:
    """End process groups: SIGTERM, then SIGKILL for those that are still alive.

    Args:
        groups: Ids of process groups.
        grace_seconds: Longest wait between the two signals.
    """
    send(groups, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(map(alive, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(groups, signal.SIGKILL)


def send(groups: Iterable[int], number: int) -> None:
    """Send a signal to every living process of the groups.

    Args:
        groups: Ids of process groups; those that have ended are ignored.
        number: The signal.
    """
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def alive(group: int) -> bool:
    """Return whether any process of the group is alive."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Read the input to its end, then end the groups that are left."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end(groups)


if __name__ == "__main__":
    main()
