"""Background threads outlive every error, and say so."""

import sys
import time

import pytest

from steelyard.desk import background
from steelyard.desk.background import Background
from steelyard.desk.deadline import DeadlineWorker


def until(condition: object, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():  # type: ignore[operator]
        time.sleep(0.005)
    return bool(condition())  # type: ignore[operator]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), MemoryError(), SystemExit(3)])
def test_no_error_ends_a_thread(error: BaseException) -> None:
    """It is told once, kept as trouble, and forgotten after a success."""
    faults, told, rounds = [error, error], [], []

    def act() -> None:
        rounds.append(1)
        if faults:
            raise faults.pop()

    def alarm(message: str) -> None:
        told.append(message)
        raise ConnectionError("nobody listens")

    thread = Background("x", act, 0.05, alarm)
    thread.start()
    assert until(lambda: thread.trouble is not None)
    assert f"x: {type(error).__name__}" in str(thread.trouble)
    assert until(lambda: len(rounds) > 3 and thread.trouble is None)
    assert len(told) == 1
    assert thread.stop(5.0)


def test_a_thread_that_ended_all_the_same_is_a_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ended it: nobody waits for a thread that is not there."""
    monkeypatch.setattr(background.Background, "attempt", lambda _: 1 / 0)
    thread = Background("x", lambda: None, 0.01)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    thread.start()

    assert until(lambda: thread.trouble == "x: the thread has ended; restart the process")


def test_a_model_that_ends_its_thread_ends_no_later_opinion() -> None:
    """The opinion in question is an error of its own, and the caller does not exit."""
    worker = DeadlineWorker[int]()
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        worker.run(lambda: sys.exit(3), 10.0)
    assert worker.run(lambda: 7, 10.0) == 7
    worker.stop()
