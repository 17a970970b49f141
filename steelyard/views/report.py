"""HTML pages of a replay and of a lineage: the result first, then figures, books and decisions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steelyard.evaluation.books import Books, finite_or_none
from steelyard.evaluation.influence import changed_signals
from steelyard.monitoring.health import ModelHealth
from steelyard.views import html
from steelyard.views.format import (
    TableView,
    WeightBand,
    books_view,
    decisions_view,
    drift_view,
    drift_words,
    facts_view,
    format_number,
    format_share,
    rollout_view,
    rules_view,
)
from steelyard.views.history import WeightHistory
from steelyard.views.html import Chart
from steelyard.views.lineage import LineageReport, PostedAlert
from steelyard.views.live import LiveBar
from steelyard.views.records import DecisionRecord, VersionRecord
from steelyard.views.replay import ReplayResult
from steelyard.views.worth import LifetimeWorth

PIVOTAL_ROWS, DRIFT_ROWS = 20, 10


def answer(replay: ReplayResult) -> str:
    """Return the result of a replay in one sentence."""
    if replay.weight > 0:
        return f"The model decides {replay.weight:.0%} of the confidence, in phase {replay.phase}."
    highest = max((decision.weight_after for decision in replay.decisions), default=0.0)
    if highest > 0:
        last = next(
            decision
            for decision in reversed(replay.decisions)
            if decision.weight_before > decision.weight_after == 0
        )
        return (
            f"The model reached {highest:.0%} and lost it: on {last.as_of:%Y-%m-%d} the weight "
            f"went to 0 ({'; '.join(last.reasons)})."
        )
    trainings = replay.trainings
    if any(training.accepted for training in trainings):
        return f"A model served in shadow, but never earned weight; phase {replay.phase}."
    best = max(trainings, key=lambda training: training.holdout_accuracy or 0.0, default=None)
    if best is None:
        return "No model could be trained."
    return f"Every model was refused; the best, of {best.as_of:%Y-%m-%d}: {best.result}."


def replay_page(
    title: str,
    replay: ReplayResult,
    equity: pd.DataFrame,
    bands: Sequence[WeightBand],
    settled: pd.DataFrame | None = None,
) -> str:
    """Return one self-contained HTML page of a replay.

    Args:
        title: Name of the replayed market.
        replay: Result of the replay.
        equity: Equity by day, shape (days, 3), columns baseline, ml, blended, shares of the
            account.
        bands: Bands of the policy in force.
        settled: Settled predictions, one row each; None or no ``p_win`` leaves the model's part
            out.
    """
    model_charts, model_tables = _model_parts(settled)
    return html.render_page(
        "replay",
        title,
        answer(replay),
        [html.weight_chart(replay.history, bands), html.equity_chart(equity), *model_charts],
        replay=replay,
        model=model_tables,
        **_common_parts(replay.books, replay.worth, replay.trainings, replay.decisions),
    )


def lineage_page(
    lineage: LineageReport,
    equity: pd.DataFrame,
    bands: Sequence[WeightBand],
    held: pd.DataFrame,
    live: LiveBar | None = None,
) -> str:
    """Return one self-contained HTML page of a lineage.

    Args:
        lineage: Report on the lineage.
        equity: Equity by day, shape (days, 3), columns baseline, ml, blended, shares of the
            account.
        bands: Bands of the policy in force.
        held: Settled predictions of the lineage, one row each, from ``positions.take_positions``.
        live: Bar above a page that is served; None for a file.
    """
    status, current, health = lineage.status, lineage.current, lineage.health
    model_charts, model_tables = _model_parts(held)
    all_decisions = WeightHistory(lineage.start, lineage.end, lineage.decisions, ())
    charts = [
        html.weight_chart(all_decisions, bands),
        html.equity_chart(equity),
        html.drawdown_chart(equity),
        *model_charts,
        *([html.importance_chart(health.importance)] if health.importance else []),
    ]
    pivotal_summary, pivotal = _pivotal_parts(held)
    gate_title = f"Gate out of {current.state.phase}: what is there and what is missing"
    return html.render_page(
        "lineage",
        f"{status.lineage} on {status.as_of:%Y-%m-%d}",
        status.answer,
        charts,
        live=live,
        because=because(lineage.decisions),
        warnings=[warning for warning in (status.fault, status.brake, *status.warnings) if warning],
        summary=facts_view(current),
        gate=rules_view(gate_title, current.gate, "met", "missing"),
        limits=rules_view("Limits", current.limits, "fires", "holds"),
        false_alarms=current.false_alarms,
        pivotal=pivotal,
        pivotal_summary=pivotal_summary,
        model=model_tables,
        health=health,
        fallbacks=_counts_words(dict(health.fallbacks)),
        health_tables=_health_views(health),
        drift=drift_view(current.drift.columns if current.drift else (), DRIFT_ROWS),
        drift_summary=drift_words(current.drift),
        alerts=_alerts_view(lineage.recent_alerts),
        rollout=rollout_view([*current.rollout, *current.milestones]),
        **_common_parts(lineage.books, current.worth, lineage.trainings, lineage.decisions),
    )


def because(decisions: Sequence[DecisionRecord]) -> str:
    """Return why the weight is what it is: the last decision that changed it, or the last."""
    changes = [decision for decision in decisions if decision.changed]
    last = (changes or list(decisions))[-1:]
    if not last:
        return "Nothing was decided yet."
    [decision] = last
    subject = f"the {decision.kind} decision of {decision.as_of:%Y-%m-%d} ({decision.outcome})"
    return f"Because of {subject}: {'; '.join(decision.reasons)}."


def _common_parts(
    books: Books,
    worth: LifetimeWorth | None,
    trainings: Sequence[VersionRecord],
    decisions: Sequence[DecisionRecord],
) -> dict[str, Any]:
    """Return the parts a replay and a lineage share, decisions latest first."""
    latest_first = decisions[::-1]
    return {
        "books": books_view(books),
        "worth": worth,
        "tried": (_counts_words(worth.tried, "{} of {}") or "nothing") if worth else "",
        "trainings": _trainings_view(trainings),
        "decisions": decisions_view(latest_first),
        "latest_first": latest_first,
    }


def _model_parts(settled: pd.DataFrame | None) -> tuple[list[Chart], list[TableView]]:
    """Return figure and table of the predictions with an opinion; nothing without any."""
    predicted = None if settled is None else settled[settled["p_win"].notna()]
    if predicted is None or predicted.empty:
        return [], []
    p_win, won = (
        predicted["p_win"].to_numpy(dtype=np.float64),
        predicted["won"].to_numpy(dtype=bool),
    )
    latency_ms = predicted["latency_ms"].to_numpy(dtype=np.float64)
    return [html.reliability_chart(p_win, won)], [html.model_view(p_win, won, latency_ms)]


def _counts_words(counts: Mapping[str, int], pattern: str = "{1} {0}") -> str:
    return ", ".join(pattern.format(count, name) for name, count in counts.items())


def _pivotal_parts(held: pd.DataFrame) -> tuple[str, TableView]:
    """Return the latest signals the weight decided otherwise, and their return on the account."""
    changed, gained = changed_signals(held)
    headings = ("signal", "existing", "blended", "weight", "then", "gained")
    latest = held[changed].assign(gained=gained[changed])
    latest = latest.sort_values("decided_at", ascending=False).head(PIVOTAL_ROWS)
    rows = tuple(_pivotal_row(row) for row in latest.to_dict("records"))
    view = TableView("Signals on which the weight decided", headings, rows, frozenset({1, 2, 3, 5}))
    if not changed.any():
        return "None so far.", view
    total = finite_or_none(float(gained[changed].sum())) or 0.0
    more = f" The latest {PIVOTAL_ROWS}:" if changed.sum() > PIVOTAL_ROWS else ""
    return f"{changed.sum()} signals, {total:+.2%} on the account.{more}", view


def _pivotal_row(row: Mapping[Any, Any]) -> tuple[str, ...]:
    return (
        str(row["signal_id"]),
        f"{row['confidence_existing']:.1f}",
        f"{row['blended']:.1f}",
        f"{row['weight']:.1%}",
        f"{'taken' if row['decision'] else 'left'}, {'won' if row['won'] else 'lost'}",
        f"{row['gained']:+.2%}",
    )


def _health_views(health: ModelHealth) -> list[TableView]:
    """Return the figures with their targets, the share won by confidence, and the top features."""
    standing = {True: "met", False: "missed", None: ""}
    figures = tuple(
        (
            figure.words,
            format_number(figure.value),
            format_number(figure.target),
            standing[figure.ok],
        )
        for figure in health.figures
    )
    reliability = tuple(
        (
            f"{band.low:.0f}–{band.high:.0f}",
            *map(format_number, (band.count, band.mean_p_win, band.win_rate)),
        )
        for band in health.reliability
        if band.count
    )
    importance = tuple(
        (feature.name, format_share(feature.shap), format_share(feature.gain))
        for feature in health.importance
    )
    headings = ("figure", "now", "target", "standing")
    bands = ("confidence of the model", "settled", "mean p_win", "share won")
    features = ("feature of the champion", "Shapley values", "gain")
    views = [
        TableView("", headings, figures, frozenset({1, 2}), frozenset({0})),
        TableView("", bands, reliability, frozenset({1, 2, 3})),
        TableView("", features, importance, frozenset({1, 2})),
    ]
    return [view for view in views if view.rows]


def _alerts_view(alerts: Sequence[PostedAlert]) -> TableView:
    rows = tuple(
        (alert.at.isoformat()[:16], alert.kind, alert.title, alert.trouble or "delivered")
        for alert in alerts
    )
    return TableView("Alerts", ("when", "kind", "what", "delivery"), rows, prose=frozenset({2}))


def _trainings_view(trainings: Sequence[VersionRecord]) -> TableView:
    rows = tuple(
        (f"{training.as_of:%Y-%m-%d}", training.version, training.stage, training.result)
        for training in trainings
    )
    headings = ("as of", "version", "stage", "result")
    return TableView("Trainings", headings, rows, prose=frozenset({3}))
