"""The result of a check; a check that fails does not stop the others."""

from collections.abc import Callable, Iterable, Iterator

from steelyard.errors import SteelyardError
from steelyard.views.operations import Check


def run_check(name: str, check: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Yield the rows of a check; a check that raises becomes a row with the error's message.

    Args:
        name: Name of the row if the check raises.
        check: Returns the rows.
    """
    try:
        yield from check()
    except (SteelyardError, OSError) as error:
        yield Check(
            name,
            "wrong",
            " ".join(str(error).split()),
            "fix the reported problem, then run steelyard doctor again",
        )
