"""Command line: runs flows, prints their results, reports each error in one line.

A command imports what it needs when it runs, so that ``--help`` loads nothing of it.
"""

import gc
import sys
import tempfile
import traceback
from importlib.metadata import version as package_version
from importlib.util import find_spec
from typing import Annotated

import typer

from steelyard.cli import learning, reading, setup, signals, simulation, weight
from steelyard.environment import go_offline
from steelyard.errors import SteelyardError, needing
from steelyard.gateways.files import keep_private
from steelyard.gateways.outside import in_terminal

COLLECTIONS = (100_000, 20, 20)
"""Thresholds of Python's search for reference cycles: at its own (700, 10, 10) the search
takes a fifth of a command's time, because imports leave so many objects that stay."""

LIGHT = ("check-strategy", "init", "new-strategy", "simulate")
"""Commands that need no extra."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=None
    if find_spec("prefect")
    else f"In this light installation {', '.join(LIGHT)} work, and the trading side in your own "
    r"process. pip install 'steelyard\[all]' brings what the other commands need.",
)
for subject in (setup, signals, learning, weight, reading, simulation):
    app.add_typer(subject.app)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"steelyard {package_version('steelyard')}")
        raise typer.Exit


@app.callback()
def steelyard(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Add an ML model to a rule-based trading system, by a weight that starts at 0 %."""


def main() -> None:
    """Run the command line; exit code 0 done, 1 refused or failed with one line, 2 bad usage."""
    go_offline()
    keep_private()
    gc.set_threshold(*COLLECTIONS)
    try:
        with needing(f"steelyard {' '.join(sys.argv[1:2])}".rstrip()):
            app()
    except SteelyardError as error:
        sys.exit(in_terminal(f"steelyard: {error}"))
    except KeyboardInterrupt:
        sys.exit("steelyard: stopped; finished work is kept, the same command continues")
    except Exception as error:  # noqa: BLE001  # an operator gets one line, the traceback a file
        with tempfile.NamedTemporaryFile(
            "w", prefix="steelyard-", suffix=".txt", delete=False
        ) as file:
            file.write(traceback.format_exc())
        message = in_terminal(" ".join(str(error).split())[:300])
        sys.exit(
            f"steelyard: unexpected {type(error).__name__}: {message}; "
            f"the traceback is in {file.name}"
        )
