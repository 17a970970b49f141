"""What a check found, and how one that fails is kept from stopping the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from steelyard.errors import SteelyardError

CheckStatus = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Row:
    """One check: what it looked at, how it stands, what was found, and what to do; nothing to do where all is well."""

    name: str
    standing: CheckStatus
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def looked(name: str, check: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """Yield the rows of a check; one that cannot be made is a row of its own, with the error's own words."""
    try:
        yield from check()
    except (SteelyardError, OSError) as error:
        yield Row(
            name,
            "wrong",
            " ".join(str(error).split()),
            "put right what it says; steelyard doctor looks again",
        )
