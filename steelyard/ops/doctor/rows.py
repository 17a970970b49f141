"""The result of a check; a check that fails does not stop the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from steelyard.errors import SteelyardError

CheckStatus = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Row:
    """Result of one check.

    Attributes:
        name: Subject of the check.
        standing: Its status.
        found: Finding in words.
        advice: What to do; empty if all is well.
    """

    name: str
    standing: CheckStatus
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def run_check(name: str, check: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """Yield the rows of a check; a check that raises becomes a row with the error's message.

    Args:
        name: Name of the row if the check raises.
        check: Returns the rows.
    """
    try:
        yield from check()
    except (SteelyardError, OSError) as error:
        yield Row(
            name,
            "wrong",
            " ".join(str(error).split()),
            "fix the reported problem, then run steelyard doctor again",
        )
