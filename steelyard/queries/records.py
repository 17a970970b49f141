"""Entries of the journal and versions of the registry as flat records."""

from collections.abc import Iterable

from steelyard.gateways.lake import Appended
from steelyard.gateways.quality import Checked
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.views.records import DecisionRecord, VersionRecord
from steelyard.views.runs import Collection
from steelyard.weight.decision import Entry


def decision_record(entry: Entry, page: str = "") -> DecisionRecord:
    """Return a journal entry as one flat record.

    Args:
        entry: Journal entry.
        page: Address of its run in MLflow; empty if it is not shown.
    """
    decision = entry.decision
    return DecisionRecord(
        sequence=entry.sequence,
        as_of=decision.as_of,
        period_end=decision.period_end,
        kind=decision.kind,
        phase=decision.after.phase,
        weight_before=decision.before.weight,
        weight_after=decision.after.weight,
        verdict=decision.verdict,
        reasons=decision.reasons,
        rules=decision.rules,
        run_id=entry.run_id,
        operator=decision.operator,
        page=page,
    )


def decision_records(home: Home, entries: Iterable[Entry | None]) -> tuple[DecisionRecord, ...]:
    """Return journal entries as records, each with the address of its page in MLflow.

    Args:
        home: Opened home.
        entries: Journal entries; None is left out.
    """
    return tuple(
        decision_record(entry, home.run_url(entry.run_id)) for entry in entries if entry is not None
    )


def version_record(version: Version) -> VersionRecord:
    """Return a registered version as one flat record."""
    return VersionRecord(
        as_of=version.as_of,
        version=version.number,
        stage=version.stage,
        family=version.family,
        accepted=version.stage in ("champion", "retired"),
        holdout_accuracy=version.metrics.get("holdout_accuracy"),
        no_information_rate=version.metrics.get("holdout_no_information_rate"),
        trials=version.metrics.get("trials"),
        verdict=version.verdict,
        reasons=tuple(version.reasons),
        run_id=version.run_id,
        approved=version.approved,
    )


def collection_record(checked: Checked, appended: Appended) -> Collection:
    """Return the result of a collection.

    Args:
        checked: Bars after their data contract.
        appended: What the lake took.
    """
    return Collection(
        added=appended.added,
        already_there=appended.already_there,
        conflicting=appended.conflicting,
        quarantined=len(checked.quarantined),
        held_back=tuple(checked.held_back),
        findings=(*checked.findings, *appended.findings),
        docs=str(checked.docs),
    )
