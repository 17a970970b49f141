"""What a recorded run leaves on its page in Prefect; without a server there is no page, and nothing is written."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast
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

EVERY_SECONDS = 1.0


def publish(name: str, markdown: str, page: str = "") -> None:
    """Leave a summary on the page of the run; the latest of a name is what Prefect's artifacts show.

    Args:
        name: Of the flow.
        markdown: The verdict in the first line.
        page: Address of the run in MLflow, for an artifact of its own; empty for none.
    """
    if FlowRunContext.get() is None:
        return
    first = markdown.splitlines()[0].replace("**", "")
    create_markdown_artifact(markdown, key=f"{name}-summary", description=first)
    if page:
        create_link_artifact(
            page, link_text="Open in MLflow", key=f"{name}-page", description=first
        )


def page_of(made: Sequence[Mapping[str, Any]]) -> str:
    """Return the address of the last of these decisions; empty without one."""
    return str(made[-1]["page"]) if made else ""


@contextmanager
def documented(name: str, quality: Quality) -> Iterator[None]:
    """Leave what is held against its data contract inside on the page of the run, also where it stops the run."""
    try:
        yield
    finally:
        if quality.held:
            publish(f"{name}-data", markdown.checked(quality.held.values()))


@contextmanager
def progress(name: str) -> Iterator[None]:
    """Show on the page of the run how far everything inside is; where there is no page, wherever it is shown already."""
    with _on_page(name) if FlowRunContext.get() is not None else nullcontext():
        yield


@contextmanager
def _on_page(name: str) -> Iterator[None]:
    last, artifact = (
        0.0,
        create_progress_artifact(0.0, key=f"{name}-progress", description=f"{name}: how far it is"),
    )

    def sink(_what: str, done: int, total: int, _words: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > EVERY_SECONDS:
            last = now
            update_progress_artifact(cast(UUID, artifact), progress=100.0 * done / max(total, 1))

    with progress_to(sink):
        yield
