"""Markdown descriptions on MLflow's pages: the verdict first, then reasons, figures and links."""

import json
from collections.abc import Mapping

from steelyard.gateways.outside import in_markdown
from steelyard.weight.decision import Decision, Entry

ABOUT = (
    "An ML model whose opinion is blended into the confidence of a rule-based trading system. Its "
    "weight starts at 0 %, is earned on settled signals and lost faster than it was earned."
)
WHERE = (
    "`ml_weight` is the weight last decided, `phase` the phase of the rollout, `next_step` what a "
    "rise still lacks; `steelyard.state` is the whole state, sealed: an edit by hand is detected "
    "and not trusted. The alias `champion` is the version that serves, `challenger` the next one "
    "to be compared with it. Every change of the weight is a run in the experiment "
    "`steelyard/decisions`."
)
ANSWERS = (
    "Asked with a frame of its features (the columns of its signature; NaN for one that is "
    "missing), it answers `p_win`, the calibrated probability that the trade wins, and "
    "`confidence_ml`, the same on the existing system's scale of 0 to 100, which the weight blends "
    "in. Serve it without Steelyard: `mlflow models serve -m models:/NAME@champion`."
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
"""Metric → (label, format)."""

FIRST_TAGS: Mapping[str, str] = {
    "last_decision": "none yet",
    "next_step": "a first champion must pass the first gate",
}
"""Tags of a registered model that tell a reader where it stands, before the first decision."""
MAX_WORDS = 500
"""Length of such a tag."""

POLICY_LETTERS = 12
"""Letters of a policy's hash by which people know it."""

GAP = "\N{NO-BREAK SPACE}" * 3
"""Between two columns; MLflow's pages leave no space there."""


def describe_lineage(entry: Entry, page: str) -> str:
    """Return the description of the registered model after a decision.

    Args:
        entry: The decision.
        page: Address of its run relative to MLflow's root page.
    """
    state, decision = entry.state, entry.decision
    share = f"decides {state.weight:.1%} of the confidence" if state.weight else "decides nothing"
    champion = (
        f"[version {state.champion}](#/models/{state.lineage}/versions/{state.champion})"
        if state.champion
        else "none"
    )
    hold = ", frozen by an operator" if state.held else ""
    reason = in_markdown("; ".join(decision.reasons[:1]))
    paragraphs = [
        f"**The model {share}**: phase {state.phase} since {state.phase_since:%Y-%m-%d}{hold}; "
        f"in service: {champion}.",
        f"Last decision, [{decision.kind} of {decision.as_of:%Y-%m-%d}]({page}): "
        f"**{decision.outcome}**, {reason}",
        ABOUT,
        WHERE,
    ]
    return "\n\n".join(paragraphs)


def model_tags(decision: Decision) -> dict[str, str]:
    """Return the tags of the registered model that tell the last decision and what is next.

    Only a decision that says what is next changes that tag.
    """
    when = f"{decision.kind} of {decision.as_of:%Y-%m-%d}"
    following = _next_step(decision)
    return {
        "last_decision": f"{when}: {decision.outcome}",
        **({"next_step": following[:MAX_WORDS]} if following else {}),
    }


def _next_step(decision: Decision) -> str:
    """Return what has to happen before the phase or the weight can rise; empty if it says not."""
    before, after = decision.before, decision.after
    if after.retrain_required:
        return "a new champion must pass the first gate, then shadow begins again"
    if after.held:
        return "an operator holds the weight: steelyard resume"
    if decision.kind == "gates" and decision.verdict == "HOLD":
        return "; ".join(decision.reasons)
    if after.phase != before.phase or before.held or before.retrain_required:
        return f"the next gate review says what phase {after.phase} still lacks"
    return ""


def describe_decision(decision: Decision, policy: str) -> str:
    """Return the description of a decision's run: what it did, why, and under which policy.

    Args:
        decision: The decision.
        policy: Address of the policy's run relative to MLflow's root page.
    """
    operator = f", requested by {in_markdown(decision.operator)}" if decision.operator else ""
    reasons = "\n".join(f"- {in_markdown(reason)}" for reason in decision.reasons)
    phase = decision.after.phase
    link = f"[policy {decision.policy_hash[:POLICY_LETTERS]}]({policy})"
    summary = f"**{decision.outcome}** ({decision.kind}{operator}), phase {phase}, under {link}"
    return f"{summary}\n\n{reasons}"


def describe_training(verdict: str, training: str, through: str, reason: str) -> str:
    """Return the description of a training's run.

    Args:
        verdict: Its result in one sentence.
        training: Its date and the family it chose.
        through: Day of the last outcome it learned from; empty without a model.
        reason: Why it was started, in the operator's words; empty if it was planned.
    """
    settled = f" on outcomes settled through {through}" if through else ""
    why = f" Reason: {in_markdown(reason)}." if reason else ""
    return f"**{in_markdown(verdict)}**\n\nTraining of {training}{settled}.{why}"


def describe_version(tags: Mapping[str, str], training: str, decision: str = "") -> str:
    """Return the description of a version, from its tags.

    Args:
        tags: Tags of the version.
        training: Address of its training's run relative to MLflow's root page.
        decision: Address of the run of the decision about it; empty if there is none.
    """
    metrics: Mapping[str, float] = json.loads(tags["metrics"])
    through = (
        f" on outcomes settled through {tags['trained_through'][:10]}"
        if tags["trained_through"]
        else ""
    )
    links = [f"[training]({training})", *([f"[decision]({decision})"] if decision else [])]
    status = _status(tags)
    verdict = "" if tags["verdict"] in status else f": {in_markdown(tags['verdict'])}"
    paragraphs = [
        status,
        f"Training of {tags['as_of'][:10]} ({tags['family']}){through}{verdict}.",
        _holdout_rows(metrics),
        ANSWERS if tags.get("files_hash") else "",
        " · ".join(links),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _status(tags: Mapping[str, str]) -> str:
    """Return the status of a version without Markdown: the list of versions shows its raw text."""
    since = tags.get("serving_since", "")[:10]
    reasons = "; ".join(
        in_markdown(reason)
        for reason in json.loads(tags["reasons"])
        if not reason.endswith(" serves")
    )
    ended = tags.get("retired_because", "a date not in the journal")
    statuses = {
        "challenger": f"Waits for an operator to approve it: {reasons}."
        if reasons
        else "Waits to be compared with the version that serves.",
        "champion": f"Serves since {since}: {reasons}.",
        "refused": f"Refused, it never served: {reasons}.",
        "retired": f"Retired on {ended}. It had served since {since}.",
    }
    return statuses[tags["stage"]]


def _holdout_rows(metrics: Mapping[str, float]) -> str:
    rows = [
        f"| {label}{GAP} | {metrics[name]:{spec}} |"
        for name, (label, spec) in HOLDOUT.items()
        if name in metrics
    ]
    return "\n".join(["| on the holdout | |", "|---|---|", *rows]) if rows else ""
