"""Work that another process can do."""

from steelyard.errors import CollectMoreData
from steelyard.progress import progress_named, report_progress


def count(name: str, to: int) -> str:
    """Take some steps under a name, and return it."""
    with progress_named(name):
        for done in range(1, to + 1):
            report_progress("counting", done, to)
    if not to:
        raise CollectMoreData("nothing to count")
    return name
