"""How measures are written for people, at the terminal and on pages alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steelyard.evaluation.books import TARGETS
from steelyard.weight.policy import PHASES, Phase, WeightPolicy

COLORS = {"baseline": "#8a9099", "ml": "#d98a2b", "blended": "#2567a8"}
VERDICTS = {
    "HOLD": ("o", "#8a9099", "held"),
    "RAISE": ("^", "#1b7f5c", "raised"),
    "CUT": ("v", "#c8641e", "cut"),
    "DISABLE": ("X", "#a3195b", "disabled"),
}
"""Verdict → marker, colour (told apart without red and green), word; the quiet one first, so that it lies below."""
BOOKS = ("baseline", "ml", "blended")
MEASURES = {
    "trades": "trades",
    "total_return": "total return",
    "mean_return": "mean return",
    "win_rate": "win rate",
    "profit_factor": "profit factor",
    "payoff_ratio": "payoff ratio",
    "sharpe": "Sharpe",
    "max_drawdown": "max drawdown",
    "hit_rate": "signals traded",
    "trades_per_day": "trades a day",
    "mean_hold_minutes": "mean hold, minutes",
    "mean_slippage_bps": "slippage, bps",
    "false_positive_rate": "losers taken",
    "false_negative_rate": "winners left",
}
_PERCENT = {
    "total_return",
    "win_rate",
    "max_drawdown",
    "mean_return",
    "hit_rate",
    "false_positive_rate",
    "false_negative_rate",
}


def proof_words(proof: Mapping[str, Any]) -> str:
    """Return what the evidence over the life says, and whether it binds."""
    return f"{proof['reason']} ({'binding' if proof['binding'] else 'recorded only'})"


def influence_words(found: Mapping[str, Any]) -> str:
    """Return how many decisions the weight changed, and what that brought with its interval."""
    if not found["changed"]:
        return f"none of {found['weighed']} weighed signals decided otherwise"
    words = f"{found['changed']} of {found['weighed']} weighed signals decided otherwise ({found['influence']:.1%}), "
    words += f"{found['gained']:+.2%} on the account, {found['mean']:+.3%} each"
    return (
        words
        if found["low"] is None
        else f"{words} (95 %: {found['low']:+.3%} to {found['high']:+.3%})"
    )


def books_rows(books: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one row per measure: its name, the three books, its target."""
    return [
        (words, *(figure(measure, books[book].get(measure)) for book in BOOKS), target(measure))
        for measure, words in MEASURES.items()
    ]


def figure(measure: str, value: float | None) -> str:
    """Return a figure as it is read; a dash where there is none."""
    if value is None:
        return "–"
    if measure == "trades":
        return f"{value:.0f}"
    return f"{value:.2%}" if measure in _PERCENT else f"{value:.2f}"


def target(measure: str) -> str:
    """Return what is hoped for, empty where nothing is."""
    if measure not in TARGETS:
        return ""
    bound, direction = TARGETS[measure]
    return f"{direction} {figure(measure, bound)}"


def number(value: float | None) -> str:
    """Return a rule's figure or bound; a dash where there is none."""
    return "–" if value is None else f"{value:.4g}"


def worth_words(found: Mapping[str, Any]) -> list[str]:
    """Return what ``evaluation.sharpe.worth`` found in plain sentences: each book, then what the model's two gained."""
    books = [_book_words(book, found["books"][book], found["trials"]) for book in BOOKS]
    return [*books, *(_gain_words(book, gain) for book, gain in found["gains"].items())]


def _book_words(book: str, of: Mapping[str, Any], trials: int) -> str:
    if of["luck"] is None:
        return f"{book}: too few days to tell luck from skill"
    luck = f"{of['luck']:.0%}"
    tried = f"a Sharpe this high would come from luck with {luck}"
    words = f"{book}: Sharpe {of['sharpe']:.1f}; {tried if book == 'baseline' else f'after {trials} trials {tried}'}"
    if of["days_needed"] is None:
        return f"{words}; no number of days like these would show a gain"
    return f"{words}; {of['days_needed']:.0f} days like these are needed to be 95 % sure of a gain, {of['days']} are there"


def _gain_words(book: str, gain: Mapping[str, float | None]) -> str:
    mean, low, high = gain["mean"], gain["low"], gain["high"]
    if mean is None or low is None or high is None:
        return f"{book} over baseline: too few days"
    sure = "with 95 %" if low <= 0 <= high else "with 95 %, so not by luck alone"
    return f"{book} over baseline: {mean:+.2%} of the account in 30 days, between {low:+.2%} and {high:+.2%} {sure}"


def drift_words(check: Mapping[str, Any] | None) -> str:
    """Return the verdict of a check for drift (row of ``ml_drift``) and why."""
    if check is None:
        return "not looked at yet; run steelyard drift"
    return f"{check['verdict']} on {check['as_of'][:10]}, version {check['model_version']}: {'; '.join(check['reasons'])}"


def path_of(document: Mapping[str, Any]) -> tuple[list[pd.Timestamp], list[float]]:
    """Return the moments at which the weight changed, and the weight from each on; start and end included."""
    moments, weights = [pd.Timestamp(document["start"])], [0.0]
    for made in document["decisions"]:
        if made["weight_after"] != weights[-1]:
            moments.append(pd.Timestamp(made["as_of"]))
            weights.append(made["weight_after"])
    return [*moments, pd.Timestamp(document["end"])], [*weights, weights[-1]]


def phases_of(document: Mapping[str, Any]) -> list[tuple[str, pd.Timestamp, pd.Timestamp]]:
    """Return the phases lived through, each with its first and last moment, from foundation on."""
    entered = [("foundation", pd.Timestamp(document["start"]))]
    for made in document["decisions"]:
        if made["phase"] != entered[-1][0]:
            entered.append((made["phase"], pd.Timestamp(made["as_of"])))
    left = [*(since for _, since in entered[1:]), pd.Timestamp(document["end"])]
    return [(phase, since, until) for (phase, since), until in zip(entered, left, strict=True)]


def marked(decisions: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the decisions by verdict, as far as there are any."""
    found = {verdict: [d for d in decisions if d["verdict"] == verdict] for verdict in VERDICTS}
    return {verdict: made for verdict, made in found.items() if made}


@dataclass(frozen=True, slots=True)
class WeightBand:
    """Weights one phase allows, from ``floor`` to ``ceiling``, as shares; drawn behind the weight."""

    phase: Phase
    floor: float
    ceiling: float


def weight_bands(policy: WeightPolicy) -> tuple[WeightBand, ...]:
    """Return the bands of a policy from the lowest up, without those its overall ceiling leaves empty."""
    bands = [(phase, policy.band(phase)) for phase in PHASES]
    return tuple(
        WeightBand(phase, band.floor, band.ceiling)
        for phase, band in bands
        if band.ceiling > band.floor
    )


def recorded_bands(decision_policy: Mapping[str, Any]) -> tuple[WeightBand, ...]:
    """Return the bands of the policy a decision was made under; the defaults for what it does not name.

    Only the keys that make the bands are read, so that a record of an older version stays readable.
    """
    recorded = {
        name: decision_policy[name] for name in ("bands", "ceiling") if name in decision_policy
    }
    return weight_bands(WeightPolicy.model_validate(recorded))


def weight_axis_top(weights: Sequence[float], bands: Sequence[WeightBand]) -> float:
    """Return the upper end of a weight axis: above the highest weight, and never far above the last band.

    Args:
        weights: Weights to be drawn, shares, at least one.
        bands: Bands behind them, the lowest first; the first is always in view.
    """
    highest = max(weights)
    if not bands:
        return highest + 0.06
    headroom = max(bands[-1].ceiling, highest) + 0.02
    return min(max(bands[0].ceiling + 0.05, highest + 0.06), headroom)
