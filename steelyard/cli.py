"""The command line: starts flows, prints what they return, and says in one line what went wrong."""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from steelyard.errors import FixConfiguration, SteelyardError
from steelyard.settings import default_conf, go_offline, load, prefect_server_configured
from steelyard.views import terminal

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Lets a machine-learned model earn its weight in a trading system that already works without it.",
)

Home = Annotated[
    Path,
    typer.Option("--home", help="Folder of all state: MLflow, ledger, lake.", show_default=False),
]
Conf = Annotated[
    Path | None, typer.Option("--conf", help="Folder of the settings; default ./conf.")
]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="Moment to speak for (ISO, UTC); default: now.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Bars = Annotated[
    str,
    typer.Option(
        "--bars", help="A bars file or folder, 'sample', or 'simulated:none|hidden|dying'."
    ),
]
Trials = Annotated[
    int | None, typer.Option("--trials", min=1, max=10_000, help="Trials per search.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the journal.", show_default=False)]
By = Annotated[str | None, typer.Option("--by", help="Who, for the journal; default: your login.")]

HERE = Path()


@app.command()
def collect(
    home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False
) -> None:
    """Bring the source's bars into the lake, validated."""
    from steelyard.flows.collect import collect as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.collected)


@app.command()
def train(
    trials: Trials = None,
    family: Annotated[
        list[str] | None, typer.Option("--family", help="Only this booster; lightgbm or xgboost.")
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option("--symbol", help="Learn from this symbol's signals alone; repeat it."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, kept with the run in MLflow.")] = "",
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Train a challenger on the settled signals, and compare it with the champion."""
    from steelyard.flows.train import train as flow
    from steelyard.learning.policy import Retraining
    from steelyard.settings import override

    asked = {"trials": trials, "families": family or (), "symbols": symbol or (), "reason": reason}
    request = override(Retraining(), "train", **asked)
    show(_run(flow, home, conf, as_of, request=request), as_json, terminal.version)


@app.command()
def compare(
    home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False
) -> None:
    """Compare the waiting challenger with the champion."""
    from steelyard.flows.train import compare as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.version)


@app.command()
def settle(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Record opinions on new signals, and the outcomes of brackets that have ended."""
    from steelyard.flows.settle import settle as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.settled)


@app.command()
def trade(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Trade the signals of the newest bar: evaluate, size, order; write the fills of the orders before."""
    from steelyard.flows.trade import trade as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.traded)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; loopback unless you know better.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="Default: conf/desk.yaml.")
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
) -> None:
    """Evaluate signals over HTTP until Ctrl-C; needs the token in STEELYARD_TOKEN."""
    from steelyard.desk.service import run, service
    from steelyard.settings import load, service_token
    from steelyard.trading import open_desk

    policy, token = load(conf).desk, service_token()
    app = service(open_desk(home, conf), token, policy)
    run(app, host, policy.port if port is None else port, terminal.serving)


@app.command()
def guard(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Look at the limits, cut where one is breached, renew the lease."""
    from steelyard.flows.guard import guard as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.guarded)


@app.command()
def weight(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Evaluate the last period and review the gate, each once."""
    from steelyard.flows.weight import weight as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.weighed)


@app.command()
def drift(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Ask whether the market has left the world the champion was trained in, and for a training where it has."""
    from steelyard.flows.drift import drift as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.drifted)


@app.command()
def review(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Write the report of the last whole period, once: in the home and in MLflow."""
    from steelyard.flows.review import review as flow

    show(_run(flow, home, conf, as_of), as_json, terminal.reported)


@app.command()
def replay(
    bars: Bars,
    start: Annotated[
        str, typer.Option("--start", help="First day that is lived through (ISO date).")
    ],
    end: Annotated[str, typer.Option("--end", help="Last day (ISO date).")],
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="MODULE:CLASS of your own system.")
    ] = None,
    trials: Trials = None,
    retrain_days: Annotated[
        int, typer.Option("--retrain-days", min=1, help="Days between trainings.")
    ] = 7,
    evidence: Annotated[
        str | None,
        typer.Option("--evidence", help="ladder or sequential: what a rise must rest on."),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Live through past bars day by day, exactly as the scheduled flows would have."""
    from steelyard.flows.replay import replay as flow

    document = _run_with_bar(
        flow,
        bars=bars,
        start=parse_time(start),
        end=parse_time(end),
        strategy=strategy,
        trials=trials,
        retrain_days=retrain_days,
        evidence=evidence,
        **_places(home, conf),
    )
    show(document, as_json, terminal.replayed)


@app.command()
def demo(home: Home = Path("demo"), conf: Conf = None, as_json: Json = False) -> None:
    """Replay the built-in sample, and a simulated market whose edge dies by both rules; ends with tables and pictures."""
    from steelyard.flows.demo import demo as flow

    show(_run_with_bar(flow, **_places(home, conf)), as_json, terminal.demonstrated)


@app.command()
def simulate(
    lives: Annotated[
        int, typer.Option("--lives", min=10, max=100_000, help="Lives per scenario.")
    ] = 2000,
    months: Annotated[
        int, typer.Option("--months", min=6, max=120, help="Length of a life in 30-day months.")
    ] = 24,
    signals: Annotated[
        list[int] | None,
        typer.Option(
            "--signals", min=5, max=3000, help="Settled signals a month; may be given repeatedly."
        ),
    ] = None,
    dependence: Annotated[
        list[float] | None,
        typer.Option(
            "--dependence",
            min=0,
            max=0.99,
            help="Correlation of outcomes within a day; may be given repeatedly.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Page to write; default: simulation.html in the home."),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Simulate thousands of lives of known truth under conf/weight.yaml, in both evidence modes.

    Without --signals: also 30, 100, 300 a month and dependent signals, on a quarter of the lives.
    """
    from steelyard.progress import progress_to
    from steelyard.queries.simulation import operating_characteristics
    from steelyard.simulation.characteristics import designs

    courses = designs(lives, months, signals, dependence, seed)
    with terminal.bars() as sink, progress_to(sink):
        document = operating_characteristics(load(conf), courses, out or home / "simulation.html")
    show(document, as_json, terminal.drilled)


@app.command()
def drill(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="What goes wrong; docs/operating.md lists the scenarios.", show_default=False
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every scenario.")] = False,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Folder of the drills; default: a new temporary folder."),
    ] = None,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Run a fire drill: a real failure in a separate home; exit code 1 if noticed too late."""
    from steelyard.flows.drill import fire_drill
    from steelyard.ops.drills import SCENARIOS
    from steelyard.progress import progress_to

    if every and scenario:
        raise FixConfiguration("name one scenario, or pass --all: steelyard drill SCENARIO | --all")
    if not (every or scenario):
        typer.echo(
            f"steelyard: name a scenario ({', '.join(SCENARIOS)}) or pass --all; "
            "for simulated lives use steelyard simulate",
            err=True,
        )
        raise typer.Exit(2)
    scenarios = (scenario,) if scenario else ()
    with terminal.bars() as sink, progress_to(sink):
        document = fire_drill(scenarios, str(home) if home else None, str(conf) if conf else None)
    show(document, as_json, terminal.fire_drilled)
    if not document["noticed"]:
        raise typer.Exit(1)


@app.command()
def up(home: Home = HERE, conf: Conf = None) -> None:
    """Run everything on this machine until Ctrl-C: Prefect, MLflow, a worker and the schedules."""
    from steelyard.ops.up import keep_up, planned

    keep_up(planned(load(conf), home, conf), terminal.up, terminal.noticed)


@app.command()
def deploy(home: Home = HERE, conf: Conf = None, as_json: Json = False) -> None:
    """Register the schedules with the Prefect server that PREFECT_API_URL names."""
    from steelyard.ops.deployments import register

    if not prefect_server_configured():
        raise FixConfiguration(
            "PREFECT_API_URL names no Prefect server; set it, or use steelyard up"
        )
    show(register(load(conf).up, home, conf or default_conf()), as_json, terminal.deployed)


@app.command()
def status(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """How things stand: weight, phase, versions, lease, limits, gate, next reviews, open alerts."""
    from steelyard.home import open_home
    from steelyard.queries.status import status as read

    at = parse_time(as_of) if as_of else datetime.now(UTC)
    show(read(open_home(home, conf), at), as_json, terminal.status)


@app.command()
def report(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write; default: lineage.html in the home."),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Write how things stand as one page: weight, decisions, books, gate, limits, calibration, alerts."""
    from steelyard.home import open_home
    from steelyard.queries.report import written_report

    at = parse_time(as_of) if as_of else datetime.now(UTC)
    show(
        written_report(open_home(home, conf), at, out or home / "lineage.html"),
        as_json,
        terminal.reported,
    )


@app.command()
def why(
    signal_id: Annotated[str, typer.Argument(help="SYMBOL:TIMESTAMP:side", show_default=False)],
    home: Home = HERE,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Why a signal was traded or left: both confidences, the weight, the features that counted, the outcome."""
    from steelyard.home import open_home
    from steelyard.queries.why import explained

    show(explained(open_home(home, conf), signal_id), as_json, terminal.why)


@app.command()
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Write state and aliases anew from the journal.")
    ] = False,
    reseal: Annotated[
        bool, typer.Option("--reseal", help="Seal a whole chain anew, after a change of the key.")
    ] = False,
    home: Home = HERE,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Walk the chain of decisions, and hold state, tags and aliases against it; exit 1 where something is wrong."""
    from steelyard.home import open_home
    from steelyard.ops.verify import verified

    document = verified(open_home(home, conf), repair=repair, reseal=reseal)
    show(document, as_json, terminal.verified)
    if document["faults"]:
        raise typer.Exit(1)


@app.command()
def doctor(home: Home = HERE, conf: Conf = None, as_json: Json = False) -> None:
    """Look at settings, versions, databases, folders, schedules and Prefect, and say what to do; exit 1 where it must be."""
    from steelyard.ops.doctor import doctor as examine

    document = examine(home, conf, datetime.now(UTC))
    show(document, as_json, terminal.examined)
    if document["wrong"]:
        raise typer.Exit(1)


@app.command()
def rollback(
    reason: Reason,
    by: By = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Take the weight to 0 now; the model must be retrained and requalify from shadow."""
    from steelyard.flows.rollback import rollback as flow

    show(_operate(flow, reason, by, home, conf, as_of), as_json, terminal.operated)


@app.command()
def hold(
    reason: Reason,
    by: By = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Freeze the weight; limits still lower it."""
    from steelyard.flows.rollback import hold as flow

    show(_operate(flow, reason, by, home, conf, as_of), as_json, terminal.operated)


@app.command()
def resume(
    reason: Reason,
    by: By = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Let the weight move again."""
    from steelyard.flows.rollback import resume as flow

    show(_operate(flow, reason, by, home, conf, as_of), as_json, terminal.operated)


def _operate(
    flow: Any, reason: str, by: str | None, home: Path, conf: Path | None, as_of: str | None
) -> Any:
    if not reason.strip():
        raise FixConfiguration("--reason is empty; the journal needs one")
    return _run(flow, home, conf, as_of, reason=reason, operator=by)


def parse_time(text: str) -> datetime:
    """Return an ISO date or time as UTC.

    Raises:
        FixConfiguration: If ``text`` is neither.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"'{text}' is not an ISO date such as 2012-03-01") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _places(home: Path, conf: Path | None) -> dict[str, Any]:
    return {"home": str(home), "conf": str(conf) if conf else None}


def _run(flow: Any, home: Path, conf: Path | None, as_of: str | None, **parameters: Any) -> Any:
    at = parse_time(as_of) if as_of else None
    return _run_with_bar(flow, as_of=at, **parameters, **_places(home, conf))


def _run_with_bar(flow: Any, **parameters: Any) -> Any:
    """Run a flow, recorded by the Prefect server where one is configured, with its progress on stderr."""
    from steelyard.flows.common import alert_on_failure
    from steelyard.progress import progress_to

    with terminal.bars() as sink, progress_to(sink):
        if prefect_server_configured():
            return flow(**parameters)
        with alert_on_failure(flow, parameters):
            return flow.fn(**parameters)


def show(document: Any, as_json: bool, as_text: Callable[[Any], None]) -> None:
    """Print a flow's result: JSON on stdout, or tables for people."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        as_text(document)


def main() -> None:
    """Run the command line; exit 0 done, 1 refused or failed with one clear line, 2 bad usage."""
    go_offline()
    try:
        app()
    except SteelyardError as error:
        sys.exit(f"steelyard: {error}")
    except KeyboardInterrupt:
        sys.exit("steelyard: stopped; what was finished is kept, the same command continues")
    except Exception as error:  # noqa: BLE001  # the last line: an operator gets one line, the traceback goes to a file
        with tempfile.NamedTemporaryFile(
            "w", prefix="steelyard-", suffix=".txt", delete=False
        ) as file:
            file.write(traceback.format_exc())
        sys.exit(
            f"steelyard: unexpected {type(error).__name__}: {_one_line(error)}; the traceback is in {file.name}"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
