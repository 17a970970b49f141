"""Command line: runs flows, prints their results, reports each error in one line."""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any

import typer

from steelyard.errors import FixConfiguration, SteelyardError
from steelyard.gateways.files import keep_private
from steelyard.gateways.outside import in_terminal
from steelyard.settings import default_conf, go_offline, load, prefect_server_configured
from steelyard.views import terminal

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Home = Annotated[Path, typer.Option("--home", help="Folder of all state: MLflow, ledger, lake.")]
Conf = Annotated[
    Path | None,
    typer.Option("--conf", help="Settings folder; default: ./conf, else the packaged one."),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Evaluate as of this time (ISO 8601, UTC); default: now."),
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


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the home; made if missing.")] = HERE,
    as_json: Json = False,
) -> None:
    """Write a home to begin with: settings, a system of your own, an example of the environment."""
    from steelyard.ops.scaffold import init_home

    show(init_home(folder), as_json, terminal.print_scaffold)


@app.command()
def new_strategy(
    name: Annotated[str, typer.Argument(help="Name of its module, for example breakout.")],
    as_json: Json = False,
) -> None:
    """Write a trading system to rewrite as your own, into the current folder."""
    from steelyard.ops.scaffold import new_strategy as write

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

    document = check(system, bars, conf)
    show(document, as_json, terminal.print_strategy)
    if document.count("wrong"):
        raise typer.Exit(1)


@app.command()
def collect(
    home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False
) -> None:
    """Load bars from the source, validate them and store them in the lake."""
    from steelyard.flows.collect import collect as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_collection)


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
    as_json: Json = False,
) -> None:
    """Take in past trades with their outcomes, show what became of each, and train on them."""
    from steelyard.flows.importing import import_trades as flow
    from steelyard.gateways.trade_logs import ImportOptions
    from steelyard.settings import override

    options = override(
        ImportOptions(),
        "import",
        timezone=timezone,
        symbol=symbol,
        columns=dict(map(_our_column, columns or ())),
        features=tuple(features or ()),
    )
    result = _run_flow(
        flow, home, conf, as_of, file=str(file), form=form, options=options, learn=learn
    )
    show(result, as_json, terminal.print_import)


def _our_column(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise FixConfiguration(f"--columns {text}: write OURS=THEIRS, such as symbol=Pair")
    return ours.strip(), theirs.strip()


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
    as_json: Json = False,
) -> None:
    """Train a challenger on the settled signals and compare it with the champion."""
    from steelyard.flows.train import train as flow
    from steelyard.learning.policy import Retraining
    from steelyard.settings import override

    request = override(
        Retraining(),
        "train",
        trials=trials,
        families=family or (),
        symbols=symbol or (),
        reason=reason,
    )
    show(_run_flow(flow, home, conf, as_of, request=request), as_json, terminal.print_version)


@app.command()
def compare(
    home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False
) -> None:
    """Compare the waiting challenger with the champion."""
    from steelyard.flows.train import compare as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_version)


@app.command()
def settle(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Record predictions for new signals and outcomes of signals whose exit has happened."""
    from steelyard.flows.settle import settle as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_settlement)


@app.command()
def trade(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Trade the newest bar's signals: evaluate, size, order; record fills of earlier orders."""
    from steelyard.flows.trade import trade as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_trades)


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
) -> None:
    """Evaluate signals over HTTP until Ctrl-C; requires a token in STEELYARD_TOKEN."""
    from steelyard.desk.service import run, service
    from steelyard.settings import service_token
    from steelyard.trading import open_desk

    policy, token = load(conf).desk, service_token()
    application = service(open_desk(home, conf), token, policy)
    run(application, host, policy.port if port is None else port, terminal.print_address)


@app.command()
def guard(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Check the limits, cut the weight if one is breached, renew the lease."""
    from steelyard.flows.guard import guard as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_guard)


@app.command()
def weight(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Run the monthly evaluation and the gate review of the last period, each once."""
    from steelyard.flows.weight import weight as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_evaluation)


@app.command()
def drift(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Compare recent data with the champion's training data; request a retraining on drift."""
    from steelyard.flows.drift import drift as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_drift)


@app.command()
def review(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Write the report of the last complete period to the home and to MLflow, once."""
    from steelyard.flows.review import review as flow

    show(_run_flow(flow, home, conf, as_of), as_json, terminal.print_review)


@app.command()
def replay(
    bars: Annotated[
        str | None,
        typer.Option(
            "--bars", help="Bar file or folder, 'sample', or 'simulated:none|hidden|dying'."
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Home whose log of signals is replayed, in place of --bars."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", help="First day (ISO 8601, UTC); of a log by default its first."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--end", help="Last day (ISO 8601, UTC); of a log by default its last."),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="trend, reversion, or your own MODULE:CLASS.")
    ] = None,
    trials: Trials = None,
    retrain_days: Annotated[
        int, typer.Option("--retrain-days", min=1, help="Days between trainings.")
    ] = 7,
    evidence: Annotated[
        str | None,
        typer.Option(
            "--evidence", help="Evidence rule, ladder or sequential; default: conf/weight.yaml."
        ),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    as_json: Json = False,
) -> None:
    """Replay past bars, or the signals of a log, day by day, as the scheduled flows would run."""
    from steelyard.flows import replay as flows

    common = {"trials": trials, "retrain_days": retrain_days, "evidence": evidence}
    days = {
        "start": parse_time(start) if start else None,
        "end": parse_time(end) if end else None,
    }
    if (bars is None) == (log is None) or (log is not None and strategy):
        raise typer.BadParameter("pass either --bars (and --strategy), or --log")
    if log is not None:
        document = _run_with_progress(
            flows.replay_log, log=str(log), **days, **common, **_folders(home, conf)
        )
    elif not (start and end):
        raise typer.BadParameter("a replay of bars needs its days; pass --start and --end")
    else:
        document = _run_with_progress(
            flows.replay, bars=bars, strategy=strategy, **days, **common, **_folders(home, conf)
        )
    show(document, as_json, terminal.print_replay)


@app.command()
def demo(home: Home = Path("demo"), conf: Conf = None, as_json: Json = False) -> None:
    """Replay the sample and a simulated dying edge under both evidence rules; write plots."""
    from steelyard.flows.demo import demo as flow

    show(_run_with_progress(flow, **_folders(home, conf)), as_json, terminal.print_demo)


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
        typer.Option("--signals", min=5, max=3000, help="Settled signals per month; repeatable."),
    ] = None,
    dependence: Annotated[
        list[float] | None,
        typer.Option(
            "--dependence",
            min=0,
            max=0.99,
            help="Correlation of outcomes within a day; repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 1,
    holdout: Annotated[
        int,
        typer.Option(
            "--holdout",
            min=0,
            max=100_000,
            help="Signals of a training's holdout; 0: a champion serves from the first day.",
        ),
    ] = 500,
    ingredients: Annotated[
        bool,
        typer.Option("--ingredients", help="Also switch off each ingredient, one by one."),
    ] = False,
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
    from steelyard.simulation.characteristics import designs
    from steelyard.tasks.pages import write_characteristics

    courses = designs(lives, months, signals, dependence, seed, holdout)
    with terminal.progress_bars() as sink, progress_to(sink):
        document = write_characteristics(
            load(conf), courses, out or home / "simulation.html", ingredients=ingredients
        )
    show(document, as_json, terminal.print_characteristics)


@app.command()
def drill(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="What goes wrong; docs/operating/daily-routine.md lists the scenarios.",
            show_default=False,
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
    with terminal.progress_bars() as sink, progress_to(sink):
        document = fire_drill(scenarios, str(home) if home else None, str(conf) if conf else None)
    show(document, as_json, terminal.print_fire_drills)
    if not document.noticed:
        raise typer.Exit(1)


@app.command()
def up(home: Home = HERE, conf: Conf = None) -> None:
    """Run Prefect, MLflow, a worker and all schedules on this machine until Ctrl-C."""
    from steelyard.ops.up import keep_up, planned

    keep_up(planned(load(conf), home, conf), terminal.print_addresses, terminal.print_notice)


@app.command()
def deploy(home: Home = HERE, conf: Conf = None, as_json: Json = False) -> None:
    """Register the schedules with the Prefect server at PREFECT_API_URL."""
    if not prefect_server_configured():
        raise FixConfiguration(
            "PREFECT_API_URL names no Prefect server; set it, or use steelyard up"
        )
    from steelyard.ops.deployments import register
    from steelyard.ops.login import logged_in

    settings = load(conf)
    with logged_in(settings, home):
        schedules = register(settings.up, home, conf or default_conf())
    show(schedules, as_json, terminal.print_schedules)


@app.command()
def status(home: Home = HERE, conf: Conf = None, as_of: AsOf = None, as_json: Json = False) -> None:
    """Show weight, phase, versions, lease, limits, gate, next reviews and open alerts."""
    from steelyard.home import open_home
    from steelyard.queries.status import status as read

    opened = open_home(home, conf)
    show(read(opened, _time_of_reading(opened, as_of)), as_json, terminal.print_status)


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

    opened = open_home(home, conf)
    show(
        write_report(opened, _time_of_reading(opened, as_of), out or home / "lineage.html"),
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

    document = verified(open_home(home, conf), repair=repair, reseal=reseal)
    show(document, as_json, terminal.print_verification)
    if document.faults:
        raise typer.Exit(1)


@app.command()
def doctor(home: Home = HERE, conf: Conf = None, as_json: Json = False) -> None:
    """Check settings, versions, databases, folders, schedules and Prefect; print what to fix.

    Exit code 1 if anything is broken.
    """
    from steelyard.ops.doctor import doctor as examine

    document = examine(home, conf, datetime.now(UTC))
    show(document, as_json, terminal.print_doctor)
    if document.count("wrong"):
        raise typer.Exit(1)


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
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Set the weight to 0 now; the model must be retrained and requalify from shadow."""
    from steelyard.flows.rollback import rollback as flow

    entry = _run_for_operator(flow, reason, by, home, conf, as_of, accept_loss=accept_loss)
    show(entry, as_json, terminal.print_operation)


@app.command()
def hold(
    reason: Reason,
    by: Operator = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Freeze the weight; limits can still lower it."""
    from steelyard.flows.rollback import hold as flow

    show(_run_for_operator(flow, reason, by, home, conf, as_of), as_json, terminal.print_operation)


@app.command()
def resume(
    reason: Reason,
    by: Operator = None,
    home: Home = HERE,
    conf: Conf = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Unfreeze the weight."""
    from steelyard.flows.rollback import resume as flow

    show(_run_for_operator(flow, reason, by, home, conf, as_of), as_json, terminal.print_operation)


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
    as_json: Json = False,
) -> None:
    """Let a version that is too good to be true be compared with the champion."""
    from steelyard.flows.train import approve as flow

    record = _run_for_operator(flow, reason, by, home, conf, as_of, version=version)
    show(record, as_json, terminal.print_version)


def _run_for_operator(
    flow: Any,
    reason: str,
    operator: str | None,
    home: Path,
    conf: Path | None,
    as_of: str | None,
    **parameters: Any,
) -> Any:
    if not reason.strip():
        raise FixConfiguration("--reason is empty; the journal records why, so give one")
    return _run_flow(flow, home, conf, as_of, reason=reason, operator=operator, **parameters)


def _time_of_reading(home: Any, as_of: str | None) -> datetime:
    """Return the time given, or the last day of the replay in the home, or now."""
    from steelyard.queries.replay import last_replayed_day

    return parse_time(as_of) if as_of else last_replayed_day(home) or datetime.now(UTC)


def parse_time(text: str) -> datetime:
    """Return an ISO 8601 date or time as an aware datetime; UTC unless it names another zone.

    Raises:
        FixConfiguration: If ``text`` is no such date or time.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"'{text}' is not an ISO date such as 2012-03-01") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _folders(home: Path, conf: Path | None) -> dict[str, Any]:
    return {"home": str(home), "conf": str(conf) if conf else None}


def _run_flow(
    flow: Any, home: Path, conf: Path | None, as_of: str | None, **parameters: Any
) -> Any:
    at = parse_time(as_of) if as_of else None
    return _run_with_progress(flow, as_of=at, **parameters, **_folders(home, conf))


def _run_with_progress(flow: Any, **parameters: Any) -> Any:
    """Run a flow with progress on stderr; a Prefect server records it if one is configured."""
    from steelyard.flows.common import alert_on_failure
    from steelyard.progress import progress_to

    with terminal.progress_bars() as sink, progress_to(sink):
        if prefect_server_configured():
            from steelyard.ops.login import logged_in

            conf = Path(parameters["conf"]) if parameters["conf"] else None
            with logged_in(load(conf), Path(parameters["home"])):
                return flow(**parameters)
        with alert_on_failure(flow, parameters):
            return flow.fn(**parameters)


def show(document: Any, as_json: bool, as_text: Callable[[Any], None]) -> None:
    """Print a result on stdout.

    Args:
        document: Result of a flow or query: a value with ``to_dict``, several of them, or None.
        as_json: Print it as JSON instead of tables.
        as_text: Prints it as tables.
    """
    if not as_json:
        as_text(document)
        return
    values = (
        [part.to_dict() for part in document]
        if isinstance(document, list)
        else document and document.to_dict()
    )
    sys.stdout.write(json.dumps(values, indent=2, allow_nan=False) + "\n")


def main() -> None:
    """Run the command line; exit code 0 done, 1 refused or failed with one line, 2 bad usage."""
    go_offline()
    keep_private()
    try:
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
