"""What a person sees at the terminal: tables on stdout, progress on stderr."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from steelyard.wording import BOOKS, books_rows

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


def collected(document: Mapping[str, Any]) -> None:
    """Print what a collection brought, and every finding."""
    out.print(
        f"{document['added']} bars added, {document['already_there']} there already, "
        f"{document['conflicting']} conflicting, {document['quarantined']} quarantined"
    )
    for finding in document["findings"]:
        out.print(f"  · {finding}")
    if document["held_back"]:
        out.print(f"held back until you decide in conf/source.yaml: {', '.join(document['held_back'])}")
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
        f"{made['kind']} for the period to {made['period_end'][:10]}: [bold]{made['verdict']}[/] "
        f"{made['weight_before']:.1%} → {made['weight_after']:.1%}"
    )
    for reason in made["reasons"]:
        out.print(f"  {reason}")
    for rule in made["rules"]:
        out.print(f"    {'●' if rule['fired'] else '○'} {rule['name']}: {rule['reason']}", style="dim")


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
        out.print(f"  {training['as_of'][:10]} version {training['version']}: {training['stage']}; {words}")
    for made in document["decisions"]:
        if made["weight_after"] != made["weight_before"] or made["verdict"] != "HOLD":
            words = "; ".join(made["reasons"])
            moved = f"{made['weight_before']:.1%} → {made['weight_after']:.1%}"
            out.print(f"  {made['as_of'][:10]} {made['kind']} [bold]{made['verdict']}[/] {moved} {made['phase']}: {words}")
    out.print(books_table(document["books"]))
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
