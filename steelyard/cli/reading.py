"""Commands that show the state and check it."""

from pathlib import Path
from typing import Annotated

import typer

from steelyard.cli.options import HERE, AsOf, Conf, Home, Json
from steelyard.cli.running import show, time_of_reading

app = typer.Typer()


@app.command()
def status(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Show weight, phase, versions, lease, limits, gate, next reviews and open alerts."""
    from steelyard.home import open_home
    from steelyard.queries.status import status as read
    from steelyard.views import terminal

    opened = open_home(home, conf)
    show(read(opened, time_of_reading(opened, as_of)), as_json, terminal.print_status)


@app.command()
def report(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write; default: lineage.html in the home."),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Write a one-page HTML report: weight, decisions, books, gate, limits, calibration, alerts."""
    from steelyard.home import open_home
    from steelyard.tasks.pages import write_report
    from steelyard.views import terminal

    opened = open_home(home, conf)
    show(
        write_report(opened, time_of_reading(opened, as_of), out or home / "lineage.html"),
        as_json,
        terminal.print_report,
    )


@app.command()
def why(
    signal_id: Annotated[
        str, typer.Argument(help="Signal id, SYMBOL:TIMESTAMP:side.", show_default=False)
    ],
    home: Home = HERE,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Explain a signal: both confidences, weight, most important features, decision, outcome."""
    from steelyard.home import open_home
    from steelyard.queries.why import explain_signal
    from steelyard.views import terminal

    show(explain_signal(open_home(home, conf), signal_id), as_json, terminal.print_explanation)


@app.command()
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Rewrite state and aliases from the journal.")
    ] = False,
    reseal: Annotated[
        bool,
        typer.Option("--reseal", help="Reseal an intact chain after a change of the seal key."),
    ] = False,
    home: Home = HERE,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Check the decision chain, and state, tags and aliases against it.

    Exit code 1 if anything is broken.
    """
    from steelyard.home import open_home
    from steelyard.ops.verify import verified
    from steelyard.views import terminal

    document = verified(open_home(home, conf), repair=repair, reseal=reseal)
    show(document, as_json, terminal.print_verification)
    if document.faults:
        raise typer.Exit(1)
