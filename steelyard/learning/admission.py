"""The first gate: whether a model may be the first champion; and what is too good (SPEC §3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from steelyard.learning.policy import LearningPolicy


@dataclass(frozen=True, slots=True)
class ProofRule:
    """When a model is proven on its holdout.

    Attributes:
        rise: e-value needed.
        admits: Whether a proven model may serve although it misses the accuracy; if not, a refusal
            only says that it is proven.
    """

    rise: float
    admits: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """Answer of the first gate.

    Attributes:
        reasons: Why the model may not be the first champion, and what the other rule would say;
            empty if it may.
        verdict: The answer in one sentence.
    """

    reasons: tuple[str, ...]
    verdict: str


def first_gate(metrics: Mapping[str, float], policy: LearningPolicy, proof: ProofRule) -> Admission:
    """Return whether a model may be the first champion.

    It must be right more often than ``policy.gate_accuracy`` and than always saying the same would
    be, or, if ``proof.admits``, be proven.

    Args:
        metrics: Figures of the holdout; NaN and missing ones are refused.
        policy: Accuracy needed.
        proof: Evidence needed, and whether it suffices.
    """
    missed, unproven = _missed_accuracy(metrics, policy), _unproven(metrics, proof)
    if not missed:
        accuracy = metrics["holdout_accuracy"]
        return Admission((), f"holdout accuracy {accuracy:.1%} passes {policy.gate_accuracy:.1%}")
    if unproven:
        reasons = (*missed, f"nor is it proven: {unproven}")
        return Admission(reasons, "; ".join(reasons))
    skill = f"e-value {_figure(metrics, 'holdout_skill'):.3g} on the holdout, {proof.rise:g} needed"
    if proof.admits:
        return Admission((), f"{'; '.join(missed)}, but it is proven: {skill}")
    reasons = (*missed, f"`evidence: sequential` would let it in: {skill}")
    return Admission(reasons, "; ".join(reasons))


def too_good(metrics: Mapping[str, float], policy: LearningPolicy) -> tuple[str, ...]:
    """Return why a model is too good to be true, so that an operator must approve it.

    Args:
        metrics: Figures of the holdout; missing ones raise no doubt, they pass no gate either.
        policy: Highest accuracy that needs no approval.
    """
    accuracy, losers = _figure(metrics, "holdout_accuracy"), metrics.get("holdout_losers")
    doubts = []
    if accuracy > policy.approve_accuracy:
        bound = f"{100 * policy.approve_accuracy:.10g}%"
        doubts.append(f"holdout accuracy {accuracy:.2%} is above {bound}, too good to be true")
    if losers == 0:
        doubts.append("not one signal of the holdout lost, too good to be true")
    return tuple(doubts)


def _missed_accuracy(metrics: Mapping[str, float], policy: LearningPolicy) -> tuple[str, ...]:
    accuracy = _figure(metrics, "holdout_accuracy")
    rate = _figure(metrics, "holdout_no_information_rate")
    reasons = []
    if not accuracy > policy.gate_accuracy:
        points = (policy.gate_accuracy - accuracy) * 100
        needed = f"{policy.gate_accuracy:.1%}"
        reasons.append(f"holdout accuracy {accuracy:.1%} misses {needed} by {points:.1f} points")
    if not accuracy > rate:
        reasons.append(
            f"holdout accuracy {accuracy:.1%} is not above the no-information rate {rate:.1%}"
        )
    return tuple(reasons)


def _unproven(metrics: Mapping[str, float], proof: ProofRule) -> str:
    """Return what is missing for a proof; empty if the model is proven."""
    skill = _figure(metrics, "holdout_skill")
    loss, base = _figure(metrics, "holdout_log_loss"), _figure(metrics, "holdout_base_log_loss")
    missing = []
    if not skill >= proof.rise:  # so written that NaN proves nothing
        missing.append(f"e-value {skill:.3g} on the holdout, {proof.rise:g} needed")
    if not loss < base:
        missing.append(f"log-loss {loss:.4f} is not under {base:.4f}, that of the base rate")
    return ", ".join(missing)


def _figure(metrics: Mapping[str, float], name: str) -> float:
    return metrics.get(name, math.nan)
