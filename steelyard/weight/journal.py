"""Decisions and the chain that binds them: pure values, hashed so that a later change shows.

Each entry carries the SHA-256 of its own content and of the entry before it, as in a hash-linked timestamp chain
(Haber and Stornetta, "How to time-stamp a digital document", J. Cryptology 3, 1991).
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime

from steelyard.frozen import Frozen
from steelyard.weight.state import State

Verdict = Literal["RAISE", "HOLD", "CUT", "DISABLE"]
Kind = Literal["weight", "gates", "guard", "promotion", "rollback", "hold", "resume"]

GENESIS = "0" * 64


class Rule(Frozen):
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


class Decision(Frozen):
    """One change, or refusal to change, of the weight or phase, with everything it rested on."""

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

    @property
    def changes(self) -> bool:
        """Whether the state after differs from the state before."""
        return self.after != self.before


class Entry(Frozen):
    """A decision in its place in the journal."""

    sequence: int
    decision: Decision
    previous_run_id: str | None
    previous_hash: str
    hash: str
    run_id: str | None = None

    @property
    def state(self) -> State:
        """State in force after this entry, naming its own run."""
        return self.decision.after.model_copy(update={"sequence": self.sequence, "decision_run_id": self.run_id})


def decision_key(lineage: str, kind: str, period_end: datetime) -> str:
    """Return the key under which at most one decision is ever recorded."""
    return f"{lineage}/{kind}/{period_end.isoformat()}"


def link(decision: Decision, previous: Entry | None) -> Entry:
    """Return ``decision`` as the entry that follows ``previous`` (None: the first)."""
    sequence = previous.sequence + 1 if previous else 1
    previous_hash = previous.hash if previous else GENESIS
    return Entry(
        sequence=sequence,
        decision=decision,
        previous_run_id=previous.run_id if previous else None,
        previous_hash=previous_hash,
        hash=content_hash(decision, sequence, previous_hash),
    )


def content_hash(decision: Decision, sequence: int, previous_hash: str) -> str:
    """Return the SHA-256 over the canonical JSON of an entry, its place and its predecessor's hash."""
    document = {"decision": decision.model_dump(mode="json"), "sequence": sequence, "previous_hash": previous_hash}
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def first_break(entries: Sequence[Entry]) -> str | None:
    """Return what is wrong with the first broken link of ``entries``, None when the chain is whole."""
    previous: Entry | None = None
    for entry in entries:
        fault = _fault(entry, previous)
        if fault:
            return f"entry {entry.sequence} (run {entry.run_id}): {fault}"
        previous = entry
    return None


def _fault(entry: Entry, previous: Entry | None) -> str | None:
    expected = link(entry.decision, previous)
    if entry.sequence != expected.sequence:
        return f"expected sequence {expected.sequence}; an entry is missing or repeated"
    if entry.previous_hash != expected.previous_hash:
        return "does not carry the hash of the entry before it"
    if entry.hash != expected.hash:
        return "its content was changed after it was recorded"
    if previous and not _follows(entry.decision.before, previous.state):
        return "starts from a state the entry before it did not leave"
    return None


def _follows(before: State, left: State) -> bool:
    """Whether ``before`` is the state ``left``, but for the lease, which is renewed between decisions."""
    return before.model_copy(update={"lease_until": left.lease_until}) == left
