"""A log as the existing system: where it is, and how it is read.

Any program in any language may write the log: a file it appends to, a table, or requests.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from steelyard.market.bars import Bars
from steelyard.values import FrozenModel

IDENTITY = ("symbol", "timestamp", "side")
TIMES = ("entry_at", "exit_at", "settled_at")
NUMBERS = ("entry_price", "exit_price", "net_return", "stop_distance", "quantity", "fees")
LEVELS = ("stop", "target", "bars", "trail")
LOG_COLUMNS = (*IDENTITY, "confidence", "traded", "exit_reason", *TIMES, *NUMBERS, *LEVELS)
"""Columns of a log that have a meaning; a number in any other is a feature of the signal."""


class LogSettings(FrozenModel):
    """Where a log is and how it is read (``log`` in ``conf/strategy.yaml``).

    Attributes:
        path: File that grows, or folder of such files (.csv, .jsonl, .parquet); empty for none.
        url: Database of the table, as SQLAlchemy writes it; empty for none.
        table: Table in that database.
        columns: Our name of a column → the log's, if they differ.
        timezone: Zone of times that name none.
        stamps: What ``timestamp`` is: the time of the decision, or the open of its bar.
        confidence_factor: What confidences are multiplied by to lie on 0 to 100.
        features: Columns the model learns from besides bars; empty for every number without a
            meaning of its own.
        stop_distance: Fraction of the entry that sizes the books where neither the log nor bars
            give a stop.
        orders: Whether ``trade`` orders the signals; if not, the program that logs trades itself.
        answers: File that gets one line per evaluated signal; empty for none.
    """

    path: str = ""
    url: str = ""
    table: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    timezone: str = "UTC"
    stamps: Literal["decision", "open"] = "decision"
    confidence_factor: Annotated[float, Field(gt=0)] = 1.0
    features: tuple[str, ...] = ()
    stop_distance: Annotated[float, Field(gt=0, lt=1)] = 0.02
    orders: bool = False
    answers: str = ""

    @property
    def is_read(self) -> bool:
        """Whether ``collect`` has something to read; otherwise signals come by requests alone."""
        return bool(self.path or self.url)

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - set(LOG_COLUMNS))
        if unknown:
            raise ValueError(f"unknown column {unknown[0]}; use one of {', '.join(LOG_COLUMNS)}")
        return columns

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("use a time zone such as UTC or Europe/London") from error
        return name

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path and self.url:
            raise ValueError("path and url are both set; a log is read from one place")
        if bool(self.url) != bool(self.table):
            raise ValueError("url and table belong together; set both or none")
        return self


def own_name(column: str) -> str:
    """Return the name of the feature in a column of a log: letters, digits and underscores."""
    return re.sub(r"\W+", "_", column)


def reason_word(reason: object) -> str:
    """Return the exit reason of a log as letters and underscores; "log" if it says none."""
    word = re.sub(r"[^a-z]+", "_", str(reason or "").lower()).strip("_")
    return word[:20].rstrip("_") or "log"


class LoggedSystem:
    """A system in another program: what it logs is its signals and features, nothing is asked.

    Args:
        own_names: Names of the features that the log gives.
    """

    warmup = 0
    score_names: tuple[str, ...] = ()

    def __init__(self, own_names: Iterable[str]) -> None:
        self.feature_names = tuple(own_names)

    def propose(self, bars: Bars) -> None:
        """Propose nothing: the log has the signals."""

    def features(self, bars: Bars) -> Mapping[str, float]:
        """Return no feature: the log has them."""
        return {}
