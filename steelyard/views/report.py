"""The page of a lineage: money first, then what needs attention, then everything it rests on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steelyard.evaluation import metrics
from steelyard.evaluation.books import TARGETS
from steelyard.evaluation.figures import MONTH_DAYS
from steelyard.evaluation.influence import measure_pivotal
from steelyard.evaluation.tear_sheet import MonthReturns
from steelyard.monitoring.health import ModelHealth
from steelyard.views import charts, html
from steelyard.views.account import Account, SettledTrade
from steelyard.views.attention import attention
from steelyard.views.format import (
    BOOKS,
    YES_OR_NO,
    TableView,
    books_view,
    decisions_view,
    drift_view,
    drift_words,
    facts_view,
    format_figure,
    format_number,
    format_share,
    overview_view,
    rollout_view,
    weight_bands,
)
from steelyard.views.history import WeightHistory
from steelyard.views.lineage import LineageReport, PostedAlert, Status
from steelyard.views.live import LiveBar
from steelyard.views.records import DecisionRecord, VersionRecord
from steelyard.views.svg import Chart, day_numbers
from steelyard.views.trade_chart import price_words, trade_chart
from steelyard.weight.decision import Rule
from steelyard.weight.limits import NOT_CONFIRMED

DRIFT_ROWS = 10
EXPLAINED = 100
"""Newest decisions whose rules are on the page; the others lead to MLflow."""
METER_DIGITS = 3
IDLE: Mapping[str, str] = {
    NOT_CONFIRMED: "warning",
    "latched": "latched",
    "no weight to cut": "nothing to cut",
}
"""Why a breached limit takes no effect → the word for it."""
GLANCE = {
    "coverage": ("coverage", ""),
    "fallback_rate": ("fallbacks", ""),
    "ece": ("calibration error", ""),
    "latency_p99_ms": ("latency p99", " ms"),
}
"""Figure of the health → its short name and unit; left out while it is unknown."""
FIRST = ("total return", "growth a year (CAGR)", "Sharpe", "Sortino", "Calmar", "max drawdown")
"""Rows of the figures that a trader asks for first."""
RATIOS = {
    "growth": ("growth a year (CAGR)", "{:+.1%}"),
    "sortino": ("Sortino", "{:.2f}"),
    "calmar": ("Calmar", "{:.2f}"),
    "exposure": ("time in the market", "{:.0%}"),
}
"""Figure of a tear sheet → words and format."""
MODEL = {
    "accuracy": ("accuracy", ".1%"),
    "no_information_rate": ("no-information rate", ".1%"),
    "brier": ("Brier score", ".3f"),
    "log_loss": ("log-loss, nats", ".3f"),
    "calibration_error": ("calibration error", ".3f"),
    "latency_p50": ("latency p50, ms", ".2f"),
    "latency_p95": ("latency p95, ms", ".2f"),
    "latency_ms": ("latency p99, ms", ".2f"),
}
"""Measure → (words, format)."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A rule as a meter.

    Attributes:
        name: Name of the rule in words.
        figure: What was measured, as text.
        bound: What it is held against, as text.
        filled: Length of the bar, 0 to 100; None if one of the two is unknown.
        mark: Place of the bound, 0 to 100; None likewise.
        good: Whether the rule is met, or the limit kept.
        standing: The same in a word.
        words: The comparison in words.
    """

    name: str
    figure: str
    bound: str
    filled: float | None
    mark: float | None
    good: bool
    standing: str
    words: str


@dataclass(frozen=True, slots=True)
class ListedTrade:
    """A trade with its chart as SVG, empty if it cannot be drawn, and its prices as text."""

    trade: SettledTrade
    chart: str
    prices: Mapping[str, str]


def course(decisions: Sequence[DecisionRecord], trainings: Sequence[VersionRecord]) -> str:
    """Return what became of the model over the whole course, in one sentence.

    Args:
        decisions: Decisions in order.
        trainings: All versions, in order.
    """
    weight = decisions[-1].weight_after if decisions else 0.0
    highest = max((decision.weight_after for decision in decisions), default=0.0)
    if weight > 0:
        phase, before = decisions[-1].phase, ""
        if highest > weight:
            before = f"; it had {highest:.0%} before"
        return f"The model decides {weight:.0%} of the confidence, in phase {phase}{before}."
    if highest > 0:
        last = next(
            decision
            for decision in reversed(decisions)
            if decision.weight_before > decision.weight_after == 0
        )
        return (
            f"The model reached {highest:.0%} and lost it: on {last.as_of:%Y-%m-%d} the weight "
            f"went to 0 ({'; '.join(last.reasons)})."
        )
    if any(training.accepted for training in trainings):
        phase = decisions[-1].phase if decisions else "foundation"
        return f"A model served, but never earned weight; phase {phase}."
    best = max(trainings, key=lambda training: training.holdout_accuracy or 0.0, default=None)
    if best is None:
        return "No model could be trained."
    return f"Every model was refused; the best, of {best.as_of:%Y-%m-%d}: {best.result}."


def lineage_page(report: LineageReport, title: str = "", live: LiveBar | None = None) -> str:
    """Return one self-contained HTML page of a lineage.

    Args:
        report: Report on the lineage.
        title: Heading of the page; empty for the name of the lineage.
        live: Bar above a page that is served; None for a file.
    """
    return html.render_template("lineage", **page_content(report, title, live))


def lineages_page(statuses: Sequence[Status], addresses: Mapping[str, str]) -> str:
    """Return the page over several lineages: one row each, its name leads to its page.

    Args:
        statuses: Status of each.
        addresses: Lineage → address of its page.
    """
    view = overview_view(statuses)
    title = "Lineages of this home"
    return html.render_template("lineages", live=None, title=title, view=view, addresses=addresses)


def page_content(
    report: LineageReport, title: str = "", live: LiveBar | None = None
) -> dict[str, Any]:
    """Return the values of the page's templates, each of which can be rendered alone.

    Args:
        report: Report on the lineage.
        title: Heading of the page; empty for the name of the lineage.
        live: Bar above a page that is served; None for a file.
    """
    current, account = report.current, report.account
    latest_first = report.decisions[::-1]
    return {
        "title": title or report.status.lineage,
        "live": live,
        "status": report.status,
        "current": current,
        "books": report.books,
        "because": because(report.decisions),
        "course": course(report.history.decisions, report.trainings) if report.trainings else "",
        "attention": attention(report),
        "money": _money(report),
        "account": account,
        "policy": report.policy,
        "bands": weight_bands(report.policy),
        "missing": [rule.reason for rule in current.gate if not rule.fired],
        "glance": _glance(report),
        "charts": _account_charts(report),
        "gate": [
            _meter(rule, "met" if rule.fired else "missing", good=rule.fired)
            for rule in current.gate
        ],
        "limits": [_limit_meter(rule) for rule in current.limits],
        "years": _years(account.months),
        "figures": _figures_view(report),
        "symbols": _symbols_view(account),
        "trades": [_listed(trade) for trade in account.trades],
        "open_trades": _open_view(account),
        "worth": current.worth,
        "tried": (_counts_words(current.worth.tried, "{} of {}") or "nothing")
        if current.worth
        else "",
        "model": _model_parts(account),
        "health": report.health,
        "fallbacks": _counts_words(dict(report.health.fallbacks)),
        "health_tables": _health_views(report.health),
        "facts_table": facts_view(current),
        "drift": drift_view(current.drift.columns if current.drift else (), DRIFT_ROWS),
        "drift_words": drift_words(current.drift),
        "alerts": _alerts_view(report.recent_alerts),
        "rollout": rollout_view([*current.rollout, *current.milestones]),
        "trainings": _trainings_view(report.trainings),
        "decisions": decisions_view(latest_first),
        "latest_first": latest_first,
        "explained": EXPLAINED,
    }


def because(decisions: Sequence[DecisionRecord]) -> str:
    """Return why the weight is what it is: the last decision that changed it, or the last."""
    changes = [decision for decision in decisions if decision.changed]
    last = (changes or list(decisions))[-1:]
    if not last:
        return "Nothing was decided yet."
    [decision] = last
    subject = f"the {decision.kind} decision of {decision.as_of:%Y-%m-%d} ({decision.outcome})"
    return f"Because of {subject}: {'; '.join(decision.reasons)}."


def _money(report: LineageReport) -> dict[str, float | None]:
    """Return the totals of the accounts, and the difference with its 95 % interval; shares."""
    blended, baseline = report.books.blended.total_return, report.books.baseline.total_return
    worth = report.current.worth
    gain = worth.sharpes.gains["blended"] if worth else None
    months = worth.sharpes.books["blended"].days / MONTH_DAYS if worth else 0.0
    ends = (gain.low, gain.high) if gain else (None, None)
    low, high = (None if end is None else end * months for end in ends)
    return {
        "blended": blended,
        "baseline": baseline,
        "difference": blended - baseline,
        "changed": measure_pivotal(report.account.held).changed,
        "low": low,
        "high": high,
    }


def _glance(report: LineageReport) -> list[tuple[str, str, bool | None]]:
    """Return the health at a glance: name, value, and whether it meets its target."""
    drift, champion = report.current.drift, report.current.champion
    checked = (drift.verdict, drift.verdict == "fine") if drift else ("not checked", None)
    figures = {figure.name: figure for figure in report.health.figures}
    return [
        ("champion", f"version {champion.version}" if champion else "none", None),
        ("drift", *checked),
        *(
            (words, f"{format_figure(name, figures[name].value, 2)}{unit}", figures[name].ok)
            for name, (words, unit) in GLANCE.items()
            if not np.isnan(figures[name].value)
        ),
    ]


def _account_charts(report: LineageReport) -> dict[str, Chart]:
    equity, first = report.account.equity, float(day_numbers([report.start])[0])
    reach = first, max(float(day_numbers([report.end])[0]), first + 1)
    whole = WeightHistory(report.start, report.end, report.decisions, ())
    return {
        "equity": charts.equity_chart(equity, reach),
        "drawdown": charts.drawdown_chart(equity, reach),
        "weight": replace(charts.weight_chart(whole, weight_bands(report.policy)), reach=reach),
    }


def _limit_meter(rule: Rule) -> Meter:
    """Return the meter of a limit; one that is breached and takes no effect says why."""
    idle = next((status for status in IDLE if rule.reason.endswith(f"({status})")), None)
    standing = "fires" if rule.fired else IDLE[idle] if idle else "holds"
    return _meter(rule, standing, good=standing == "holds")


def _meter(rule: Rule, standing: str, *, good: bool) -> Meter:
    filled = mark = None
    if rule.figure is not None and rule.bound is not None and rule.name not in YES_OR_NO:
        low = min(rule.figure, rule.bound, 0.0)
        length = (max(rule.figure, rule.bound, 0.0) - low) * 1.25 or 1.0
        filled, mark = (100 * (value - low) / length for value in (rule.figure, rule.bound))
    return Meter(
        name=rule.name.replace("_", " "),
        figure=format_figure(rule.name, rule.figure, METER_DIGITS),
        bound=format_figure(rule.name, rule.bound, METER_DIGITS),
        filled=filled,
        mark=mark,
        good=good,
        standing=standing,
        words=rule.reason,
    )


def _years(months: Sequence[MonthReturns]) -> list[tuple[int, str, list[float | None], float]]:
    """Return a row for each year and account: twelve months, None if not lived, and their sum."""
    rows = []
    for year in sorted({month.year for month in months}, reverse=True):
        of_year = {month.month: month for month in months if month.year == year}
        for name in ("blended", "baseline", "difference"):
            gained = {number: float(getattr(month, name)) for number, month in of_year.items()}
            cells = [gained.get(number) for number in range(1, 13)]
            rows.append((year, name, cells, sum(gained.values())))
    return rows


def _figures_view(report: LineageReport) -> TableView:
    """Return the tear sheets and the measures of the books beside their targets."""
    sheets = report.account.tear_sheets
    ratios = tuple(
        (name, *(_written(getattr(sheets[book], measure), pattern) for book in BOOKS), "")
        for measure, (name, pattern) in RATIOS.items()
    )
    measured = books_view(report.books)
    rows = {row[0]: row for row in (*measured.rows, *ratios)}
    in_order = dict.fromkeys((*FIRST, *rows))
    return replace(
        measured, title="The accounts in figures", rows=tuple(rows[name] for name in in_order)
    )


def _written(value: float, pattern: str) -> str:
    return pattern.format(value) if np.isfinite(value) else "–"


def _symbols_view(account: Account) -> TableView:
    rows = tuple(
        (
            each.symbol,
            f"{each.trades:,}",
            _written(each.win_rate, "{:.0%}"),
            _written(each.blended, "{:+.2%}"),
            _written(each.baseline, "{:+.2%}"),
            _written(each.blended - each.baseline, "{:+.2%}"),
            _written(each.buy_and_hold, "{:+.1%}"),
        )
        for each in account.symbols
    )
    headings = ("symbol", "trades", "won", "blended", "baseline", "difference", "buy and hold")
    return TableView("By symbol", headings, rows, frozenset(range(1, 7)))


def _open_view(account: Account) -> TableView:
    rows = tuple(
        (
            trade.symbol,
            trade.side,
            trade.status,
            format_number(trade.quantity),
            f"{trade.submitted_at:%Y-%m-%d %H:%M}",
            *(
                price_words(price) if price is not None else "–"
                for price in (trade.entry_price, trade.stop_price, trade.target_price)
            ),
        )
        for trade in account.open_trades
    )
    headings = ("symbol", "side", "standing", "quantity", "since", "entry", "stop", "target")
    return TableView("Open now", headings, rows, frozenset({3, 5, 6, 7}))


def _listed(trade: SettledTrade) -> ListedTrade:
    prices = trade.prices
    named: Iterable[str] = ("entry", "stop", "target", "exit") if prices else ()
    words = {name: price_words(getattr(prices, name)) for name in named}
    return ListedTrade(trade, trade_chart(trade), words)


def _model_parts(account: Account) -> tuple[Chart, TableView] | None:
    """Return chart and table of the predictions with an opinion; None without any."""
    predicted = account.held[account.held["p_win"].notna().to_numpy(dtype=bool)]
    if predicted.empty:
        return None
    p_win = predicted["p_win"].to_numpy(dtype=np.float64)
    won = predicted["won"].to_numpy(dtype=bool)
    latency_ms = predicted["latency_ms"].to_numpy(dtype=np.float64)
    return charts.reliability_chart(p_win, won), model_view(p_win, won, latency_ms)


def model_view(p_win: metrics.Floats, won: metrics.Bools, latency_ms: metrics.Floats) -> TableView:
    """Return accuracy, scores and latency on settled predictions, beside their targets.

    Args:
        p_win: Predicted probabilities, shape (n,), without NaN.
        won: Outcomes, shape (n,).
        latency_ms: Milliseconds per prediction, shape (n,); NaN if not measured.
    """
    p50, p95, p99 = metrics.latency_percentiles(latency_ms)
    figures = {
        "accuracy": metrics.accuracy(p_win, won),
        "no_information_rate": metrics.no_information_rate(won),
        "brier": metrics.brier(p_win, won),
        "log_loss": metrics.log_loss(p_win, won),
        "calibration_error": metrics.calibration_error(p_win, won),
        "latency_p50": p50,
        "latency_p95": p95,
        "latency_ms": p99,
    }
    rows = tuple(
        (name, format(figures[measure], spec), _target(measure, spec))
        for measure, (name, spec) in MODEL.items()
    )
    headings = ("measure", f"{len(won)} settled predictions", "target")
    return TableView("The model", headings, rows, frozenset({1, 2}))


def _target(measure: str, spec: str) -> str:
    if measure not in TARGETS:
        return ""
    bound, direction = TARGETS[measure]
    return f"{direction} {format(bound, spec)}"


def _counts_words(counts: Mapping[str, int], pattern: str = "{1} {0}") -> str:
    return ", ".join(pattern.format(count, name) for name, count in counts.items())


def _health_views(health: ModelHealth) -> list[TableView]:
    """Return the figures with their targets, the share won by confidence, and the top features."""
    standing = {True: "met", False: "missed", None: ""}
    figures = tuple(
        (
            figure.words,
            format_figure(figure.name, figure.value),
            format_figure(figure.name, figure.target),
            standing[figure.ok],
        )
        for figure in health.figures
    )
    reliability = tuple(
        (
            f"{band.low:.0f}–{band.high:.0f}",
            format_number(band.count),
            *map(format_share, (band.mean_p_win, band.win_rate)),
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
