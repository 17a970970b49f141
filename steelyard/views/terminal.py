"""Terminal output: results as text and tables on stdout, progress and notices on stderr.

Data never passes through rich's markup: ``[...]`` in a reason or a file name is printed as it is.
What a terminal would obey is printed as its code.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from steelyard.gateways.outside import in_terminal
from steelyard.progress import Sink, progress_to
from steelyard.views.drift import JudgedDrift
from steelyard.views.drills import FireDrill, FireDrills
from steelyard.views.explanation import (
    Contribution,
    Explanation,
    ModelOpinion,
    SettledOutcome,
)
from steelyard.views.format import (
    TableView,
    books_view,
    decisions_view,
    drift_view,
    drift_words,
    facts_view,
    format_minute,
    grid_view,
    overview_view,
    rollout_view,
    rules_view,
)
from steelyard.views.lineage import (
    LineageReport,
    LineageStatus,
    PerformanceReview,
    ScheduleStatus,
    Status,
)
from steelyard.views.operations import (
    Addresses,
    Check,
    Deployment,
    Examination,
    Scaffold,
    StrategyExamination,
    Verification,
)
from steelyard.views.pages import WrittenPage
from steelyard.views.reconciliation import (
    ImportResult,
    rows_view,
    skipped_view,
    totals_view,
)
from steelyard.views.records import (
    DecisionRecord,
    PeriodDecisions,
    Rollback,
    RollbackOfAll,
    SingleDecision,
    VersionRecord,
)
from steelyard.views.replay import DemoResult, GridResult, ReplayResult
from steelyard.views.runs import (
    ANSWERED,
    BarRun,
    Collection,
    LogCollection,
    Settlement,
    TradedSignal,
    TradingRun,
)
from steelyard.views.simulation import PARTS, OperatingCharacteristics, by_course, part_view
from steelyard.views.verdicts import verdict

DRIFT_ROWS = 10
_EVER = datetime.min.replace(tzinfo=UTC)
"""Every decision that a flow returns is told, also one that was made before."""
PROGRESS_SECONDS = 10.0
"""Time between two lines of progress that do not go to a terminal."""
_STANDING_STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}
out = Console(highlight=False, soft_wrap=True)


def _line(*parts: str | tuple[str, str]) -> None:
    """Print one line; a part is plain text or a pair of text and style."""
    out.print(Text.assemble(*map(_harmless, parts)))


def _harmless(part: str | tuple[str, str]) -> str | tuple[str, str]:
    return in_terminal(part) if isinstance(part, str) else (in_terminal(part[0]), part[1])


def _table(view: TableView, *, framed: bool = True) -> Table:
    """Return a table for rich; a view without headings and a table without frame have no lines."""
    table = Table(title=Text(view.title) if view.title else None, title_justify="left")
    if not view.headings or not framed:
        table.box = None
    table.show_header = bool(view.headings)
    for heading in view.headings:
        table.add_column(Text(in_terminal(heading)), overflow="fold")
    for index, row in enumerate(view.rows):
        style = "bold" if index in view.emphasized else None
        table.add_row(*map(Text, map(in_terminal, row)), style=style)
    return table


def _print_table(view: TableView, *, framed: bool = True) -> None:
    out.print(_table(view, framed=framed))


def _on_stderr(line: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(in_terminal(line)))


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show the progress of what is done inside on stderr.

    A terminal gets one bar per step; a file or another program gets a line every ten seconds.
    """
    console = Console(stderr=True)
    with _bars(console) if console.is_terminal else _lines() as sink, progress_to(sink):
        yield


@contextmanager
def _lines() -> Iterator[Sink]:
    """Yield a sink whose last report is printed every ten seconds, with the time that passed."""
    latest, ended, began = "running", Event(), time.monotonic()

    def sink(step: str, done: int, total: int, detail: str) -> None:
        nonlocal latest
        latest = f"{step} {done} of {total} {detail}".rstrip()

    def repeat() -> None:
        while not ended.wait(PROGRESS_SECONDS):
            _on_stderr(f"{latest}, {time.monotonic() - began:.0f} s")

    printer = Thread(target=repeat, daemon=True)
    printer.start()
    try:
        yield sink
    finally:
        ended.set()
        printer.join()


@contextmanager
def _bars(console: Console) -> Iterator[Sink]:
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def sink(name: str, done: int, total: int, words: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, words="")
            progress.update(tasks[name], completed=done, total=total, words=in_terminal(words))

        yield sink


def print_addresses(addresses: Addresses) -> None:
    """Print the addresses of all services, the place of their login, the logs and the schedules."""
    rows = (
        *addresses.pages.items(),
        ("login", f"user:password in {addresses.login}"),
        ("logs", addresses.logs),
    )
    _print_table(TableView("", (), rows))
    print_schedules(addresses.deployments)
    _line("Ctrl-C stops everything")


def print_live_demo(addresses: Addresses, home: Path) -> None:
    """Print what is to be seen in a market that is made up as it goes, and all addresses.

    Args:
        addresses: Addresses of all services.
        home: Home of the market.
    """
    _line(
        "This market is simulated, with an edge that a model can learn; its bars come every few "
        "seconds. The model earned its weight in five simulated months before today. On the live "
        "page signals are decided with every bar, and outcomes follow within minutes. The next "
        "step up is a month away; limits are looked at by daily-guard, in Prefect also by hand."
    )
    _line(f"in another terminal: steelyard status --home {home} --conf {home / 'conf'}")
    print_addresses(addresses)


def print_schedules(deployments: Sequence[Deployment]) -> None:
    """Print the deployments with cron and next run."""
    rows = tuple(
        (
            deployment.name,
            (deployment.next_run or "not planned yet")[:16].replace("T", " ")
            if deployment.cron
            else "by hand",
            deployment.cron,
        )
        for deployment in deployments
    )
    _print_table(TableView("", ("deployment", "next run (UTC)", "cron"), rows))


def print_notice(line: str) -> None:
    """Print an event with its time on stderr, while everything runs."""
    _on_stderr(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}")


def print_address(address: str) -> None:
    """Print the address of the service on stderr."""
    _on_stderr(f"serving at {address}; Ctrl-C stops")


def _print_verdict(result: Any) -> None:
    """Print the verdict of a flow, on the last line of its output."""
    _line((verdict(result, _EVER).words, "bold"))


def print_collection(collection: Collection) -> None:
    """Print what became of bars and signals, every finding, and the verdict."""
    _print_collection(collection)
    _print_verdict(collection)


def _print_collection(collection: Collection) -> None:
    if collection.log is not None:
        _print_log(collection.log)
    if not collection.docs:
        return
    _line(
        f"{collection.added} bars added, {collection.already_there} there already, "
        f"{collection.conflicting} conflicting, {collection.quarantined} quarantined"
    )
    for finding in collection.findings:
        _line(f"  · {finding}")
    if collection.held_back:
        symbols = ", ".join(collection.held_back)
        _line(f"held back until you decide in conf/source.yaml: {symbols}")
    _line(f"data docs: {collection.docs}")


def _print_log(log: LogCollection) -> None:
    _line(
        f"{log.added} signals added, {log.settled} settled, {log.differing} differing, "
        f"{log.quarantined} quarantined"
    )
    for finding in log.findings:
        _line(f"  · {finding}")
    if log.quarantine:
        _line(f"rows in quarantine: {log.quarantine}")


def print_import(result: ImportResult) -> None:
    """Print what became of a log, the totals of both sides, the training, and the verdict."""
    report = result.reconciliation
    for view in (rows_view(report), totals_view(report), skipped_view(report)):
        if view is not None:
            _print_table(view)
    for note in report.notes:
        _line(f"  · {note}")
    if report.details:
        _line(f"every row left out and every fault: {report.details}")
    for line in result.outlook:
        _line(line)
    _print_verdict(result)


def print_version(version: VersionRecord) -> None:
    """Print why a version serves or does not, and the verdict."""
    for reason in version.reasons:
        _line(f"  · {reason}")
    if version.waits_for_operator:
        _line(f"waits for an operator: steelyard approve {version.version} --reason TEXT")
    _print_verdict(version)


def print_settlement(settlement: Settlement) -> None:
    """Print the number of new predictions and outcomes."""
    _print_verdict(settlement)


def print_trades(run: TradingRun) -> None:
    """Print what became of every signal and why, and the verdict."""
    for signal in run.signals:
        confidence = f"{signal.blended:.1f} at weight {signal.weight:.1%}"
        _line(f"  {signal.signal_id}: {confidence}: ", *_fate(signal), f": {signal.words}")
    _print_verdict(run)


def print_bar(run: BarRun) -> None:
    """Print what was collected, what each lineage traded and settled, and the verdict."""
    _print_collection(run.collected)
    for name, traded in run.traded.items():
        if len(run.traded) > 1:
            _line((name, "bold"))
        print_trades(traded)
        print_settlement(run.settled[name])
    _print_verdict(run)


def _fate(signal: TradedSignal) -> list[Any]:
    """Return what became of a signal, as parts of a line."""
    if signal.veto is None:
        return [("ordered", "bold"), f" {signal.size:.2%}"]
    if signal.veto == ANSWERED:
        return [("trade" if signal.decision else "leave", "bold")]
    return [f"left ({signal.veto})"]


def print_report(written: WrittenPage[LineageReport]) -> None:
    """Print the answer and the file of the page."""
    _line((written.document.status.answer, "bold"))
    _line(written.file)


def print_review(review: PerformanceReview) -> None:
    """Print the file of the page, and the verdict."""
    _line(review.file)
    _print_verdict(review)


def print_drift(judged: JudgedDrift | None) -> None:
    """Print the features that drifted most, reasons and verdict; None if there is no champion."""
    if judged is not None:
        _print_table(drift_view(judged.check.columns, DRIFT_ROWS))
        _line(judged.page)
        for reason in (*judged.check.reasons, judged.training):
            if reason:
                _line(f"  {reason}")
    _print_verdict(judged)


def print_guard(guarded: SingleDecision) -> None:
    """Print the end of the lease, the decision of the guard, if any, and the verdict."""
    _line(f"lease until {guarded.state.lease_until:%Y-%m-%dT%H:%M:%SZ}")
    print_operation(guarded)


def print_evaluation(evaluated: PeriodDecisions) -> None:
    """Print the decisions on the last periods, and the verdict."""
    for decision in evaluated.decisions:
        print_decision(decision)
    _print_verdict(evaluated)


def print_operation(operation: SingleDecision) -> None:
    """Print the decision, if any, by which ways it took effect, and the verdict."""
    if operation.decision:
        print_decision(operation.decision)
    for way in operation.ways if isinstance(operation, Rollback) else ():
        _line(f"  {way}")
    _print_verdict(operation)


def print_decision(decision: DecisionRecord) -> None:
    """Print a decision with its reasons and every rule that was checked."""
    periodic = decision.kind in ("weight", "gates")
    when = (
        f"for the period to {decision.period_end:%Y-%m-%d}"
        if periodic
        else f"on {decision.as_of:%Y-%m-%d}"
    )
    _line(f"{decision.kind} {when}: ", (decision.outcome, "bold"))
    for reason in decision.reasons:
        _line(f"  {reason}")
    for rule in decision.rules:
        _line((f"    {'●' if rule.fired else '○'} {rule.name}: {rule.reason}", "dim"))


def print_replay(replay: ReplayResult) -> None:
    """Print the trainings of a replay, the decisions that changed something, and the books."""
    _line(
        f"{replay.start:%Y-%m-%d} to {replay.end:%Y-%m-%d}: {replay.signals} signals, "
        f"{replay.signals_settled} settled, {replay.signals_per_month} a month; "
        f"the model had an opinion on {replay.signals_with_opinion} of the settled ones"
    )
    for training in replay.trainings:
        result = training.verdict if training.accepted else "; ".join(training.reasons)
        version = f"version {training.version}: {training.stage}"
        _line(f"  {training.as_of:%Y-%m-%d} {version}; {result}")
    for decision in replay.decisions:
        if decision.changed:
            _line(
                f"  {decision.as_of:%Y-%m-%d} {decision.kind} ",
                (decision.outcome, "bold"),
                f", {decision.phase}: {'; '.join(decision.reasons)}",
            )
    _print_table(books_view(replay.books))
    for sentence in replay.worth.sentences if replay.worth else ():
        _line(sentence)
    if replay.page:
        _line(f"report: {replay.page}")
    _line((f"phase {replay.phase}, weight {replay.weight:.1%}", "bold"))


def print_grid(grid: GridResult) -> None:
    """Print the replays of a grid, one per row, and why any was refused."""
    _print_table(grid_view(grid))
    for replay in grid.replays:
        if replay.refused:
            _line((f"{replay.point.home.name}: ", "bold"), replay.refused)
    _line(f"each replay is in a home of its own under {grid.replays[0].point.home.parent}")


def print_demo(demo: DemoResult) -> None:
    """Print each replay of the demo, the files of its pictures, and the answers."""
    for title, replay in demo.replays.items():
        out.rule(Text(title, style="bold"))
        print_replay(replay.result)
    out.rule("pictures")
    for picture in demo.pictures:
        _line(picture)
    for title, replay in demo.replays.items():
        _line((f"{title}: {replay.answer}", "bold"))


def print_where_to_look(demo: DemoResult) -> None:
    """Print the page of the first replay, to be read while the others run."""
    page = next(iter(demo.replays.values())).result.page
    _line((f"open {page} now; the other replays follow", "bold"))


def print_characteristics(written: WrittenPage[OperatingCharacteristics]) -> None:
    """Print the operating characteristics, one table per part and pace, and the page's file."""
    simulated = written.document
    _line((simulated.answer, "bold"))
    for course, cells in by_course(simulated.cells):
        out.rule(Text(f"{course}: ladder → sequential"))
        for part in PARTS:
            _print_table(part_view(cells, part), framed=False)
    _line(simulated.note)
    _line(written.file)


def print_verification(verification: Verification) -> None:
    """Print every fault of the journal, the first broken link first, or that there is none."""
    for fault in verification.repaired:
        _line(f"repaired: {fault}")
    if not verification.faults and not verification.decisions:
        _line("nothing was decided here yet; there is no chain to check")
    elif not verification.faults:
        _line(
            f"{verification.decisions} decisions, the chain is whole, "
            "state, tags and aliases follow from it"
        )
    for fault in verification.faults:
        _line(("✗", "bold"), f" {fault}")
    for note in verification.notes:
        _line(f"note: {note}")


def print_doctor(examination: Examination) -> None:
    """Print every check of the doctor, and what to do about warnings and errors."""
    _print_checks(examination.rows)
    _line(
        f"{examination.count('wrong')} wrong, {examination.count('warning')} warnings, "
        f"{len(examination.rows)} checks; nothing was changed"
    )


def print_strategy(examination: StrategyExamination) -> None:
    """Print every check of a trading system, and what to do about warnings and errors."""
    _print_checks(examination.rows)
    _line(
        f"{examination.system} on {examination.bars}: {examination.count('wrong')} wrong, "
        f"{examination.count('warning')} warnings in {examination.seconds:.0f} s"
    )


def print_scaffold(scaffold: Scaffold) -> None:
    """Print the files that were written, and what to do next."""
    for file in scaffold.files:
        _line(("✓", "bold"), f" {file}")
    for number, command in enumerate(scaffold.steps, start=1):
        _line(f"{number}. {command}")


def _print_checks(rows: Iterable[Check]) -> None:
    table = _table(TableView("", ("standing", "check", "found", "what to do"), ()))
    for row in rows:
        standing = Text(row.standing, style=_STANDING_STYLES[row.standing])
        cells = map(in_terminal, (row.name, row.found, row.advice))
        table.add_row(standing, *map(Text, cells))
    out.print(table)


def print_heading(words: str) -> None:
    """Print a line across the screen with words in it."""
    out.rule(Text(in_terminal(words)))


def print_overview(statuses: Iterable[Status], page: str = "") -> None:
    """Print one line per lineage of a home.

    Args:
        statuses: Status of each.
        page: File that shows the same and leads to the page of each; empty without one.
    """
    _print_table(overview_view(statuses))
    if page:
        _line(page)


def print_rollbacks(rolled_back: RollbackOfAll) -> None:
    """Print the brakes that were pulled, then what became of each lineage."""
    for way in rolled_back.ways:
        _line(f"  {way}")
    for one in rolled_back.lineages:
        _line((one.lineage, "bold"), f": {one.words if one.worked else f'FAILED, {one.words}'}")


def print_status(status: Status) -> None:
    """Print the status of a home, the answer first."""
    _line((status.answer, "bold"))
    if status.fault:
        _line(("✗", "bold"), f" the state tag {status.fault}: see steelyard verify")
    if status.brake:
        _line(("✗", "bold"), f" the brake is pulled by {status.brake}")
    for warning in status.notices:
        _line(("!", "bold"), f" {warning}")
    if status.run:
        _line(f"steelyard run: {status.run}")
    if status.current:
        _print_lineage(status.current)
    for alert in status.alerts:
        undelivered = f" undelivered since {alert.at.isoformat()[:16]}"
        _line(("!", "bold"), f"{undelivered}: {alert.title} ({alert.trouble})")


def _print_lineage(current: LineageStatus) -> None:
    facts, worth = facts_view(current), current.worth
    luck = tuple(("luck", sentence) for sentence in (worth.sentences if worth else ()))
    drift = ("drift", drift_words(current.drift))
    _print_table(replace(facts, rows=(*facts.rows, *luck, drift)))
    _print_table(rules_view("Limits", current.limits, "fires", "holds"))
    for name, sentence in current.false_alarms.items():
        _line(f"{name}: {sentence}")
    _print_table(rules_view(f"Gate out of {current.state.phase}", current.gate, "met", "missing"))
    _print_table(replace(decisions_view(current.decisions), title="Last decisions"))
    _print_table(_schedules_view(current.schedules))
    _print_table(rollout_view([*current.rollout, *current.milestones]))


def _schedules_view(schedules: Sequence[ScheduleStatus]) -> TableView:
    rows = tuple(
        (
            schedule.name,
            format_minute(schedule.last_seen),
            format_minute(schedule.expected_by),
            f"dead since {format_minute(schedule.dead_since)}" if schedule.dead_since else "",
        )
        for schedule in schedules
    )
    dead = frozenset(index for index, row in enumerate(rows) if row[-1])
    headings = ("schedule", "last seen (UTC)", "expected by", "standing")
    return TableView("Schedules", headings, rows, emphasized=dead)


def print_explanation(explanation: Explanation) -> None:
    """Print why a signal was traded or left: the calculation, its parts, then the outcome."""
    signal, model = explanation.signal, explanation.model
    _line((signal.signal_id, "bold"), f" decided {signal.decided_at[:16]}")
    _line((explanation.answer, "bold"))
    _print_table(_blend_view(explanation))
    if model.top_features:
        _print_table(_contributions_view(model.top_features))
    for note in (model.note, model.approved):
        if note:
            _line(note)
    _line(_outcome_words(explanation.outcome))


def _blend_view(explanation: Explanation) -> TableView:
    existing, model, blend = explanation.existing, explanation.model, explanation.blend
    scores = ", ".join(f"{name} {_format(score, '.0f')}" for name, score in existing.scores.items())
    rows = (
        ("existing system", f"{existing.confidence:.1f}", scores),
        ("model", _format(model.confidence_ml, ".1f"), _model_words(model)),
        ("blended", f"{blend.blended:.1f}", f"weight {blend.weight:.1%}"),
        ("arm", blend.arm, "pivotal" if blend.pivotal else "not pivotal"),
    )
    return TableView("", (), rows)


def _model_words(model: ModelOpinion) -> str:
    if not model.version:
        return f"none ({model.fallback_reason})"
    opinion = f"version {model.version}, p_win {_format(model.p_win, '.1%')}"
    if model.replayed is None:
        return opinion
    agrees = model.replayed.agrees
    return f"{opinion}, {'reproduced' if agrees else 'does not reproduce the recorded value'}"


def _contributions_view(features: Sequence[Contribution]) -> TableView:
    largest = max(abs(feature.log_odds) for feature in features) or 1.0
    rows = tuple(
        (
            feature.name,
            _format(feature.value, ".4g"),
            f"{feature.log_odds:+.3f}",
            _contribution_bar(feature.log_odds, largest),
        )
        for feature in features
    )
    title = "What counted most (Shapley values)"
    return TableView(title, ("feature", "value", "log odds", "share"), rows, frozenset({1, 2}))


def _contribution_bar(log_odds: float, largest: float) -> str:
    return ("+" if log_odds > 0 else "−") * max(round(10 * abs(log_odds) / largest), 1)


def _outcome_words(outcome: SettledOutcome | None) -> str:
    if outcome is None:
        return "outcome: not settled yet"
    return (
        f"outcome: {'won' if outcome.won else 'lost'} {outcome.net_return:+.2%} "
        f"by {outcome.exit_reason} after {outcome.hold_minutes:.0f} minutes, "
        f"{outcome.settled_at[:16]}"
    )


def _format(figure: float | None, spec: str) -> str:
    return "–" if figure is None else format(figure, spec)


def print_fire_drills(run: FireDrills) -> None:
    """Print who noticed what in each fire drill, how fast, and what happened to the weight."""
    notices = [(drill, notice) for drill in run.drills for notice in drill.result.notices]
    rows = tuple(
        (
            drill.scenario,
            notice.what,
            notice.by,
            _format_delay(notice.after, notice.unit),
            _format_delay(notice.bound, notice.unit),
            "in time" if notice.in_time else "NOT IN TIME",
        )
        for drill, notice in notices
    )
    late = frozenset(index for index, (_, notice) in enumerate(notices) if not notice.in_time)
    headings = ("drill", "to be noticed", "by", "after", "bound", "result")
    _print_table(TableView("Fire drills", headings, rows, emphasized=late))
    for drill in run.drills:
        _print_drill(drill)
    _line(f"homes: {run.home}")
    in_time = len(notices) - len(late)
    _line((f"{in_time} of {len(notices)} noticed in time", "bold"))


def _print_drill(drill: FireDrill) -> None:
    weights = ", ".join(f"{weight:.1%} on {at:%Y-%m-%d}" for at, weight in drill.result.weights)
    noticed = [f"{notice.what}: {notice.words}" for notice in drill.result.notices if notice.words]
    _line((drill.scenario, "bold"), f" ({drill.seconds:.0f} s): {drill.story}")
    _line(f"  weight {weights}")
    for finding in (*noticed, *drill.result.words):
        _line(f"  · {finding}")


def _format_delay(value: float, unit: str) -> str:
    if math.isnan(value):
        return "never"
    return "at once" if not value else f"{value:.3g} {unit}"
