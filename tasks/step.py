"""The decorator of every step: a Prefect task inside a flow run, a plain function elsewhere.

So every flow runs from the command line without a server, and a replay (one long task) makes
thousands of calls a minute to the functions the scheduled flows use. Prefect is imported only
inside a flow run: commands that read take steps, too.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


DECIDING = "steelyard-deciding"
"""Prefect's concurrency limit for steps that decide, beside the journal's own lock."""
WAIT_SECONDS = 600


def step(
    *, one_at_a_time: bool = False, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return the decorator of a step.

    Args:
        one_at_a_time: Let a server run no two such steps at once.
        options: Arguments of ``prefect.task``; retries belong to I/O, never to a fit.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @cache
        def recorded() -> Callable[P, R]:
            from prefect import task
            from prefect.cache_policies import NO_CACHE

            return task(cache_policy=NO_CACHE, **options)(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not _directly_in_a_flow():
                return function(*args, **kwargs)
            with _deciding_slot() if one_at_a_time else nullcontext():
                return recorded()(*args, **kwargs)

        return call

    return decorate


def _directly_in_a_flow() -> bool:
    """Return whether the caller is a flow run of Prefect, and not a step of it."""
    if "prefect" not in sys.modules:  # whoever runs a flow has imported it
        return False
    from prefect.context import FlowRunContext, TaskRunContext

    return FlowRunContext.get() is not None and TaskRunContext.get() is None


def _deciding_slot() -> AbstractContextManager[None]:
    """Return the one slot of the server's limit; create the limit if it is missing."""
    from prefect.client.orchestration import get_client
    from prefect.concurrency.sync import concurrency
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(DECIDING, 1)
    return concurrency(DECIDING, timeout_seconds=WAIT_SECONDS)
