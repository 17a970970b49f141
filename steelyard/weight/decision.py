"""Decisions and the hash chain that links them, so that a later change is detected.

Each entry carries the SHA-256 of its own content and of the entry before it (Haber and Stornetta,
"How to time-stamp a digital document", J. Cryptology 3, 1991).
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from steelyard.evaluation.evidence import Evidence
from steelyard.values import FrozenModel
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.state import State

Verdict = Literal["RAISE", "HOLD", "CUT", "DISABLE"]
Kind = Literal["weight", "gates", "guard", "promotion", "rollback", "hold", "resume", "approve"]

GENESIS = "0" * 64
_DONE = {"promotion": "promoted", "resume": "resumed", "approve": "approved"}
"""Kind of a decision that leaves the weight alone, and does something else."""


class Rule(FrozenModel):
    """One rule as it was evaluated.

    Attributes:
        name: Name of the rule, fixed in records.
        figure: What was measured; None if it could not be (too little evidence, NaN, infinity).
        bound: What it was compared with; None likewise.
        fired: The rule took effect: a limit cut, a criterion was met, a step was made.
        reason: The comparison in words.
    """

    name: str
    figure: float | None
    bound: float | None
    fired: bool
    reason: str


def make_rule(name: str, figure: float, bound: float, *, fired: bool, reason: str) -> Rule:
    """Return a rule for the record.

    Args:
        name: Name of the rule, fixed in records.
        figure: What was measured; NaN and infinity, which JSON does not know, become None.
        bound: What it was compared with; likewise.
        fired: The rule took effect.
        reason: The comparison in words.
    """
    return Rule(
        name=name,
        figure=float(figure) if math.isfinite(figure) else None,
        bound=float(bound) if math.isfinite(bound) else None,
        fired=fired,
        reason=reason,
    )


class Decision(FrozenModel):
    """One change, or refusal to change, of the weight or phase, with everything it rests on.

    Attributes:
        lineage: Lineage it is about.
        kind: Which review or operation decided.
        period_end: End of the period that was judged (UTC).
        as_of: When it was made (UTC).
        verdict: What was decided.
        reasons: Why, with figures.
        rules: Every rule that was evaluated.
        before: State it started from.
        after: State it left.
        evidence: Figures by flat name; empty if it rests on none.
        policy: Policy in force, as plain JSON values.
        operator: Who asked for it; None if a rule decided.
        accepted_missing: Numbers of decisions that are lost, which the operator knows and accepts.
        version: Version the operator approved; None for all other kinds.
    """

    lineage: str
    kind: Kind
    period_end: AwareDatetime
    as_of: AwareDatetime
    verdict: Verdict
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...]
    before: State
    after: State
    evidence: dict[str, float | int | str | None]
    policy: dict[str, Any]
    operator: str | None = None
    accepted_missing: tuple[int, ...] = ()
    version: str | None = None

    @property
    def key(self) -> str:
        """Key under which it is recorded at most once; its subject is the period or the version."""
        version = self.after.champion if self.kind == "promotion" else self.version
        return decision_key(self.lineage, self.kind, version or self.period_end.isoformat())

    @property
    def weight(self) -> float:
        """Weight it leaves, in [0, 0.70]."""
        return self.after.weight

    @property
    def policy_hash(self) -> str:
        """SHA-256 of the policy it was made under, in hexadecimal digits."""
        text = json.dumps(self.policy, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def outcome(self) -> str:
        """What it did, in a few words such as ``RAISE 25.0% → 30.0%``."""
        done = verdict_words(self.kind, self.verdict, self.after.phase)
        return outcome_words(done, self.before.weight, self.after.weight)


def verdict_words(kind: str, verdict: str, phase: str) -> str:
    """Return the verdict, or what was done if it was not the weight that was decided about.

    Args:
        kind: Which review or operation decided.
        verdict: What it decided about the weight.
        phase: Phase it left.
    """
    if kind == "gates" and verdict == "RAISE":
        return f"phase {phase} entered"
    return _DONE.get(kind, verdict) if verdict == "HOLD" else verdict


def outcome_words(done: str, before: float, after: float) -> str:
    """Return what a decision did and the weight after it; before it too if it changed.

    Args:
        done: The verdict in words.
        before: Weight it started from, as a share.
        after: Weight it left, as a share.
    """
    if before == after:
        return f"{done} at {after:.1%}"
    return f"{done}{'' if done.isupper() else ','} {before:.1%} → {after:.1%}"


def make_decision(
    kind: Kind,
    before: State,
    after: State,
    policy: WeightPolicy,
    as_of: datetime,
    *,
    verdict: Verdict,
    reasons: tuple[str, ...],
    rules: tuple[Rule, ...] = (),
    period_end: datetime | None = None,
    evidence: Evidence | None = None,
    operator: str | None = None,
) -> Decision:
    """Return a decision for the record; a case that was judged makes its own by ``Case.decide``.

    Args:
        kind: Which review or operation decides.
        before: State in force.
        after: State the decision leaves.
        policy: Policy it is made under; the key of the arms stays out of the record.
        as_of: When it is made (UTC).
        verdict: What it decides.
        reasons: Why, with figures.
        rules: Every rule that was looked at.
        period_end: End of the period that was judged (UTC); None for ``as_of``.
        evidence: Figures it rests on; None if it rests on none.
        operator: Who asked for it; None if a rule decides.
    """
    return Decision(
        lineage=before.lineage,
        kind=kind,
        period_end=period_end or as_of,
        as_of=as_of,
        verdict=verdict,
        reasons=reasons,
        rules=rules,
        before=before,
        after=after,
        evidence=evidence.figures() if evidence else {},
        policy=policy.model_dump(mode="json", exclude={"ab_key"}),
        operator=operator,
    )


class Entry(FrozenModel):
    """A decision at its position in the journal.

    Attributes:
        sequence: Position, from 1.
        decision: What was decided.
        previous_run_id: MLflow run of the entry before; None for the first.
        previous_hash: Hash of the entry before; ``GENESIS`` for the first.
        hash: Hash of this entry, in hexadecimal digits.
        run_id: MLflow run of this entry; None before it is recorded.
        intact: Whether the content that was read still has the recorded hash.
    """

    sequence: int
    decision: Decision
    previous_run_id: str | None
    previous_hash: str
    hash: str
    run_id: str | None = None
    intact: bool = Field(default=True, exclude=True)

    @property
    def state(self) -> State:
        """State in force after this entry, with the entry's own run and hash."""
        origin = {
            "sequence": self.sequence,
            "decision_run_id": self.run_id,
            "decision_hash": self.hash,
        }
        return self.decision.after.model_copy(update=origin)

    @classmethod
    def read(cls, text: str) -> "Entry":
        """Return the entry written as ``text``.

        The hash is checked against the text, not against the parsed values, so that a journal stays
        valid when later versions add fields.

        Raises:
            ValueError: If the text is not an entry.
        """
        document = json.loads(text)
        entry = cls.model_validate(document)
        actual_hash = content_hash(document["decision"], entry.sequence, entry.previous_hash)
        return entry.model_copy(update={"intact": actual_hash == entry.hash})


def decision_key(lineage: str, kind: str, subject: str) -> str:
    """Return the key under which at most one decision is recorded.

    Args:
        lineage: Lineage it is about.
        kind: Which review or operation decides.
        subject: End of the period (ISO 8601), or the version that is promoted or approved.
    """
    return f"{lineage}/{kind}/{subject}"


def link(decision: Decision, previous: Entry | None, sequence: int | None = None) -> Entry:
    """Return ``decision`` as the entry that follows ``previous``.

    Args:
        decision: What was decided.
        previous: Entry before; None for the first.
        sequence: Position in the journal; None for the one after ``previous``.
    """
    sequence = sequence or (previous.sequence + 1 if previous else 1)
    previous_hash = previous.hash if previous else GENESIS
    return Entry(
        sequence=sequence,
        decision=decision,
        previous_run_id=previous.run_id if previous else None,
        previous_hash=previous_hash,
        hash=content_hash(decision.model_dump(mode="json"), sequence, previous_hash),
    )


def content_hash(decision: Mapping[str, Any], sequence: int, previous_hash: str) -> str:
    """Return the SHA-256 of an entry, in hexadecimal digits.

    Args:
        decision: The decision as plain JSON values.
        sequence: Its position in the journal.
        previous_hash: Hash of the entry before.
    """
    document = {"decision": decision, "sequence": sequence, "previous_hash": previous_hash}
    return hashlib.sha256(
        json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def first_break(entries: Sequence[Entry]) -> str | None:
    """Return the fault of the first broken link of ``entries``; None if the chain is intact.

    Decisions that are missing break it unless an operator accepted their loss.
    """
    accepted = {number for entry in entries for number in entry.decision.accepted_missing}
    previous: Entry | None = None
    for entry in entries:
        fault = _find_fault(entry, previous, accepted)
        if fault:
            return f"decision {entry.sequence} (run {entry.run_id}): {fault}"
        previous = entry
    return None


def _find_fault(entry: Entry, previous: Entry | None, accepted: Set[int]) -> str | None:
    expected = previous.sequence + 1 if previous else 1
    missing = range(expected, entry.sequence)
    if not set(missing) <= accepted:
        return f"decision {expected} (run {entry.previous_run_id}) before it is missing"
    if entry.sequence < expected:
        return "is there twice"
    if not entry.intact:
        return "its content was changed after it was recorded"
    if missing:  # it follows a decision whose loss was accepted
        return None
    if entry.previous_hash != (previous.hash if previous else GENESIS):
        return "does not carry the hash of the decision before it"
    if previous and not follows(entry.decision.before, previous.state):
        return "starts from a state the decision before it did not leave"
    return None


def follows(state: State, recorded: State) -> bool:
    """Return whether two states are the same but for what a guard renews between decisions.

    That is the lease, and the digests of the ledger.

    Args:
        state: State as found.
        recorded: State the last decision left.
    """
    renewed = ("lease_until", "digests", "digest_head")
    return state.model_copy(update={name: getattr(recorded, name) for name in renewed}) == recorded
