"""Progress is shown, also where nobody sees bars; that of other processes: test_cluster.py."""

import time

import pytest

from steelyard.progress import report_progress
from steelyard.views import terminal


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
