"""A small home that lives: every command of a trading day at moments at which there are signals.

Its market is simulated, its training short, and its gates low, so that within a month it
trains, promotes, leaves foundation and shadow, and earns weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from sqlalchemy import Row, select

from factories.bars import small_history, small_market
from factories.digests import lake_digest
from steelyard.environment import go_offline
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.rollback import rollback
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.flows.train import train
from steelyard.flows.weight import weight
from steelyard.gateways.ledger import Base
from steelyard.gateways.ledger.packed import PACKED, unpack
from steelyard.home import Home
from steelyard.weight.decision import Decision

MONTHS = 13
FIRST_MOMENT = pd.Timestamp("2020-11-01", tz="UTC")
DAYS_APART = 4

SETTINGS: dict[str, dict[str, Any]] = {
    "source": {"kind": "files", "bar_size": "4h", "calendar": "24/7"},
    "learning": {
        "trials": 2,
        "rounds": 60,
        "folds": 2,
        "min_settled": 200,
        "holdout_min": 50,
        "families": ["lightgbm"],
        "gate_accuracy": 0.0,
        "bootstrap_samples": 100,
    },
    "weight": {
        "evaluation_days": 5,
        "review_days": 3,
        "min_settled": 5,
        "limits": {
            "breaker_accuracy": 0.0,
            "breaker_streak": 1000,
            "cut_accuracy": 0.0,
            "drawdown_ratio": 100,
            "sharpe_shortfall": 1.0,
        },
        "gates": {
            "foundation_settled": 20,
            "shadow_days": 3,
            "shadow_settled": 5,
            "shadow_accuracy": 0.0,
            "shadow_coverage": 0.5,
            "shadow_latency_p99_ms": 10_000,
        },
    },
    "desk": {"deadline_ms": 10_000},
}

DAY: dict[str, Callable[..., Any]] = {
    "collect": collect.fn,
    "trade": trade.fn,
    "settle": settle.fn,
    "train": train.fn,
    "guard": guard.fn,
    "weight": weight.fn,
}
COMMANDS: dict[str, Callable[..., Any]] = {
    **DAY,
    "rollback": lambda **at: rollback.fn("tried on purpose", "anna", **at),
}
"""By name; each takes ``as_of``, ``home`` and ``conf``, as the command line passes them."""

DOUBTS = {"fallback_reason", "tally", "digest", "head"}
"""Columns that differ where a trade could not read the state."""
WALL_CLOCK = {"latency_ms", "run_id", "decision_hash", "key_id"}
"""Columns of the ledger that differ between two lives: how long it took, ids, and keys."""
OWN = {"decision_run_id", "decision_hash"}
"""Fields of a state that are ids of its own home."""


def living_conf(folder: Path, services: Mapping[str, str] | None = None) -> Path:
    """Write the market and the settings of a small home, and return the folder of the settings."""
    bars, conf = folder / "bars", folder / "conf"
    for made in (bars, conf):
        made.mkdir(parents=True)
    for symbol, one in small_market(months=MONTHS).items():
        columns = ("timestamp", "open", "high", "low", "close", "volume")
        frame = pd.DataFrame({name: getattr(one, name) for name in columns})
        frame.to_csv(bars / f"{symbol}.csv", index=False)
    settings = {**SETTINGS, "services": dict(services or {})}
    settings["source"] = {**SETTINGS["source"], "path": str(bars)}
    for name, values in settings.items():
        (conf / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return conf


@cache
def moments() -> tuple[datetime, ...]:
    """Ten minutes after closes with a signal, days apart: when the commands of a life run."""
    closes = small_history(months=MONTHS)["decided_at"].sort_values()
    chosen: list[pd.Timestamp] = []
    for close in closes[(closes > FIRST_MOMENT).to_numpy(dtype=bool)]:
        if not chosen or close - chosen[-1] >= pd.Timedelta(days=DAYS_APART):
            chosen.append(close)
    return tuple(close.to_pydatetime() + timedelta(minutes=10) for close in chosen)


@dataclass(frozen=True, slots=True)
class Deed:
    """A command at a moment, in a home.

    Attributes:
        name: One of ``COMMANDS``.
        as_of: Moment it runs as of.
        home: Folder of all state.
        conf: Folder of the settings.
    """

    name: str
    as_of: datetime
    home: Path
    conf: Path

    def run(self) -> None:
        """Run it in this process."""
        go_offline()
        COMMANDS[self.name](as_of=self.as_of, home=str(self.home), conf=str(self.conf))


def rows(stores: Home, *, doubted: bool = False) -> dict[str, Any]:
    """What a lineage's life has left, without clocks and ids: the same for two that lived the same.

    With ``doubted`` also without why the existing system decided alone: a trade that cannot read
    the state says so in its row, which is part of a digest.
    """
    entries, state = stores.journal.entries(), stores.journal.state()
    own, unlike = (OWN | {"digest_head"}, WALL_CLOCK | DOUBTS) if doubted else (OWN, WALL_CLOCK)
    kept: dict[str, Any] = {
        "decisions": [(entry.sequence, _timeless(entry.decision, own)) for entry in entries],
        "state": state.model_dump(exclude=own) if state else None,
        "versions": [
            (version.number, version.stage, version.key, version.reasons, version.files_hash)
            for version in stores.registry.versions()
        ],
        "lake": lake_digest(stores.shared_folder / "lake"),
    }
    with stores.ledger._engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.c if column.name not in unlike]
            own = select(*columns).where(table.c.lineage == stores.settings.services.lineage)
            statement = own.order_by(*table.primary_key)
            kept[table.name] = [_read(row, unlike) for row in connection.execute(statement)]
    return kept


def _read(row: Row[Any], unlike: set[str]) -> tuple[Any, ...]:
    """Values of a row; what a block of predictions holds in place of its bytes."""
    names = [name for name in PACKED if name not in unlike]
    return tuple(
        repr(unpack(value, names).to_pylist()) if name == "content" else value
        for name, value in row._mapping.items()
    )


def _timeless(decision: Decision, own: set[str]) -> dict[str, Any]:
    """A decision without the ids of its home, and without how long a model took to answer."""
    document = decision.model_dump(exclude={"before": own, "after": own, "rules": True})
    document["evidence"].pop("latency_p99_ms", None)
    if own != OWN:
        document["evidence"].pop("fallback_rate", None)
    return document | {"rules": [rule for rule in decision.rules if rule.name != "latency_p99"]}


def assert_same_life(one: Home, other: Home, *, doubted: bool = False) -> None:
    """Require the same rows in every table, journal, registry and lake of two homes."""
    first, second = rows(one, doubted=doubted), rows(other, doubted=doubted)
    for name, expected in first.items():
        assert second[name] == expected, name
