"""Commands that set a home up and keep it running."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from steelyard.cli.options import HERE, Bars, Conf, Home, Json, Lineage
from steelyard.cli.running import show
from steelyard.environment import prefect_server_configured, service_manager_socket, service_token
from steelyard.errors import FixConfiguration

app = typer.Typer()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the home; made if missing.")] = HERE,
    as_json: Json = False,
) -> None:
    """Write a home to begin with: settings, a system of your own, an example of the environment."""
    from steelyard.ops.scaffold import init_home
    from steelyard.views import terminal

    show(init_home(folder), as_json, terminal.print_scaffold)


@app.command()
def new_strategy(
    name: Annotated[str, typer.Argument(help="Name of its module, for example breakout.")],
    as_json: Json = False,
) -> None:
    """Write a trading system to rewrite as your own, into the current folder."""
    from steelyard.ops.scaffold import new_strategy as write
    from steelyard.views import terminal

    show(write(name, HERE), as_json, terminal.print_scaffold)


@app.command()
def check_strategy(
    system: Annotated[
        str, typer.Argument(help="trend, reversion, or your own MODULE:CLASS.", show_default=False)
    ],
    bars: Bars,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Check a trading system on past bars: look-ahead, memory, confidences, scores, speed.

    Exit code 1 if anything is wrong.
    """
    from steelyard.ops.strategy_check import check_strategy as check
    from steelyard.views import terminal

    document = check(system, bars, conf)
    show(document, as_json, terminal.print_strategy)
    if document.count("wrong"):
        raise typer.Exit(1)


@app.command()
def doctor(
    home: Home = HERE, conf: Conf = None, lineage: Lineage = None, as_json: Json = False
) -> None:
    """Check settings, versions, databases, folders, schedules and Prefect; print what to fix.

    Exit code 1 if anything is broken.
    """
    from steelyard.ops.doctor import doctor as examine
    from steelyard.views import terminal

    document = examine(home, conf, datetime.now(UTC), lineage)
    show(document, as_json, terminal.print_doctor)
    if document.count("wrong"):
        raise typer.Exit(1)


@app.command()
def up(home: Home = HERE, conf: Conf = None) -> None:
    """Run Prefect, MLflow, a worker and all schedules on this machine until Ctrl-C."""
    from steelyard.ops.up import keep_up, planned
    from steelyard.settings import load_shared
    from steelyard.views import terminal

    keep_up(planned(load_shared(conf), home, conf), terminal.print_addresses, terminal.print_notice)


@app.command()
def deploy(home: Home = HERE, conf: Conf = None, as_json: Json = False) -> None:
    """Register the schedules with the Prefect server at PREFECT_API_URL."""
    from steelyard.home import open_lineages
    from steelyard.views import terminal

    if not prefect_server_configured():
        raise FixConfiguration(
            "PREFECT_API_URL names no Prefect server; set it, or use steelyard up"
        )
    from steelyard.ops.deployments import register
    from steelyard.ops.login import logged_in

    opened = open_lineages(home, conf)
    with logged_in(opened[0].settings, home):
        schedules = register(opened)
    show(schedules, as_json, terminal.print_schedules)


@app.command()
def serve(
    host: Annotated[
        str,
        typer.Option("--host", help="Bind address (default 127.0.0.1).", show_default=False),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="Port; default: port in conf/desk.yaml."),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    lineage: Lineage = None,
) -> None:
    """Evaluate signals over HTTP until Ctrl-C; requires a token in STEELYARD_TOKEN."""
    from steelyard.desk.service import run, service
    from steelyard.gateways.service_manager import ServiceManager
    from steelyard.settings import load
    from steelyard.trading import open_desk
    from steelyard.views import terminal

    manager = ServiceManager(service_manager_socket())
    policy, token = load(conf, lineage).desk, service_token()
    application = service(open_desk(home, conf, lineage=lineage), token, policy)
    listening = policy.port if port is None else port
    run(application, host, listening, terminal.print_address, manager)
