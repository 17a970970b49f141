"""Registries on MLflow databases of their own, opened as ``Home`` opens them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from factories.evidence import NOW, POLICY
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.registry import Registry, Version
from steelyard.gateways.seal import Seal
from steelyard.gateways.witnesses import StateFile, Witnesses
from steelyard.weight.decision import make_decision
from steelyard.weight.state import initial_state
from steelyard.weight.transitions import install_champion

LINEAGE = "signal-confidence"


def open_registry(folder: Path, address: str | None = None, seal_key: str = "") -> Registry:
    """The registry in ``folder``, or on a server at ``address``."""
    ledger = Ledger(f"sqlite:///{folder}/ledger.db", LINEAGE)
    database = address or f"sqlite:///{folder}/mlflow.db"
    return Registry(
        database,
        f"{folder}/artifacts",
        LINEAGE,
        lambda: ledger.exclusive("journal"),
        seal := Seal(seal_key),
        Witnesses(LINEAGE, ledger, StateFile(folder / "state.json", seal), seal),
    )


def copy_mlflow(source: Path, folder: Path) -> Path:
    """Copy the MLflow database of ``source``; new artifacts of the copy go to ``folder``."""
    folder.mkdir(parents=True)
    with (
        closing(sqlite3.connect(source / "mlflow.db")) as original,
        closing(sqlite3.connect(folder / "mlflow.db")) as copy,
        copy,
    ):
        original.backup(copy)
        for name in ("training", "decisions", "observations", "policies"):
            location = (f"{folder}/artifacts/{name}", f"steelyard/{name}")
            copy.execute("UPDATE experiments SET artifact_location = ? WHERE name = ?", location)
    return folder


def promote(registry: Registry, number: str, reasons: tuple[str, ...] = ("better",)) -> Version:
    """Promote a version by a decision in the journal."""
    state = registry.journal.state() or registry.journal.begin(initial_state(LINEAGE, NOW))
    after = install_champion(state, number, NOW, NOW)
    registry.journal.append(
        make_decision("promotion", state, after, POLICY, NOW, verdict="HOLD", reasons=reasons)
    )
    return registry.version(number)
