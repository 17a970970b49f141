"""The doctor: checks all a home needs, reports faults and what to do, and changes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from steelyard.errors import FixConfiguration
from steelyard.home import Home, home_under, open_home
from steelyard.ops.doctor import configuration as conf_checks
from steelyard.ops.doctor import home as home_checks
from steelyard.ops.doctor import server as server_checks
from steelyard.ops.doctor.rows import run_check
from steelyard.settings import Settings, default_conf, lineage_names, load_readable
from steelyard.views.operations import Check, Examination

Checks = dict[str, Callable[[], Iterable[Check]]]
NEEDS = {
    "lineages": ("ledger",),
    "system": ("MLflow", "ledger", "lake"),
    "entries": ("lake",),
    "confidences": ("lake",),
    "approval": ("MLflow",),
    "lease": ("MLflow",),
    "state": ("MLflow",),
    "seal key": ("MLflow",),
    "settled rows": ("MLflow", "ledger"),
    "schedules": ("MLflow", "ledger", "lake"),
}
"""Check → checks that must not be wrong for it to run."""


def doctor(
    home: Path, conf: Path | None, as_of: datetime, lineage: str | None = None
) -> Examination:
    """Run every check and return the results.

    Args:
        home: Folder of the home.
        conf: Folder of settings; None for the default.
        as_of: Check as of this time (UTC).
        lineage: Name of the lineage to check; None for all.

    Raises:
        FixConfiguration: If the folder of settings does not exist, or holds no such lineage.
    """
    folder = conf or default_conf()
    settings, wrong = load_readable(folder)
    rows = [*conf_checks.configuration(folder, wrong), *_rows(_installed(settings))]
    opened: list[Home] = []
    if "services" in wrong:
        rows.append(
            Check(
                "home",
                "wrong",
                "not checked: conf/services.yaml names its location",
                "correct that file first",
            )
        )
    elif not home.is_dir():
        rows.append(
            Check(
                "home",
                "wrong",
                f"{home} does not exist; nothing was made",
                "correct --home; any flow creates it",
            )
        )
    else:
        opened = _opened(settings, wrong, home, folder, lineage, rows)
        for one in opened:
            rows += _of_lineage(one, as_of)
    lineages = opened or [home_under(settings, home, folder)]
    rows += _rows({"Prefect": partial(server_checks.server, settings, lineages, as_of)})
    return Examination(str(home.resolve()), as_of, tuple(rows))


def _opened(
    settings: Settings,
    wrong: Mapping[str, str],
    home: Path,
    conf: Path,
    lineage: str | None,
    rows: list[Check],
) -> list[Home]:
    """Return the lineages that can be opened; the fault of every other becomes a row."""
    names = (lineage,) if lineage else lineage_names(conf)
    if not names or (wrong and not lineage_names(conf)):
        return [home_under(settings, home, conf)]
    opened = []
    for name in names:
        try:
            opened.append(open_home(home, conf, name))
        except FixConfiguration as error:
            rows.append(Check(f"{name}: conf", "wrong", str(error), "correct the file"))
    return opened


def _of_lineage(home: Home, as_of: datetime) -> Iterator[Check]:
    """Yield the checks of a lineage, of several with its name."""
    checks = _of_home(home, as_of)
    if home.lineage is None:
        yield from _rows(checks)
        return
    own = {
        "times": partial(conf_checks.times, home.settings),
        "strategy": partial(conf_checks.strategy, home.settings),
    }
    for row in _rows(own | checks):
        yield replace(row, name=f"{home.lineage}: {row.name}")


def _rows(checks: Checks) -> Iterator[Check]:
    """Run each check; skip one that needs a check that is wrong."""
    broken = set[str]()
    for name, check in checks.items():
        lacking = [need for need in NEEDS.get(name, ()) if need in broken]
        if lacking:
            yield Check(
                name,
                "warning",
                f"not checked: {lacking[0]} cannot be used",
                f"repair {lacking[0]} first",
            )
            continue
        for row in run_check(name, check):
            broken |= {name} if (row.name, row.standing) == (name, "wrong") else set()
            yield row


def _installed(settings: Settings) -> Checks:
    return {
        "MLflow's pages": partial(conf_checks.pages, settings),
        "MLflow's login": partial(conf_checks.login, settings),
        "times": partial(conf_checks.times, settings),
        "strategy": partial(conf_checks.strategy, settings),
        "source": partial(conf_checks.source, settings),
        "broker": partial(conf_checks.broker, settings),
        "STEELYARD_TOKEN": conf_checks.token,
        "STEELYARD_ALERTS": conf_checks.channels,
        "versions": conf_checks.versions,
    }


def _of_home(home: Home, as_of: datetime) -> Checks:
    tag = home_checks.Tag(home)
    return {
        "ledger": partial(home_checks.ledger, home),
        "lineages": partial(home_checks.lineages, home),
        "MLflow": partial(home_checks.lineage, home),
        "folders": partial(home_checks.folders, home),
        "permissions": partial(home_checks.permissions, home),
        "spool": partial(home_checks.spool, home),
        "lake": partial(home_checks.bars, home, as_of),
        "system": partial(home_checks.system, home, as_of),
        "entries": partial(home_checks.entries, home, as_of),
        "run": partial(home_checks.run, home),
        "confidences": partial(home_checks.confidences, home, as_of),
        "approval": partial(home_checks.approval, home),
        "lease": partial(home_checks.lease, tag, as_of),
        "alerts": partial(home_checks.alerts, home),
        "brake": partial(home_checks.brake, home),
        "state": partial(home_checks.sealed, tag),
        "seal key": partial(home_checks.seal, home, tag),
        "settled rows": partial(home_checks.digests, tag),
        "schedules": partial(home_checks.dead_schedules, tag, as_of),
    }
