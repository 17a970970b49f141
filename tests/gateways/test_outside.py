"""Text from outside does nothing where it is shown."""

import io

import pandas as pd
import pytest
from rich.console import Console

from steelyard.gateways.outside import in_code, in_markdown, in_sheet, in_terminal
from steelyard.views import terminal
from steelyard.views.format import TableView
from steelyard.views.markdown import markdown_table

ESCAPE = "\x1b]0;owned\x07\x1b[31mAAPL\x9b2J\rok"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("accuracy 48.0% under 50%", "accuracy 48.0% under 50%"),
        ("São Paulo ≥ 1\tAAPL\n", "São Paulo ≥ 1\tAAPL\n"),
        (ESCAPE, r"\x1b]0;owned\x07\x1b[31mAAPL\x9b2J\rok"),
        ("gnp.\u202etxt", r"gnp.\u202etxt"),
    ],
    ids=["plain", "letters", "controls", "direction"],
)
def test_a_terminal_shows_controls_and_obeys_none(text: str, shown: str) -> None:
    """Title, colour, clearing and carriage return are printed as codes; letters stay."""
    assert in_terminal(text) == shown


def test_every_way_to_the_terminal_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells, headings, lines and styled parts."""
    shown = io.StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=shown, width=200, soft_wrap=True))
    terminal._print_table(TableView("", (ESCAPE,), ((ESCAPE,),)))
    terminal._line(ESCAPE, (ESCAPE, "bold"))

    assert not set("\x1b\x07\x9b\r") & set(shown.getvalue())
    assert shown.getvalue().count("AAPL") == 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("accuracy 48.0 % < 50 %, hold_minutes", r"accuracy 48.0 % \< 50 %, hold_minutes"),
        ("[click](javascript:alert(1))", r"\[click\](javascript:alert(1))"),
        ("![](https://stranger.example/seen)", r"!\[\](https://stranger.example/seen)"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)>"),
        ("**RAISE** _now_ `x`", r"\*\*RAISE\*\* \_now\_ \`x\`"),
        ("# RAISE\n# RAISE", r"\# RAISE # RAISE"),
        ("- and so on", r"\- and so on"),
        ("-1.5 % in a month", "-1.5 % in a month"),
        ("a|b \\| c", r"a\|b \\\| c"),
    ],
    ids=["plain", "link", "picture", "html", "emphasis", "heading", "list", "minus", "cell"],
)
def test_markdown_shows_what_was_written(text: str, shown: str) -> None:
    """No link, picture, tag, emphasis, heading or cell of its own."""
    assert in_markdown(text) == shown
    assert markdown_table(TableView("", ("a",), ((text,),))).splitlines()[2] == f"| {shown} |"


def test_code_cannot_end_itself() -> None:
    """A file name with a backtick stays between its backticks."""
    assert in_code("a`[b](c)`\nd") == "a'[b](c)' d"


def test_a_spreadsheet_calculates_nothing() -> None:
    """Formulas are text; numbers, also negative ones written as text, stay numbers."""
    frame = pd.DataFrame(
        {
            "symbol": ["=HYPERLINK(1)", "+1+cmd", "@SUM(A1)", "-2+3", "\t=1", "AAPL"],
            "note": ["-1.5", "+2", "1e-3", None, "-.5", "a=b"],
            "=close": [-1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }
    )
    before = frame.copy()

    assert in_sheet(frame).decode().splitlines() == [
        "symbol,note,'=close",
        "'=HYPERLINK(1),-1.5,-1.0",
        "'+1+cmd,+2,2.0",
        "'@SUM(A1),1e-3,3.0",
        "'-2+3,,4.0",
        "'\t=1,-.5,5.0",
        "AAPL,a=b,6.0",
    ]
    pd.testing.assert_frame_equal(frame, before)
