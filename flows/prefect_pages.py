"""What a recorded run shows on its page in Prefect; without a server nothing is written."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext

from steelyard.gateways.quality import Quality
from steelyard.progress import progress_to
from steelyard.views import markdown
from steelyard.views.records import DecisionRecord
from steelyard.weight.state import State

UPDATE_SECONDS = 1.0
"""Shortest time between two updates of a progress bar."""


def publish(name: str, text: str, page: str = "") -> None:
    """Leave a summary on the page of the run; Prefect lists the latest one of each flow.

    Args:
        name: Name of the flow.
        text: Markdown with the verdict in its first line.
        page: Address of the run in MLflow, for a link of its own; empty for none.
    """
    if FlowRunContext.get() is None:
        return
    verdict = text.splitlines()[0].replace("**", "")
    create_markdown_artifact(text, key=f"{name}-summary", description=verdict)
    if page:
        create_link_artifact(
            page, link_text="Open in MLflow", key=f"{name}-page", description=verdict
        )


def publish_decisions(name: str, decisions: Sequence[DecisionRecord], state: State) -> None:
    """Leave decisions and the state after them on the page of the run.

    Args:
        name: Name of the flow.
        decisions: The decisions; may be empty.
        state: State after them.
    """
    page = decisions[-1].page if decisions else ""
    publish(name, markdown.decisions_summary(decisions, state), page)


@contextmanager
def documented(name: str, quality: Quality) -> Iterator[None]:
    """Show the data checks made inside on the page of the run, also if one of them stops the run.

    Args:
        name: Name of the flow.
        quality: Data contracts that are checked inside.
    """
    try:
        yield
    finally:
        if quality.held:
            publish(f"{name}-data", markdown.data_check_summary(quality.held.values()))


@contextmanager
def progress(name: str) -> Iterator[None]:
    """Show the progress of the work inside on the page of the run, or as before without a page."""
    with _progress_on_page(name) if FlowRunContext.get() is not None else nullcontext():
        yield


@contextmanager
def _progress_on_page(name: str) -> Iterator[None]:
    description = f"{name}: how far it is"
    artifact = create_progress_artifact(0.0, key=f"{name}-progress", description=description)
    updated_at = 0.0

    def show(_subject: str, done: int, total: int, _caption: str) -> None:
        nonlocal updated_at
        now = time.monotonic()
        if done == total or now - updated_at > UPDATE_SECONDS:
            updated_at = now
            update_progress_artifact(cast(UUID, artifact), progress=100.0 * done / max(total, 1))

    with progress_to(show):
        yield
