"""Text from outside, made harmless for where it goes: one function per kind of place.

Symbols, reasons, operators, names of columns, strategies and files are written by others. HTML
pages escape by themselves (Jinja2).
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls of a terminal, line ends but the newline, and marks that turn the direction of text."""
_MARKDOWN = re.compile(r"[\\`*\[\]<|~]|(?<!\w)_|_(?!\w)|(?<!.)(?:[#>]|[+-](?=[\s-]))")
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def in_terminal(text: str) -> str:
    r"""Return text that a terminal shows and does not obey; a control becomes ``\x1b``."""
    return _CONTROL.sub(lambda control: control[0].encode("unicode_escape").decode(), text)


def in_markdown(text: str) -> str:
    """Return one line of Markdown that shows the text: no link, picture, HTML or second line."""
    line = " ".join(text.splitlines())
    return _MARKDOWN.sub(lambda mark: f"\\{mark[0]}", in_terminal(line))


def in_code(text: str) -> str:
    """Return text for between two backticks in Markdown."""
    return in_terminal(" ".join(text.splitlines())).replace("`", "'")


def in_sheet(frame: "pd.DataFrame") -> bytes:
    """Return a table as CSV; a text that a spreadsheet would calculate begins with ``'``.

    Args:
        frame: Table of any shape; its index is left out.
    """
    texts = frame.select_dtypes(["object", "string"]).columns
    safe = frame.assign(**{name: frame[name].map(_no_formula) for name in texts})
    return safe.rename(columns=_no_formula).to_csv(index=False).encode()


def _no_formula(cell: object) -> object:
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
