"""The decorator every step wears: Prefect's task directly inside a flow run, the bare function anywhere else.

That is what lets each flow run from the command line without a server, and lets a replay (one long task) take thousands
of steps a minute through the very functions the scheduled flows use.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext

P = ParamSpec("P")
R = TypeVar("R")


def step(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator; ``options`` are those of ``prefect.task`` (retries belong to I/O, never to a fit)."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        boxed = task(cache_policy=NO_CACHE, **options)(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            directly_in_a_flow = FlowRunContext.get() is not None and TaskRunContext.get() is None
            return boxed(*args, **kwargs) if directly_in_a_flow else function(*args, **kwargs)

        return call

    return decorate
