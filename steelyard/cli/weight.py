"""Commands about the weight: its evaluations and what an operator does to it."""

from typing import Annotated

import typer

from steelyard.cli.options import HERE, AsOf, Conf, Home, Json, Lineage, Operator, Reason
from steelyard.cli.running import run_flow, run_for_operator, show

app = typer.Typer()


@app.command()
def guard(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Check the limits, cut the weight if one is breached, renew the lease."""
    from steelyard.flows.guard import guard as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_guard)


@app.command()
def weight(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Run the monthly evaluation and the gate review of the last period, each once."""
    from steelyard.flows.weight import weight as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_evaluation)


@app.command()
def review(
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Write the report of the last complete period to the home and to MLflow, once."""
    from steelyard.flows.review import review as flow
    from steelyard.views import terminal

    show(run_flow(flow, home, conf, as_of, lineage=lineage), as_json, terminal.print_review)


@app.command()
def rollback(
    reason: Reason,
    by: Operator = None,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Accept that decisions or settled rows are lost, after an older backup was put "
            "back: go on without them.",
        ),
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every lineage of the home, each braked first.")
    ] = False,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Set the weight to 0 now; the model must be retrained and requalify from shadow."""
    from steelyard.flows.rollback import rollback as flow
    from steelyard.flows.rollback import rollback_all
    from steelyard.views import terminal

    if every:
        if lineage or accept_loss:
            raise typer.BadParameter("--all takes neither --lineage nor --accept-loss")
        result = run_for_operator(rollback_all, reason, by, home, conf, as_of)
        show(result, as_json, terminal.print_rollbacks)
        if not result.worked:
            raise typer.Exit(1)
        return
    entry = run_for_operator(
        flow, reason, by, home, conf, as_of, lineage=lineage, accept_loss=accept_loss
    )
    show(entry, as_json, terminal.print_operation)


@app.command()
def hold(
    reason: Reason,
    by: Operator = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Freeze the weight; limits can still lower it."""
    from steelyard.flows.rollback import hold as flow
    from steelyard.views import terminal

    show(
        run_for_operator(flow, reason, by, home, conf, as_of, lineage=lineage),
        as_json,
        terminal.print_operation,
    )


@app.command()
def resume(
    reason: Reason,
    by: Operator = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Unfreeze the weight."""
    from steelyard.flows.rollback import resume as flow
    from steelyard.views import terminal

    show(
        run_for_operator(flow, reason, by, home, conf, as_of, lineage=lineage),
        as_json,
        terminal.print_operation,
    )
