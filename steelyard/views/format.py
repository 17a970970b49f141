"""Words, figures and tables that terminal, HTML pages and Markdown have in common."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from steelyard.evaluation.books import TARGETS, Books
from steelyard.evaluation.influence import Pivotal
from steelyard.monitoring.drift import ColumnDrift
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.views.lineage import Improvement, LineageStatus, Status
from steelyard.views.records import DecisionRecord, VersionRecord
from steelyard.views.replay import GridResult, ReplayResult
from steelyard.weight.decision import Rule
from steelyard.weight.policy import PHASES, Phase, WeightPolicy
from steelyard.weight.rollout import RolloutItem
from steelyard.weight.wording import SHARES as RULE_SHARES

DAY_MINUTES = 24 * 60
COLORS = {"baseline": "#8a9099", "ml": "#d98a2b", "blended": "#2567a8"}
VERDICTS = {
    "HOLD": ("o", "#8a9099", "held"),
    "RAISE": ("^", "#1b7f5c", "raised or phase entered"),
    "CUT": ("v", "#c8641e", "cut"),
    "DISABLE": ("X", "#a3195b", "disabled"),
}
"""Verdict → marker, colour (safe for red-green blindness), word; HOLD first, below the rest."""
BOOKS = ("baseline", "ml", "blended")
MEASURES = {
    "trades": "trades",
    "blocked": "blocked, no room",
    "total_return": "total return",
    "mean_return": "mean return",
    "win_rate": "win rate",
    "profit_factor": "profit factor",
    "payoff_ratio": "payoff ratio",
    "sharpe": "Sharpe",
    "max_drawdown": "max drawdown",
    "hit_rate": "signals traded",
    "trades_per_day": "trades a day",
    "mean_hold_minutes": "mean hold",
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
SHARES = RULE_SHARES | {
    "extreme_share",
    "hit_rate",
    "overconfidence",
    "overfitting_gap",
    "pivotal_rate",
    "top_feature_share",
    "uniform_share",
}
"""Rules and figures of health that are shares of 1, read as percentages."""
YES_OR_NO = frozenset({"champion", "features_validated", "retrained"})
"""Rules that ask whether there is something."""


def proof_words(proof: Rule, *, binding: bool) -> str:
    """Return the evidence of skill over the lifetime, and whether a rise needs it.

    Args:
        proof: Evidence held against ``sequential.rise``.
        binding: Whether the policy makes it binding.
    """
    return f"{proof.reason} ({'binding' if binding else 'recorded only'})"


def influence_words(influence: Pivotal) -> str:
    """Return how many decisions the weight changed, and their return with its 95 % interval."""
    if not influence.changed:
        return f"none of {influence.weighed} weighed signals decided otherwise"
    summary = (
        f"{influence.changed} of {influence.weighed} weighed signals decided otherwise "
        f"({influence.influence:.1%}), {influence.gained:+.2%} on the account, "
        f"{influence.mean:+.3%} each"
    )
    if not math.isfinite(influence.low):
        return summary
    return f"{summary} (95 %: {influence.low:+.3%} to {influence.high:+.3%})"


def format_measure(measure: str, value: float) -> str:
    """Return a measure of a book as text.

    Args:
        measure: Key of ``MEASURES``; it decides between share, count and plain figure.
        value: The figure; NaN and infinity give a dash.
    """
    if not math.isfinite(value):
        return "–"
    if measure in ("trades", "blocked"):
        return f"{value:,.0f}"
    if measure == "mean_hold_minutes":
        return format_minutes(value)
    return f"{value:.2%}" if measure in _PERCENT else f"{value:.2f}"


def format_number(value: float | None, digits: int = 4) -> str:
    """Return a figure or bound without an exponent, thousands set apart.

    Args:
        value: The figure; None and NaN give a dash.
        digits: Significant digits below a thousand.
    """
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{digits}g}" if abs(value) < 1000 or math.isinf(value) else f"{value:,.0f}"
    return f"{value:.6f}".rstrip("0").rstrip(".") if "e" in text else text


def format_ratio(value: float) -> str:
    """Return a ratio with two decimals; NaN and infinity give a dash."""
    return f"{value:.2f}" if math.isfinite(value) else "–"


def format_minutes(minutes: float | None) -> str:
    """Return a length of time in the unit people use for it; None and NaN give a dash."""
    if minutes is None or math.isnan(minutes):
        return "–"
    for unit, length, least in (("days", DAY_MINUTES, 2), ("h", 60, 1)):
        count = minutes / length
        if count >= least:
            return f"{count:.{0 if count >= 10 else 1}f}".removesuffix(".0") + f" {unit}"
    return f"{minutes:.0f} min"


def format_figure(name: str, value: float | None, digits: int = 4) -> str:
    """Return a figure in the unit of its name.

    Args:
        name: Name of a rule, or key of the health's figures.
        value: The figure or its bound; None and NaN give a dash.
        digits: Significant digits of figures that are neither shares nor times.
    """
    if name in SHARES:
        return f"{value:.2%}" if value and abs(value) < 0.01 else format_share(value)
    if name in YES_OR_NO and value is not None:
        return "yes" if value else "no"
    return format_minutes(value) if name == "mean_hold_minutes" else format_number(value, digits)


def format_share(share: float | None) -> str:
    """Return a share as a percentage with one decimal; None and NaN give a dash."""
    return "–" if share is None or math.isnan(share) else f"{share:.1%}"


def format_minute(moment: datetime | None) -> str:
    """Return a time to the minute; None gives a dash."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"


def weight_change(decision: DecisionRecord) -> str:
    """Return the weight before and after a decision."""
    return f"{decision.weight_before:.1%} → {decision.weight_after:.1%}"


def version_words(version: VersionRecord | None) -> str:
    """Return number, family, date and verdict of a version; None gives "none"."""
    if version is None:
        return "none"
    approved = f"; {version.approved}" if version.approved else ""
    return (
        f"version {version.version} ({version.family}), "
        f"trained {version.as_of:%Y-%m-%d}: {version.verdict}{approved}"
    )


def drift_words(check: DriftRecord | None) -> str:
    """Return verdict and reasons of a drift check; None before the first."""
    if check is None:
        return "not checked yet; run steelyard drift"
    reasons = "; ".join(check.reasons)
    return f"{check.verdict} on {check.as_of:%Y-%m-%d}, version {check.model_version}: {reasons}"


@dataclass(frozen=True, slots=True)
class TableView:
    """One table as plain text, shown alike by terminal, HTML page and Markdown.

    Attributes:
        title: Heading of the table; empty for none.
        headings: One per column; empty for rows of a name and its value.
        rows: Cells of each row, as many as there are headings.
        numeric: Indices of the columns that hold figures.
        prose: Indices of the columns that hold sentences.
        emphasized: Indices of the rows that need attention.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    prose: frozenset[int] = frozenset()
    emphasized: frozenset[int] = frozenset()


def overview_view(statuses: Iterable[Status]) -> TableView:
    """Return the lineages of a home, one per row."""
    rows = []
    for status in statuses:
        current = status.current
        facts = ("", "", "")
        if current is not None:
            champion = current.champion.version if current.champion else "none"
            facts = (current.state.phase, f"{current.weight_in_force:.1%}", champion)
        rows.append((status.lineage, *facts, f"{len(status.alerts)}", status.answer))
    headings = ("lineage", "phase", "weight in force", "champion", "alerts", "answer")
    return TableView("Lineages", headings, tuple(rows), frozenset({2, 4}), frozenset({5}))


def grid_view(grid: GridResult) -> TableView:
    """Return the replays of a grid, one per row: its settings, then what came of them."""
    keys = tuple(grid.replays[0].point.settings)
    names = [key.rpartition(".")[2] for key in keys]
    rows = tuple(
        (*(str(replay.point.settings[key]) for key in keys), *_grid_figures(replay.result))
        for replay in grid.replays
    )
    headings = (
        *(names if len(set(names)) == len(names) else keys),
        *("settled", "baseline", "blended", "Sharpe", "drawdown", "by luck", "weight"),
    )
    numeric = frozenset(range(len(keys), len(headings)))
    refused = frozenset(row for row, replay in enumerate(grid.replays) if replay.refused)
    title = "Grid: return of the baseline; return, Sharpe and drawdown of the blended book"
    return TableView(title, headings, rows, numeric, emphasized=refused)


def _grid_figures(replay: ReplayResult | None) -> tuple[str, ...]:
    """Return the cells of a replay: returns of two books, worth of the blended one, weight."""
    if replay is None:
        return (*6 * ("–",), "refused")
    books, worth = replay.books, replay.worth
    return (
        f"{replay.signals_settled}",
        format_measure("total_return", books.baseline.total_return),
        format_measure("total_return", books.blended.total_return),
        format_ratio(books.blended.sharpe),
        format_measure("max_drawdown", books.blended.max_drawdown),
        format_share(worth.sharpes.books["blended"].luck if worth else None),
        f"{replay.phase} {format_share(replay.weight)}",
    )


def books_view(books: Books) -> TableView:
    """Return the measures of the three books beside their targets."""
    rows = tuple(
        (
            name,
            *(format_measure(measure, getattr(getattr(books, book), measure)) for book in BOOKS),
            _target(measure),
        )
        for measure, name in MEASURES.items()
    )
    headings = ("measure", *BOOKS, "target")
    return TableView("The same signals, three books", headings, rows, frozenset({1, 2, 3, 4}))


def _target(measure: str) -> str:
    if measure not in TARGETS:
        return ""
    bound, direction = TARGETS[measure]
    return f"{direction} {format_measure(measure, bound)}"


def rules_view(title: str, rules: Sequence[Rule], fired: str, quiet: str) -> TableView:
    """Return rules with figure, bound and result.

    Args:
        title: Heading of the table.
        rules: Limits or criteria of a gate.
        fired: Word for a rule that took effect.
        quiet: Word for a rule that did not.
    """
    rows = tuple(
        (
            rule.name,
            format_figure(rule.name, rule.figure),
            format_figure(rule.name, rule.bound),
            fired if rule.fired else quiet,
            rule.reason,
        )
        for rule in rules
    )
    headings = ("rule", "figure", "bound", "standing", "in words")
    return TableView(title, headings, rows, frozenset({1, 2}), frozenset({4}))


def decisions_view(decisions: Sequence[DecisionRecord]) -> TableView:
    """Return decisions in the given order, with weight before and after, and reasons."""
    rows = tuple(
        (
            f"{decision.as_of:%Y-%m-%d}",
            decision.kind,
            decision.done,
            weight_change(decision),
            decision.phase,
            "; ".join(decision.reasons),
        )
        for decision in decisions
    )
    headings = ("as of", "kind", "verdict", "weight", "phase", "why")
    return TableView("Decisions", headings, rows, frozenset({3}), frozenset({5}))


def rollout_view(items: Sequence[RolloutItem]) -> TableView:
    """Return phases and milestones of the rollout with their dates and standing."""
    rows = tuple(
        (
            item.name,
            f"{item.begins:%Y-%m-%d}",
            f"{item.due:%Y-%m-%d}",
            f"{item.earliest:%Y-%m-%d}" if item.earliest else "never",
            item.status,
            item.detail,
        )
        for item in items
    )
    headings = ("stage", "from", "to", "earliest", "standing", "in words")
    return TableView("Rollout", headings, rows, prose=frozenset({5}))


def drift_view(columns: Sequence[ColumnDrift], limit: int | None = None) -> TableView:
    """Return the features judged by a check for drift, the largest PSI over its bound first.

    Args:
        columns: ``columns`` of a check; those without a PSI were not judged and are left out.
        limit: Rows at most; None for all.
    """
    judged = [column for column in columns if math.isfinite(column.psi)]
    moved = sorted(judged, key=lambda column: column.psi / column.bound, reverse=True)[:limit]
    rows = tuple(
        (
            column.name,
            format_number(column.importance),
            format_number(column.psi),
            format_number(column.bound),
            "drifted" if column.drifted else "",
        )
        for column in moved
    )
    drifted = frozenset(index for index, column in enumerate(moved) if column.drifted)
    headings = ("feature", "importance", "PSI", "bound", "standing")
    return TableView("", headings, rows, frozenset({1, 2, 3}), emphasized=drifted)


def facts_view(current: LineageStatus) -> TableView:
    """Return weight, versions, improvement, evidence and reviews of a lineage as name and value."""
    state = current.state
    weight = f"{state.weight:.1%} = base {state.base:.0%} + bonus {state.bonus:+.1%}"
    facts = {
        "weight": weight,
        "in force": f"{current.weight_in_force:.1%}, lease {current.lease.words}",
        "champion": version_words(current.champion),
        "challenger": _challenger_words(current),
        "improvement": _improvement_words(current.improvement),
        "evidence": proof_words(current.proof, binding=current.proof_binds),
        "influence": influence_words(current.influence),
    }
    reviews = {
        f"next {review.kind}": f"period to {review.period_end:%Y-%m-%d}"
        for review in current.reviews
    }
    return TableView("", (), tuple((facts | reviews).items()), prose=frozenset({1}))


def _challenger_words(current: LineageStatus) -> str:
    summary = version_words(current.challenger)
    if current.challenger and current.challenger.waits_for_operator:
        doubts = "; ".join(current.challenger.reasons)
        summary += f"; waits for steelyard approve {current.challenger.version}: {doubts}"
    if current.challenger and current.shadow_window:
        missing = ", ".join(current.shadow_window)
        summary += f"; waits for the champion's window in shadow: {missing}"
    return summary + (f"; queued: {', '.join(current.queued)}" if current.queued else "")


def _improvement_words(improvement: Improvement) -> str:
    achieved = "unknown" if improvement.achieved is None else f"{improvement.achieved:+.1%}"
    expected = improvement.expected
    hoped = f", {expected[0]:.0%} to {expected[1]:.0%} expected" if expected else ""
    return f"{achieved} over the baseline{hoped}"


@dataclass(frozen=True, slots=True)
class WeightBand:
    """Weights one phase allows, ``floor`` to ``ceiling``, drawn behind the weight as shares."""

    phase: Phase
    floor: float
    ceiling: float


def weight_bands(policy: WeightPolicy) -> tuple[WeightBand, ...]:
    """Return the bands of a policy, lowest first, without those its ceiling leaves empty."""
    bands = [(phase, policy.band(phase)) for phase in PHASES]
    return tuple(
        WeightBand(phase, band.floor, band.ceiling)
        for phase, band in bands
        if band.ceiling > band.floor
    )


def recorded_bands(decision_policy: Mapping[str, Any]) -> tuple[WeightBand, ...]:
    """Return the bands of the policy a decision was made under, with defaults for missing keys.

    Only the keys that make the bands are read, so that a record of an older version stays readable.
    """
    recorded = {
        name: decision_policy[name] for name in ("bands", "ceiling") if name in decision_policy
    }
    return weight_bands(WeightPolicy.model_validate(recorded))


def weight_axis_top(weights: Sequence[float], bands: Sequence[WeightBand]) -> float:
    """Return the upper end of a weight axis, above the highest weight and near the last band.

    Args:
        weights: Weights to be drawn, shares, at least one.
        bands: Bands behind them, the lowest first; the first is always in view.
    """
    highest = max(weights)
    if not bands:
        return highest + 0.06
    headroom = max(bands[-1].ceiling, highest) + 0.02
    return min(max(bands[0].ceiling + 0.05, highest + 0.06), headroom)
