"""The verdict of a flow in one line, from its result: the message of a run's state and its log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatch
from typing import Any

from steelyard.views.drift import JudgedDrift
from steelyard.views.lineage import PerformanceReview
from steelyard.views.reconciliation import ImportResult
from steelyard.views.reconciliation import verdict as import_verdict
from steelyard.views.records import (
    DecisionRecord,
    PeriodDecisions,
    Rollback,
    RollbackOfAll,
    SingleDecision,
    VersionRecord,
)
from steelyard.views.runs import BarRun, Collection, Settlement, TradedSignal, TradingRun
from steelyard.weight.state import State

UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of a run of a flow.

    Attributes:
        words: The outcome with its figures, in one line.
        tag: The same in one or two words, to filter runs by.
        details: Reasons and findings, one line each.
    """

    words: str
    tag: str
    details: tuple[str, ...] = ()


@singledispatch
def verdict(result: Any, as_of: datetime) -> Verdict:
    """Return the verdict on the result of a flow.

    Args:
        result: What the flow returned; None of a check for drift without a champion.
        as_of: Time the run evaluated (UTC): what was decided before is not told as new.
    """
    return Verdict("no champion yet; nothing to check", UNCHANGED)


@verdict.register
def _of_collection(collection: Collection, _: datetime) -> Verdict:
    words = f"{collection.added} new bars"
    if collection.quarantined:
        words += f", {collection.quarantined} quarantined"
    if collection.held_back:
        words += f", held back: {', '.join(collection.held_back)}"
    details, log = collection.findings, collection.log
    if log is not None:
        words += f"; {log.added} new signals, {log.settled} outcomes told"
        words += f", {log.quarantined} rows quarantined" if log.quarantined else ""
        details += log.findings
    bad = collection.quarantined or collection.held_back or (log and log.quarantined)
    return Verdict(words, "quarantined" if bad else "collected", details)


@verdict.register
def _of_settlement(settlement: Settlement, _: datetime) -> Verdict:
    words = f"{settlement.predictions} new predictions, {settlement.outcomes} new outcomes"
    return Verdict(words, "settled")


@verdict.register
def _of_trading(run: TradingRun, _: datetime) -> Verdict:
    ordered = sum(signal.veto is None for signal in run.signals)
    words = f"{len(run.signals) + run.stale} new signals, {ordered} ordered"
    words += f", {run.stale} stale" if run.stale else ""
    words += f"; {run.filled} trades changed by fills"
    tag = "ordered" if ordered else "stale" if run.stale else "no order"
    return Verdict(words, tag, tuple(map(_traded, run.signals)))


def _traded(signal: TradedSignal) -> str:
    fate = f"ordered {signal.size:.2%}" if signal.veto is None else signal.veto
    return (
        f"{signal.signal_id}: {signal.blended:.1f} at weight {signal.weight:.1%}: {fate}: "
        f"{signal.words}"
    )


@verdict.register
def _of_bar(run: BarRun, as_of: datetime) -> Verdict:
    collected = verdict(run.collected, as_of)
    parts = [collected]
    words = [collected.words]
    for name, traded in run.traded.items():
        own = [verdict(traded, as_of), verdict(run.settled[name], as_of)]
        of_lineage = f"{name}: " if len(run.traded) > 1 else ""
        words.append(of_lineage + "; ".join(part.words for part in own))
        parts += own
    tags = [part.tag for part in parts]
    tag = next((tag for tag in ("ordered", "quarantined", "stale") if tag in tags), tags[0])
    if not run.collected.added and tag == "collected":
        tag = "no new bar"
    return Verdict("; ".join(words), tag, tuple(line for part in parts for line in part.details))


@verdict.register
def _of_one(single: SingleDecision, as_of: datetime) -> Verdict:
    ways = single.ways if isinstance(single, Rollback) else ()
    decisions = (single.decision,) if single.decision else ()
    return _of_decisions(decisions, single.state, as_of, tuple(map(str, ways)))


@verdict.register
def _of_all(rolled_back: RollbackOfAll, _: datetime) -> Verdict:
    words = [
        f"{one.lineage}: {one.words if one.worked else f'FAILED, {one.words}'}"
        for one in rolled_back.lineages
    ]
    return Verdict("; ".join(words), "ROLLBACK", tuple(map(str, rolled_back.ways)))


@verdict.register
def _of_periods(periods: PeriodDecisions, as_of: datetime) -> Verdict:
    return _of_decisions(periods.decisions, periods.state, as_of)


def _of_decisions(
    decisions: Sequence[DecisionRecord], state: State, as_of: datetime, more: tuple[str, ...] = ()
) -> Verdict:
    details = tuple(
        f"{decision.kind}: {reason}" for decision in decisions for reason in decision.reasons
    )
    new = [decision for decision in decisions if decision.as_of >= as_of]
    if not new:
        words = f"nothing new; weight {state.weight:.1%}, phase {state.phase}"
        return Verdict(words, UNCHANGED, details + more)
    words = "; ".join(
        f"{decision.kind}: {decision.outcome}, phase {decision.phase}" for decision in new
    )
    changing = [decision.done for decision in new if decision.changed]
    return Verdict(words, changing[-1] if changing else "HOLD", details + more)


@verdict.register
def _of_version(version: VersionRecord, _: datetime) -> Verdict:
    words = f"version {version.version} ({version.family}): {version.stage}; {version.verdict}"
    return Verdict(words, version.stage, version.reasons)


@verdict.register
def _of_drift(judged: JudgedDrift, _: datetime) -> Verdict:
    check, training = judged.check, (judged.training,) if judged.training else ()
    words = f"{check.verdict}: version {check.model_version}"
    return Verdict(words, check.verdict, (*check.reasons, *training))


@verdict.register
def _of_review(review: PerformanceReview, _: datetime) -> Verdict:
    return Verdict(review.report.status.answer, "reviewed", (review.because, review.file))


@verdict.register
def _of_import(imported: ImportResult, _: datetime) -> Verdict:
    return Verdict(import_verdict(imported.reconciliation), "imported", imported.outlook)
