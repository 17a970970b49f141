"""Commands that show the state and check it."""

from pathlib import Path
from typing import Annotated

import typer

from steelyard.cli.options import HERE, AsOf, Conf, Home, Json, Lineage
from steelyard.cli.running import show, show_each, time_of_reading

app = typer.Typer()


@app.command()
def status(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Show weight, phase, versions, lease, limits, gate, next reviews and open alerts.

    Of a home with several lineages: a table of all, then each.
    """
    from steelyard.home import open_lineages
    from steelyard.queries.replay import as_replayed
    from steelyard.queries.status import status as read
    from steelyard.views import terminal

    opened = [as_replayed(one) for one in open_lineages(home, conf, lineage)]
    statuses = {one.lineage: read(one, time_of_reading(one, as_of)) for one in opened}
    if len(statuses) > 1 and not as_json:
        terminal.print_overview(statuses.values())
    show_each(statuses, as_json, terminal.print_status)


@app.command()
def report(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File to write; default: lineage.html in the home, lineage-NAME.html of several.",
        ),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Write a one-page HTML report: weight, decisions, books, gate, limits, calibration, alerts.

    Of a home with several lineages: a page of each.
    """
    from steelyard.home import open_lineages
    from steelyard.queries.replay import as_replayed
    from steelyard.tasks.pages import report_file, write_overview, write_report
    from steelyard.views import terminal

    opened = [as_replayed(one) for one in open_lineages(home, conf, lineage)]
    if out and len(opened) > 1:
        raise typer.BadParameter("--out names one file; name one lineage, too: --lineage NAME")
    written = {}
    for one in opened:
        at = time_of_reading(one, as_of)
        written[one.lineage] = write_report(one, at, out or report_file(one))
    if len(written) > 1:
        overview = write_overview([*written.values()], home / "lineages.html")
        if not as_json:
            statuses = [page.document.status for page in written.values()]
            terminal.print_overview(statuses, overview)
    show_each(written, as_json, terminal.print_report)


@app.command()
def why(
    signal_id: Annotated[
        str, typer.Argument(help="Signal id, SYMBOL:TIMESTAMP:side.", show_default=False)
    ],
    home: Home = HERE,
    conf: Conf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Explain a signal: both confidences, weight, most important features, decision, outcome."""
    from steelyard.home import open_home
    from steelyard.queries.replay import as_replayed
    from steelyard.queries.why import explain_signal
    from steelyard.views import terminal

    show(
        explain_signal(as_replayed(open_home(home, conf, lineage)), signal_id),
        as_json,
        terminal.print_explanation,
    )


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
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Check the decision chain of each lineage, and state, tags and aliases against it.

    Exit code 1 if anything is broken.
    """
    from steelyard.home import open_lineages
    from steelyard.ops.verify import verified
    from steelyard.views import terminal

    opened = open_lineages(home, conf, lineage)
    documents = {one.lineage: verified(one, repair=repair, reseal=reseal) for one in opened}
    show_each(documents, as_json, terminal.print_verification)
    if any(document.faults for document in documents.values()):
        raise typer.Exit(1)
