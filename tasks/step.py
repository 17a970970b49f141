"""The decorator of every step: a Prefect task inside a flow run, a plain function elsewhere.

So every flow runs from the command line without a server, and a replay (one long task) makes
thousands of calls a minute to the functions the scheduled flows use.
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
        recorded = task(cache_policy=NO_CACHE, **options)(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            directly_in_a_flow = FlowRunContext.get() is not None and TaskRunContext.get() is None
            if not directly_in_a_flow:
                return function(*args, **kwargs)
            with _deciding_slot() if one_at_a_time else nullcontext():
                return recorded(*args, **kwargs)

        return call

    return decorate


def _deciding_slot() -> AbstractContextManager[None]:
    """Return the one slot of the server's limit; create the limit if it is missing."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(DECIDING, 1)
    return concurrency(DECIDING, timeout_seconds=WAIT_SECONDS)
