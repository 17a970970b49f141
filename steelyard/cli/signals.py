"""Commands about bars, signals and trades."""

from pathlib import Path
from typing import Annotated

import typer

from steelyard.cli.options import HERE, AsOf, Conf, Home, Json, Lineage
from steelyard.cli.running import run_flow, show
from steelyard.errors import FixConfiguration

app = typer.Typer()


@app.command()
def collect(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Load bars from the source, validate them and store them in the lake."""
    from steelyard.flows.collect import collect as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_collection)


@app.command("import")
def import_trades(
    file: Annotated[
        Path, typer.Argument(help="Log of past trades or signals.", show_default=False)
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="freqtrade, mt5, tradingview, backtesting, ibkr, pyfolio or generic; default: as "
            "its header says.",
            show_default=False,
        ),
    ] = None,
    timezone: Annotated[
        str,
        typer.Option("--timezone", help="Zone of times that name none, such as Europe/Athens."),
    ] = "",
    symbol: Annotated[
        str, typer.Option("--symbol", help="Symbol of a log that does not name it.")
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", help="OURS=THEIRS, a column under another name; repeatable."),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--feature",
            help="Column that is a feature; repeatable. Default: every number without a meaning.",
        ),
    ] = None,
    learn: Annotated[
        bool, typer.Option("--train/--no-train", help="Train once afterwards.")
    ] = True,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Take in past trades with their outcomes, show what became of each, and train on them."""
    from steelyard.flows.importing import import_trades as flow
    from steelyard.gateways.trade_logs import ImportOptions
    from steelyard.settings import override
    from steelyard.views import terminal

    options = override(
        ImportOptions(),
        "import",
        timezone=timezone,
        symbol=symbol,
        columns=dict(map(_our_column, columns or ())),
        features=tuple(features or ()),
    )
    result = run_flow(
        flow,
        home,
        conf,
        as_of,
        lineage=lineage,
        file=str(file),
        form=form,
        options=options,
        learn=learn,
    )
    show(result, as_json, terminal.print_import)


def _our_column(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise FixConfiguration(f"--columns {text}: write OURS=THEIRS, such as symbol=Pair")
    return ours.strip(), theirs.strip()


@app.command()
def bar(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Collect, trade and settle, once a bar is known: what the schedule runs per bar."""
    from steelyard.flows.bar import bar as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of), as_json, terminal.print_bar)


@app.command()
def run(home: Home = HERE, conf: Conf = None) -> None:
    """Handle every bar in one long process until Ctrl-C, for bars of a few minutes."""
    from steelyard.flows.run import run as handle
    from steelyard.views import terminal

    handle(str(home), str(conf) if conf else None, terminal.print_notice)


@app.command()
def trade(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Trade the newest bar's signals: evaluate, size, order; record fills of earlier orders."""
    from steelyard.flows.trade import trade as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_trades)


@app.command()
def settle(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Record predictions for new signals and outcomes of signals whose exit has happened."""
    from steelyard.flows.settle import settle as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_settlement)
