"""Progress of long steps; whoever starts a flow decides how it is shown."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from multiprocessing import get_context
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Sink = Callable[[str, int, int, str], None]


def _silent(_step: str, _done: int, _total: int, _detail: str) -> None:
    """Show nothing."""


_sink: ContextVar[Sink] = ContextVar("sink", default=_silent)


@contextmanager
def progress_to(sink: Sink) -> Iterator[None]:
    """Send all progress inside to ``sink(step, done, total, detail)``."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


def report_progress(step: str, done: int, total: int, detail: str = "") -> None:
    """Report the progress of a step.

    Args:
        step: Name of the step; one bar is drawn per name.
        done: Units done, at most ``total``.
        total: Units of the whole step.
        detail: Text beside the bar.
    """
    _sink.get()(step, done, total, detail)


@contextmanager
def progress_named(name: str) -> Iterator[None]:
    """Put a name before the steps inside, which others take at the same time."""
    outer = _sink.get()
    with progress_to(lambda step, *figures: outer(f"{name} {step}", *figures)):
        yield


@contextmanager
def processes(most: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes, at most one for each core, whose progress is shown here.

    If this process dies, their next report of progress fails, and their work ends.

    Args:
        most: Largest number of processes.
    """
    context = get_context("spawn")
    reports, sender = context.Pipe(duplex=False)
    shown = Thread(target=copy_context().run, args=(_show, reports))
    shown.start()
    count = min(most, os.cpu_count() or 1)
    try:
        with ProcessPoolExecutor(count, context, _send_progress, (sender,)) as pool:
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        sender.close()
        shown.join()


def _show(reports: "Connection[Any, Any]") -> None:
    """Show what is reported until nobody can report any more."""
    with suppress(EOFError):
        while True:
            report_progress(*reports.recv())


def _send_progress(sender: "Connection[Any, Any]") -> None:
    """Send the progress of this process to the one that started it.

    Reports are short, so that the pipe keeps those of several processes apart.
    """
    _sink.set(lambda *report: sender.send(report))
