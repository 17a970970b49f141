"""Columns of a file: which holds what, and their numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

import pandas as pd

from steelyard.errors import FixData
from steelyard.gateways.sources.presets import PRESETS
from steelyard.gateways.sources.settings import COLUMN_NAMES, SourceSettings

SYNONYMS = {
    "timestamp": ("timestamp", "datetime", "date", "time", "open_time"),
    "symbol": ("symbol", "ticker", "pair"),
    "adj_close": ("adj_close", "adj close", "adjclose", "adjusted_close", "adjusted close"),
    "volume": ("volume", "vol"),
    **{name: (name,) for name in ("open", "high", "low", "close")},
}
REQUIRED = ("timestamp", "open", "high", "low", "close")
UNNAMED = ("", "index", "unnamed: 0", "__index_level_0__")
"""How pandas writes the index of a table that has no name for it."""
MULTIPLES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
UNKNOWN_VOLUME = -1
"""What brokers write in every row where they know no volume."""
_NUMBER = re.compile(r"[\d.,]+")
ABSENT = ("", "na", "n/a", "nan", "null", "none")


def find_columns(
    names: Sequence[str], settings: SourceSettings, file: str
) -> dict[str, str | None]:
    """Return our name of each column → the file's, None if the file has none.

    A column the user maps must be there; then the preset's are looked for, then the usual ones.

    Args:
        names: Names of the file's columns.
        settings: Layout of the file, resolved.
        file: Name of the file in messages.

    Raises:
        FixData: If a mapped column is missing, or one that is used has its name twice.
    """
    present: dict[str, str] = {}
    for name in names:
        present.setdefault(name.strip().lower(), name)
    columns = {name: _find(name, present, settings, file) for name in COLUMN_NAMES}
    counts = Counter(name.strip().lower() for name in names)
    for column in columns.values():
        if column is not None and counts[column.strip().lower()] > 1:
            name = column.strip().lower()
            raise FixData(f"{file}: {counts[name]} columns are called {name}; remove or rename one")
    return columns


def _find(name: str, present: dict[str, str], settings: SourceSettings, file: str) -> str | None:
    if name in settings.columns:
        mapped = settings.columns[name].strip().lower()
        if mapped not in present:
            raise FixData(
                f"{file}: 'columns' in conf/source.yaml maps {name} to {settings.columns[name]}, "
                f"the file has {', '.join(present)}; correct the name"
            )
        return present[mapped]
    pattern = PRESETS[settings.preset].columns.get(name) if settings.preset else None
    if pattern is not None:
        for column in present:
            if fnmatchcase(column, pattern):
                return present[column]
    return next((present[s] for s in SYNONYMS.get(name, ()) if s in present), None)


def required_columns(
    raw: pd.DataFrame, settings: SourceSettings, file: str
) -> dict[str, str | None]:
    """Return the columns of a table, like ``find_columns``; an unnamed index may hold the stamps.

    Args:
        raw: Rows as the file has them.
        settings: Layout of the file, resolved.
        file: Name of the file in messages.

    Raises:
        FixData: If a stamp or price has no column.
    """
    names = [str(column) for column in raw.columns]
    columns = find_columns(names, settings, file)
    unnamed = next((name for name in names if name.strip().lower() in UNNAMED), None)
    if columns["timestamp"] is None and unnamed is not None:
        is_count = pd.api.types.is_numeric_dtype(raw[unnamed])
        columns["timestamp"] = None if is_count else unnamed
    missing = [name for name in REQUIRED if columns[name] is None]
    listed = ", ".join(names)[:400]
    if len(missing) == len(REQUIRED) and _NUMBER.fullmatch(names[-1].strip()):
        raise FixData(
            f"{file}: no row of names of columns, the first is {listed}; name them in order under "
            "'names' in conf/source.yaml"
        )
    if missing:
        raise FixData(
            f"{file}: no column for {missing[0]} among {listed}; map it under 'columns' in "
            "conf/source.yaml"
        )
    return columns


def read_symbols(column: pd.Series) -> pd.Series:
    """Return symbols, shape (n,), without blanks around them; an empty one is missing."""
    names = column.astype("str").str.strip()
    return names.where(names != "")


def read_numbers(column: pd.Series, name: str, settings: SourceSettings, file: str) -> pd.Series:
    """Return a column of numbers; a currency sign and K, M, B, T behind a volume are read, too.

    Args:
        column: Numbers or texts, shape (n,).
        name: Our name of the column.
        settings: Layout of the file, resolved.
        file: Name of the file in messages.

    Raises:
        FixData: If a value is no number, or a price to be divided by ``price_factor`` is not whole.
    """
    numbers, absent = column, column.isna()
    if not pd.api.types.is_numeric_dtype(column):
        texts = column.astype("str").str.strip()
        absent |= texts.str.lower().isin((*ABSENT, "-") if name == "volume" else ABSENT)
        numbers = _from_texts(texts, name, settings)
    wrong = (numbers.isna() & ~absent).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise FixData(
            f"{file}: row {row + 1} has {column.iloc[row]!r} in column {column.name}; "
            "a number is needed"
        )
    numbers = numbers.astype("float64")
    if name == "volume":
        unknown = bool((numbers == UNKNOWN_VOLUME).all())
        return pd.Series(float("nan"), index=numbers.index) if unknown else numbers
    factor = settings.price_factor or 1.0
    if factor == 1:
        return numbers
    if (numbers % 1 > 0).any() or (pd.api.types.is_float_dtype(column) and not absent.any()):
        raise FixData(
            f"{file}: the prices in column {column.name} have decimals, so they are not {factor:g} "
            "times the real ones; set price_factor: 1 in conf/source.yaml"
        )
    return numbers / factor


def _from_texts(texts: pd.Series, name: str, settings: SourceSettings) -> pd.Series:
    """Return written numbers, NaN for what is none."""
    decimal, thousands = re.escape(settings.decimal), re.escape(settings.thousands)
    grouped = rf"|\d{{1,3}}(?:{thousands}\d{{2,3}})*{thousands}\d{{3}}" if thousands else ""
    suffix = r"([KMBT]?)" if name == "volume" else "()"
    parts = texts.str.upper().str.extract(
        rf"^(?=.*\d)([+-]?)[$€£¥]?(\d*{grouped})(?:{decimal}(\d*))?(E[+-]?\d+)?{suffix}$"
    )
    sign, whole, fraction, power, multiple = (parts[part].fillna("") for part in parts)
    if thousands:
        whole = whole.str.replace(settings.thousands, "", regex=False)
    numbers = pd.to_numeric(sign + whole + "." + fraction + power, errors="coerce")
    return numbers * multiple.map(MULTIPLES)
