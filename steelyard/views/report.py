"""HTML pages of a replay and of a lineage: the result first, then figures, books and decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from steelyard.evaluation.books import SizingPolicy, account_returns, finite_or_none
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
from steelyard.views.html import Chart, Document
from steelyard.views.lineage import LineageReport, PostedAlert

PIVOTAL_ROWS, DRIFT_ROWS = 20, 10


@dataclass(frozen=True, slots=True)
class DecisionDetails:
    """Parts of a decision that its row on a page can unfold or link to.

    Attributes:
        anchor: Anchor of the row; None for none.
        page: Address of the run in MLflow; None if it is unknown.
        rules: Rules that were checked.
    """

    anchor: str | None
    page: str | None
    rules: Sequence[Mapping[str, Any]]


def answer(document: Document) -> str:
    """Return the result of a replay in one sentence."""
    final, trainings = document["final"], document["trainings"]
    if final["weight"] > 0:
        return (
            f"The model decides {final['weight']:.0%} of the confidence, in phase {final['phase']}."
        )
    highest = max((decision["weight_after"] for decision in document["decisions"]), default=0.0)
    if highest > 0:
        last = next(
            decision
            for decision in reversed(document["decisions"])
            if decision["weight_before"] > decision["weight_after"] == 0
        )
        return (
            f"The model reached {highest:.0%} and lost it: on {last['as_of'][:10]} the weight "
            f"went to 0 ({'; '.join(last['reasons'])})."
        )
    if any(training["accepted"] for training in trainings):
        return f"A model served in shadow, but never earned weight; phase {final['phase']}."
    best = max(trainings, key=lambda training: training["holdout_accuracy"] or 0.0, default=None)
    if best is None:
        return "No model could be trained."
    return f"Every model was refused; the best, of {best['as_of'][:10]}: {_result(best)}."


def replay_page(
    title: str,
    document: Document,
    equity: pd.DataFrame,
    bands: Sequence[WeightBand],
    settled: pd.DataFrame | None = None,
) -> str:
    """Return one self-contained HTML page of a replay.

    Args:
        title: Name of the replayed market.
        document: Output of ``steelyard replay --json``.
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
        answer(document),
        [html.weight_chart(document, bands), html.equity_chart(equity), *model_charts],
        document=document,
        model=model_tables,
        **_common_parts(document),
    )


def lineage_page(
    lineage: LineageReport,
    equity: pd.DataFrame,
    bands: Sequence[WeightBand],
    settled: pd.DataFrame,
    sizing: SizingPolicy,
) -> str:
    """Return one self-contained HTML page of a lineage.

    Args:
        lineage: Report on the lineage.
        equity: Equity by day, shape (days, 3), columns baseline, ml, blended, shares of the
            account.
        bands: Bands of the policy in force.
        settled: Settled predictions of the lineage, one row each.
        sizing: Size of a trade as a share of the account.
    """
    status, current, health = lineage.status, lineage.current, lineage.health
    lifetime = {
        "start": lineage.start,
        "end": lineage.end,
        "decisions": lineage.decisions,
        "trainings": lineage.trainings,
        "books": lineage.books,
        "worth": current.worth,
    }
    model_charts, model_tables = _model_parts(settled)
    charts = [
        html.weight_chart(lifetime, bands),
        html.equity_chart(equity),
        html.drawdown_chart(equity),
        *model_charts,
        *([html.importance_chart(health["importance"])] if health["importance"] else []),
    ]
    pivotal_summary, pivotal = _pivotal_parts(settled, sizing)
    gate_title = f"Gate out of {current.state.phase}: what is there and what is missing"
    return html.render_page(
        "lineage",
        f"{status.lineage} on {status.as_of:%Y-%m-%d}",
        status.answer,
        charts,
        because=because(lineage.decisions),
        warnings=[warning for warning in (status.fault, status.brake) if warning],
        summary=facts_view(current),
        gate=rules_view(gate_title, current.gate, "met", "missing"),
        limits=rules_view("Limits", current.limits, "fires", "holds"),
        false_alarms=current.false_alarms,
        pivotal=pivotal,
        pivotal_summary=pivotal_summary,
        model=model_tables,
        health=health,
        fallbacks=_counts_words(health["fallbacks"]),
        health_tables=_health_views(health),
        drift=drift_view(current.drift.columns if current.drift else (), DRIFT_ROWS),
        drift_summary=drift_words(current.drift),
        alerts=_alerts_view(lineage.recent_alerts),
        rollout=rollout_view([*current.rollout, *current.milestones]),
        **_common_parts(lifetime),
    )


def because(decisions: Sequence[Document]) -> str:
    """Return why the weight is what it is: the last decision that changed it, or the last."""
    changes = [
        decision
        for decision in decisions
        if decision["weight_after"] != decision["weight_before"] or decision["verdict"] != "HOLD"
    ]
    last = (changes or list(decisions))[-1:]
    if not last:
        return "Nothing was decided yet."
    [decision] = last
    subject = f"the {decision['kind']} decision of {decision['as_of'][:10]} ({decision['verdict']})"
    return f"Because of {subject}: {'; '.join(decision['reasons'])}."


def _common_parts(document: Document) -> dict[str, Any]:
    """Return the parts a replay and a lineage share, trainings and decisions latest first."""
    worth, latest_first = document.get("worth"), document["decisions"][::-1]
    details = [
        DecisionDetails(
            html.decision_anchor(decision.get("sequence")), decision.get("page"), decision["rules"]
        )
        for decision in latest_first
    ]
    return {
        "books": books_view(document["books"]),
        "worth": worth,
        "tried": (_counts_words(worth["tried"], "{} of {}") or "nothing") if worth else "",
        "trainings": _trainings_view(document["trainings"]),
        "decisions": decisions_view(latest_first),
        "decision_details": details,
    }


def _model_parts(settled: pd.DataFrame | None) -> tuple[list[Chart], list[TableView]]:
    """Return figure and table of the predictions with an opinion; nothing without any."""
    judged = None if settled is None else settled[settled["p_win"].notna()]
    if judged is None or judged.empty:
        return [], []
    p_win, won = judged["p_win"].to_numpy(dtype=np.float64), judged["won"].to_numpy(dtype=bool)
    latency_ms = judged["latency_ms"].to_numpy(dtype=np.float64)
    return [html.reliability_chart(p_win, won)], [html.model_view(p_win, won, latency_ms)]


def _counts_words(counts: Mapping[str, int], pattern: str = "{1} {0}") -> str:
    return ", ".join(pattern.format(count, name) for name, count in counts.items())


def _pivotal_parts(settled: pd.DataFrame, sizing: SizingPolicy) -> tuple[str, TableView]:
    """Return the latest signals the weight decided otherwise, and their return on the account."""
    gained = account_returns(settled, sizing) * np.where(settled["decision"], 1.0, -1.0)
    changed = (settled["pivotal"] & (settled["arm"] != "control")).to_numpy(dtype=bool)
    headings = ("signal", "existing", "blended", "weight", "then", "gained")
    latest = settled[changed].assign(gained=gained[changed])
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


def _health_views(health: Document) -> list[TableView]:
    """Return the figures with their targets, the share won by confidence, and the top features."""
    standing = {True: "met", False: "missed", None: ""}
    figures = tuple(
        (
            figure["words"],
            format_number(figure["value"]),
            format_number(figure["target"]),
            standing[figure["ok"]],
        )
        for figure in health["figures"]
    )
    reliability = tuple(
        (
            f"{band['low']:.0f}–{band['high']:.0f}",
            *(format_number(band[name]) for name in ("count", "mean_p_win", "win_rate")),
        )
        for band in health["reliability"]
        if band["count"]
    )
    importance = tuple(
        (feature["name"], format_share(feature["shap"]), format_share(feature["gain"]))
        for feature in health["importance"]
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


def _trainings_view(trainings: Sequence[Document]) -> TableView:
    rows = tuple(
        (training["as_of"][:10], training["version"], training["stage"], _result(training))
        for training in trainings
    )
    headings = ("as of", "version", "stage", "result")
    return TableView("Trainings", headings, rows, prose=frozenset({3}))


def _result(training: Document) -> str:
    """Return the verdict of a training; of a refused version, the reasons."""
    refusal = "" if training["accepted"] else "; ".join(training["reasons"])
    return refusal or str(training["verdict"])
