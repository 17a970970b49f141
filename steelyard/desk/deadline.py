"""Runs one job at a time in a thread of its own; the caller waits no longer than the deadline."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class DeadlineExceeded(Exception):  # a reason to fall back, no error anyone sees
    """No answer within the deadline."""


class DeadlineWorker(Generic[Answer]):
    """One thread that does one job at a time; who asks waits no longer than told.

    While a late job is still running nobody waits for it: every further question is late at once.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[int, Callable[[], Answer]] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, Answer | None, Exception | None]] = (
            queue.SimpleQueue()
        )
        self._asked = self._answered = 0
        threading.Thread(target=self._work, name="steelyard-opinion", daemon=True).start()

    def ask(self, job: Callable[[], Answer], seconds: float) -> Answer:
        """Return what ``job`` returns, raise what it raises.

        Raises:
            DeadlineExceeded: If it takes longer than ``seconds``, or a job before it still runs.
        """
        while self._answered < self._asked and not self._answers.empty():
            self._answered = self._answers.get()[0]
        if self._answered < self._asked:
            raise DeadlineExceeded
        self._asked += 1
        self._jobs.put((self._asked, job))
        try:
            self._answered, answer, error = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise DeadlineExceeded from None
        if answer is None:
            raise error or DeadlineExceeded
        return answer

    def stop(self) -> None:
        """Let the thread end after the job it has."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (asked := self._jobs.get()) is not None:
            number, job = asked
            try:
                self._answers.put((number, job(), None))
            except Exception as error:  # noqa: BLE001  # handed to who asked
                self._answers.put((number, None, error))
