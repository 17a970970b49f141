"""Markdown: what a run says in Prefect, and the incident report of a rollback; verdict first, then why, then figures."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steelyard.evaluation.evidence import Evidence
from steelyard.gateways.quality import CheckedSuite
from steelyard.gateways.quality_page import verdict
from steelyard.views.format import BOOKS, books_rows, drift_words, number
from steelyard.weight.decision import Decision, Entry

Document = Mapping[str, Any]
WORST = 10


def decided(decisions: Sequence[Document], state: Document) -> str:
    """Return what a run decided; what it looked at and left is said as well."""
    if not decisions:
        return f"**Nothing changed.** {_state(state)}"
    return "\n\n".join([*map(_decision, decisions), _state(state)])


def _decision(made: Document) -> str:
    moved = (
        f"weight {made['weight_before']:.1%} → {made['weight_after']:.1%}, phase {made['phase']}"
    )
    rules = (
        (rule["name"], number(rule["figure"]), number(rule["bound"]), _mark(rule), rule["reason"])
        for rule in made["rules"]
    )
    parts = [
        f"**{made['verdict']}** ({made['kind']}): {moved}",
        *(f"- {reason}" for reason in made["reasons"]),
    ]
    table = _table(("rule", "figure", "bound", "fired", "in words"), rules) if made["rules"] else ""
    return "\n".join(parts) + f"\n\n{table}\n\n{_link('The decision in MLflow', made.get('page'))}"


def _mark(rule: Document) -> str:
    return "●" if rule["fired"] else "○"


def _state(state: Document) -> str:
    return f"Weight {state['weight']:.1%}, phase {state['phase']}, lease until {state['lease_until'][:16]}."


def trained(version: Document, links: Mapping[str, str]) -> str:
    """Return what became of a training; ``links`` are words → address."""
    figures = {
        "holdout accuracy": version["holdout_accuracy"],
        "no-information rate": version["no_information_rate"],
    }
    parts = [
        f"**Version {version['version']}: {version['stage']}** ({version['family']})",
        version["verdict"],
    ]
    parts += [f"- {reason}" for reason in version["reasons"]]
    rows = ((name, "–" if value is None else f"{value:.1%}") for name, value in figures.items())
    where = " · ".join(_link(words, page) for words, page in links.items())
    return "\n\n".join([*parts, _table(("measure", "figure"), rows), where])


def checked(held: Iterable[CheckedSuite]) -> str:
    """Return what data was held against its contract: what is broken first, then findings, every rule, and the page."""
    return "\n\n".join(
        map(_checked, sorted(held, key=lambda one: all(line[2] for line in one.lines)))
    )


def _checked(held: CheckedSuite) -> str:
    broken_first = sorted(held.lines, key=lambda line: line[2])
    rows = ((found, rule, expectation) for rule, expectation, _, found in broken_first)
    parts = [
        f"**{held.suite}: {verdict(held.lines)}** ({held.source})",
        "\n".join(f"- {one}" for one in held.findings),
        f"The same as a page, on the machine it ran on: `{held.file}`",
        _table(("result", "rule", "expectation"), rows),
    ]
    return "\n\n".join(part for part in parts if part)


def drifted(found: Document) -> str:
    """Return a check for drift, the features that moved most first."""
    judged = [column for column in found["columns"] if column["psi"] is not None]
    moved = sorted(judged, key=lambda column: column["psi"] / column["bound"], reverse=True)
    rows = (
        (c["name"], number(c["importance"]), number(c["psi"]), number(c["bound"])) for c in moved
    )
    parts = [
        f"**{found['verdict']}**: version {found['model_version']}",
        *(f"- {reason}" for reason in found["reasons"]),
    ]
    table = _table(("feature", "importance", "PSI", "bound"), rows)
    return "\n".join(parts) + f"\n\n{table}\n\n{_link('Report and map in MLflow', found['page'])}"


def reviewed(document: Document) -> str:
    """Return a performance review: the answer, why, the books, and the page."""
    rows = books_rows(document["books"])
    parts = [
        f"**{document['answer']}**",
        document["because"],
        _table(("measure", "baseline", "ml", "blended", "target"), rows),
    ]
    return "\n\n".join(
        [
            *parts,
            _link("The report in MLflow", f"{document['run_page']}/artifacts/report.html"),
            f"The same page: `{document['page']}`",
        ]
    )


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
        *_incident_evidence(found),
        "## Drift since training",
        _incident_drift(found),
        "## Worst pivotal trades",
        *_worst_trades(found.settled),
        "## Decisions before",
        _table(
            ("when", "what", "verdict", "weight", "why"),
            (_decision_row(entry.decision) for entry in reversed(found.last)),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _incident_evidence(found: Incident) -> list[str]:
    if found.evidence is None:
        return [f"Could not be gathered: {found.trouble}"]
    seen = found.evidence
    words = (
        f"{seen.settled} settled predictions from {seen.start:%Y-%m-%d} to {seen.end:%Y-%m-%d}, "
        f"{seen.books.pivotal} signals pivotal."
    )
    rules = _table(
        ("limit", "as measured"), ((rule.name, rule.reason) for rule in found.decision.rules)
    )
    return [words, rules, _table(("", *BOOKS, "target"), books_rows(seen.books.as_dict()))]


def _incident_drift(found: Incident) -> str:
    words = drift_words(found.drift)
    checked = f"{words[:1].upper()}{words[1:]}."
    if found.evidence is None or found.holdout_accuracy is None:
        return f"{checked} Accuracy unknown: no evidence, or no champion."
    now = f"{found.evidence.accuracy:.1%}" if found.evidence.settled else "unknown"
    return f"{checked} Accuracy {now} in the window, {found.holdout_accuracy:.1%} on the champion's holdout."


def _worst_trades(settled: pd.DataFrame | None) -> list[str]:
    if settled is None:
        return ["Unknown."]
    pivotal = settled[settled["pivotal"].to_numpy(dtype=bool)].nsmallest(WORST, "net_return")
    if pivotal.empty:
        return ["None: on every signal that settled in the window baseline and blended agreed."]
    head = ("signal", "existing", "model", "blended", "arm", "traded", "net return")
    return [_table(head, (_trade_row(row) for row in pivotal.to_dict("records")))]


def _trade_row(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    confidences = (
        f"{row[name]:.1f}" for name in ("confidence_existing", "confidence_ml", "blended")
    )
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


def _link(words: str, page: str | None) -> str:
    return f"[{words}]({page})" if page else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )
