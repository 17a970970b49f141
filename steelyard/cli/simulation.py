"""Commands about lives that are replayed, simulated or set on fire."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from steelyard.cli.options import HERE, Conf, Home, Json, Lineage, Trials
from steelyard.cli.running import folders, parse_time, run_with_progress, show
from steelyard.environment import isolated_environment
from steelyard.errors import FixConfiguration

app = typer.Typer()


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
    grid: Annotated[
        Path | None,
        typer.Option(
            "--grid",
            help="YAML of settings and their values: one replay for each combination, "
            "in a home of its own below --home.",
        ),
    ] = None,
    home: Home = HERE,
    conf: Conf = None,
    lineage: Lineage = None,
    as_json: Json = False,
) -> None:
    """Replay past bars, or the signals of a log, day by day, as the scheduled flows would run."""
    from steelyard.flows import replay as flows
    from steelyard.flows.grid import replay_grid
    from steelyard.views import terminal

    if (bars is None) == (log is None) or (log is not None and strategy):
        raise typer.BadParameter("pass either --bars (and --strategy), or --log")
    if bars and not (start and end):
        raise typer.BadParameter("a replay of bars needs its days; pass --start and --end")
    replayed: dict[str, Any] = {
        "start": parse_time(start) if start else None,
        "end": parse_time(end) if end else None,
        "trials": trials,
        "retrain_days": retrain_days,
        "evidence": evidence,
    }
    replayed |= {"log": str(log)} if log else {"bars": bars, "strategy": strategy}
    where = {"lineage": lineage, **folders(home, conf)}
    if grid is None:
        flow = flows.replay_log if log else flows.replay
        show(run_with_progress(flow, **replayed, **where), as_json, terminal.print_replay)
        return
    document = run_with_progress(replay_grid, grid=str(grid), replayed=replayed, **where)
    show(document, as_json, terminal.print_grid)
    if not document.complete:
        raise typer.Exit(1)


@app.command()
def demo(
    home: Home = Path("demo"),
    conf: Conf = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Follow a simulated market in real time, with the pages of steelyard up."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Replay a simulated dying edge, then the sample and the ladder's rules; write pages, plots."""
    if live and (conf or as_json):
        raise typer.BadParameter("--live takes --home only; its settings are in HOME/live/conf")
    if live:
        _follow_market(home / "live")
    else:
        _replay_markets(home, conf, as_json)


def _replay_markets(home: Path, conf: Path | None, as_json: bool) -> None:
    """Replay the most telling market alone, so that its page stands early, then the others."""
    from steelyard.flows.demo import REPLAYS
    from steelyard.flows.demo import demo as flow
    from steelyard.views import terminal

    telling, *others = REPLAYS
    first = run_with_progress(flow, titles=[telling], **folders(home, conf))
    if not as_json:
        terminal.print_demo(first)
        terminal.print_where_to_look(first)
    rest = run_with_progress(flow, titles=others, **folders(home, conf))
    show(first + rest if as_json else rest, as_json, terminal.print_demo)


def _follow_market(home: Path) -> None:
    """Let a model earn its weight in the past of a simulated market, and follow it until Ctrl-C."""
    from steelyard.flows.demo import earn_weight
    from steelyard.ops.live_demo import open_market
    from steelyard.ops.up import keep_up, planned
    from steelyard.settings import load_shared
    from steelyard.views import terminal

    conf = open_market(home, datetime.now(UTC))
    typer.echo("at its first start the model earns its weight first, a minute or two", err=True)
    with isolated_environment():  # no alert and no run of it belongs among those of a real market
        run_with_progress(earn_weight, **folders(home, conf))
        plan = planned(load_shared(conf), home, conf)
        keep_up(plan, partial(terminal.print_live_demo, home=home), terminal.print_notice)


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
    from steelyard.settings import load
    from steelyard.simulation.characteristics import designs
    from steelyard.tasks.pages import write_characteristics
    from steelyard.views import terminal

    courses = designs(lives, months, signals, dependence, seed, holdout)
    with terminal.shown_progress():
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
    from steelyard.views import terminal

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
    with terminal.shown_progress():
        document = fire_drill(scenarios, str(home) if home else None, str(conf) if conf else None)
    show(document, as_json, terminal.print_fire_drills)
    if not document.noticed:
        raise typer.Exit(1)
