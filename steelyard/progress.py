"""Where long steps say how far they are; whoever starts a flow decides what becomes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Sink = Callable[[str, int, int, str], None]


def _silent(_what: str, _done: int, _total: int, _words: str) -> None:
    """Show nothing."""


_sink: ContextVar[Sink] = ContextVar("sink", default=_silent)


@contextmanager
def progress_to(sink: Sink) -> Iterator[None]:
    """Send the progress of everything inside to ``sink(what, done, total, words)``."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


def report_progress(what: str, done: int, total: int, words: str = "") -> None:
    """Say that ``done`` of ``total`` steps of ``what`` are behind us; ``words`` stand beside the bar."""
    _sink.get()(what, done, total, words)
