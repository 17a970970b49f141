"""Pages: of a replay and of a lineage that lives; the answer first, then figures to move in, books and decisions."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from steelyard.evaluation.books import SizingPolicy, account_returns, finite_or_none
from steelyard.views import html
from steelyard.views.format import WeightBand, drift_words, influence_words, number, proof_words
from steelyard.views.html import Document, cell, folded_rules, head, linked, table

PIVOTAL, MOVED = 20, 10
_BANDS = ("count", "mean_p_win", "win_rate")
_SIZES = ("importance", "psi", "bound")


def answer(document: Document) -> str:
    """Return the result of a replay in one sentence."""
    final, trainings = document["final"], document["trainings"]
    if final["weight"] > 0:
        return (
            f"The model decides {final['weight']:.0%} of the confidence, in phase {final['phase']}."
        )
    highest = max((made["weight_after"] for made in document["decisions"]), default=0.0)
    if highest > 0:
        last = next(
            made
            for made in reversed(document["decisions"])
            if made["weight_before"] > made["weight_after"] == 0
        )
        return (
            f"The model reached {highest:.0%} and lost it: on {last['as_of'][:10]} the weight went to 0 "
            f"({'; '.join(last['reasons'])})."
        )
    served = [training for training in trainings if training["accepted"]]
    if served:
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
        title: What was replayed.
        document: What ``steelyard replay --json`` prints.
        equity: Equity of the three books by day, shares of the account.
        bands: Bands of the policy in force.
        settled: Settled predictions; where the model had an opinion on any, the page says what the model was worth.
    """
    drawn, model = _judged(settled)
    lead = (
        f"<p>{escape(title)}: {document['start'][:10]} to {document['end'][:10]}, {document['signals']} signals, "
        f"{document['signals_per_month']} a month.</p>"
    )
    rest = f"""<h2>The same signals, three books</h2>{html.books_table(document["books"])}
<h2>How much of it luck explains</h2>{_worth(document.get("worth"))}
{model}
<h2>Trainings</h2>{_trainings(document["trainings"])}
<h2>Decisions</h2>{_decisions(document["decisions"])}"""
    shown = [html.weight_chart(document, bands), html.equity_chart(equity), *drawn]
    return html.assemble_page(title, answer(document), shown, lead, rest)


def lineage_page(
    document: Document,
    equity: pd.DataFrame,
    bands: Sequence[WeightBand],
    settled: pd.DataFrame,
    sizing: SizingPolicy,
) -> str:
    """Return one self-contained HTML page of how a lineage stands.

    Args:
        document: What ``steelyard report --json`` prints.
        equity: Equity of the three books by day, shares of the account.
        bands: Bands of the policy in force.
        settled: Settled predictions of the lineage's life.
        sizing: What a trade is of the account.
    """
    drawn, model = _judged(settled)
    rest = f"""<h2>Gate out of {document["state"]["phase"]}: what is there and what is missing</h2>
{_rules(document["gate"], "met", "missing")}
<h2>Limits</h2>{_rules(document["limits"], "fires", "holds")}
{_false_alarms(document["false_alarms"])}
<h2>The same signals, three books</h2>{html.books_table(document["books"])}
<h2>Signals on which the weight decided</h2>{_pivotal(settled, sizing)}
<h2>How much of it luck explains</h2>{_worth(document["worth"])}
{model}
<h2>Health of the model in the last window</h2>{_health(document["health"])}
<h2>Drift since the champion was trained</h2>{_drift(document["drift"])}
<h2>Alerts</h2>{_alerts(document["recent_alerts"])}
<h2>Rollout</h2>{_rollout([*document["rollout"], *document["milestones"]])}
<h2>Trainings</h2>{_trainings(document["trainings"])}
<h2>Decisions</h2>{_decisions(document["decisions"])}"""
    lead = f"<p>{escape(because(document['decisions']))}</p>{_facts(document)}"
    shown = [
        html.weight_chart(document, bands),
        html.equity_chart(equity),
        html.drawdown_chart(equity),
        *drawn,
    ]
    features = document["health"]["importance"]
    shown += [html.importance_chart(features)] if features else []
    title = f"{document['lineage']} on {document['as_of'][:10]}"
    return html.assemble_page(title, document["answer"], shown, lead, rest)


def because(decisions: Sequence[Document]) -> str:
    """Return why the weight is what it is: the last decision that changed anything, or the last of all."""
    moved = [
        made
        for made in decisions
        if made["weight_after"] != made["weight_before"] or made["verdict"] != "HOLD"
    ]
    last = (moved or list(decisions))[-1:]
    if not last:
        return "Nothing was decided yet."
    [made] = last
    subject = f"the {made['kind']} decision of {made['as_of'][:10]} ({made['verdict']})"
    return f"Because of {subject}: {'; '.join(made['reasons'])}."


def _judged(settled: pd.DataFrame | None) -> tuple[list[tuple[str, str]], str]:
    """Return the figure and the table about what the model said; neither where it said nothing."""
    judged = None if settled is None else settled[settled["p_win"].notna()]
    if judged is None or judged.empty:
        return [], ""
    p_win, won = judged["p_win"].to_numpy(dtype=np.float64), judged["won"].to_numpy(dtype=bool)
    latency = judged["latency_ms"].to_numpy(dtype=np.float64)
    return [html.reliability_chart(p_win, won)], html.model_table(p_win, won, latency)


def _facts(document: Document) -> str:
    state, improvement = document["state"], document["improvement"]
    expected = improvement["expected"]
    facts = {
        "weight": f"{state['weight']:.1%} = base {state['base']:.0%} + bonus {state['bonus']:+.1%}",
        "in force": f"{document['weight_in_force']:.1%}, lease {document['lease']['words']}",
        "champion": _version(document["champion"]),
        "challenger": _version(document["challenger"]),
        "improvement over the baseline": (
            "unknown" if improvement["achieved"] is None else f"{improvement['achieved']:+.1%}"
        )
        + (f", {expected[0]:.0%} to {expected[1]:.0%} expected" if expected else ""),
        "evidence": proof_words(document["proof"]),
        "influence": influence_words(document["influence"]),
        "next reviews": ", ".join(
            f"{one['kind']} for the period to {one['period_end'][:10]}"
            for one in document["reviews"]
        ),
    }
    warnings = [words for words in (document["fault"], document["brake"]) if words]
    rows = [[f'<th scope="row">{escape(name)}</th>', cell(words)] for name, words in facts.items()]
    return "".join(f"<p><strong>{escape(words)}</strong></p>" for words in warnings) + table(
        [], rows
    )


def _version(made: Document | None) -> str:
    if made is None:
        return "none"
    return f"version {made['version']} ({made['family']}), trained {made['as_of'][:10]}: {made['verdict']}"


def _rules(rules: Sequence[Document], fired: str, quiet: str) -> str:
    rows = [
        [
            cell(rule["name"]),
            cell(number(rule["figure"]), "n"),
            cell(number(rule["bound"]), "n"),
            cell(fired if rule["fired"] else quiet),
            cell(rule["reason"], "why"),
        ]
        for rule in rules
    ]
    return table(
        [head("rule"), head("figure", "n"), head("bound", "n"), head("standing"), head("in words")],
        rows,
    )


def _false_alarms(words: Document) -> str:
    return "".join(f"<p>{escape(name)}: {escape(said)}</p>" for name, said in words.items())


def _pivotal(settled: pd.DataFrame, sizing: SizingPolicy) -> str:
    """Return the latest signals that ended otherwise than without the model, and what that brought to the account."""
    gained = account_returns(settled, sizing) * np.where(settled["decision"], 1.0, -1.0)
    turned = (settled["pivotal"] & (settled["arm"] != "control")).to_numpy(dtype=bool)
    if not turned.any():
        return "<p>None so far.</p>"
    latest = (
        settled[turned].assign(gained=gained[turned]).sort_values("decided_at", ascending=False)
    )
    words = f"<p>{turned.sum()} signals, {finite_or_none(float(gained[turned].sum())) or 0.0:+.2%} on the account."
    words += f" The latest {PIVOTAL}:</p>" if turned.sum() > PIVOTAL else "</p>"
    rows = [_turned(row) for row in latest.head(PIVOTAL).to_dict("records")]
    headings = [
        head("signal"),
        *(head(name, "n") for name in ("existing", "blended", "weight")),
        head("then"),
        head("gained", "n"),
    ]
    return words + table(headings, rows)


def _turned(row: dict[Any, Any]) -> list[str]:
    figures = (f"{row['confidence_existing']:.1f}", f"{row['blended']:.1f}", f"{row['weight']:.1%}")
    then = f"{'taken' if row['decision'] else 'left'}, {'won' if row['won'] else 'lost'}"
    return [
        cell(row["signal_id"]),
        *(cell(one, "n") for one in figures),
        cell(then),
        cell(f"{row['gained']:+.2%}", "n"),
    ]


def _worth(found: Document | None) -> str:
    """Return what is left of each Sharpe ratio after all trials, one sentence each, and what was tried."""
    if found is None:
        return "<p>The model has no settled opinion yet.</p>"
    tried = ", ".join(f"{count} of {kind}" for kind, count in found["tried"].items())
    rows = "".join(f"<li>{escape(words)}</li>" for words in found["words"])
    return f"<p>Since {found['since'][:10]}; tried so far: {escape(tried) or 'nothing'}.</p><ul>{rows}</ul>"


def _health(found: Document) -> str:
    """Return every figure with its target, the share won by band of confidence, and why the model was not heard."""
    standing = {True: "met", False: "missed", None: ""}
    rows = [
        [
            cell(one["words"], "why"),
            cell(number(one["value"]), "n"),
            cell(number(one["target"]), "n"),
            cell(standing[one["ok"]]),
        ]
        for one in found["figures"]
    ]
    words = f"<p>{found['signals']} signals, {found['opinions']} opinions, {found['settled']} of them settled.</p>"
    alone = ", ".join(f"{reason} {count}" for reason, count in found["fallbacks"].items())
    words += f"<p>The existing system decided alone: {escape(alone)}.</p>" if alone else ""
    headings = [head("figure"), head("now", "n"), head("target", "n"), head("standing")]
    return words + table(headings, rows) + _bands(found) + _importance(found["importance"])


def _bands(found: Document) -> str:
    rows = [
        [
            cell(f"{one['low']:.0f}–{one['high']:.0f}"),
            *(cell(number(one[name]), "n") for name in _BANDS),
        ]
        for one in found["reliability"]
        if one["count"]
    ]
    headings = [
        head("confidence of the model"),
        *(head(name, "n") for name in ("settled", "mean p_win", "share won")),
    ]
    return table(headings, rows) if rows else ""


def _importance(features: Sequence[Document]) -> str:
    """Return the champion's most important features, by Shapley values and by gain."""
    if not features:
        return ""
    rows = [
        [cell(one["name"]), *(cell(_said(one[name]), "n") for name in ("shap", "gain"))]
        for one in features
    ]
    return table(
        [head("feature of the champion"), head("Shapley values", "n"), head("gain", "n")], rows
    )


def _said(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _drift(check: Document | None) -> str:
    """Return verdict and reasons of the last check, and the features that moved most."""
    words = f"<p>{escape(drift_words(check))}</p>"
    judged = [] if check is None else [one for one in check["columns"] if one["psi"] is not None]
    moved = sorted(judged, key=lambda one: one["psi"] / one["bound"], reverse=True)[:MOVED]
    rows = [
        [
            cell(one["name"]),
            *(cell(number(one[name]), "n") for name in _SIZES),
            cell("drifted" if one["drifted"] else ""),
        ]
        for one in moved
    ]
    headings = [
        head("feature"),
        *(head(name, "n") for name in ("importance", "PSI", "bound")),
        head("standing"),
    ]
    return words + (table(headings, rows) if rows else "")


def _alerts(alerts: Sequence[Document]) -> str:
    if not alerts:
        return "<p>None.</p>"
    rows = [
        [
            cell(one["at"][:16]),
            cell(one["kind"]),
            cell(one["title"], "why"),
            cell(one["trouble"] or "delivered"),
        ]
        for one in alerts
    ]
    return table([head(name) for name in ("when", "kind", "what", "delivery")], rows)


def _rollout(items: Sequence[Document]) -> str:
    rows = [
        [
            *(
                cell(text)
                for text in (one["name"], one["begins"][:10], one["due"][:10], one["standing"])
            ),
            cell(one["words"], "why"),
        ]
        for one in items
    ]
    return table([head(name) for name in ("stage", "from", "to", "standing", "in words")], rows)


def _trainings(trainings: Sequence[Document]) -> str:
    rows = [
        [cell(t["as_of"][:10]), cell(t["version"]), cell(t["stage"]), cell(_result(t), "why")]
        for t in trainings
    ]
    return table([head(name) for name in ("as of", "version", "stage", "result")], rows)


def _result(training: Document) -> str:
    """Return what the gate said, and why the version does not serve where it does not."""
    refusal = "" if training["accepted"] else "; ".join(training["reasons"])
    return refusal or str(training["verdict"])


def _decisions(decisions: Sequence[Document]) -> str:
    rows = [
        [
            linked(d["as_of"][:10], d.get("page"), d.get("sequence")),
            *(cell(text) for text in (d["kind"], d["verdict"])),
            cell(f"{d['weight_before']:.1%} → {d['weight_after']:.1%}", "n"),
            cell(d["phase"]),
            f'<td class="why">{escape("; ".join(d["reasons"]))}{folded_rules(d["rules"])}</td>',
        ]
        for d in reversed(decisions)
    ]
    return table(
        [head(name) for name in ("as of", "kind", "verdict", "weight", "phase", "why")], rows
    )
