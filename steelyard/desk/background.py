"""Background threads of a trading process: no error ends one, and none ends without a word."""

import threading
import time
from collections.abc import Callable

ALARM_SECONDS = 3600.0
"""Shortest time between two alarms of one thread."""

Alarm = Callable[[str], None]


class Background:
    """Repeats an action in a thread of its own, whatever the action raises.

    Args:
        name: Name of the thread.
        action: Done repeatedly; may wait for its own work.
        seconds: Time between two actions, seconds.
        alarm: Called with one line once the action has failed, at most every ``ALARM_SECONDS``.
    """

    def __init__(
        self,
        name: str,
        action: Callable[[], None],
        seconds: float,
        alarm: Alarm = lambda _: None,
    ) -> None:
        self._action = action
        self._seconds = seconds
        self._alarm = alarm
        self._alarmed_at = float("-inf")
        self._stopping = threading.Event()
        self._failure: str | None = None
        self._started = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def trouble(self) -> str | None:
        """Why the last action failed, or that the thread has ended; None if it is well."""
        if self._started and not self._stopping.is_set() and not self._thread.is_alive():
            return f"{self._thread.name}: the thread has ended; restart the process"
        return self._failure

    def start(self) -> None:
        """Start the thread."""
        self._started = True
        self._thread.start()

    def stop(self, seconds: float = 0.0) -> bool:
        """End the thread after its present action; returns whether it has ended.

        Args:
            seconds: Longest wait for it, seconds; 0 for none.
        """
        self._stopping.set()
        if seconds and self._started:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def attempt(self) -> None:
        """Do the action once; an error is kept in ``trouble`` and raises the alarm."""
        try:
            self._action()
            self._failure = None
        except BaseException as error:  # noqa: BLE001  # the thread must live on
            self._fail(error)

    def report(self, words: str) -> None:
        """Raise the alarm, at most every ``ALARM_SECONDS``."""
        if time.monotonic() - self._alarmed_at < ALARM_SECONDS:
            return
        self._alarmed_at = time.monotonic()
        self._alarm(words)

    def _run(self) -> None:
        self.attempt()
        while not self._stopping.wait(self._seconds):
            self.attempt()

    def _fail(self, error: BaseException) -> None:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        self._failure = f"{self._thread.name}: {words}"
        try:
            self.report(self._failure)
        except BaseException as second:  # noqa: BLE001  # so must it if nobody can be told
            self._failure += f"; no alarm: {type(second).__name__}"
