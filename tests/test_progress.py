"""Progress of other processes is shown where they were started, also where nobody sees bars."""

import time

import pytest

from factories.counting import count
from steelyard.errors import CollectMoreData
from steelyard.progress import processes, progress_to, report_progress
from steelyard.views import terminal

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


def test_progress_that_goes_to_a_file_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last report and the time that passed, also while a step reports nothing."""
    monkeypatch.setattr(terminal, "PROGRESS_SECONDS", 0.05)
    with terminal.shown_progress():
        time.sleep(0.08)
        report_progress("tuning", 1, 40, "\x1b[2Jlogistic")
        report_progress("tuning", 2, 40, "\x1b[2Jlogistic")
        time.sleep(0.15)
    printed = capsys.readouterr()

    assert printed.out == ""
    assert printed.err.splitlines()[:3] == [
        "running, 0 s",
        *2 * [r"tuning 2 of 40 \x1b[2Jlogistic, 0 s"],
    ]


def test_a_short_command_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed before the first ten seconds are over."""
    with terminal.shown_progress():
        report_progress("tuning", 1, 40)

    assert capsys.readouterr().err == ""
