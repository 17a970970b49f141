"""The doctor: looks at everything a home needs, changes nothing, and says what is wrong and what to do."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from steelyard.home import home_under
from steelyard.ops.doctor import configuration as conf_checks
from steelyard.ops.doctor import home as home_checks
from steelyard.ops.doctor import server as server_checks
from steelyard.ops.doctor.rows import Row, looked
from steelyard.settings import Settings, default_conf, load_readable

Checks = dict[str, Callable[[], Iterable[Row]]]
NEEDS = {"lease": ("MLflow",), "state": ("MLflow",), "schedules": ("MLflow", "ledger", "lake")}
"""Check → those without which it cannot be made."""


def doctor(home: Path, conf: Path | None, as_of: datetime) -> dict[str, Any]:
    """Return every check as plain JSON values; one that cannot be made keeps no other from being made.

    Raises:
        FixConfiguration: If there is no such folder of settings.
    """
    folder = conf or default_conf()
    settings, wrong = load_readable(folder)
    rows = [*conf_checks.configuration(folder, wrong), *_rows(_installed(settings))]
    if "services" in wrong:
        rows.append(
            Row(
                "home",
                "wrong",
                "not looked at: conf/services.yaml says where it is",
                "correct that file first",
            )
        )
    elif not home.is_dir():
        rows.append(
            Row(
                "home",
                "wrong",
                f"{home} does not exist; nothing was made",
                "correct --home; any flow makes it",
            )
        )
    else:
        rows += _rows(_lived_in(settings, home, folder, as_of))
    rows += _rows({"Prefect": partial(server_checks.server, settings, home, folder, as_of)})
    counts = {
        standing: sum(row.standing == standing for row in rows) for standing in ("wrong", "warning")
    }
    return {
        "home": str(home.resolve()),
        "as_of": as_of.isoformat(),
        **counts,
        "rows": [row.to_dict() for row in rows],
    }


def _rows(checks: Checks) -> Iterator[Row]:
    """Make each check; one that needs what cannot be used is named and left."""
    broken = set[str]()
    for name, check in checks.items():
        lacking = [need for need in NEEDS.get(name, ()) if need in broken]
        if lacking:
            yield Row(
                name,
                "warning",
                f"not looked at: {lacking[0]} cannot be used",
                f"put {lacking[0]} right first",
            )
            continue
        for row in looked(name, check):
            broken |= {name} if (row.name, row.standing) == (name, "wrong") else set()
            yield row


def _installed(settings: Settings) -> Checks:
    return {
        "MLflow's pages": partial(conf_checks.pages, settings),
        "times": partial(conf_checks.times, settings),
        "strategy": partial(conf_checks.strategy, settings),
        "source": partial(conf_checks.source, settings),
        "broker": partial(conf_checks.broker, settings),
        "STEELYARD_TOKEN": conf_checks.token,
        "STEELYARD_ALERTS": conf_checks.channels,
        "versions": conf_checks.versions,
    }


def _lived_in(settings: Settings, folder: Path, conf: Path, as_of: datetime) -> Checks:
    home = home_under(settings, folder, conf)
    tag = home_checks.Tag(home)
    return {
        "ledger": partial(home_checks.ledger, home),
        "MLflow": partial(home_checks.lineage, home),
        "folders": partial(home_checks.folders, home),
        "spool": partial(home_checks.spool, home),
        "lake": partial(home_checks.bars, home, as_of),
        "lease": partial(home_checks.lease, tag, as_of),
        "alerts": partial(home_checks.alerts, home),
        "brake": partial(home_checks.brake, home),
        "state": partial(home_checks.sealed, tag),
        "schedules": partial(home_checks.dead_schedules, tag, as_of),
    }
