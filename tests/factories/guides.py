"""Code of the guide, as its readers run it."""

import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def python_of(page: str) -> list[str]:
    """The Python blocks of a page, in order."""
    return re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.DOTALL)


def classes_of(page: str) -> list[type[Any]]:
    """The classes that the Python blocks of a page define, in order."""
    classes: list[type[Any]] = []
    for block in python_of(page):
        names: dict[str, Any] = {"__name__": page}
        exec(block, names)  # noqa: S102  # our own page
        classes += [
            made for made in names.values() if isinstance(made, type) and made.__module__ == page
        ]
    return classes
