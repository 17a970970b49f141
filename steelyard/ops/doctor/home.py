"""Checks of a home: folders, databases, what the lineage's state says, bars, schedules. Nothing is made or changed."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import pandas as pd

from steelyard.errors import CollectMoreData
from steelyard.gateways.registry.journal import StateReading
from steelyard.gateways.spool import Spool
from steelyard.home import Home, open_ledger
from steelyard.ops.doctor.rows import Row
from steelyard.queries.schedules import schedules
from steelyard.settings import seal_key

LOW_BYTES, EMPTY_BYTES = 1 << 30, 100 << 20
"""Free space under which there is a warning; under which something is wrong."""
BEHIND = timedelta(days=7)
FIRST = 3


def folders(home: Home) -> Iterator[Row]:
    """Say of every folder whether it can be written and how much space is left."""
    parts = {part: home.state_folder / part for part in ("lake", "spool", "bundle")}
    for name, place in {"home": home.folder, **parts}.items():
        yield _folder(name, place)
    artifacts = home.settings.services.artifacts
    if "://" in artifacts:
        yield Row("folder: artifacts", "ok", f"{artifacts} is not on this machine; not looked at")
    else:
        yield _folder("artifacts", Path(artifacts))


def _folder(name: str, place: Path) -> Row:
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    if not there.is_dir():
        return Row(f"folder: {name}", "wrong", f"{there} is no folder", "move it away")
    if not os.access(there, os.W_OK | os.X_OK):
        return Row(f"folder: {name}", "wrong", f"{there} cannot be written", "correct its rights")
    free = shutil.disk_usage(there).free
    found = f"{place}{'' if there == place else ', not there yet'}, {free / 1e9:.1f} GB free"
    if free >= LOW_BYTES:
        return Row(f"folder: {name}", "ok", found)
    return Row(
        f"folder: {name}",
        "wrong" if free < EMPTY_BYTES else "warning",
        found,
        "free space on this disk",
    )


def ledger(home: Home) -> Iterator[Row]:
    """Say whether the ledger can be reached and has the current tables."""
    present, head = open_ledger(home.settings.services).revisions()
    if present is None:
        yield Row(
            "ledger",
            "warning",
            "no tables yet",
            "the first flow makes them, such as steelyard collect",
        )
    elif present != head:
        words = f"tables of version {present}, {head} is current"
        yield Row(
            "ledger", "warning", words, "the next flow brings them up to date; take a backup before"
        )
    else:
        yield Row("ledger", "ok", f"tables of version {head}")


def lineage(home: Home) -> Iterator[Row]:
    """Say whether MLflow can be reached, its database is current, and the chain of decisions whole."""
    if not home.registry.present():
        yield Row("MLflow", "warning", "no lineage yet", "steelyard guard begins it")
        return
    yield Row("MLflow", "ok", f"{home.settings.services.lineage} is there, the database is current")
    yield _journal(home)


def _journal(home: Home) -> Row:
    faults = home.journal.faults()
    if not faults:
        return Row("journal", "ok", f"{home.journal.count()} decisions, the chain is whole")
    more = f"; and {len(faults) - FIRST} more" if len(faults) > FIRST else ""
    advice = "steelyard verify says all of it; --repair writes anew what follows from the chain"
    return Row("journal", "wrong", "; ".join(faults[:FIRST]) + more, advice)


@dataclass(frozen=True)
class Tag:
    """The state tag of a home, looked at once for all who ask."""

    home: Home

    @cached_property
    def stored(self) -> StateReading:
        """What stands in it, or why that cannot be believed; neither where there is no lineage."""
        return self.home.journal.read_tag() if self.home.registry.present() else StateReading()


def lease(tag: Tag, as_of: datetime) -> Iterator[Row]:
    """Say until when the weight stays in force."""
    state = tag.stored.state
    if state is None:
        words = (
            "not known: the state tag cannot be believed"
            if tag.stored.fault
            else "none, nothing was decided yet"
        )
        yield Row(
            "lease",
            "warning" if tag.stored.fault else "ok",
            words,
            "see state" if tag.stored.fault else "",
        )
        return
    until = f"{state.lease_until:%Y-%m-%d %H:%M} UTC"
    if as_of <= state.lease_until:
        yield Row("lease", "ok", f"runs until {until}")
        return
    advice = "steelyard guard renews it; look why the daily guard did not run"
    yield Row(
        "lease",
        "wrong" if state.weight else "warning",
        f"dead since {until}: trading uses weight 0",
        advice,
    )


def sealed(tag: Tag) -> Iterator[Row]:
    """Say whether the state tag is what the journal left."""
    stored = tag.stored
    if stored.fault:
        yield Row(
            "state",
            "wrong",
            f"the state tag {stored.fault}",
            "trading goes by the journal; steelyard verify --repair",
        )
    elif stored.state:
        key = "with your key" if seal_key() else "without a key of yours (STEELYARD_SEAL_KEY)"
        yield Row(
            "state",
            "ok",
            f"phase {stored.state.phase}, weight {stored.state.weight:.1%}, sealed {key}",
        )
    else:
        yield Row("state", "ok", "none, nothing was decided yet")


def bars(home: Home, as_of: datetime) -> Iterator[Row]:
    """Say how old the last bar is, and which symbols have fallen behind."""
    source = home.settings.source.kind
    try:
        frame = home.lake.read()
    except CollectMoreData as error:
        yield Row("lake", "warning", str(error), "steelyard collect")
        return
    closes = frame.groupby("symbol")["timestamp"].max() + home.lake.bar_size
    age = (pd.Timestamp(as_of) - closes.max()) / pd.Timedelta(days=1)
    found = f"{source}: {len(closes)} symbols, last bar closed {closes.max():%Y-%m-%d %H:%M} UTC, {age:.1f} days ago"
    behind = sorted(str(name) for name, close in closes.items() if closes.max() - close > BEHIND)
    if behind:
        words = f"{found}; {len(behind)} are more than {BEHIND.days} days behind: {', '.join(behind[:FIRST])}"
        yield Row("lake", "warning", words, "look at what steelyard collect says of them")
    else:
        yield Row("lake", "ok", found)


def spool(home: Home) -> Iterator[Row]:
    """Say how many evaluations and outcomes have not reached the ledger yet."""
    left = Spool(home.state_folder / "spool").left()
    advice = "they go to the ledger when a trading process of this home runs and the ledger can be reached"
    yield (
        Row("spool", "warning", f"{left} lines wait", advice)
        if left
        else Row("spool", "ok", "nothing waits")
    )


def alerts(home: Home) -> Iterator[Row]:
    """Say how many alerts nobody took yet."""
    waiting = home.alerts.open()
    if not waiting:
        yield Row("alerts", "ok", "none waits")
        return
    words = f"{len(waiting)} undelivered, the first since {waiting[0].alert.at:%Y-%m-%d %H:%M} UTC: {waiting[0].trouble}"
    yield Row(
        "alerts", "warning", words, "set or correct STEELYARD_ALERTS; steelyard status names them"
    )


def brake(home: Home) -> Iterator[Row]:
    """Say whether somebody took the weight away."""
    if not home.brake.pulled:
        yield Row("brake", "ok", "not pulled")
        return
    words = f"pulled by {home.brake.words}: trading uses weight 0"
    yield Row(
        "brake",
        "wrong",
        words,
        "run steelyard rollback again: once it is in the journal the brake is let go",
    )


def dead_schedules(tag: Tag, as_of: datetime) -> Iterator[Row]:
    """Say since when schedules are dead, from what their flows left behind."""
    home = tag.home
    present, head = open_ledger(home.settings.services).revisions()
    state = tag.stored.state if present == head else None
    if state is None:
        yield Row("schedules", "ok", "not looked at before ledger and lineage are there")
        return
    rows = schedules(home, state, home.journal.entries(), as_of)
    dead = [
        f"{row['name']} since {row['dead_since'][:16].replace('T', ' ')}"
        for row in rows
        if row["dead_since"]
    ]
    if dead:
        yield Row(
            "schedules",
            "warning",
            f"dead: {', '.join(dead)}",
            "steelyard up runs them; each may be run by hand",
        )
    else:
        yield Row("schedules", "ok", "none is dead")
