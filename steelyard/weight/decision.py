"""Decisions and the chain that binds them: pure values, hashed so that a later change shows.

Each entry carries the SHA-256 of its own content and of the entry before it, as in a hash-linked timestamp chain
(Haber and Stornetta, "How to time-stamp a digital document", J. Cryptology 3, 1991).
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from steelyard.evaluation.evidence import Evidence
from steelyard.values import FrozenModel
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.state import State

Verdict = Literal["RAISE", "HOLD", "CUT", "DISABLE"]
Kind = Literal["weight", "gates", "guard", "promotion", "rollback", "hold", "resume"]

GENESIS = "0" * 64


class Rule(FrozenModel):
    """One rule that was looked at.

    Attributes:
        figure: What was measured; None where it could not be (too little evidence, NaN).
        bound: What it was held against.
        fired: The rule took effect (a limit that cut, a criterion that was met, a step that was made).
        reason: The comparison in words.
    """

    name: str
    figure: float | None
    bound: float | None
    fired: bool
    reason: str


def make_rule(name: str, figure: float, bound: float, *, fired: bool, reason: str) -> Rule:
    """Return a rule for the record; NaN and infinity, which JSON does not know, become None."""
    return Rule(
        name=name,
        figure=float(figure) if math.isfinite(figure) else None,
        bound=float(bound) if math.isfinite(bound) else None,
        fired=fired,
        reason=reason,
    )


class Decision(FrozenModel):
    """One change, or refusal to change, of the weight or phase, with everything it rested on.

    Attributes:
        operator: Who asked for it; None where a rule decided.
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

    @property
    def key(self) -> str:
        """Key under which it is recorded at most once: its period, or the version it promotes."""
        subject = self.after.champion if self.kind == "promotion" else self.period_end.isoformat()
        return decision_key(self.lineage, self.kind, str(subject))


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
    """A decision in its place in the journal.

    Attributes:
        intact: Whether the content, as it was read, still has the hash it was recorded with.
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
        """State in force after this entry, naming its own run and hash."""
        place = {
            "sequence": self.sequence,
            "decision_run_id": self.run_id,
            "decision_hash": self.hash,
        }
        return self.decision.after.model_copy(update=place)

    @classmethod
    def read(cls, text: str) -> "Entry":
        """Return the entry written as ``text``.

        The hash is held against what stands in the text rather than against what this version makes of it, so that a
        journal outlives new fields.

        Raises:
            ValueError: If the text is not an entry.
        """
        document = json.loads(text)
        entry = cls.model_validate(document)
        found = content_hash(document["decision"], entry.sequence, entry.previous_hash)
        return entry.model_copy(update={"intact": found == entry.hash})


def decision_key(lineage: str, kind: str, subject: str) -> str:
    """Return the key under which at most one decision is ever recorded."""
    return f"{lineage}/{kind}/{subject}"


def link(decision: Decision, previous: Entry | None, sequence: int | None = None) -> Entry:
    """Return ``decision`` as the entry that follows ``previous`` (None: the first), by default with the next number."""
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
    """Return the SHA-256 over the canonical JSON of a decision, its place and its predecessor's hash."""
    document = {"decision": decision, "sequence": sequence, "previous_hash": previous_hash}
    return hashlib.sha256(
        json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def first_break(entries: Sequence[Entry]) -> str | None:
    """Return what is wrong with the first broken link of ``entries``, None when the chain is whole."""
    previous: Entry | None = None
    for entry in entries:
        fault = _fault(entry, previous)
        if fault:
            return f"decision {entry.sequence} (run {entry.run_id}): {fault}"
        previous = entry
    return None


def _fault(entry: Entry, previous: Entry | None) -> str | None:
    expected = previous.sequence + 1 if previous else 1
    if entry.sequence > expected:
        return f"decision {expected} (run {entry.previous_run_id}) before it is missing"
    if entry.sequence < expected:
        return "is there twice"
    if entry.previous_hash != (previous.hash if previous else GENESIS):
        return "does not carry the hash of the decision before it"
    if not entry.intact:
        return "its content was changed after it was recorded"
    if previous and not follows(entry.decision.before, previous.state):
        return "starts from a state the decision before it did not leave"
    return None


def follows(found: State, left: State) -> bool:
    """Whether ``found`` is the state that was ``left``, but for the lease, which is renewed between decisions."""
    return found.model_copy(update={"lease_until": left.lease_until}) == left
