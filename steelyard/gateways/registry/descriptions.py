"""What MLflow's pages say to a person: Markdown, the verdict first, then why, then figures, then where to look."""

import json
from collections.abc import Mapping

from steelyard.weight.decision import Decision, Entry

ABOUT = (
    "The model whose opinion may enter the trading system's confidence. Its weight starts at 0, is earned on settled "
    "signals and lost faster than it was earned."
)
WHERE = (
    "`ml_weight` is its share as it was last decided, `phase` how far it has come; `steelyard.state` is the whole state, "
    "sealed: a change by hand is found and not believed. The alias `champion` is the version that serves, `challenger` the "
    "next one to be compared with it. Every change of the weight is a run in the experiment `steelyard/decisions`."
)
HOLDOUT: Mapping[str, tuple[str, str]] = {
    "holdout_accuracy": ("accuracy", ".1%"),
    "holdout_no_information_rate": ("no-information rate", ".1%"),
    "holdout_log_loss": ("log-loss, nats", ".4f"),
    "holdout_brier": ("Brier score", ".4f"),
    "holdout_signals": ("signals", ".0f"),
    "holdout_baseline_return": ("return of the existing system alone", "+.2%"),
    "holdout_ml_return": ("return of the model alone", "+.2%"),
    "holdout_blended_return": ("return at the highest weight", "+.2%"),
}
"""Measure → (words, format)."""

GAP = "\N{NO-BREAK SPACE}" * 3
"""Between two columns, which MLflow's pages would set without one."""


def of_lineage(entry: Entry, page: str) -> str:
    """Return what the registered model is, and where it stands after a decision; ``page`` is that of its run."""
    state, decision = entry.state, entry.decision
    share = f"decides {state.weight:.1%} of the confidence" if state.weight else "decides nothing"
    serves = (
        f"[version {state.champion}](#/models/{state.lineage}/versions/{state.champion})"
        if state.champion
        else "none"
    )
    held = ", frozen by an operator" if state.held else ""
    reason = "; ".join(decision.reasons[:1])
    lines = [
        f"**The model {share}**: phase {state.phase} since {state.phase_since:%Y-%m-%d}{held}; in service: {serves}.",
        f"Last decision, [{decision.kind} of {decision.as_of:%Y-%m-%d}]({page}): **{decision.verdict}**, {reason}",
        ABOUT,
        WHERE,
    ]
    return "\n\n".join(lines)


def of_decision(decision: Decision) -> str:
    """Return what was decided, and why."""
    moved = f"weight {decision.before.weight:.1%} → {decision.after.weight:.1%}, phase {decision.after.phase}"
    by = f", asked for by {decision.operator}" if decision.operator else ""
    reasons = "\n".join(f"- {reason}" for reason in decision.reasons)
    return f"**{decision.verdict}** ({decision.kind}{by}): {moved}\n\n{reasons}"


def of_version(tags: Mapping[str, str], training: str, decision: str = "") -> str:
    """Return what a version is and what became of it, from its tags; ``training`` and ``decision`` are pages of runs."""
    metrics: Mapping[str, float] = json.loads(tags["metrics"])
    through = (
        f" on what had settled through {tags['trained_through'][:10]}"
        if tags["trained_through"]
        else ""
    )
    links = [f"[training]({training})", *([f"[decision]({decision})"] if decision else [])]
    standing = _standing(tags)
    verdict = "" if tags["verdict"] in standing else f": {tags['verdict']}"
    parts = [
        standing,
        f"Training of {tags['as_of'][:10]} ({tags['family']}){through}{verdict}.",
        _table(metrics),
        " · ".join(links),
    ]
    return "\n\n".join(part for part in parts if part)


def _standing(tags: Mapping[str, str]) -> str:
    """Return what became of it, without Markdown: the list of versions shows its first words as they are."""
    since = tags.get("serving_since", "")[:10]
    why = "; ".join(
        reason for reason in json.loads(tags["reasons"]) if not reason.endswith(" serves")
    )
    ended = tags.get("retired_because", "a day the journal does not know")
    words = {
        "challenger": "Waits to be compared with the version that serves.",
        "champion": f"Serves since {since}: {why}.",
        "refused": f"Refused, it never served: {why}.",
        "retired": f"Retired on {ended}. It had served since {since}.",
    }
    return words[tags["stage"]]


def _table(metrics: Mapping[str, float]) -> str:
    rows = [
        f"| {words}{GAP} | {metrics[name]:{form}} |"
        for name, (words, form) in HOLDOUT.items()
        if name in metrics
    ]
    return "\n".join(["| on the holdout | |", "|---|---|", *rows]) if rows else ""
