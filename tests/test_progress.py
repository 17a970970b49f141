"""Progress of other processes is shown where they were started."""

import pytest

from factories.counting import count
from steelyard.errors import CollectMoreData
from steelyard.progress import processes, progress_to

Report = tuple[str, int, int, str]


def test_processes_report_where_they_were_started() -> None:
    """Each step once and in order, under the name of its work; an error comes back as it is."""
    reports: list[Report] = []
    with progress_to(lambda *report: reports.append(report)), processes(2) as pool:
        counted = [pool.submit(count, name, 3) for name in ("left", "right")]
        failed = pool.submit(count, "nothing", 0)
        assert [work.result() for work in counted] == ["left", "right"]
        with pytest.raises(CollectMoreData, match="nothing to count"):
            failed.result()

    for name in ("left", "right"):
        own = [report for report in reports if report[0] == f"{name} counting"]
        assert own == [(f"{name} counting", done, 3, "") for done in (1, 2, 3)]
    assert len(reports) == 6
