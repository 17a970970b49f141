"""Markdown for Prefect's pages and the incident report: verdict, reasons, then figures."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steelyard.evaluation.evidence import Evidence
from steelyard.gateways.outside import in_code, in_markdown
from steelyard.gateways.quality import CheckedSuite
from steelyard.gateways.quality_page import verdict
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.views.drift import JudgedDrift
from steelyard.views.format import (
    TableView,
    books_view,
    drift_view,
    drift_words,
    rules_view,
)
from steelyard.views.lineage import PerformanceReview
from steelyard.views.records import DecisionRecord, VersionRecord
from steelyard.weight.decision import Decision, Entry
from steelyard.weight.state import State

WORST = 10
"""Pivotal trades shown in an incident report."""


def markdown_table(view: TableView) -> str:
    """Return a table in Markdown; no cell can end it or add to it."""
    headings, *rows = [tuple(map(in_markdown, line)) for line in (view.headings, *view.rows)]
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def decisions_summary(decisions: Sequence[DecisionRecord], state: State) -> str:
    """Return the decisions of a run with every rule checked.

    Args:
        decisions: The decisions; empty if nothing changed.
        state: State in force.
    """
    in_force = (
        f"Weight {state.weight:.1%}, phase {state.phase}, "
        f"lease until {state.lease_until:%Y-%m-%dT%H:%M}."
    )
    if not decisions:
        return f"**Nothing changed.** {in_force}"
    return "\n\n".join([*map(_decision, decisions), in_force])


def _decision(decision: DecisionRecord) -> str:
    parts = [
        f"**{decision.outcome}** ({decision.kind}), phase {decision.phase}",
        *(f"- {in_markdown(reason)}" for reason in decision.reasons),
    ]
    rules = rules_view("", decision.rules, "●", "○")
    table = markdown_table(rules) if decision.rules else ""
    link = _link("The decision in MLflow", decision.page)
    return "\n".join(parts) + f"\n\n{table}\n\n{link}"


def training_summary(version: VersionRecord, links: Mapping[str, str]) -> str:
    """Return the result of a training.

    Args:
        version: The version.
        links: Words of each link → address.
    """
    figures = {
        "holdout accuracy": version.holdout_accuracy,
        "no-information rate": version.no_information_rate,
    }
    rows = tuple(
        (name, "–" if value is None else f"{value:.1%}") for name, value in figures.items()
    )
    parts = [
        f"**Version {version.version}: {version.stage}** ({version.family})",
        in_markdown(version.verdict),
        *(f"- {in_markdown(reason)}" for reason in version.reasons),
        markdown_table(TableView("", ("measure", "figure"), rows)),
        " · ".join(_link(words, page) for words, page in links.items()),
    ]
    return "\n\n".join(parts)


def data_check_summary(suites: Iterable[CheckedSuite]) -> str:
    """Return the results of data checks, broken suites first, with findings, rules and page."""
    broken_first = sorted(suites, key=lambda suite: all(line[2] for line in suite.lines))
    return "\n\n".join(map(_checked_suite, broken_first))


def _checked_suite(suite: CheckedSuite) -> str:
    broken_first = sorted(suite.lines, key=lambda line: line[2])
    rows = tuple((result, rule, expectation) for rule, expectation, _, result in broken_first)
    parts = [
        f"**{suite.suite}: {verdict(suite.lines)}** ({in_markdown(suite.source)})",
        "\n".join(f"- {in_markdown(finding)}" for finding in suite.findings),
        f"The same as a page, on the machine it ran on: `{in_code(str(suite.file))}`",
        markdown_table(TableView("", ("result", "rule", "expectation"), rows)),
    ]
    return "\n\n".join(part for part in parts if part)


def drift_summary(judged: JudgedDrift) -> str:
    """Return a check for drift, the features that moved most first."""
    check = judged.check
    parts = [
        f"**{check.verdict}**: version {check.model_version}",
        *(f"- {in_markdown(reason)}" for reason in check.reasons),
    ]
    table = markdown_table(drift_view(check.columns))
    link = _link("Report and map in MLflow", judged.page)
    return "\n".join(parts) + f"\n\n{table}\n\n{link}"


def review_summary(review: PerformanceReview) -> str:
    """Return a performance review: the answer, its reason, the books, and the page."""
    return "\n\n".join(
        [
            f"**{in_markdown(review.report.status.answer)}**",
            in_markdown(review.because),
            markdown_table(books_view(review.report.books)),
            _link("The report in MLflow", f"{review.run_page}/artifacts/report.html"),
            f"The same page: `{in_code(review.file)}`",
        ]
    )


@dataclass(frozen=True, slots=True)
class Incident:
    """Facts an incident report is written from.

    Attributes:
        decision: The rollback.
        evidence: Evidence of the month; None if the ledger could not be read.
        settled: Settled predictions of the same window, one row each; None likewise.
        last: Decisions before the rollback, oldest first.
        holdout_accuracy: The champion's accuracy on its holdout; None without a champion.
        drift: Latest check for drift; None before the first.
        trouble: Reason why there is no evidence; empty if there is.
        approved: Who approved the champion and why, in a sentence; empty if no operator did.
    """

    decision: Decision
    evidence: Evidence | None
    settled: pd.DataFrame | None
    last: Sequence[Entry]
    holdout_accuracy: float | None
    drift: DriftRecord | None
    trouble: str
    approved: str = ""


def incident_report(incident: Incident) -> str:
    """Return the report on a rollback."""
    decision = incident.decision
    before, after = decision.before, decision.after
    reason = f"{decision.reasons[0][:1].upper()}{decision.reasons[0][1:]}."
    change = (
        f"Weight {before.weight:.1%} → {after.weight:.1%}, phase {before.phase} → {after.phase}."
    )
    consequence = (
        "A champion trained from now on must pass the first gate, and shadow starts again."
        if after.retrain_required
        else "There was no champion yet."
    )
    approved = in_markdown(incident.approved)
    let_in = f" An operator had let the champion in: {approved}." if approved else ""
    parts = [
        f"# Rollback of {decision.lineage}, {decision.as_of:%Y-%m-%d %H:%M} UTC",
        in_markdown(reason),
        f"{change} {consequence}{let_in}",
        "## Evidence",
        *_incident_evidence(incident),
        "## Drift since training",
        _incident_drift(incident),
        "## Worst pivotal trades",
        *_worst_trades(incident.settled),
        "## Decisions before",
        markdown_table(_earlier_decisions_view(incident.last)),
    ]
    return "\n\n".join(parts) + "\n"


def _incident_evidence(incident: Incident) -> list[str]:
    evidence = incident.evidence
    if evidence is None:
        return [f"Could not be gathered: {in_markdown(incident.trouble)}"]
    window = (
        f"{evidence.count.words('settled predictions')} from {evidence.start:%Y-%m-%d} "
        f"to {evidence.end:%Y-%m-%d}, {evidence.books.pivotal} signals pivotal."
    )
    limits = rules_view("", incident.decision.rules, "fires", "holds")
    books = books_view(evidence.books)
    return [window, markdown_table(limits), markdown_table(books)]


def _incident_drift(incident: Incident) -> str:
    summary = drift_words(incident.drift)
    check = in_markdown(f"{summary[:1].upper()}{summary[1:]}.")
    if incident.evidence is None or incident.holdout_accuracy is None:
        return f"{check} Accuracy unknown: no evidence, or no champion."
    accuracy = f"{incident.evidence.accuracy:.1%}" if incident.evidence.settled else "unknown"
    holdout = f"{incident.holdout_accuracy:.1%} on the champion's holdout"
    return f"{check} Accuracy {accuracy} in the window, {holdout}."


def _worst_trades(settled: pd.DataFrame | None) -> list[str]:
    if settled is None:
        return ["Unknown."]
    pivotal = settled[settled["pivotal"].to_numpy(dtype=bool)].nsmallest(WORST, "net_return")
    if pivotal.empty:
        return ["None: on every signal that settled in the window baseline and blended agreed."]
    headings = ("signal", "existing", "model", "blended", "arm", "traded", "net return")
    rows = tuple(_trade_row(row) for row in pivotal.to_dict("records"))
    return [markdown_table(TableView("", headings, rows))]


def _trade_row(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    return (
        str(row["signal_id"]),
        *(f"{row[name]:.1f}" for name in ("confidence_existing", "confidence_ml", "blended")),
        str(row["arm"]),
        "yes" if row["decision"] else "no",
        f"{row['net_return']:+.2%}",
    )


def _earlier_decisions_view(entries: Sequence[Entry]) -> TableView:
    rows = tuple(
        (
            f"{decision.as_of:%Y-%m-%d}",
            decision.kind,
            decision.outcome,
            "; ".join(decision.reasons),
        )
        for decision in (entry.decision for entry in reversed(entries))
    )
    return TableView("", ("as of", "kind", "outcome", "why"), rows)


def _link(words: str, page: str | None) -> str:
    return f"[{words}]({page})" if page else ""
