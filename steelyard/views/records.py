"""Decisions, versions and states as commands return and print them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from steelyard.weight.decision import Rule, outcome_words, verdict_words
from steelyard.weight.state import State


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision of the journal, flat.

    Attributes:
        sequence: Position in the journal, from 1.
        as_of: When it was made (UTC).
        period_end: End of the period that was judged (UTC).
        kind: Which review or operation decided.
        phase: Phase it left.
        weight_before: Weight it started from, as a share.
        weight_after: Weight it left, as a share.
        verdict: What was decided.
        reasons: Why, with figures.
        rules: Every rule that was evaluated.
        run_id: Its MLflow run.
        operator: Who asked for it; None if a rule decided.
        page: Address of its run in MLflow; empty if it is not shown.
    """

    sequence: int
    as_of: datetime
    period_end: datetime
    kind: str
    phase: str
    weight_before: float
    weight_after: float
    verdict: str
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...]
    run_id: str | None
    operator: str | None = None
    page: str = ""

    @property
    def anchor(self) -> str:
        """Anchor of its row on a page."""
        return f"decision-{self.sequence}"

    @property
    def changed(self) -> bool:
        """Whether it did more than hold the weight."""
        return self.weight_after != self.weight_before or self.verdict != "HOLD"

    @property
    def done(self) -> str:
        """Verdict in words: of a gate that opened, the phase that was entered."""
        return verdict_words(self.kind, self.verdict, self.phase)

    @property
    def outcome(self) -> str:
        """What it did, in a few words such as ``RAISE 25.0% → 30.0%``."""
        return outcome_words(self.done, self.weight_before, self.weight_after)

    def to_dict(self, *more: str) -> dict[str, Any]:
        """Return plain JSON values.

        Args:
            more: Further attributes to include, ``operator`` or ``page``.
        """
        return {
            "sequence": self.sequence,
            "as_of": self.as_of.isoformat(),
            "period_end": self.period_end.isoformat(),
            "kind": self.kind,
            "phase": self.phase,
            "weight_before": self.weight_before,
            "weight_after": self.weight_after,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "rules": [rule.model_dump() for rule in self.rules],
            "run_id": self.run_id,
        } | {name: getattr(self, name) for name in more}


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A registered version of the model, flat.

    Attributes:
        as_of: Time of the training (UTC).
        version: Number of the version.
        stage: Its stage in the registry.
        family: Family of the booster.
        accepted: Whether it serves or served.
        holdout_accuracy: Accuracy on the holdout; None without one.
        no_information_rate: Share of the larger class of the holdout; None likewise.
        trials: Trials of its search; None if unknown.
        verdict: Result of the training in one sentence.
        reasons: Why it was refused or promoted, or why it waits for an operator.
        run_id: MLflow run of the training.
        approved: Who approved it and why, in a sentence; empty if no operator did.
    """

    as_of: datetime
    version: str
    stage: str
    family: str
    accepted: bool
    holdout_accuracy: float | None
    no_information_rate: float | None
    trials: float | None
    verdict: str
    reasons: tuple[str, ...]
    run_id: str
    approved: str = ""

    @property
    def waits_for_operator(self) -> bool:
        """Whether it is too good to be true and not approved."""
        return self.stage == "challenger" and bool(self.reasons)

    @property
    def result(self) -> str:
        """Verdict of the training; of a refused version, the reasons."""
        refusal = "" if self.accepted else "; ".join(self.reasons)
        return refusal or self.verdict

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "as_of": self.as_of.isoformat(),
            "version": self.version,
            "stage": self.stage,
            "family": self.family,
            "accepted": self.accepted,
            "holdout_accuracy": self.holdout_accuracy,
            "no_information_rate": self.no_information_rate,
            "trials": self.trials,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "run_id": self.run_id,
            "approved": self.approved,
        }


@dataclass(frozen=True, slots=True)
class SingleDecision:
    """Decision of the guard or of an operator, and the state after it.

    Attributes:
        decision: The decision; None if the guard made none.
        state: State in force.
    """

    decision: DecisionRecord | None
    state: State

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "decision": self.decision.to_dict("page") if self.decision else None,
            "state": self.state.model_dump(mode="json"),
        }


@dataclass(frozen=True, slots=True)
class Way:
    """One way by which a rollback takes the weight away.

    Attributes:
        name: brake, ledger, journal or broker.
        words: What it did, or why it could not.
        worked: Whether it did.
    """

    name: str
    words: str
    worked: bool

    def __str__(self) -> str:
        """Return the way in one line."""
        return f"{self.name}: {self.words if self.worked else f'FAILED, {self.words}'}"


@dataclass(frozen=True, slots=True)
class Rollback(SingleDecision):
    """A rollback: its decision, the state after it, and every way that was tried."""

    ways: tuple[Way, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return SingleDecision.to_dict(self) | {"ways": [asdict(way) for way in self.ways]}


@dataclass(frozen=True, slots=True)
class LineageRollback:
    """What became of one lineage in a rollback of all.

    Attributes:
        lineage: Name of the lineage.
        words: The decision, or why there is none.
        worked: Whether no weight is left; without a decision the brake may still hold.
    """

    lineage: str
    words: str
    worked: bool


@dataclass(frozen=True, slots=True)
class RollbackOfAll:
    """A rollback of every lineage of a home.

    Attributes:
        ways: The brakes, pulled before the first decision.
        lineages: What became of each lineage.
    """

    ways: tuple[Way, ...]
    lineages: tuple[LineageRollback, ...]

    @property
    def worked(self) -> bool:
        """Whether no lineage has a weight left."""
        return all(one.worked for one in self.lineages)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PeriodDecisions:
    """Decisions on the last periods, and the state after them."""

    decisions: tuple[DecisionRecord, ...]
    state: State

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "decisions": [decision.to_dict("page") for decision in self.decisions],
            "state": self.state.model_dump(mode="json"),
        }


def decision_documents(decisions: Sequence[DecisionRecord], *more: str) -> list[dict[str, Any]]:
    """Return decisions as plain JSON values.

    Args:
        decisions: In the order they are shown.
        more: Further attributes of each to include.
    """
    return [decision.to_dict(*more) for decision in decisions]
