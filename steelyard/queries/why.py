"""Why a signal was traded or left, from the records made at the decision."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.home import Home
from steelyard.market.features import SCORE
from steelyard.views.explanation import (
    BlendedDecision,
    Contribution,
    ExistingOpinion,
    ExplainedSignal,
    Explanation,
    ModelOpinion,
    Reproduction,
    SettledOutcome,
)

if TYPE_CHECKING:
    from steelyard.learning.model import Model

TOP = 8
"""Contributions shown."""
AGREES = 1e-9
"""Largest difference of two probabilities that count as the same."""
NEAREST = 3
"""Latest ids named if nothing is similar."""


def explain_signal(home: Home, signal_id: str) -> Explanation:
    """Return why a signal was traded or left; unknown values are None.

    Args:
        home: Opened home.
        signal_id: ``SYMBOL:TIMESTAMP:side``.

    Raises:
        FixConfiguration: If no prediction has this id.
    """
    recorded = home.ledger.signal(signal_id)
    if recorded is None:
        raise FixConfiguration(
            f"no signal {signal_id} was predicted here; {_similar_ids(home, signal_id)}"
        )
    row = {name: _plain(value) for name, value in recorded.items()}
    scores = {
        name.removeprefix(SCORE): _plain(value)
        for name, value in (row["features"] or {}).items()
        if name.startswith(SCORE)
    }
    existing = ExistingOpinion(row["confidence_existing"], scores)
    model = _model_opinion(home, row)
    blend = BlendedDecision(**_pick(row, BlendedDecision), threshold=home.settings.books.threshold)
    return Explanation(
        signal=ExplainedSignal(**_pick(row, ExplainedSignal)),
        answer=answer(existing, model, blend),
        existing=existing,
        model=model,
        blend=blend,
        outcome=None if row["settled_at"] is None else SettledOutcome(**_pick(row, SettledOutcome)),
    )


def _pick(row: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Return the values of the fields of ``kind`` that the row has."""
    return {field.name: row[field.name] for field in fields(kind) if field.name in row}


def _similar_ids(home: Home, signal_id: str) -> str:
    """Return ids with the same beginning, or at least the same symbol; else the latest."""
    for start in (signal_id, f"{signal_id.partition(':')[0]}:"):
        matches = home.ledger.ids_starting_with(start) if start.strip(":") else []
        if matches:
            return f"known are {', '.join(matches)}"
    latest = ", ".join(home.ledger.latest_ids(NEAREST)) or "none"
    return f"an id is SYMBOL:TIMESTAMP:side, the latest: {latest}"


def answer(existing: ExistingOpinion, model: ModelOpinion, blend: BlendedDecision) -> str:
    """Return the decision and its calculation in one sentence.

    Args:
        existing: Opinion of the existing system.
        model: Opinion of the model as it was recorded.
        blend: Both in one decision.
    """
    verdict = "traded" if blend.decision else "left"
    weight, confidence, against = blend.weight, existing.confidence, f"against {blend.threshold:g}"
    if model.confidence_ml is None:
        alone = f"the existing system decided alone ({model.fallback_reason})"
        calculation = f"{alone}: {confidence:.1f} {against}"
    elif blend.arm == "control":
        control = "control arm of the pilot, the existing system decided"
        calculation = f"{control}: {confidence:.1f} {against}"
    else:
        parts = f"{1 - weight:.0%} × {confidence:.1f} + {weight:.0%} × {model.confidence_ml:.1f}"
        calculation = f"{parts} = {blend.blended:.1f} {against}"
    changed = blend.pivotal and blend.arm != "control"
    pivotal = "; pivotal: without the model it would have ended otherwise" if changed else ""
    return f"{verdict}: {calculation}{pivotal}"


def _model_opinion(home: Home, row: Mapping[str, Any]) -> ModelOpinion:
    version = row["model_version"] or None
    opinion = ModelOpinion(
        version=version,
        family=None,
        p_win=row["p_win"],
        confidence_ml=row["confidence_ml"],
        latency_ms=row["latency_ms"],
        fallback_reason=row["fallback_reason"],
    )
    if version is None:
        return replace(opinion, note="no model was asked")
    try:
        model, approved = home.model(version), home.registry.version(version).approved
    except RestoreService as error:
        return replace(opinion, note=str(error))
    opinion = replace(opinion, family=model.family, approved=approved or None)
    if not set(model.feature_names) <= set(row["features"]):
        note = "the frozen features are not those of this version, so it cannot be asked again"
        return replace(opinion, note=note)
    return _reproduced(opinion, model, row["features"])


def _reproduced(
    opinion: ModelOpinion, model: "Model", recorded: Mapping[str, float]
) -> ModelOpinion:
    """Return the opinion with the stored model's prediction from the recorded features."""
    features = np.array([[recorded[name] for name in model.feature_names]], dtype=np.float64)
    p_win = float(model.predict(features)[0][0])
    contributions = model.contributions(features)[0][:-1]
    largest_first = np.argsort(-np.abs(contributions), kind="stable")[:TOP]
    top = tuple(
        Contribution(
            model.feature_names[index],
            _plain(float(features[0, index])),
            float(contributions[index]),
        )
        for index in largest_first
    )
    agrees = opinion.p_win is not None and abs(p_win - opinion.p_win) < AGREES
    return replace(opinion, top_features=top, replayed=Reproduction(p_win, agrees))


def _plain(value: Any) -> Any:
    """Return a JSON value: times as text, NaN and infinity as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value
