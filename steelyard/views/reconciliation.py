"""What became of a log of past trades: read, imported, left out, and both sides' totals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from steelyard.gateways.outside import in_markdown
from steelyard.gateways.trade_logs import Skipped
from steelyard.views.format import TableView
from steelyard.views.markdown import markdown_table
from steelyard.views.records import VersionRecord

REPLAY = "what the weight would have done: steelyard replay --log HOME --home ANOTHER"
LISTED = 20
"""Rows left out that are shown; a file has all of them."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Settled trades of one side.

    Attributes:
        trades: Number of trades.
        gross: Gain before fees.
        fees: Fees, positive.
        net: Gain after fees.
        win_rate: Share of trades with a net gain; None without trades.
    """

    trades: int
    gross: float
    fees: float
    net: float
    win_rate: float | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A log held against what the ledger has of it.

    Attributes:
        file: Name of the log.
        format: Its format.
        unit: What one of its rows is.
        read: Number of rows.
        trades: Number of trades or signals they make.
        added: New signals in the ledger.
        settled: Signals of the ledger that got the outcome they lacked.
        already_there: Signals that the ledger had.
        differing: Signals that the ledger has with other figures; they stay as they are.
        skipped: Rows that are not imported.
        faults: What is odd about imported trades → their number.
        notes: What is worth knowing, one line each.
        in_money: Whether the totals are money; sums of returns otherwise.
        totals: ``file`` and ``ledger`` → their totals.
        details: File with every row left out and every fault; empty without any.
    """

    file: str
    format: str
    unit: str
    read: int
    trades: int
    added: int
    settled: int
    already_there: int
    differing: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    faults: Mapping[str, int]
    notes: tuple[str, ...]
    in_money: bool
    totals: Mapping[str, Totals]
    details: str


@dataclass(frozen=True, slots=True)
class ImportResult:
    """An import, and the training after it.

    Attributes:
        reconciliation: What became of the log.
        training: Whether there was a training, and what came of it or is missing.
        version: The version it gave; None without one.
    """

    reconciliation: Reconciliation
    training: str = ""
    version: VersionRecord | None = None

    @property
    def outlook(self) -> tuple[str, ...]:
        """What came of the training, and how to see more."""
        return (self.training, *((REPLAY,) if self.version else ())) if self.training else ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        report = self.reconciliation
        return {
            **{name: getattr(report, name) for name in _PLAIN},
            "differing": list(report.differing),
            "skipped": [asdict(skipped) for skipped in report.skipped],
            "faults": dict(report.faults),
            "notes": list(report.notes),
            "totals": {side: asdict(totals) for side, totals in report.totals.items()},
            "training": self.training,
            "version": self.version.to_dict() if self.version else None,
        }


_PLAIN = (
    "file",
    "format",
    "unit",
    "read",
    "trades",
    "added",
    "settled",
    "already_there",
    "in_money",
    "details",
)


def rows_view(report: Reconciliation) -> TableView:
    """Return what became of the rows of a log, as name, number and remark."""
    rows: list[tuple[str, int, str]] = [(f"{report.unit} read", report.read, "")]
    for kind in ("duplicate", "incomplete", "impossible"):
        reasons = [skipped.reason for skipped in report.skipped if skipped.kind == kind]
        if reasons:
            rows.append((kind, len(reasons), "; ".join(sorted(set(reasons)))[:200]))
    rows.append(("signals they make", report.trades, ""))
    rows.append(("new in the ledger", report.added, ""))
    rows.append(("there already", report.already_there, ""))
    if report.settled:
        rows.append(("outcomes filled in", report.settled, ""))
    if report.differing:
        remark = f"the ledger keeps its own figures, first {report.differing[0]}"
        rows.append(("there with other figures", len(report.differing), remark))
    rows += [(f"imported with fault: {kind}", count, "") for kind, count in report.faults.items()]
    cells = tuple((name, f"{count:,}", remark) for name, count, remark in rows)
    title = f"{report.file} ({report.format})"
    return TableView(title, ("rows", "number", "remark"), cells, frozenset({1}), frozenset({2}))


def totals_view(report: Reconciliation) -> TableView:
    """Return the totals of file and ledger side by side."""
    sides = [report.totals["file"], report.totals["ledger"]]
    rows = (
        ("settled trades", *(f"{side.trades:,}" for side in sides)),
        *((name, *(_amount(report, getattr(side, name)) for side in sides)) for name in _AMOUNTS),
        ("win rate", *("–" if side.win_rate is None else f"{side.win_rate:.1%}" for side in sides)),
    )
    title = "Totals" if report.in_money else "Totals, as sums of returns"
    return TableView(title, ("measure", "file", "ledger"), rows, frozenset({1, 2}))


_AMOUNTS = ("gross", "fees", "net")


def _amount(report: Reconciliation, amount: float) -> str:
    return f"{amount:,.2f}" if report.in_money else f"{amount:+.2%}"


def skipped_view(report: Reconciliation) -> TableView | None:
    """Return the first rows that were read and not imported; None if there are none."""
    if not report.skipped:
        return None
    rows = tuple((str(row.line), row.kind, row.reason) for row in report.skipped[:LISTED])
    title = f"Not imported, {len(rows)} of {len(report.skipped)}"
    return TableView(title, ("line", "why", "in words"), rows, frozenset({0}), frozenset({2}))


def verdict(report: Reconciliation) -> str:
    """Return what an import did, in one line."""
    if not (report.added or report.settled):
        return f"nothing new: the ledger has all {report.already_there} signals of {report.file}"
    return (
        f"{report.added} signals imported, {report.settled} outcomes filled in, "
        f"{report.already_there} there already, {len(report.skipped)} rows left out"
    )


def import_summary(result: ImportResult) -> str:
    """Return an import as Markdown: verdict, tables, what follows."""
    report = result.reconciliation
    views = (rows_view(report), totals_view(report), skipped_view(report))
    tables = [f"{view.title}\n\n{markdown_table(view)}" for view in views if view is not None]
    lines = [in_markdown(line) for line in (*report.notes, *result.outlook) if line]
    return "\n\n".join([f"**{in_markdown(verdict(report))}**", *tables, *lines])
