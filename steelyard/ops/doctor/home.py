"""Checks of a home: folders, databases, state of the lineage, bars and schedules."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from shlex import quote

import pandas as pd

from steelyard.errors import CollectMoreData
from steelyard.gateways.files import open_to_others
from steelyard.gateways.heartbeat import Heartbeat
from steelyard.gateways.registry.journal import ADVICE
from steelyard.gateways.seal import StateReading
from steelyard.gateways.spool import Spool
from steelyard.home import Home, open_ledger, require_ledger_file
from steelyard.market.yes_or_no import recognise
from steelyard.queries.history import known_history, signals_between
from steelyard.queries.schedules import coming_bars, schedules
from steelyard.queries.state import forgotten_lineages
from steelyard.queries.systems import given_ids, latest_ownership
from steelyard.queries.versions import doubted_version
from steelyard.views.operations import Check, CheckStatus

LOW_BYTES, EMPTY_BYTES = 1 << 30, 100 << 20
"""Free space below which a folder gets a warning; below which it is wrong."""
MAX_LAG = timedelta(days=7)
SHOWN = 3


def folders(home: Home) -> Iterator[Check]:
    """Report of every folder whether it is writable, and its free space."""
    own = home.state_folder
    parts = {
        "home": str(home.folder),
        "lake": str(home.lake.place),
        "spool": str(own / "spool"),
        "bundle": str(own / "bundle"),
        "artifacts": home.settings.services.artifacts,
    }
    for name, place in parts.items():
        if "://" in place:
            yield Check(f"folder: {name}", "ok", f"{place} is not on this machine; not checked")
        else:
            yield _folder(name, Path(place))


def permissions(home: Home) -> Iterator[Check]:
    """Report folders of the home, databases among them, that others than its owner can reach."""
    services = home.settings.services
    stores = [url for url in (services.ledger, services.mlflow) if url.startswith("sqlite:///")]
    kept = [Path(url.removeprefix("sqlite:///")).parent for url in stores]
    folders = (services.state, services.artifacts)
    kept += [Path(folder) for folder in folders if "://" not in folder]
    reached = sorted({str(path) for path in kept if path.exists() and _others_reach(path, home)})
    if not reached:
        yield Check("permissions", "ok", "only the owner reads databases, records and logs")
        return
    finding = f"others can read {', '.join(reached)}"
    yield Check("permissions", "warning", finding, f"chmod -R go= {' '.join(map(quote, reached))}")


def _others_reach(path: Path, home: Home) -> bool:
    around = [folder for folder in path.parents if folder.is_relative_to(home.folder)]
    return all(map(open_to_others, (path, *around)))


def _folder(name: str, path: Path) -> Check:
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir():
        return Check(f"folder: {name}", "wrong", f"{existing} is no folder", "move it away")
    if not os.access(existing, os.W_OK | os.X_OK):
        finding = f"{existing} cannot be written"
        return Check(f"folder: {name}", "wrong", finding, "correct its permissions")
    free = shutil.disk_usage(existing).free
    missing = "" if existing == path else ", does not exist yet"
    finding = f"{path}{missing}, {free / 1e9:.1f} GB free"
    if free >= LOW_BYTES:
        return Check(f"folder: {name}", "ok", finding)
    return Check(
        f"folder: {name}",
        "wrong" if free < EMPTY_BYTES else "warning",
        finding,
        "free space on this disk",
    )


def ledger(home: Home) -> Iterator[Check]:
    """Report whether the ledger is reachable and has the current tables."""
    require_ledger_file(home.settings.services)
    present, head = open_ledger(home.settings.services).revisions()
    if present is None:
        yield Check(
            "ledger",
            "warning",
            "no tables yet",
            "any flow creates them, such as steelyard collect",
        )
    elif present != head:
        finding = f"tables of version {present}, {head} is current"
        yield Check(
            "ledger", "warning", finding, "the next flow migrates them; make a backup first"
        )
    else:
        yield Check("ledger", "ok", f"tables of version {head}")


def lineages(home: Home) -> Iterator[Check]:
    """Report lineages that the ledger knows and no settings name; without any, nothing."""
    forgotten = forgotten_lineages(home)
    if forgotten:
        yield Check(
            "lineages",
            "warning",
            f"the ledger also holds {', '.join(forgotten)}, which no settings name; nothing runs "
            "for it, and nothing of it is lost",
            f"a folder conf/lineages/{forgotten[0]} goes on with it",
        )


def lineage(home: Home) -> Iterator[Check]:
    """Report whether MLflow is reachable and current, and the chain of decisions intact."""
    home.registry.require_database()
    if not home.registry.present():
        yield Check("MLflow", "warning", "no lineage yet", "steelyard guard begins it")
        return
    yield Check(
        "MLflow", "ok", f"{home.settings.services.lineage} is there, the database is current"
    )
    yield _origin(home)
    yield _journal(home)


def _origin(home: Home) -> Check:
    """Report whether the home is a copy, and whose files its runs would be written to."""
    origin, writes_there = home.registry.origin()
    if origin is None:
        return Check("origin", "ok", "the home is where it was made")
    if not writes_there:
        return Check(
            "origin", "ok", f"copied or moved from {origin}; its own files are in this home"
        )
    finding = f"copied or moved from {origin}; MLflow still names that place"
    return Check("origin", "warning", finding, "opening it corrects that, and says so")


def _journal(home: Home) -> Check:
    faults, decisions = home.journal.examine()
    if not faults:
        return Check("journal", "ok", f"{decisions} decisions, the chain is whole")
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    advice = "steelyard verify lists all faults; --repair rewrites what follows from the chain"
    return Check("journal", "wrong", "; ".join(faults[:SHOWN]) + more, advice)


@dataclass(frozen=True)
class Tag:
    """The state tag of a home, read once for all checks."""

    home: Home

    @cached_property
    def stored(self) -> StateReading:
        """The state, or why it cannot be trusted; neither if there is no lineage."""
        return self.home.journal.read_tag() if self.home.registry.present() else StateReading()


def lease(tag: Tag, as_of: datetime) -> Iterator[Check]:
    """Report until when the weight stays in force.

    Args:
        tag: The state tag.
        as_of: Check as of this time (UTC).
    """
    state = tag.stored.state
    if state is None:
        finding = (
            "not known: the state tag cannot be trusted"
            if tag.stored.fault
            else "none, nothing was decided yet"
        )
        yield Check(
            "lease",
            "warning" if tag.stored.fault else "ok",
            finding,
            "see state" if tag.stored.fault else "",
        )
        return
    until = f"{state.lease_until:%Y-%m-%d %H:%M} UTC"
    if as_of <= state.lease_until:
        yield Check("lease", "ok", f"runs until {until}")
        return
    advice = "steelyard guard renews it; find out why the daily guard did not run"
    yield Check(
        "lease",
        "wrong" if state.weight else "warning",
        f"ended {until}: trading uses weight 0",
        advice,
    )


def sealed(tag: Tag) -> Iterator[Check]:
    """Report whether the state tag is the one the journal wrote."""
    stored = tag.stored
    if stored.fault:
        yield Check(
            "state",
            "wrong",
            f"the state tag {stored.fault}",
            "trading uses the journal, or weight 0 if that lacks decisions; " + ADVICE,
        )
    elif stored.state:
        yield Check(
            "state", "ok", f"phase {stored.state.phase}, weight {stored.state.weight:.1%}, sealed"
        )
    else:
        yield Check("state", "ok", "none, nothing was decided yet")


def seal(home: Home, tag: Tag) -> Iterator[Check]:
    """Report where the key of the seal comes from.

    Args:
        home: The opened home.
        tag: The state tag.
    """
    if home.seal.is_secret:
        yield Check("seal key", "ok", f"from {home.seal.origin}")
    elif tag.stored.state is None:
        yield Check("seal key", "ok", "none yet; the first decision makes one")
    else:
        yield Check(
            "seal key",
            "warning",
            "a constant that everybody knows: whoever can write to MLflow can forge a state",
            "steelyard verify --reseal makes a key of this home (.steelyard/seal.key)",
        )


def digests(tag: Tag) -> Iterator[Check]:
    """Report whether the ledger still has the settled predictions that its digests cover."""
    state = tag.stored.state
    present, head = open_ledger(tag.home.settings.services).revisions()
    if state is None or present != head:
        yield Check("settled rows", "ok", "not checked before ledger and lineage exist")
        return
    faults = tag.home.digests.faults(state.digests, state.digest_head)
    if not faults:
        yield Check("settled rows", "ok", f"{state.digests} digests, all of them fit")
        return
    advice = "restore the ledger's newest backup, or steelyard rollback --accept-loss"
    yield Check("settled rows", "wrong", "; ".join(faults[:SHOWN]), advice)


def bars(home: Home, as_of: datetime) -> Iterator[Check]:
    """Report the age of the last bar, and symbols that lag.

    Args:
        home: The opened home.
        as_of: Check as of this time (UTC).
    """
    source = home.settings.source.kind
    if not home.has_source:
        yield Check("lake", "ok", "no bars, as conf/source.yaml says")
        return
    try:
        frame = home.lake.read()
    except CollectMoreData as error:
        yield Check("lake", "warning", str(error), "steelyard collect")
        return
    closes = frame.groupby("symbol")["timestamp"].max() + home.lake.known_after
    age = (pd.Timestamp(as_of) - closes.max()) / pd.Timedelta(days=1)
    newest = (
        f"{source}: {len(closes)} symbols, last bar closed {closes.max():%Y-%m-%d %H:%M} UTC, "
        f"{age:.1f} days ago"
    )
    behind = sorted(str(name) for name, close in closes.items() if closes.max() - close > MAX_LAG)
    if behind:
        finding = (
            f"{newest}; {len(behind)} are more than {MAX_LAG.days} days behind: "
            f"{', '.join(behind[:SHOWN])}"
        )
        yield Check("lake", "warning", finding, "see what steelyard collect reports about them")
    else:
        yield Check("lake", "ok", newest)


def system(home: Home, as_of: datetime) -> Iterator[Check]:
    """Report whether the recorded signals are the existing system's, and what a log gave.

    Args:
        home: The opened home.
        as_of: Signals decided by this time (UTC) count.
    """
    state = home.journal.state() if home.registry.present() else None
    given, strange = given_ids(home, as_of), tuple[str, ...]()
    if state is not None and given:
        strange = latest_ownership(home, state.began, as_of, given).strange
    if strange:
        finding = (
            f"{len(strange)} of the latest recorded signals are not those of "
            f"{home.settings.strategy.system}, newest {strange[0]}"
        )
        advice = (
            "put the former system back, or give this one a lineage of its own (lineage in "
            "conf/services.yaml)"
        )
        yield Check("system", "warning", finding, advice)
        return
    if not home.settings.strategy.is_log:
        yield Check("system", "ok", f"{home.settings.strategy.system} gave what is recorded")
        return
    usable = len(known_history(home, as_of)) if given else 0
    if usable == len(given):
        yield Check("system", "ok", f"a log, {len(given)} signals")
        return
    yield Check(
        "system",
        "warning",
        f"{len(given) - usable} of {len(given)} signals of the log are on symbols without bars, or "
        "with too few before them: they are kept, and neither learned from nor judged",
        "collect bars of these symbols from earlier on, or leave it so",
    )


def entries(home: Home, as_of: datetime) -> Iterator[Check]:
    """Report whether collect and trade run before the entries of the coming bars have passed.

    Args:
        home: The opened home.
        as_of: Check the bars after this time (UTC).
    """
    if not home.has_source or home.program_trades:
        yield Check("entries", "ok", "the program that logs the signals trades itself")
        return
    try:
        coming = coming_bars(home, as_of)
    except CollectMoreData as error:
        yield Check("entries", "ok", f"not checked: {error}")
        return
    late = [bar for bar in coming if not bar.in_time]
    if not late:
        yield Check("entries", "ok", f"the next {len(coming)} bars are traded in time")
        return
    first = late[0]
    traded = f"traded {first.traded_at:%m-%d %H:%M}" if first.traded_at else "not traded"
    yield Check(
        "entries",
        "wrong" if 2 * len(late) > len(coming) else "warning",
        f"{len(late)} of the next {len(coming)} bars are traded too late, their signals stale: the "
        f"bar known {first.known_at:%m-%d %H:%M} UTC is {traded}, its entry ends "
        f"{first.entry_ends:%m-%d %H:%M}",
        "let collect and then trade run between these times (schedules in conf/up.yaml)"
        + (
            ""
            if home.settings.source.calendar != "auto"
            else "; name the exchange as calendar in "
            "conf/source.yaml: its daily bars are known when its session closes"
        ),
    )


def run(home: Home) -> Iterator[Check]:
    """Report the last sign of life of ``steelyard run`` where it handles the bars."""
    beat, now = Heartbeat(home.shared_folder).last(), datetime.now(UTC)
    if not home.settings.up.run:
        yield Check("run", "ok", "the schedule bar handles the bars (run in conf/up.yaml)")
    elif beat is None or beat.is_stale(now):
        finding = beat.words(now) if beat else "it never ran here"
        advice = "start it: steelyard up, or steelyard run; its log is in .steelyard/logs/run.log"
        yield Check("run", "wrong", f"steelyard run: {finding}", advice)
    else:
        advice = "see the open alerts and .steelyard/logs/run.log" if beat.failures else ""
        standing: CheckStatus = "warning" if beat.failures else "ok"
        yield Check("run", standing, f"steelyard run: {beat.words(now)}", advice)


def confidences(home: Home, as_of: datetime) -> Iterator[Check]:
    """Report whether the existing system gives graded confidences.

    Args:
        home: The opened home.
        as_of: Signals decided by this time (UTC) count.
    """
    proposed = signals_between(home, datetime.min.replace(tzinfo=UTC), as_of)
    yes_or_no, threshold = None, home.settings.books.threshold
    if proposed is not None:
        yes_or_no = recognise(proposed["confidence_existing"], threshold)
    if yes_or_no is None:
        yield Check("confidences", "ok", "no yes-or-no system was recognised")
    elif yes_or_no.advice:
        yield Check("confidences", "warning", yes_or_no.finding, yes_or_no.advice)
    else:
        yield Check("confidences", "ok", yes_or_no.finding)


def approval(home: Home) -> Iterator[Check]:
    """Report whether a version waits for an operator, or was refused and may be approved."""
    version = doubted_version(home) if home.registry.present() else None
    if version is None:
        yield Check("approval", "ok", "no version waits for an operator")
        return
    yield Check(
        "approval",
        "warning",
        f"version {version.number} {'waits' if version.waits_for_operator else 'is refused'}: "
        f"{'; '.join(version.reasons)}",
        f"find out how it knows; if it is right, steelyard approve {version.number} --reason TEXT",
    )


def spool(home: Home) -> Iterator[Check]:
    """Report how many evaluations and outcomes have not reached the ledger yet."""
    left = Spool(home.state_folder / "spool").left()
    advice = "a trading process of this home writes them to the ledger when it is reachable"
    yield (
        Check("spool", "warning", f"{left} lines wait", advice)
        if left
        else Check("spool", "ok", "nothing waits")
    )


def alerts(home: Home) -> Iterator[Check]:
    """Report how many alerts are not delivered yet."""
    waiting = home.alerts.open()
    if not waiting:
        yield Check("alerts", "ok", "none waits")
        return
    first = waiting[0]
    finding = (
        f"{len(waiting)} undelivered, the first since {first.alert.at:%Y-%m-%d %H:%M} UTC: "
        f"{first.trouble}"
    )
    yield Check(
        "alerts", "warning", finding, "set or correct STEELYARD_ALERTS; steelyard status names them"
    )


def brake(home: Home) -> Iterator[Check]:
    """Report whether the emergency brake is pulled."""
    if not home.brake.pulled:
        yield Check("brake", "ok", "not pulled")
        return
    finding = f"pulled by {home.brake.words}: trading uses weight 0"
    yield Check(
        "brake",
        "wrong",
        finding,
        "run steelyard rollback again: the brake is released once the rollback is in the journal",
    )


def dead_schedules(tag: Tag, as_of: datetime) -> Iterator[Check]:
    """Report dead schedules, judged by the records of their flows.

    Args:
        tag: The state tag.
        as_of: Check as of this time (UTC).
    """
    home = tag.home
    present, head = open_ledger(home.settings.services).revisions()
    state = tag.stored.state if present == head else None
    if state is None:
        yield Check("schedules", "ok", "not checked before ledger and lineage exist")
        return
    rows = schedules(home, state, as_of)
    dead = [
        f"{schedule.name} since {schedule.dead_since:%Y-%m-%d %H:%M}"
        for schedule in rows
        if schedule.dead_since
    ]
    if dead:
        yield Check(
            "schedules",
            "warning",
            f"dead: {', '.join(dead)}",
            "steelyard up runs them; each can also be run by hand",
        )
    else:
        yield Check("schedules", "ok", "none is dead")
