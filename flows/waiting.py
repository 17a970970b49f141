"""Waiting that a signal ends: the loop asks to stop, and whoever waits for a bar goes on."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SLICE_SECONDS = 0.2


class Waiting:
    """Waits in slices and ends early once a stop was asked for."""

    def __init__(self) -> None:
        self.stopped = False
        self.meanwhile: Callable[[], object] = lambda: None

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether a stop was asked for.

        Args:
            seconds: Time to wait; 0 or less returns at once.
        """
        until = time.monotonic() + seconds
        while not self.stopped and (left := until - time.monotonic()) > 0:
            self.meanwhile()
            time.sleep(min(left, SLICE_SECONDS))
        return self.stopped

    @contextmanager
    def until_signalled(self, meanwhile: Callable[[], object]) -> Iterator[None]:
        """Let SIGTERM and SIGINT ask for the stop, in place of ending the process.

        Args:
            meanwhile: Called in every slice of a wait.
        """
        handlers = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        self.meanwhile = meanwhile
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.meanwhile = lambda: None

    def _stop(self, *_: Any) -> None:
        self.stopped = True


waiting = Waiting()
"""That of this process: signals are the process's, too."""
