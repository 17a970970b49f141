"""What a recorded run leaves on its page in Prefect; without a server there is no page, and nothing is written."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import cast
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext

from tasks.progress import shown_by

EVERY_SECONDS = 1.0


def publish(name: str, markdown: str) -> None:
    """Leave a summary on the page of the run; the latest of a name is what Prefect's artifacts show."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(markdown, key=f"{name}-summary", description=markdown.splitlines()[0].replace("**", ""))


@contextmanager
def progress(name: str) -> Iterator[None]:
    """Show on the page of the run how far everything inside is; where there is no page, wherever it is shown already."""
    with _on_page(name) if FlowRunContext.get() is not None else nullcontext():
        yield


@contextmanager
def _on_page(name: str) -> Iterator[None]:
    last, artifact = 0.0, create_progress_artifact(0.0, key=f"{name}-progress", description=f"{name}: how far it is")

    def sink(_what: str, done: int, total: int, _words: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > EVERY_SECONDS:
            last = now
            update_progress_artifact(cast(UUID, artifact), progress=100.0 * done / max(total, 1))

    with shown_by(sink):
        yield
