"""The incident report of a rollback: what was known when the weight was taken away, as Markdown."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Entry
from steelyard.wording import BOOKS, books_rows, drift_words

WORST = 10


@dataclass(frozen=True, slots=True)
class Incident:
    """What a report is written from.

    Attributes:
        decision: The rollback.
        evidence: What the ledger knew; None where it could not be reached.
        settled: The settled predictions of the same window.
        last: The decisions before it, oldest first.
        holdout_accuracy: Of the champion when it was trained; None without one.
        drift: The last check for drift (row of ``ml_drift``); None before the first.
        trouble: Why there is no evidence.
    """

    decision: Decision
    evidence: Evidence | None
    settled: pd.DataFrame | None
    last: Sequence[Entry]
    holdout_accuracy: float | None
    drift: Mapping[str, Any] | None
    trouble: str


def incident(found: Incident) -> str:
    """Return the report."""
    made = found.decision
    parts = [
        f"# Rollback of {made.lineage}, {made.as_of:%Y-%m-%d %H:%M} UTC",
        f"{made.reasons[0][:1].upper()}{made.reasons[0][1:]}.",
        f"Weight {made.before.weight:.1%} → {made.after.weight:.1%}, phase {made.before.phase} → {made.after.phase}. "
        + (
            "A champion trained from now on must pass the first gate, and shadow starts again."
            if made.after.retrain_required
            else "There was no champion yet."
        ),
        "## Evidence",
        *_evidence(found),
        "## Drift since training",
        _drift(found),
        "## Worst pivotal trades",
        *_worst(found.settled),
        "## Decisions before",
        _table(
            ("when", "what", "verdict", "weight", "why"), (_decision_row(entry.decision) for entry in reversed(found.last))
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _evidence(found: Incident) -> list[str]:
    if found.evidence is None:
        return [f"Could not be gathered: {found.trouble}"]
    seen = found.evidence
    words = (
        f"{seen.settled} settled predictions from {seen.start:%Y-%m-%d} to {seen.end:%Y-%m-%d}, "
        f"{seen.books.pivotal} signals pivotal."
    )
    rules = _table(("limit", "as measured"), ((rule.name, rule.reason) for rule in found.decision.rules))
    return [words, rules, _table(("", *BOOKS, "target"), books_rows(seen.books.as_dict()))]


def _drift(found: Incident) -> str:
    words = drift_words(found.drift)
    checked = f"{words[:1].upper()}{words[1:]}."
    if found.evidence is None or found.holdout_accuracy is None:
        return f"{checked} Accuracy unknown: no evidence, or no champion."
    now = f"{found.evidence.accuracy:.1%}" if found.evidence.settled else "unknown"
    return f"{checked} Accuracy {now} in the window, {found.holdout_accuracy:.1%} on the champion's holdout."


def _worst(settled: pd.DataFrame | None) -> list[str]:
    if settled is None:
        return ["Unknown."]
    pivotal = settled[settled["pivotal"].to_numpy(dtype=bool)].nsmallest(WORST, "net_return")
    if pivotal.empty:
        return ["None: on every signal that settled in the window baseline and blended agreed."]
    head = ("signal", "existing", "model", "blended", "arm", "traded", "net return")
    return [_table(head, (_trade_row(row) for row in pivotal.to_dict("records")))]


def _trade_row(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    confidences = (f"{row[name]:.1f}" for name in ("confidence_existing", "confidence_ml", "blended"))
    return (
        str(row["signal_id"]),
        *confidences,
        str(row["arm"]),
        "yes" if row["decision"] else "no",
        f"{row['net_return']:+.2%}",
    )


def _decision_row(made: Decision) -> tuple[str, ...]:
    moved = f"{made.before.weight:.1%} → {made.after.weight:.1%}"
    return (f"{made.as_of:%Y-%m-%d}", made.kind, made.verdict, moved, "; ".join(made.reasons))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
