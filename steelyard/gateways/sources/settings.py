"""Settings of a source of bars, ``conf/source.yaml``, and what a preset adds to them."""

import datetime
import re
from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
from pydantic import Field, ValidationInfo, field_validator, model_validator

from steelyard.errors import FixConfiguration
from steelyard.gateways.calendars import zone_of
from steelyard.gateways.plugins import require_plugin
from steelyard.gateways.sources.presets import PRESETS, Preset
from steelyard.market.jumps import JumpDecision
from steelyard.market.simulated import Edge
from steelyard.values import FrozenModel

COLUMN_NAMES = (
    "timestamp",
    "time",
    "symbol",
    "adj_close",
    "open",
    "high",
    "low",
    "close",
    "volume",
)
"""Columns that can be mapped; ``time`` is the time of day where ``timestamp`` is a date."""
LOCAL = ("sample", "simulated", "files", "none")
"""Kinds of sources on this machine; all others are venues."""
LONGEST_DELAY = pd.Timedelta("15min")
"""Venues that give daily bars at once still correct them for minutes after the close."""
VENUES = {
    "alpaca": "steelyard.gateways.venues.alpaca_bars:AlpacaBars",
    "ccxt": "steelyard.gateways.venues.ccxt_bars:CcxtBars",
    "yfinance": "steelyard.gateways.venues.yahoo_bars:YahooBars",
}
"""Built-in venues and their classes; each needs the extra of its name."""
PLUGINS = "steelyard.sources"
"""Group of entry points under which other packages offer venues."""


class SourceSettings(FrozenModel):
    """Where bars come from, and what their columns and stamps mean (``conf/source.yaml``).

    A setting left as delivered takes the preset's value, or the usual one without a preset.

    Attributes:
        kind: ``sample``, ``simulated``, ``files``, ``none``, or a venue: ``ccxt``, ``alpaca``,
            ``yfinance``, ``MODULE:CLASS`` or the name of an entry point.
        since: Venues: first day of a symbol that the lake does not have yet.
        options: Venues: options of their own, by name.
        columns: Our name of a column → the file's, if they differ.
        header: Whether the first row of a file names its columns.
        names: Names of the columns of files without a header row, in order.
        separator: Sign between columns; empty: comma.
        decimal: Decimal sign; empty: point.
        thousands: Sign between thousands; empty: none.
        skip_rows: Lines above the header or the first row.
        skip_footer: Lines below the last row.
        comment: Lines that begin with this are left out; empty: none.
        records: JSON: key of the object that holds the rows; empty: the document is the rows.
        date_format: Format of written stamps (strptime), its part before the first blank for stamps
            without a time of day; empty: ISO 8601, written numbers or times since 1970.
        date_pattern: Regular expression with one group, the date (YYYYMMDD) in the name of a file
            whose stamps count milliseconds since midnight; empty: none.
        timezone: Zone of stamps that name none, and of the midnight at which daily bars begin;
            empty: UTC.
        hours_ahead: Hours by which stamps that name no zone are ahead of the clock of ``timezone``.
        epoch_zone: Whether numbers since 1970 count on the clock of ``timezone``, not in UTC.
        stamps: Whether stamps are a bar's open or its close; empty: open.
        price_factor: What the file's prices are divided by; None: 1.
        bar_size: Time from a bar's open to its close; "auto" takes the most common distance.
        calendar: "24/7", the code of an exchange calendar, or "auto".
        delay: Time from when a bar is known until the source has its final figures; "auto" is a
            sixtieth of a bar, at most ``LONGEST_DELAY``.
        symbol_pattern: Regular expression with one group, the symbol of a file's bars, searched in
            its name without the suffix, or in its whole path if the pattern has a slash. Empty: the
            name without its suffix.
        ignore: Patterns of file names that are left out, such as ``*-mark.*``.
        symbols: Only these; empty for all.
        jumps: The user's decisions about price jumps.
        preset: The tool that wrote the files; empty: none.
    """

    usual: ClassVar[dict[str, Any]] = {
        "separator": ",",
        "decimal": ".",
        "timezone": "UTC",
        "stamps": "open",
        "price_factor": 1.0,
    }

    kind: str = "sample"
    path: str = ""
    since: datetime.date | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict)
    header: bool = True
    names: tuple[str, ...] = ()
    separator: str = ""
    decimal: Literal["", ".", ","] = ""
    thousands: str = ""
    skip_rows: Annotated[int, Field(ge=0)] = 0
    skip_footer: Annotated[int, Field(ge=0)] = 0
    comment: str = ""
    records: str = ""
    date_format: str = ""
    date_pattern: str = ""
    timezone: str = ""
    hours_ahead: Annotated[float, Field(ge=-24, le=24)] = 0
    epoch_zone: bool = False
    stamps: Literal["", "open", "close"] = ""
    price_factor: Annotated[float | None, Field(gt=0)] = None
    bar_size: str = "auto"
    calendar: str = "auto"
    delay: str = "auto"
    symbol_pattern: str = ""
    ignore: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    jumps: tuple[JumpDecision, ...] = ()
    edge: Annotated[Edge, Field(description="of the simulated market")] = "hidden"
    preset: Annotated[str, Field(validate_default=True)] = ""

    def resolved(self) -> "SourceSettings":
        """Return the settings with the preset's and the usual values where the user gives none."""
        preset = PRESETS[self.preset].settings if self.preset else {}
        given = {
            name: value
            for name, value in self
            if value != type(self).model_fields[name].get_default(call_default_factory=True)
        }
        given["ignore"] = (*self.ignore, *preset.get("ignore", ()))
        return self.model_copy(update={**self.usual, **self._of_venue, **preset, **given})

    def delay_of(self, bar_size: pd.Timedelta) -> pd.Timedelta:
        """Return how long after a bar of this size is known the source has it."""
        if self.delay != "auto":
            return pd.Timedelta(self.delay)
        return min(bar_size / 60, LONGEST_DELAY)

    @property
    def is_venue(self) -> bool:
        """Whether bars are asked from a venue, only those the lake does not have."""
        return self.kind not in LOCAL

    @property
    def first_open(self) -> pd.Timestamp:
        """Begin of the day ``since`` (UTC), of a venue."""
        return pd.Timestamp(str(self.since), tz="UTC")

    @property
    def _of_venue(self) -> dict[str, str]:
        """Calendar of a venue, and the zone in which its daily bars begin, as far as known."""
        if not self.is_venue:
            return {}
        if self.kind == "ccxt":
            return {"calendar": "24/7", "timezone": "UTC"}
        if self.kind == "alpaca" and any("/" in symbol for symbol in self.symbols):
            return {"calendar": "24/7", "timezone": "America/Chicago"}
        if self.kind == "alpaca":
            return {"timezone": "America/New_York"}
        return {"timezone": zone_of(self.calendar)}

    @field_validator("kind")
    @classmethod
    def _a_kind(cls, kind: str) -> str:
        require_plugin(PLUGINS, kind, (*LOCAL, *VENUES))
        return kind

    @model_validator(mode="after")
    def _what_a_venue_asks(self) -> Self:
        if not self.is_venue:
            return self
        if not self.symbols:
            raise ValueError(f"{self.kind} needs 'symbols': those to collect")
        if self.bar_size == "auto":
            raise ValueError(f"{self.kind} needs 'bar_size', such as 1h or 1D")
        if self.since is None:
            raise ValueError(f"{self.kind} needs 'since': the first day to collect")
        return self

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - set(COLUMN_NAMES))
        if unknown:
            raise ValueError(
                f"unknown column {unknown[0]}; use one of {', '.join(sorted(COLUMN_NAMES))}"
            )
        return columns

    @field_validator("names")
    @classmethod
    def _each_name_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names a column twice")
        return names

    @field_validator("separator", "thousands")
    @classmethod
    def _one_sign(cls, sign: str) -> str:
        sign = "\t" if sign in ("tab", "\\t") else sign
        if len(sign.encode()) > 1 or sign in ('"', "\n", "\r"):
            raise ValueError("use one sign, or tab")
        return sign

    @field_validator("date_format")
    @classmethod
    def _a_format(cls, text: str) -> str:
        if text and "%" not in text:
            raise ValueError("use a format such as %d.%m.%Y %H:%M")
        return text

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        try:
            return name and ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("use a time zone such as UTC or Europe/London") from error

    @field_validator("bar_size")
    @classmethod
    def _a_duration(cls, text: str) -> str:
        if text != "auto" and not pd.Timedelta(text) > pd.Timedelta(0):
            raise ValueError("use a positive duration such as 1h, 15min or 1D, or auto")
        return text

    @field_validator("delay")
    @classmethod
    def _a_delay(cls, text: str) -> str:
        if text != "auto" and not pd.Timedelta(text) >= pd.Timedelta(0):
            raise ValueError("use a duration such as 20s or 15min, or auto")
        return text

    @field_validator("symbol_pattern", "date_pattern")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from error
        if pattern and groups != 1:
            raise ValueError(f"needs one group in parentheses; it has {groups}")
        return pattern

    @field_validator("jumps")
    @classmethod
    def _decided_once(cls, jumps: tuple[JumpDecision, ...]) -> tuple[JumpDecision, ...]:
        decided = Counter((jump.symbol, jump.date) for jump in jumps)
        for (symbol, date), count in decided.items():
            if count > 1:
                raise ValueError(f"{symbol} {date} is decided {count} times; keep one decision")
        return jumps

    @field_validator("preset")
    @classmethod
    def _what_the_preset_asks(cls, name: str, info: ValidationInfo) -> str:
        if name and name not in PRESETS:
            raise ValueError(f"unknown preset; use one of {', '.join(PRESETS)}")
        preset = PRESETS.get(name, Preset(""))
        for setting, advice in preset.asks.items():
            if info.data.get(setting) in ("", None):
                raise ValueError(f"{name} needs '{setting}' beside it: {advice}")
        thousands = info.data.get("thousands") or preset.settings.get("thousands")
        if thousands == (info.data.get("decimal") or "."):
            raise ValueError(f"'thousands' and 'decimal' are both {thousands}; set both")
        return name


def from_argument(text: str, base: SourceSettings) -> SourceSettings:
    """Return the settings of the source that the command line names.

    Args:
        text: ``sample``, ``simulated:EDGE`` (none, hidden or dying), or a path.
        base: Settings from ``conf/source.yaml``; the layout of files is kept, but not the sample's
            bar size and calendar.

    Raises:
        FixConfiguration: If the edge is unknown.
    """
    kind, _, edge = text.partition(":")
    if text == "sample":
        return base.model_copy(
            update={"kind": "sample", "path": "", "bar_size": "1D", "calendar": "XNYS"}
        )
    if kind == "simulated":
        if edge not in ("none", "hidden", "dying"):
            raise FixConfiguration(
                f"--bars {text}: unknown edge; use simulated: with none, hidden or dying"
            )
        return base.model_copy(
            update={"kind": "simulated", "edge": edge, "bar_size": "auto", "calendar": "24/7"}
        )
    changes = {"bar_size": "auto", "calendar": "auto"} if base.kind == "sample" else {}
    return base.model_copy(update={"kind": "files", "path": text, **changes})
