"""Steps from a log of past trades to signals with known outcomes, and to one training."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.gateways.files import write_page
from steelyard.gateways.outside import in_sheet
from steelyard.gateways.trade_logs import ImportOptions, ParsedLog, Skipped, read_trade_log
from steelyard.home import Home
from steelyard.market.bars import Bars
from steelyard.market.past_trades import past_signals
from steelyard.market.yes_or_no import require_whole_scale
from steelyard.queries.history import known_bars, known_history
from steelyard.queries.records import version_record
from steelyard.tasks.step import step
from steelyard.tasks.training import compare_with_champion, settled_samples, trained_version
from steelyard.views.reconciliation import Reconciliation, Totals
from steelyard.views.records import VersionRecord

MANY_OUTSIDE = 0.2
"""Share of trades outside their bars from which the bars are in doubt, not the trades."""


@step()
def read_trades(home: Home, file: str, form: str | None, options: ImportOptions) -> ParsedLog:
    """Read a log of past trades as it is written.

    Args:
        home: Opened home of a log.
        file: Path of the log.
        form: Its format; None to tell it from the header.
        options: What the user says about it.

    Raises:
        FixConfiguration: If the existing system is no log, the format cannot be told, or something
            has to be said about the log.
        FixData: If the file cannot be read.
    """
    if not home.settings.strategy.is_log:
        raise FixConfiguration(
            f"conf/strategy.yaml names {home.settings.strategy.system}; signals of a log are a "
            "system of their own: write 'system: log' there, or pass the --conf of another home"
        )
    factor = home.settings.strategy.log.confidence_factor
    told = options.model_copy(update={"confidence_factor": factor})
    return read_trade_log(Path(file).expanduser(), form, told)


@step()
def record_trades(home: Home, log: ParsedLog, as_of: datetime) -> Reconciliation:
    """Record the trades of a log as signals with their outcomes; what is there stays as it is.

    Args:
        home: Opened home of a log.
        log: Trades as they were read.
        as_of: Time of the import (UTC); trades entered or ended later are left out.

    Raises:
        FixConfiguration: If all confidences lie within 0 to 1.
    """
    require_whole_scale(log.trades["confidence"].dropna(), log.name)
    trades, ahead = _happened(log.trades, as_of)
    bars, no_bars = _bars(home, as_of)
    opens = home.settings.strategy.log.stamps == "open"
    signals = past_signals(trades, bars, log.resolution, stamps_are_opens=opens)
    known_by = pd.Series(pd.Timestamp(as_of), index=signals.index)  # a bar may close after as_of
    signals["settled_at"] = signals["settled_at"].clip(upper=known_by)
    signals = _under_known_ids(signals, home.ledger.log_signals(as_of))
    outcome_taken_in_at = pd.Series(as_of, index=signals.index).where(signals["settled_at"].notna())
    intake = home.ledger.record_log_signals(
        signals.drop(columns=["on_bar", "lines"]).assign(
            taken_in_at=as_of, outcome_taken_in_at=outcome_taken_in_at, source=log.name
        )
    )
    skipped = tuple(sorted((*log.skipped, *ahead), key=lambda row: row.line))
    in_money = bool(trades.loc[trades["exit_at"].notna(), "quantity"].notna().all())
    return Reconciliation(
        file=log.name,
        format=log.format,
        unit=log.unit,
        read=log.read,
        trades=len(signals),
        added=intake.added,
        settled=intake.settled,
        already_there=len(signals) - intake.added,
        differing=intake.differing,
        skipped=skipped,
        faults=_fault_counts(signals),
        notes=(*log.notes, *no_bars, *_remarks(signals)),
        in_money=in_money,
        totals={
            "file": _totals(trades, in_money=in_money),
            "ledger": _totals(_stored(home, signals, as_of), in_money=in_money),
        },
        details=_details(home, log.name, skipped, signals),
    )


def _happened(trades: pd.DataFrame, as_of: datetime) -> tuple[pd.DataFrame, list[Skipped]]:
    """Return the trades that have begun and ended by ``as_of``, and those that have not."""
    begin = trades["entry_at"].fillna(trades["decided_at"]).fillna(trades["timestamp"])
    late = (begin > as_of) | (trades["exit_at"] > as_of)
    reason = f"a time later than the import, {as_of:%Y-%m-%d %H:%M} UTC"
    return trades[~late], [Skipped(int(line), "impossible", reason) for line in trades.index[late]]


def _bars(home: Home, as_of: datetime) -> tuple[dict[str, Bars], list[str]]:
    """Return the bars by symbol, and a remark if there are none yet."""
    try:
        return known_bars(home, as_of) or {}, []
    except CollectMoreData:
        return {}, ["no bars are collected yet, so no fill could be held against its bar"]


def _under_known_ids(signals: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return the signals with the ids and times under which the ledger has their trades.

    The bars may have come between two imports of a log, and with them other decision bars.
    """
    key = ["symbol", "side", "entry_at"]
    there = known[known["entry_at"].notna()].drop_duplicates(key).set_index(key)
    found = there.reindex(pd.MultiIndex.from_frame(signals[key]))
    renamed = signals.copy()
    for name in ("signal_id", "timestamp", "decided_at", "settled_at"):
        values = pd.Series(found[name].to_numpy(), index=signals.index)
        renamed[name] = values.where(values.notna(), signals[name]).astype(signals[name].dtype)
    return renamed


def _fault_counts(signals: pd.DataFrame) -> dict[str, int]:
    kinds = Counter(fault.partition(":")[0] for faults in signals["faults"] for fault in faults)
    return dict(kinds.most_common())


def _remarks(signals: pd.DataFrame) -> list[str]:
    """Return what to know about the bars that the trades lie on."""
    if not signals["on_bar"].any():
        return []
    remarks = []
    without = signals[~signals["on_bar"]]
    if len(without):
        symbols = ", ".join(sorted(without["symbol"].unique())[:5])
        remarks.append(f"{len(without)} signals lie where there are no bars ({symbols})")
    outside = sum(any("outside" in fault for fault in faults) for faults in signals["faults"])
    if outside > MANY_OUTSIDE * len(signals):
        remarks.append(
            f"{outside} of {len(signals)} trades have prices that their bars did not: are the bars "
            "adjusted, of another venue, or is --timezone wrong?"
        )
    return remarks


def _stored(home: Home, signals: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Return these signals as the ledger has them."""
    rows = home.ledger.log_signals(as_of)
    return rows[rows["signal_id"].isin(signals["signal_id"])].assign(profit=np.nan)


def _totals(trades: pd.DataFrame, *, in_money: bool) -> Totals:
    """Return the totals of the settled trades; a profit that the log itself tells comes first."""
    settled = trades[trades["exit_at"].notna()]
    worth = settled["quantity"] * settled["entry_price"]
    net, fees = settled["net_return"], settled["net_return"] * 0.0
    if in_money:
        net, fees = settled["profit"].fillna(net * worth), settled["fees"].fillna(0.0)
    return Totals(
        trades=len(settled),
        gross=float((net + fees).sum()),
        fees=float(fees.sum()),
        net=float(net.sum()),
        win_rate=float((net > 0).mean()) if len(settled) else None,
    )


def _details(home: Home, name: str, skipped: Iterable[Skipped], signals: pd.DataFrame) -> str:
    """Write every row left out and every fault to a file, and return it; empty without any."""
    rows: list[tuple[str, str, str]] = [(str(row.line), row.kind, row.reason) for row in skipped]
    rows += [
        (", ".join(map(str, lines)), "imported with fault", fault)
        for lines, faults in zip(signals["lines"], signals["faults"], strict=True)
        for fault in faults
    ]
    if not rows:
        return ""
    content = in_sheet(pd.DataFrame(rows, columns=["line", "why", "in words"]))
    digest = hashlib.sha256(content).hexdigest()[:12]
    file = home.state_folder / "imports" / f"{Path(name).stem}-{digest}.csv"
    write_page(file, content)
    return str(file)


@step()
def train_once(home: Home, as_of: datetime) -> tuple[str, VersionRecord | None]:
    """Train on the settled signals and compare with the champion.

    Args:
        home: Opened home of a log.
        as_of: Time of the training (UTC).

    Returns:
        What came of it, in words, and the version; None where there is too little to learn from.
    """
    try:
        history = known_history(home, as_of)
        samples = settled_samples(home, history)
        version = trained_version(home, history, samples, as_of, in_full=True)
    except CollectMoreData as error:
        return f"no training: {error}", None
    record = version_record(compare_with_champion(home, samples, version, as_of))
    return f"trained version {record.version} ({record.family}): {record.verdict}", record
