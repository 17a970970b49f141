"""Runs one job at a time in its own thread; the caller waits no longer than the deadline."""

import queue
from collections.abc import Callable
from typing import Generic, TypeVar

from steelyard.desk.background import Background

Result = TypeVar("Result")


class DeadlineExceeded(Exception):  # a reason to fall back, not an error
    """No result within the deadline."""


class DeadlineWorker(Generic[Result]):
    """One thread that runs one job at a time; the caller waits until the deadline at most.

    While a late job is still running, every further job is late at once: nobody waits for it.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, Result | None, Exception | None]] = (
            queue.SimpleQueue()
        )
        self._submitted = self._completed = 0
        self._thread = Background("steelyard-opinion", self._work, 0.0)
        self._thread.start()

    def run(self, job: Callable[[], Result], seconds: float) -> Result:
        """Return the result of ``job``, or raise its exception.

        Args:
            job: Computes a result other than None.
            seconds: Deadline, seconds from now.

        Raises:
            DeadlineExceeded: If it takes longer than ``seconds``, or an earlier job still runs.
        """
        while self._completed < self._submitted and not self._results.empty():
            self._completed = self._results.get()[0]
        if self._completed < self._submitted:
            raise DeadlineExceeded
        self._submitted = number = self._submitted + 1
        self._jobs.put(lambda: self._answer(number, job))
        try:
            self._completed, result, error = self._results.get(timeout=seconds)
        except queue.Empty:
            raise DeadlineExceeded from None
        if result is None:
            raise error or DeadlineExceeded
        return result

    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job`` after those before it; nobody waits for it, and ``trouble`` has its error."""
        self._jobs.put(job)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the thread; None if nothing is."""
        return self._thread.trouble

    def stop(self) -> None:
        """Let the thread end after its current job."""
        self._thread.stop()
        self._jobs.put(None)

    def _work(self) -> None:
        if (job := self._jobs.get()) is not None:
            job()

    def _answer(self, number: int, job: Callable[[], Result]) -> None:
        try:
            self._results.put((number, job(), None))
        except Exception as error:  # noqa: BLE001  # raised in the thread that waits
            self._results.put((number, None, error))
        except BaseException as error:
            self._results.put((number, None, RuntimeError(f"{type(error).__name__}: {error}")))
            raise
