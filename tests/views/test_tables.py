"""One table, three renderings: terminal, HTML page, Markdown."""

import io
import subprocess
import sys
from typing import Any

import pytest
from jinja2 import UndefinedError
from rich.console import Console

from steelyard.views import terminal
from steelyard.views.format import (
    TableView,
    format_figure,
    format_minutes,
    format_number,
    rules_view,
)
from steelyard.views.html import render_template
from steelyard.views.markdown import markdown_table
from steelyard.weight.decision import Rule

HOSTILE = "[bold]a|b[/] <b>c</b> :warning:"
PAGE: dict[str, Any] = {
    "live": None,
    "title": HOSTILE,
    "headline": HOSTILE,
    "charts": (),
    "worlds": (),
}
VIEW = TableView("Names", ("name", "figure"), ((HOSTILE, "1"),), frozenset({1}))


def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the terminal shows from now on, wide enough for one line a row."""
    shown = io.StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=shown, width=200, soft_wrap=True))
    return shown


def test_the_terminal_prints_markup_in_data_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets of a reason are no style of rich, in a table and in a line."""
    shown = printed(monkeypatch)
    terminal._print_table(VIEW)
    terminal._line((HOSTILE, "bold"))
    terminal._line(HOSTILE)

    assert shown.getvalue().count(HOSTILE) == 3


def test_a_page_escapes_markup_in_data() -> None:
    """Cells, headings and headline are text."""
    page = render_template("simulation", **PAGE, answer=HOSTILE, note=HOSTILE, tables=[VIEW])

    assert "<b>" not in page
    assert page.count("&lt;b&gt;c") == 5
    assert '<td class="n">1</td>' in page


def test_a_page_without_a_value_is_an_error() -> None:
    """A missing value is refused, not left out."""
    with pytest.raises(UndefinedError, match="note"):
        render_template("simulation", **PAGE, answer="", tables=[])


def test_markdown_cells_cannot_end_their_table() -> None:
    """Pipes are escaped and line breaks become spaces."""
    lines = markdown_table(TableView("", ("a", "b"), (("one|two", "three\nfour"),))).splitlines()

    assert lines == ["| a | b |", "| --- | --- |", "| one\\|two | three four |"]


def test_rules_are_shown_with_figure_bound_and_result() -> None:
    """A figure that could not be measured is a dash."""
    rule = Rule(name="accuracy", figure=None, bound=0.45, fired=False, reason="too few")

    assert rules_view("", [rule], "fires", "holds").rows == (
        ("accuracy", "–", "45.0%", "holds", "too few"),
    )


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (format_minutes(12_960), "9 days"),
        (format_minutes(3_600), "2.5 days"),
        (format_minutes(2_160), "36 h"),
        (format_minutes(90), "1.5 h"),
        (format_minutes(45), "45 min"),
        (format_minutes(None), "–"),
        (format_number(10_342.4), "10,342"),
        (format_number(0.00002), "0.00002"),
        (format_number(2.3456), "2.346"),
        (format_figure("accuracy", 0.5619), "56.2%"),
        (format_figure("mean_return", 0.00066), "0.07%"),
        (format_figure("champion", 1.0), "yes"),
        (format_figure("days", 12.0), "12"),
    ],
)
def test_figures_stand_in_the_units_people_read(written: str, words: str) -> None:
    """Days and hours, thousands set apart, shares in percent, never an exponent."""
    assert written == words


def test_the_terminal_starts_without_libraries_for_pictures() -> None:
    """Neither matplotlib nor Jinja2 is imported before something is drawn."""
    program = (
        "import sys, steelyard.views.terminal; "
        "print(sorted({'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr
