"""Records that flows return: plain JSON values for people and machines."""

from collections.abc import Iterable
from typing import Any

from steelyard.gateways.lake import Appended
from steelyard.gateways.quality import Checked
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.weight.decision import Entry
from steelyard.weight.state import State


def decision_record(entry: Entry) -> dict[str, Any]:
    """Return a journal entry as one flat record."""
    decision = entry.decision
    return {
        "sequence": entry.sequence,
        "as_of": decision.as_of.isoformat(),
        "period_end": decision.period_end.isoformat(),
        "kind": decision.kind,
        "phase": decision.after.phase,
        "weight_before": decision.before.weight,
        "weight_after": decision.after.weight,
        "verdict": decision.verdict,
        "reasons": list(decision.reasons),
        "rules": [rule.model_dump() for rule in decision.rules],
        "run_id": entry.run_id,
    }


def decision_records(home: Home, entries: Iterable[Entry | None]) -> list[dict[str, Any]]:
    """Return journal entries as records, each with the address of its page in MLflow.

    Args:
        home: Opened home.
        entries: Journal entries; None is left out.
    """
    return [
        decision_record(entry) | {"page": home.run_url(entry.run_id)}
        for entry in entries
        if entry is not None
    ]


def state_record(state: State) -> dict[str, Any]:
    """Return the state as JSON values."""
    record: dict[str, Any] = state.model_dump(mode="json")
    return record


def version_record(version: Version) -> dict[str, Any]:
    """Return a registered version as one flat record."""
    return {
        "as_of": version.as_of.isoformat(),
        "version": version.number,
        "stage": version.stage,
        "family": version.family,
        "accepted": version.stage in ("champion", "retired"),
        "holdout_accuracy": version.metrics.get("holdout_accuracy"),
        "no_information_rate": version.metrics.get("holdout_no_information_rate"),
        "trials": version.metrics.get("trials"),
        "verdict": version.verdict,
        "reasons": list(version.reasons),
        "run_id": version.run_id,
    }


def collection_record(checked: Checked, appended: Appended) -> dict[str, Any]:
    """Return the result of a collection as one flat record.

    Args:
        checked: Bars after their data contract.
        appended: What the lake took.
    """
    return {
        "added": appended.added,
        "already_there": appended.already_there,
        "conflicting": appended.conflicting,
        "quarantined": len(checked.quarantined),
        "held_back": list(checked.held_back),
        "findings": [*checked.findings, *appended.findings],
        "docs": str(checked.docs),
    }
