"""Commands about models: train, compare, approve, watch for drift."""

from typing import Annotated

import typer

from steelyard.cli.options import HERE, AsOf, Conf, Home, Json, Lineage, Operator, Reason, Trials
from steelyard.cli.running import run_flow, run_for_operator, show

app = typer.Typer()


@app.command()
def train(
    trials: Trials = None,
    family: Annotated[
        list[str] | None,
        typer.Option(
            "--family",
            help="Search only this family (logistic, lightgbm, xgboost or MODULE:CLASS); "
            "repeatable.",
        ),
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option("--symbol", help="Train only on this symbol's signals; repeatable."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Reason, logged with the MLflow run.")
    ] = "",
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Train a challenger on the settled signals and compare it with the champion."""
    from steelyard.flows.train import train as flow
    from steelyard.learning.policy import Retraining
    from steelyard.settings import override
    from steelyard.views import terminal

    request = override(
        Retraining(),
        "train",
        trials=trials,
        families=family or (),
        symbols=symbol or (),
        reason=reason,
    )
    show(
        run_flow(flow, home, conf, as_of, lineage=lineage, request=request),
        as_json,
        terminal.print_version,
    )


@app.command()
def compare(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Compare the waiting challenger with the champion."""
    from steelyard.flows.train import compare as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_version)


@app.command()
def approve(
    version: Annotated[
        str, typer.Argument(help="Number of the version.", metavar="VERSION", show_default=False)
    ],
    reason: Reason,
    by: Operator = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Let a version that is too good to be true be compared with the champion."""
    from steelyard.flows.train import approve as flow
    from steelyard.views import terminal

    record = run_for_operator(flow, reason, by, home, conf, as_of, lineage=lineage, version=version)
    show(record, as_json, terminal.print_version)


@app.command()
def drift(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Compare recent data with the champion's training data; request a retraining on drift."""
    from steelyard.flows.drift import drift as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_drift)
