"""Steps that write HTML pages: the report on a lineage, and simulated characteristics."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from steelyard.errors import FixConfiguration
from steelyard.gateways.files import private_folder, write_whole
from steelyard.home import Home
from steelyard.queries.simulation import operating_characteristics
from steelyard.settings import Settings
from steelyard.simulation.characteristics import Design
from steelyard.tasks.step import step
from steelyard.views.lineage import LineageReport
from steelyard.views.pages import WrittenPage
from steelyard.views.report import lineage_page, lineages_page
from steelyard.views.simulation import OperatingCharacteristics


def report_file(home: Home) -> Path:
    """Return the file of a lineage's report in its home."""
    return home.folder / (f"lineage-{home.lineage}.html" if home.lineage else "lineage.html")


@step()
def write_report(
    home: Home, as_of: datetime, file: Path, title: str = ""
) -> WrittenPage[LineageReport]:
    """Write the report on the lineage as one HTML page.

    Args:
        home: Opened home.
        as_of: Report as of this time (UTC).
        file: The page; its folder must exist.
        title: Heading of the page; empty for the name of the lineage.

    Returns:
        The report, with the file.

    Raises:
        CollectMoreData: If nothing was decided here yet.
        FixConfiguration: If the file cannot be written.
    """
    from steelyard.queries.report import lineage_report  # reads bars; a simulation has none

    document = lineage_report(home, as_of)
    _write_page(file, lineage_page(document, title))
    return WrittenPage(document, str(file))


@step()
def write_replay_page(home: Home, end: datetime, title: str) -> str:
    """Write the report on a replay as of its last day, and return its file.

    Args:
        home: Home of the replay, opened under its settings.
        end: Last day (UTC).
        title: Heading of the page.
    """
    return write_report(home, end, report_file(home), title).file


@step()
def write_overview(written: Sequence[WrittenPage[LineageReport]], file: Path) -> str:
    """Write the page over several lineages, which leads to the page of each; return its file.

    Args:
        written: The page of each lineage, in the same folder.
        file: The page over them.

    Raises:
        FixConfiguration: If the file cannot be written.
    """
    statuses = [page.document.status for page in written]
    names = {page.document.status.lineage: Path(page.file).name for page in written}
    _write_page(file, lineages_page(statuses, names))
    return str(file)


@step()
def write_characteristics(
    settings: Settings, designs: Sequence[Design], file: Path, *, ingredients: bool = False
) -> WrittenPage[OperatingCharacteristics]:
    """Simulate the configured policy and write its operating characteristics as one HTML page.

    Args:
        settings: Policy and books of the simulation.
        designs: Number, length, pace and dependence of the lives.
        file: The page; missing folders are created.
        ingredients: Add courses that each lack one ingredient of the policy.

    Returns:
        The characteristics, with the file.

    Raises:
        FixConfiguration: If the file cannot be written.
    """
    document, page = operating_characteristics(settings, designs, ingredients=ingredients)
    _write_page(file, page, create_folder=True)
    return WrittenPage(document, str(file))


def _write_page(file: Path, page: str, *, create_folder: bool = False) -> None:
    try:
        if create_folder:
            private_folder(file.parent)
        write_whole(file, page)
    except OSError as error:
        raise FixConfiguration(
            f"{file} cannot be written ({error.strerror}); pass another --out"
        ) from error
