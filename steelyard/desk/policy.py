"""Settings of a trading process: deadline of the ML side and limits of the HTTP service."""

from typing import Annotated

from pydantic import Field

from steelyard.values import FrozenModel


class DeskPolicy(FrozenModel):
    """Deadline of the ML side and limits of ``steelyard serve`` (``conf/desk.yaml``)."""

    deadline_ms: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    port: Annotated[int, Field(ge=1, le=65_535)] = 8787
    max_request_bytes: Annotated[int, Field(ge=1_000)] = 1_000_000
    requests_per_second: Annotated[int, Field(ge=1)] = 1_000
