"""What a person sees at the terminal: tables on stdout, progress on stderr."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from steelyard.views.format import (
    BOOKS,
    books_rows,
    drift_words,
    influence_words,
    number,
    proof_words,
)
from steelyard.views.simulation import PARTS, by_course, pairs

TOP = 10
_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "wrong": "[bold red]wrong[/]"}
out = Console(highlight=False, soft_wrap=True)


@contextmanager
def bars() -> Iterator[Any]:
    """Yield a sink for ``tasks.progress`` that draws one bar for each thing under way, on stderr."""
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def sink(what: str, done: int, total: int, words: str) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total, words=words)
            progress.update(tasks[what], completed=done, total=total, words=words)

        yield sink


def up(document: Mapping[str, Any]) -> None:
    """Print where everything is, once it runs."""
    table = Table(show_header=False, box=None)
    for name, address in document["pages"].items():
        table.add_row(f"[bold]{name}[/]", address)
    table.add_row("[bold]logs[/]", document["logs"])
    out.print(table)
    deployed(document["deployments"])
    out.print("Ctrl-C stops everything")


def deployed(document: Sequence[Mapping[str, Any]]) -> None:
    """Print the schedules, and when each runs next."""
    table = Table("deployment", "next run (UTC)", "cron")
    for one in document:
        table.add_row(
            one["name"], (one["next_run"] or "not planned yet")[:16].replace("T", " "), one["cron"]
        )
    out.print(table)


def noticed(line: str) -> None:
    """Print one line about what happens while everything runs, on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}"
    )


def collected(document: Mapping[str, Any]) -> None:
    """Print what a collection brought, and every finding."""
    out.print(
        f"{document['added']} bars added, {document['already_there']} there already, "
        f"{document['conflicting']} conflicting, {document['quarantined']} quarantined"
    )
    for finding in document["findings"]:
        out.print(f"  · {finding}")
    if document["held_back"]:
        out.print(
            f"held back until you decide in conf/source.yaml: {', '.join(document['held_back'])}"
        )
    out.print(f"data docs: {document['docs']}")


def version(document: Mapping[str, Any]) -> None:
    """Print a version and why it serves or does not."""
    out.print(f"version {document['version']} ({document['family']}): {document['stage']}")
    out.print(document["verdict"])
    for reason in document["reasons"]:
        out.print(f"  · {reason}")


def settled(document: Mapping[str, Any]) -> None:
    """Print what a settling wrote."""
    out.print(f"{document['predictions']} new predictions, {document['outcomes']} new outcomes")


def traded(document: Mapping[str, Any]) -> None:
    """Print what a trading run filled and ordered, and why it left what it left."""
    out.print(
        f"{document['filled']} trades changed by fills, {len(document['signals'])} new signals"
    )
    for one in document["signals"]:
        done = (
            f"[bold]ordered[/] {one['size']:.2%}"
            if one["veto"] is None
            else f"left ({one['veto']})"
        )
        out.print(
            f"  {one['signal_id']}: {one['blended']:.1f} at weight {one['weight']:.1%}: {done}: {one['words']}"
        )


def serving(address: str) -> None:
    """Say on stderr where the service listens."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"serving at {address}; Ctrl-C stops"
    )


def reported(document: Mapping[str, Any]) -> None:
    """Print the answer, and where the page is."""
    out.print(f"[bold]{document['answer']}[/]")
    out.print(document["page"])


def drifted(document: Mapping[str, Any] | None) -> None:
    """Print the verdict, the reasons, and the features that moved most."""
    if document is None:
        out.print("There is no champion that anything could have drifted from.")
        return
    out.print(
        f"[bold]{document['verdict']}[/]: version {document['model_version']}, {document['as_of'][:10]}"
    )
    for reason in document["reasons"]:
        out.print(f"  {reason}")
    if document["training"]:
        out.print(document["training"])
    table = Table("feature", "importance", "PSI", "bound", "")
    judged = [column for column in document["columns"] if column["psi"] is not None]
    for column in sorted(judged, key=lambda column: column["bound"] - column["psi"])[:TOP]:
        share = "–" if column["importance"] is None else f"{column['importance']:.1%}"
        mark = "[bold]drifted[/]" if column["drifted"] else ""
        table.add_row(column["name"], share, number(column["psi"]), number(column["bound"]), mark)
    out.print(table)
    out.print(document["page"])


def guarded(document: Mapping[str, Any]) -> None:
    """Print what the guard did, and until when the lease runs."""
    if document["decision"]:
        decision(document["decision"])
    state(document["state"])
    out.print(f"lease until {document['state']['lease_until']}")


def weighed(document: Mapping[str, Any]) -> None:
    """Print the decisions on the last periods, and the state they left."""
    for made in document["decisions"]:
        decision(made)
    state(document["state"])


def decision(made: Mapping[str, Any]) -> None:
    """Print one decision with its reasons and every rule that was looked at."""
    out.print(
        f"{made['kind']} {_when(made)}: [bold]{made['verdict']}[/] {made['weight_before']:.1%} → {made['weight_after']:.1%}"
    )
    for reason in made["reasons"]:
        out.print(f"  {reason}")
    for rule in made["rules"]:
        out.print(
            f"    {'●' if rule['fired'] else '○'} {rule['name']}: {rule['reason']}", style="dim"
        )


def _when(made: Mapping[str, Any]) -> str:
    if made["kind"] in ("weight", "gates"):
        return f"for the period to {made['period_end'][:10]}"
    return f"on {made['as_of'][:10]}"


def state(document: Mapping[str, Any]) -> None:
    """Print phase and weight in one line."""
    out.print(f"phase [bold]{document['phase']}[/], weight [bold]{document['weight']:.1%}[/]")


def replayed(document: Mapping[str, Any]) -> None:
    """Print the course of a replay: trainings, decisions that changed something, and the three books."""
    out.print(
        f"{document['start'][:10]} to {document['end'][:10]}: {document['signals']} signals, "
        f"{document['signals_settled']} settled, {document['signals_per_month']} a month; "
        f"the model had an opinion on {document['signals_with_opinion']} of the settled ones"
    )
    for training in document["trainings"]:
        words = training["verdict"] if training["accepted"] else "; ".join(training["reasons"])
        out.print(
            f"  {training['as_of'][:10]} version {training['version']}: {training['stage']}; {words}"
        )
    for made in document["decisions"]:
        if made["weight_after"] != made["weight_before"] or made["verdict"] != "HOLD":
            words = "; ".join(made["reasons"])
            moved = f"{made['weight_before']:.1%} → {made['weight_after']:.1%}"
            out.print(
                f"  {made['as_of'][:10]} {made['kind']} [bold]{made['verdict']}[/] {moved} {made['phase']}: {words}"
            )
    out.print(books_table(document["books"]))
    for words in document["worth"]["words"] if document["worth"] else ():
        out.print(words)
    state(document["final"])


def books_table(books: Mapping[str, Any]) -> Table:
    """Return the three books side by side, the target of each measure beside it."""
    table = Table("", *BOOKS, "target", title="The same signals, three books", title_justify="left")
    for row in books_rows(books):
        table.add_row(*row)
    return table


def demonstrated(document: Mapping[str, Any]) -> None:
    """Print each replay of the demo, and where its pictures are."""
    for name, part in document["replays"].items():
        out.rule(f"[bold]{name}")
        replayed(part)
        out.print(part["answer"])
    out.rule("pictures")
    for picture in document["pictures"]:
        out.print(picture)


def drilled(document: Mapping[str, Any]) -> None:
    """Print the operating characteristics, one table for each pace, and where the page is."""
    out.print(f"[bold]{document['answer']}[/]")
    for words, cells in by_course(document["cells"]):
        out.rule(f"{words}: ladder → sequential")
        for part, headings in PARTS.items():
            table = Table(part, *headings, box=None)
            for row in pairs(cells, part):
                table.add_row(*row)
            out.print(table)
    out.print(document["note"])
    out.print(document["page"])


def operated(document: Mapping[str, Any]) -> None:
    """Print what an operator's hand did."""
    decision(document["decision"])
    state(document["state"])


def verified(document: Mapping[str, Any]) -> None:
    """Print whether all is well, or every fault, the first broken link first."""
    for fault in document["repaired"]:
        out.print(f"repaired: {fault}")
    if not document["faults"]:
        out.print(
            f"{document['decisions']} decisions, the chain is whole, state, tags and aliases follow from it"
        )
    for fault in document["faults"]:
        out.print(f"[bold]✗[/] {fault}")


def examined(document: Mapping[str, Any]) -> None:
    """Print every check the doctor made, and what to do about those that did not come out well."""
    table = Table("", "", Column("found", overflow="fold"), Column("what to do", overflow="fold"))
    for row in document["rows"]:
        table.add_row(
            _MARKS[row["standing"]], row["name"], escape(row["found"]), escape(row["advice"])
        )
    out.print(table)
    out.print(
        f"{document['wrong']} wrong, {document['warning']} warnings, {len(document['rows'])} checks; nothing was changed"
    )


def status(document: Mapping[str, Any]) -> None:
    """Print how things stand, the answer first."""
    out.print(f"[bold]{document['answer']}[/]")
    for name, words in (
        ("fault", "the state tag {}: see steelyard verify"),
        ("brake", "the brake is pulled by {}"),
    ):
        if document[name]:
            out.print(f"[bold]✗[/] {words.format(document[name])}")
    if document["state"]:
        _standing(document)
    for alert in document["alerts"]:
        out.print(
            f"[bold]![/] undelivered since {alert['at'][:16]}: {alert['title']} ({alert['trouble']})"
        )


def _standing(document: Mapping[str, Any]) -> None:
    out.print(_facts(document))
    out.print(_rules("Limits", document["limits"], "fires", "holds"))
    for name, words in document["false_alarms"].items():
        out.print(f"{name}: {words}")
    out.print(
        _rules(f"Gate out of {document['state']['phase']}", document["gate"], "met", "missing")
    )
    out.print(_decisions(document["decisions"]))
    out.print(_schedules(document["schedules"]))
    out.print(_rollout([*document["rollout"], *document["milestones"]]))


def _facts(document: Mapping[str, Any]) -> Table:
    table, held = Table(show_header=False, box=None), document["state"]
    table.add_row(
        "weight", f"{held['weight']:.1%} = base {held['base']:.0%} + bonus {held['bonus']:+.1%}"
    )
    table.add_row(
        "in force", f"{document['weight_in_force']:.1%}, lease {document['lease']['words']}"
    )
    table.add_row("champion", _version_words(document["champion"]))
    table.add_row("challenger", _waiting_words(document))
    table.add_row("improvement", _improvement_words(document["improvement"]))
    table.add_row("evidence", proof_words(document["proof"]))
    table.add_row("influence", influence_words(document["influence"]))
    for words in document["worth"]["words"] if document["worth"] else ():
        table.add_row("luck", words)
    table.add_row("drift", drift_words(document["drift"]))
    for review in document["reviews"]:
        table.add_row(f"next {review['kind']}", f"period to {review['period_end'][:10]}")
    return table


def _version_words(made: Mapping[str, Any] | None) -> str:
    if made is None:
        return "none"
    return f"version {made['version']} ({made['family']}), trained {made['as_of'][:10]}: {made['verdict']}"


def _waiting_words(document: Mapping[str, Any]) -> str:
    words = _version_words(document["challenger"])
    if document["challenger"] and document["shadow_window"]:
        words += (
            f"; waits for the champion's window in shadow: {', '.join(document['shadow_window'])}"
        )
    return words + (f"; queued: {', '.join(document['queued'])}" if document["queued"] else "")


def _improvement_words(improvement: Mapping[str, Any]) -> str:
    achieved = "unknown" if improvement["achieved"] is None else f"{improvement['achieved']:+.1%}"
    expected = improvement["expected"]
    return f"{achieved} over the baseline" + (
        f", {expected[0]:.0%} to {expected[1]:.0%} expected" if expected else ""
    )


def _rules(title: str, rules: Sequence[Mapping[str, Any]], fired: str, quiet: str) -> Table:
    table = Table("", "figure", "bound", "", title=title, title_justify="left")
    for rule in rules:
        mark = f"[bold]{fired}[/]" if rule["fired"] else quiet
        table.add_row(
            rule["name"], number(rule["figure"]), number(rule["bound"]), f"{mark}: {rule['reason']}"
        )
    return table


def _decisions(made: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        "when", "what", "verdict", "weight", "why", title="Last decisions", title_justify="left"
    )
    for one in made:
        moved = f"{one['weight_before']:.1%} → {one['weight_after']:.1%}"
        table.add_row(
            one["as_of"][:10], one["kind"], one["verdict"], moved, "; ".join(one["reasons"])
        )
    return table


def _schedules(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("", "last seen (UTC)", "expected by", "", title="Schedules", title_justify="left")
    for row in rows:
        dead = f"[bold]dead since {_minute(row['dead_since'])}[/]" if row["dead_since"] else ""
        table.add_row(row["name"], _minute(row["last_seen"]), _minute(row["expected_by"]), dead)
    return table


def _minute(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else "–"


def _rollout(items: Sequence[Mapping[str, str]]) -> Table:
    table = Table("", "from", "to", "", "", title="Rollout", title_justify="left")
    for item in items:
        table.add_row(
            item["name"], item["begins"][:10], item["due"][:10], item["standing"], item["words"]
        )
    return table


def why(document: Mapping[str, Any]) -> None:
    """Print why a signal was traded or left: the sum first, then what went into it, then how it ended."""
    signal, existing, model = document["signal"], document["existing"], document["model"]
    out.print(f"[bold]{signal['signal_id']}[/] decided {signal['decided_at'][:16]}")
    out.print(f"[bold]{document['answer']}[/]")
    table = Table(show_header=False, box=None)
    table.add_row(
        "existing system", f"{existing['confidence']:.1f}", _scores_words(existing["scores"])
    )
    table.add_row("model", _said(model["confidence_ml"], ".1f"), _model_words(model))
    table.add_row(
        "blended",
        f"{document['blend']['blended']:.1f}",
        f"weight {document['blend']['weight']:.1%}",
    )
    table.add_row(
        "arm",
        document["blend"]["arm"],
        "pivotal" if document["blend"]["pivotal"] else "not pivotal",
    )
    out.print(table)
    if model["top_features"]:
        out.print(_top(model["top_features"]))
    if model["note"]:
        out.print(model["note"])
    out.print(_outcome_words(document["outcome"]))


def _scores_words(scores: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_said(score, '.0f')}" for name, score in scores.items())


def _model_words(model: Mapping[str, Any]) -> str:
    if not model["version"]:
        return f"none ({model['fallback_reason']})"
    replayed = model["replayed"]
    again = (
        ""
        if replayed is None
        else ", says the same today"
        if replayed["agrees"]
        else ", [bold]says otherwise today[/]"
    )
    return f"version {model['version']}, p_win {_said(model['p_win'], '.1%')}{again}"


def _top(features: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        "feature",
        "value",
        "log odds",
        "",
        title="What counted most (Shapley values)",
        title_justify="left",
    )
    largest = max(abs(one["log_odds"]) for one in features) or 1.0
    for one in features:
        bar = ("+" if one["log_odds"] > 0 else "−") * max(
            round(10 * abs(one["log_odds"]) / largest), 1
        )
        table.add_row(one["name"], _said(one["value"], ".4g"), f"{one['log_odds']:+.3f}", bar)
    return table


def _outcome_words(outcome: Mapping[str, Any] | None) -> str:
    if outcome is None:
        return "outcome: not settled yet"
    ended = "won" if outcome["won"] else "lost"
    return (
        f"outcome: {ended} {outcome['net_return']:+.2%} by {outcome['exit_reason']} "
        f"after {outcome['hold_minutes']:.0f} minutes, {outcome['settled_at'][:16]}"
    )


def _said(figure: float | None, form: str) -> str:
    return "–" if figure is None else format(figure, form)


def fire_drilled(document: Mapping[str, Any]) -> None:
    """Print what each fire drill found, in one table; then what the weight did, and what it cost."""
    table = Table(
        "drill",
        "to be noticed",
        "by",
        "after",
        "bound",
        "",
        title="Fire drills",
        title_justify="left",
    )
    for one in document["drills"]:
        for notice in one["notices"]:
            mark = "in time" if notice["in_time"] else "[bold]NOT IN TIME[/]"
            bound = _span(notice["bound"], notice["unit"])
            table.add_row(
                one["scenario"],
                notice["what"],
                notice["by"],
                _span(notice["after"], notice["unit"]),
                bound,
                mark,
            )
    out.print(table)
    for one in document["drills"]:
        _drill_words(one)
    out.print(f"homes: {document['home']}")


def _drill_words(one: Mapping[str, Any]) -> None:
    out.print(f"[bold]{one['scenario']}[/] ({one['seconds']:.0f} s): {one['story']}")
    out.print(
        "  weight "
        + ", ".join(f"{moved['weight']:.1%} on {moved['at'][:10]}" for moved in one["weights"])
    )
    for words in (
        *(f"{told['what']}: {told['words']}" for told in one["notices"] if told["words"]),
        *one["words"],
    ):
        out.print(f"  · {words}", markup=False)


def _span(value: float | None, unit: str) -> str:
    if value is None:
        return "never"
    return "at once" if not value else f"{value:.3g} {unit}"
