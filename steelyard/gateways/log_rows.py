"""Rows of a log as signals of the ledger: what cannot be one is named with its place and reason."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from steelyard.errors import FixData
from steelyard.gateways.signal_log import BadRow, RawLog, RawRow
from steelyard.gateways.stamps import read_stamps
from steelyard.market.logged import (
    IDENTITY,
    LEVELS,
    LOG_COLUMNS,
    NUMBERS,
    TIMES,
    LogSettings,
    own_name,
    reason_word,
)
from steelyard.market.yes_or_no import PLAIN_YES, require_whole_scale
from steelyard.weight.state import CLOCK_TOLERANCE

SIDES = {"buy": "buy", "long": "buy", "1": "buy", "sell": "sell", "short": "sell", "-1": "sell"}
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
PRICES = ("entry_price", "exit_price", "stop", "target", "bars", "trail", "quantity")
_OUTCOME = ("settled_at", "exit_at", "net_return", "exit_price")
"""Any of these says that the signal has ended."""
DECISION = (
    "signal_id",
    "symbol",
    "timestamp",
    "decided_at",
    "side",
    "confidence",
    "own",
    "levels",
    "source",
)
"""What a signal is before its outcome is known."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class LogTerms:
    """How rows of a log are read.

    Attributes:
        settings: Columns, zone, scale and features of the log.
        now: Present time (UTC); nothing can have been decided or have ended later.
        as_of: Time of the run (UTC); what was decided or ended later is left for a later one.
        known_after: Time from the open of a bar to its close; None if stamps are decisions.
        fee_bps: Fee of each side where prices but no fees are given, basis points.
    """

    settings: LogSettings
    now: datetime
    as_of: datetime
    known_after: pd.Timedelta | None
    fee_bps: float


@dataclass(frozen=True, slots=True)
class LogRows:
    """Signals of a log.

    Attributes:
        signals: One row per signal (columns of the ledger's ``log_signals`` without when it was
            taken in), in the order of the log.
        outcomes: The same of rows that tell an outcome alone: their decision is the ledger's.
        bad: Rows that are no signal.
        findings: What is worth knowing, one line each.
    """

    signals: tuple[dict[str, Any], ...]
    outcomes: tuple[dict[str, Any], ...]
    bad: tuple[BadRow, ...]
    findings: tuple[str, ...]


def log_rows(log: RawLog, terms: LogTerms, name: str) -> LogRows:
    """Return the signals of a log; two rows of one signal are one, the first decision counts.

    Args:
        log: Rows as they are written.
        terms: How they are read.
        name: Name of the log in messages.

    Raises:
        FixConfiguration: If all confidences lie within 0 to 1.
        FixData: If a column without which there are no signals is missing.
    """
    columns = {name for row in log.rows for name in row.values}
    _require_columns(columns, terms.settings, name, bool(log.rows))
    rows = [_with_our_names(row, terms.settings) for row in log.rows]
    moments = {
        column: _moments([row.values.get(column) for row in rows], terms.settings.timezone)
        for column in ("timestamp", *TIMES)
    }
    has_confidence = any("confidence" in row.values for row in rows)
    bad, read = list(log.bad), list[tuple[RawRow, dict[str, Any]]]()
    for number, row in enumerate(rows):
        times = {column: values[number] for column, values in moments.items()}
        try:
            signal = _signal(row, times, terms, has_confidence)
        except ValueError as error:
            bad.append(BadRow(row.where, str(error), _as_text(log.rows[number])))
            continue
        if signal["decided_at"] <= terms.as_of:
            read.append((row, signal))
    _require_scale([signal for _, signal in read], terms.settings, name)
    return _merged(read, bad, log.findings)


def _require_columns(columns: set[str], settings: LogSettings, name: str, any_rows: bool) -> None:
    for column in IDENTITY:
        theirs = settings.columns.get(column, column)
        if any_rows and theirs not in columns:
            raise FixData(
                f"{name}: no column {theirs}; write one, or say under log.columns in "
                f"conf/strategy.yaml which is the {column}"
            )
    missing = sorted(set(settings.features) - columns) if any_rows else []
    if missing:
        raise FixData(f"{name}: no column {missing[0]}, which log.features names")


def _with_our_names(row: RawRow, settings: LogSettings) -> RawRow:
    ours = {theirs: name for name, theirs in settings.columns.items()}
    return replace(row, values={ours.get(name, name): cell for name, cell in row.values.items()})


def _moments(cells: Sequence[Any], zone: str) -> list[pd.Timestamp | None]:
    """Return each cell as a time in UTC; None for what is blank or no time."""
    keys = [
        None if _is_blank(cell) else cell if isinstance(cell, datetime) else str(cell)
        for cell in cells
    ]
    different = list(dict.fromkeys(key for key in keys if key is not None))
    try:
        known = _read_moments(different, zone)
    except FixData:  # one of them is no time: each is read alone
        known = {}
        for key in different:
            try:
                known |= _read_moments([key], zone)
            except FixData:
                continue
    return [None if key is None else known.get(key) for key in keys]


def _read_moments(keys: list[Any], zone: str) -> dict[Any, pd.Timestamp | None]:
    if not keys:
        return {}
    column = pd.Series(keys, name="timestamp")
    if not any(isinstance(key, datetime) for key in keys):
        numbers = pd.to_numeric(column, errors="coerce")
        column = numbers if numbers.notna().all() else column
    stamps = read_stamps(column, zone, "the log").stamps
    return {key: None if pd.isna(at) else at for key, at in zip(keys, stamps, strict=True)}


def _signal(
    row: RawRow, times: dict[str, Any], terms: LogTerms, has_confidence: bool
) -> dict[str, Any]:
    """Return a row as a signal.

    Args:
        row: The row, with our names.
        times: Its times by column, None where there is none.
        terms: How it is read.
        has_confidence: Whether the log has a column of confidences.

    Raises:
        ValueError: Why it is none.
    """
    values = row.values
    for name in ("timestamp", *TIMES):
        if times[name] is None and not _is_blank(values.get(name)):
            raise ValueError(f"{name} is {values[name]!r}, no time")
    symbol = str(values.get("symbol", "")).strip()
    if _is_blank(values.get("symbol")) or _CONTROL.search(symbol) or len(symbol) > 64:
        raise ValueError(f"symbol is {values.get('symbol')!r}")
    side = SIDES.get(str(values.get("side", "")).strip().lower().removeprefix("+"))
    if side is None:
        raise ValueError(f"side is {values.get('side')!r}; write buy or sell")
    if times["timestamp"] is None:
        raise ValueError("no timestamp")
    timestamp = times["timestamp"].floor("s")
    decided_at = timestamp + (terms.known_after or pd.Timedelta(0))
    if decided_at > terms.now + CLOCK_TOLERANCE:
        raise ValueError(f"decided at {decided_at:%Y-%m-%d %H:%M:%S}, ahead of this clock")
    numbers = {name: _number(name, values.get(name)) for name in (*NUMBERS, *LEVELS)}
    _require_sizes(numbers)
    has_ended = any(not _is_blank(values.get(name)) for name in _OUTCOME)
    signal = {
        "signal_id": f"{symbol}:{timestamp:%Y-%m-%dT%H:%M:%SZ}:{side}",
        "symbol": symbol,
        "timestamp": timestamp,
        "decided_at": decided_at,
        "side": side,
        "confidence": _confidence(values, terms.settings, has_confidence, has_ended),
        "own": _own(values, terms.settings),
        "levels": {name: numbers[name] for name in LEVELS if numbers[name] is not None} or None,
        "traded": _truth(values.get("traded"), has_ended),
        "source": row.where.rpartition(":")[0],
        "settled_at": None,
    }
    return signal | (_outcome(signal, times, numbers, values, terms) if has_ended else {})


def _confidence(
    values: dict[str, Any], settings: LogSettings, has_confidence: bool, has_ended: bool
) -> float | None:
    """Return the confidence, 0 to 100; None for a row that tells an outcome alone."""
    if not has_confidence:
        return PLAIN_YES
    number = _number("confidence", values.get("confidence"))
    if number is None:
        if has_ended:
            return None
        raise ValueError("no confidence; a system without any leaves the whole column out")
    confidence = number * settings.confidence_factor
    if not 0 <= confidence <= 100:
        raise ValueError(f"confidence is {confidence:g}, not within 0 to 100")
    return confidence


def _own(values: dict[str, Any], settings: LogSettings) -> dict[str, float]:
    """Return the features of a row by name; a cell that is no finite number is left out."""
    names = settings.features or [name for name in values if name not in LOG_COLUMNS]
    found = {own_name(name): _plain_number(values.get(name)) for name in names}
    return {name: number for name, number in found.items() if number is not None}


def _outcome(
    signal: dict[str, Any],
    times: dict[str, Any],
    numbers: dict[str, float | None],
    values: dict[str, Any],
    terms: LogTerms,
) -> dict[str, Any]:
    settled_at = times["settled_at"] or times["exit_at"]
    if settled_at is None:
        raise ValueError("an outcome without settled_at or exit_at")
    if settled_at <= signal["decided_at"]:
        raise ValueError(f"settled at {settled_at:%Y-%m-%d %H:%M:%S}, not after its decision")
    if settled_at > terms.now + CLOCK_TOLERANCE:
        raise ValueError(f"settled at {settled_at:%Y-%m-%d %H:%M:%S}, ahead of this clock")
    entry, stop = numbers["entry_price"], numbers["stop"]
    distance = numbers["stop_distance"]
    if distance is None and entry and stop:
        distance = abs(entry - stop) / entry
    if distance is not None and not 0 < distance < 1:
        raise ValueError(f"stop_distance is {distance:g}, no fraction of the entry")
    net_return = _net_return(signal["side"], numbers, terms.fee_bps)
    begun_at = times["entry_at"] or signal["decided_at"]
    if settled_at > terms.as_of:
        return {}
    return {
        **{name: times[name] for name in ("entry_at", "exit_at")},
        **{name: numbers[name] for name in ("entry_price", "exit_price", "quantity", "fees")},
        "settled_at": settled_at,
        "net_return": net_return,
        "won": net_return > 0,
        "exit_reason": reason_word(values.get("exit_reason")),
        "hold_minutes": max((settled_at - begun_at) / pd.Timedelta("1min"), 0.0),
        "stop_distance": distance,
    }


def _net_return(side: str, numbers: dict[str, float | None], fee_bps: float) -> float:
    """Return the gain as a fraction of the entry, as it is told or as the prices give it."""
    net_return, entry, exit_price = (
        numbers[name] for name in ("net_return", "entry_price", "exit_price")
    )
    if net_return is not None:
        if abs(net_return) > 100:
            raise ValueError(f"net_return is {net_return:g}; it is a fraction, 0.01 for 1 %")
        return net_return
    if entry is None or exit_price is None:
        raise ValueError("an outcome without net_return, or entry_price and exit_price")
    change = exit_price / entry
    fees, quantity = numbers["fees"], numbers["quantity"]
    paid = fee_bps / 1e4 * (1 + change)
    if fees is not None and quantity is not None:
        paid = fees / (quantity * entry)
    return (1 if side == "buy" else -1) * (change - 1) - paid


def _require_sizes(numbers: dict[str, float | None]) -> None:
    for name in PRICES:
        number = numbers[name]
        if number is not None and not number > 0:
            raise ValueError(f"{name} is {number:g}, not above 0")


def _require_scale(signals: list[dict[str, Any]], settings: LogSettings, name: str) -> None:
    given = [signal["confidence"] for signal in signals if signal["confidence"] is not None]
    factor = 100 * settings.confidence_factor
    remedy = f"set log.confidence_factor to {factor:g} in conf/strategy.yaml"
    require_whole_scale(pd.Series(given, dtype="float64"), name, remedy)


def _merged(
    read: list[tuple[RawRow, dict[str, Any]]], bad: list[BadRow], findings: list[str]
) -> LogRows:
    """Return one row per signal: the first decision, with the first outcome told."""
    signals, outcomes, told = dict[str, Any](), dict[str, Any](), list(findings)
    for row, signal in read:
        key = signal["signal_id"]
        if signal["confidence"] is None:
            outcomes.setdefault(key, signal)
            continue
        first = signals.setdefault(key, signal)
        if any(signal[name] != first[name] for name in ("confidence", "own")):
            told.append(f"{row.where}: {key} again with another confidence or feature; not taken")
        if first["settled_at"] is None and signal["settled_at"] is not None:
            signals[key] = _settled(first, signal)
    for key in [key for key in outcomes if key in signals]:
        outcome = outcomes.pop(key)
        if signals[key]["settled_at"] is None:
            signals[key] = _settled(signals[key], outcome)
    return LogRows(tuple(signals.values()), tuple(outcomes.values()), tuple(bad), tuple(told))


def _settled(decision: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    """Return a signal as it was decided, with how another row says it ended."""
    return {**outcome, **{name: decision[name] for name in DECISION}}


def _is_blank(cell: Any) -> bool:
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (pd.api.types.is_scalar(cell) and bool(pd.isna(cell)))


def _plain_number(cell: Any) -> float | None:
    """Return a cell as a finite number; None if it is none."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str, Decimal)):
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _number(name: str, cell: Any) -> float | None:
    if _is_blank(cell):
        return None
    number = _plain_number(cell)
    if number is None:
        raise ValueError(f"{name} is {cell!r}, no number")
    return number


def _truth(cell: Any, default: bool) -> bool:
    if _is_blank(cell):
        return default
    truth = TRUTHS.get(str(cell).strip().lower())
    if truth is None:
        raise ValueError(f"traded is {cell!r}; write true or false")
    return truth


def _as_text(row: RawRow) -> str:
    return json.dumps(row.values, default=str, ensure_ascii=False)
