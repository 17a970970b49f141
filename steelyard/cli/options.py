"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option("--home", help="Folder of all state: MLflow, ledger, lake.")]
Conf = Annotated[
    Path | None,
    typer.Option("--conf", help="Settings folder; default: ./conf, else the packaged one."),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Evaluate as of this time (ISO 8601, UTC); default: now."),
]
Lineage = Annotated[
    str | None,
    typer.Option("--lineage", help="Name of the lineage; needed where the home holds several."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Bars = Annotated[
    str,
    typer.Option("--bars", help="Bar file or folder, 'sample', or 'simulated:none|hidden|dying'."),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", min=1, max=10_000, help="Trials per search; default: conf/learning.yaml."
    ),
]
Reason = Annotated[
    str, typer.Option("--reason", help="Reason, recorded in the journal.", show_default=False)
]
Operator = Annotated[
    str | None,
    typer.Option(
        "--by", "--operator", help="Operator, recorded in the journal; default: your login name."
    ),
]

HERE = Path()
