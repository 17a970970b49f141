"""The decorator every step wears: Prefect's task directly inside a flow run, the bare function anywhere else.

That is what lets each flow run from the command line without a server, and lets a replay (one long task) take thousands
of steps a minute through the very functions the scheduled flows use.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectAlreadyExists

P = ParamSpec("P")
R = TypeVar("R")


DECIDING = "steelyard-deciding"
"""Prefect's concurrency limit of the steps that decide, one at a time; the journal's own lock holds without a server."""
WAIT_SECONDS = 600


def step(
    *, one_at_a_time: bool = False, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator; ``options`` are those of ``prefect.task`` (retries belong to I/O, never to a fit).

    Args:
        one_at_a_time: Where a server records the run, let no two such steps run there at once.
        options: What ``prefect.task`` takes.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        boxed = task(cache_policy=NO_CACHE, **options)(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            directly_in_a_flow = FlowRunContext.get() is not None and TaskRunContext.get() is None
            if not directly_in_a_flow:
                return function(*args, **kwargs)
            with _slot() if one_at_a_time else nullcontext():
                return boxed(*args, **kwargs)

        return call

    return decorate


def _slot() -> AbstractContextManager[None]:
    """Return the one slot of the server's limit, which is made where there is none yet."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(DECIDING, 1)
    return concurrency(DECIDING, timeout_seconds=WAIT_SECONDS)
