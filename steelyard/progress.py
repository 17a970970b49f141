"""Progress of long steps; whoever starts a flow decides how it is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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


def set_sink(sink: Sink) -> None:
    """Send all progress of this context to ``sink`` from now on."""
    _sink.set(sink)


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
