"""What every format gives: trades in our names, and what could not be read."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from steelyard.errors import FixConfiguration
from steelyard.gateways.stamps import AWARE, read_stamps
from steelyard.values import FrozenModel

Unit = Literal["trades", "executions", "signals"]
SkippedKind = Literal["duplicate", "incomplete", "impossible"]
RESOLUTIONS = ("1D", "4h", "1h", "30min", "15min", "5min", "1min", "1s")
TIMES = ("timestamp", "decided_at", "entry_at", "exit_at")
NUMBERS = (
    "confidence",
    "entry_price",
    "exit_price",
    "net_return",
    "quantity",
    "fees",
    "profit",
    "lowest",
    "highest",
    "stop",
    "target",
    "bars",
    "trail",
    "stop_distance",
)
TEXTS = ("symbol", "side", "exit_reason")
SIDES = {
    **dict.fromkeys(("buy", "long", "b", "bot", "1", "+1", "1.0"), "buy"),
    **dict.fromkeys(("sell", "short", "s", "sld", "-1", "-1.0"), "sell"),
}
TRUTHS = {"true": "1", "false": "0"}
EMPTY = ("", "nan", "none", "null", "nat", "-", "—", "–")
_BLANKS = re.compile(r"[\s\u00a0\u202f'$€£%]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$))")


class ImportOptions(FrozenModel):
    """What the user says about a log.

    Attributes:
        timezone: Zone of times that name none; empty if nothing was said.
        symbol: Symbol of a log without a symbol column; empty if nothing was said.
        columns: Our name of a column → the log's.
        features: Columns that are features; empty for every numeric column that is none of ours.
        confidence_factor: What confidences are multiplied by to lie on 0 to 100.
    """

    timezone: str = ""
    symbol: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    features: tuple[str, ...] = ()
    confidence_factor: float = 1.0

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key if name else name
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("use a time zone such as UTC or Europe/London") from error

    @field_validator("columns")
    @classmethod
    def _our_names(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - {*TIMES, *NUMBERS, *TEXTS})
        if unknown:
            known = ", ".join((*TEXTS, *TIMES, *NUMBERS))
            raise ValueError(f"unknown column {unknown[0]}; use one of {known}")
        return columns


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that was read and is not imported.

    Attributes:
        line: Line in the file, row of a file without lines.
        kind: Why, in a word.
        reason: What is wrong, with the column.
    """

    line: int
    kind: SkippedKind
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedLog:
    """The trades or signals of a log.

    Attributes:
        name: Name of the file.
        format: Format it has.
        unit: What one row of the file is.
        read: Number of rows.
        trades: One row per trade or signal, its index the line; columns ``TIMES``, ``NUMBERS``,
            ``TEXTS``, ``own`` (name → number) and ``faults`` (list of texts). Times in UTC; what
            the log does not say is NaT, NaN or None. ``net_return`` is a fraction of the entry
            notional after costs, ``profit`` the same in money, where the log says it.
        skipped: Rows that are not among the trades.
        resolution: Largest step that all its times are multiples of, a second to a day: the time
            of an exit may be the begin of such a step, and the outcome is known at its end.
        notes: What is worth knowing, one line each.
    """

    name: str
    format: str
    unit: Unit
    read: int
    trades: pd.DataFrame
    skipped: tuple[Skipped, ...]
    resolution: pd.Timedelta
    notes: tuple[str, ...] = ()


class Columns:
    """Reads columns of a raw table, and remembers the rows it could not read.

    Args:
        table: One row per row of the log, its index the line.
        name: Name of the file in messages.
        zone: Zone of times that name none; empty if nobody said it.
        hint: Why the zone is not known, for the message that asks for it.
    """

    def __init__(self, table: pd.DataFrame, name: str, zone: str, hint: str = "") -> None:
        self.table = table
        self.zone = zone
        self.skipped: dict[Hashable, Skipped] = {}
        self._name, self._hint = name, hint

    def numbers(self, *names: str) -> pd.Series:
        """Return the first of these columns as floats; NaN where it is empty or missing.

        A text that is no number makes its row incomplete.
        """
        column = self._column(names)
        if column is None:
            return pd.Series(np.nan, index=self.table.index, dtype="float64")
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            return column.astype("float64")
        texts = column.astype("str").fillna("").map(_plain_number)
        values = pd.to_numeric(texts, errors="coerce").astype("float64")
        self._skip(values.isna() & ~texts.isin(EMPTY), column, "no number")
        return values

    def times(self, *names: str) -> pd.Series:
        """Return the first of these columns as times in UTC; NaT where it is empty or missing.

        Raises:
            FixConfiguration: If the times name no zone and nobody said it.
        """
        column = self._column(names)
        if column is None:
            return pd.Series(pd.NaT, index=self.table.index, dtype=AWARE)
        column = column if _has_times(column) else column.map(_iso)
        empty = column.isna() | column.astype("str").str.strip().str.lower().isin(EMPTY)
        wrong = ~empty & ~_is_time(column)
        self._skip(wrong, column, "no time")
        there = column[~empty & ~wrong]
        stamps = pd.Series(pd.NaT, index=column.index, dtype=AWARE)
        if there.empty:
            return stamps
        read = read_stamps(there, self.zone or "UTC", self._name).stamps
        if not self.zone and not read.equals(read_stamps(there, "Etc/GMT+12", self._name).stamps):
            raise FixConfiguration(
                f"{self._name}: its times name no zone{self._hint}; pass --timezone, for example "
                "--timezone UTC or --timezone Europe/Berlin"
            )
        stamps[there.index] = read
        lost = pd.Series(False, index=column.index)
        lost[there.index] = read.isna()
        self._skip(lost, column, f"a time that exists twice or not at all in {self.zone}")
        return stamps

    def texts(self, *names: str) -> pd.Series:
        """Return the first of these columns as texts; None where it is empty or missing."""
        column = self._column(names)
        if column is None:
            return pd.Series(None, index=self.table.index, dtype="object")
        texts = column.astype("str").str.strip()
        return texts.where(~texts.str.lower().isin(EMPTY) & column.notna(), None).astype("object")

    def sides(self, *names: str) -> pd.Series:
        """Return ``buy`` and ``sell``; another word makes its row incomplete."""
        texts = self.texts(*names)
        sides = texts.str.lower().map(SIDES).astype("object")
        self._skip(sides.isna() & texts.notna(), texts, "neither buy nor sell")
        return sides.where(sides.notna(), None)

    def drop(self, wrong: "pd.Series[bool]", kind: SkippedKind, reason: str) -> None:
        """Leave rows out, unless they are left out already.

        Args:
            wrong: Which rows, index of the table.
            kind: Why, in a word.
            reason: What is wrong with them.
        """
        for line in wrong.index[wrong]:
            self.skipped.setdefault(line, Skipped(int(line), kind, reason))

    def drop_repeated(self) -> None:
        """Leave out rows that say the same as an earlier one in every column."""
        self.drop(self.table.astype("str").duplicated(), "duplicate", "the same as an earlier line")

    def _column(self, names: Sequence[str]) -> pd.Series | None:
        present = [name for name in names if name in self.table.columns]
        return self.table[present[0]] if present else None

    def _skip(self, wrong: "pd.Series[bool]", column: pd.Series, words: str) -> None:
        for line in wrong.index[wrong]:
            reason = f"{column.name}: {str(column[line])[:40]!r} is {words}"
            self.drop(wrong.loc[[line]], "incomplete", reason)


def parsed(
    columns: Columns,
    trades: pd.DataFrame,
    *,
    name: str,
    form: str,
    unit: Unit,
    read: int | None = None,
    notes: Sequence[str] = (),
) -> ParsedLog:
    """Return a log in our names: missing columns are added, incomplete rows left out.

    Args:
        columns: Reader of the log, which knows the rows that are wrong.
        trades: Any of the columns of ``ParsedLog.trades``, its index the line.
        name: Name of the file.
        form: Name of the format.
        unit: What one row of the file is.
        read: Number of rows of the file; None for those of ``trades``.
        notes: What is worth knowing, one line each.
    """
    whole = trades.copy()
    for missing in (*TIMES, *NUMBERS, *TEXTS):
        if missing not in whole:
            whole[missing] = pd.NaT if missing in TIMES else np.nan if missing in NUMBERS else None
    for time in TIMES:
        whole[time] = pd.to_datetime(whole[time], utc=True).astype(AWARE)
    for number in NUMBERS:
        whole[number] = whole[number].astype("float64")
    for holder, empty in (("own", dict), ("faults", list)):
        if holder not in whole:
            whole[holder] = pd.Series([empty() for _ in range(len(whole))], index=whole.index)
    if unit != "executions":
        columns.drop_repeated()
    _leave_out(columns, whole)
    whole = whole[~whole.index.isin(list(columns.skipped))]
    skipped = sorted(columns.skipped.values(), key=lambda skipped: skipped.line)
    count = len(trades) if read is None else read
    step = _resolution(whole, columns.zone)
    return ParsedLog(name, form, unit, count, whole, tuple(skipped), step, tuple(notes))


def _leave_out(columns: Columns, trades: pd.DataFrame) -> None:
    """Name what is missing, or cannot have happened."""
    for name in ("symbol", "side"):
        columns.drop(trades[name].isna(), "incomplete", f"{name} is empty")
    when = trades[["entry_at", "decided_at", "timestamp"]].notna().any(axis=1)
    columns.drop(~when, "incomplete", "no time of entry or decision")
    entered, ended = trades["entry_at"].notna(), trades["exit_at"].notna()
    unknown = trades["net_return"].isna()
    for name in ("entry_price", "exit_price"):
        empty = trades[name].isna()
        columns.drop(ended & unknown & empty, "incomplete", f"{name} and net_return are empty")
    columns.drop(ended & unknown, "incomplete", "net_return cannot be told from profit and costs")
    columns.drop(ended & ~entered, "incomplete", "entry_at is empty")
    columns.drop(~ended & ~unknown, "incomplete", "exit_at is empty, but net_return is not")
    columns.drop(trades["exit_at"] < trades["entry_at"], "impossible", "exit before entry")
    for name in ("decided_at", "timestamp"):
        columns.drop(trades[name] > trades["entry_at"], "impossible", f"entry before {name}")
    confidence = trades["confidence"]
    columns.drop((confidence < 0) | (confidence > 100), "impossible", "confidence not in 0 to 100")
    if confidence.notna().any():
        columns.drop(confidence.isna(), "incomplete", "confidence is empty")
    for name in ("entry_price", "exit_price", "quantity"):
        columns.drop(trades[name] <= 0, "impossible", f"{name} is not positive")


def _resolution(trades: pd.DataFrame, zone: str) -> pd.Timedelta:
    stamps = pd.concat([trades[name].dropna() for name in ("entry_at", "exit_at")])
    local = stamps.dt.tz_convert(zone or "UTC").dt.tz_localize(None)
    fitting = (step for step in RESOLUTIONS if (local == local.dt.floor(step)).all())
    return pd.Timedelta(next(fitting, RESOLUTIONS[-1]))


def net_of(
    sign: "pd.Series[float]", entry: "pd.Series[float]", exit_price: "pd.Series[float]"
) -> "pd.Series[float]":
    """Return the move of each trade as a fraction of the entry, before costs.

    Args:
        sign: +1 bought, −1 sold, shape (n,).
        entry: Entry prices, shape (n,).
        exit_price: Exit prices, NaN while open, shape (n,).
    """
    return sign * (exit_price / entry - 1)


def signs(sides: pd.Series) -> "pd.Series[float]":
    """Return +1 for each buy and −1 for each sell, shape (n,)."""
    return sides.map({"buy": 1.0, "sell": -1.0}).astype("float64")


def _plain_number(text: str) -> str:
    """Return a number as Python writes it: no blanks, no thousands, a plain minus."""
    text = _THOUSANDS.sub("", _BLANKS.sub("", text)).replace("−", "-")
    text = f"-{text[1:-1]}" if text.startswith("(") and text.endswith(")") else text.lower()
    return TRUTHS.get(text, text)


def _has_times(column: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_numeric_dtype(column)


def _is_time(column: pd.Series) -> "pd.Series[bool]":
    if _has_times(column):
        return column.notna()
    parsed_times = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    return parsed_times.notna()


def _iso(value: object) -> object:
    """Return a written time in ISO 8601: 2026.01.31, 20260131;093000 and the like."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"^(\d{4})[./](\d\d)[./](\d\d)", r"\1-\2-\3", value.strip())
    text = re.sub(r"^(\d{4})(\d\d)(\d\d)(?=$|\D)", r"\1-\2-\3", text)
    text = re.sub(r"[;,]\s*|\s+", " ", text, count=1)
    return re.sub(r" (\d\d)(\d\d)(\d\d)$", r" \1:\2:\3", text)
