"""Steps of a trading run: signals of the newest bars, evaluated, sized and ordered."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
import pandas as pd

from steelyard.desk.risk import (
    Account,
    Assessment,
    Proposal,
    SharedAccount,
    assess,
    entry_ends,
)
from steelyard.desk.session import Session
from steelyard.desk.signals import Evaluation, Signal
from steelyard.desk.state_watch import Clock
from steelyard.desk.streak_breaker import OPERATOR
from steelyard.errors import SteelyardError
from steelyard.gateways.brokers import WORKING, Broker, Order, exposures, order_row
from steelyard.gateways.calendars import next_open
from steelyard.gateways.ledger.tables import STALE
from steelyard.home import Home, open_broker
from steelyard.market.bars import Bars
from steelyard.market.brackets import BracketPolicy
from steelyard.market.exits import ExitPlan, exit_rule
from steelyard.market.features import FEATURES, OWN, SCORE
from steelyard.market.indicators import atr
from steelyard.market.own_features import own_features
from steelyard.market.strategy import Exiting
from steelyard.queries.history import known_history, proposed_signals
from steelyard.tasks.alerts import announce_failure, announce_stale, announce_unprotected
from steelyard.tasks.predictions import breaker_of, record_outcomes
from steelyard.tasks.step import step
from steelyard.trading import open_session, stored_state
from steelyard.views.runs import TradedSignal

REFUSED = "broker_rejected"
_NAMES = [feature.name for feature in FEATURES]
_VOLATILITY, _TREND = _NAMES.index("regime_volatility"), _NAMES.index("regime_trend")

Row = Mapping[str, Any]
"""One signal of the history, by column."""


@dataclass(frozen=True, slots=True)
class Newest:
    """Bars known at a time, and the signals that have neither an order nor a veto.

    Attributes:
        as_of: Time of the run (UTC).
        bars: Bars by symbol, closed by ``as_of``.
        signals: One row per signal, oldest first: columns of ``market.strategy.signals`` and the
            system's own features.
    """

    as_of: datetime
    bars: Mapping[str, Bars]
    signals: pd.DataFrame


@step()
def newest_signals(home: Home, as_of: datetime) -> Newest:
    """Return the signals of the newest bar, and those missed since the last recorded trade.

    MLflow is not read: signals of the existing system are traded whatever state it is in.

    Args:
        home: Opened home.
        as_of: Time of the run (UTC).

    Raises:
        CollectMoreData: If there are no bars yet.
    """
    bars = home.lake.bars(until=pd.Timestamp(as_of))
    proposed, trades = proposed_signals(home, bars, as_of), home.ledger.trades()
    last_close = max(symbol_bars.closes_at[-1] for symbol_bars in bars.values())
    newest = pd.Timestamp(last_close, tz="UTC")
    since = min(trades["submitted_at"].max(), newest) if len(trades) else newest
    new = (proposed["decided_at"] >= since) & ~proposed["signal_id"].isin(trades["signal_id"])
    new_signals = proposed[new.to_numpy(dtype=bool)].reset_index(drop=True)
    if home.settings.strategy.is_log:
        return Newest(as_of, bars, new_signals)
    own = own_features(bars, new_signals, home.strategy)
    return Newest(as_of, bars, pd.concat([new_signals, own], axis=1))


@step()
def fill(home: Home, bars: Mapping[str, Bars]) -> int:
    """Let the broker record the fills on the given bars; return the number of changed trades.

    Args:
        home: Opened home.
        bars: Bars by symbol.

    Raises:
        ReconcileAccount: If account and ledger disagree, or a position is left without a stop.
    """
    try:
        return broker_of(home).advance(bars)
    finally:
        announce_unprotected(home)


@step()
def protect_positions(home: Home) -> None:
    """Close the positions that have neither stop nor target, whatever the bars say.

    Raises:
        ReconcileAccount: If one of them cannot be closed.
    """
    try:
        broker_of(home).protect()
    finally:
        announce_unprotected(home)


@step()
def settle_outcomes(home: Home, newest: Newest) -> bool:
    """Record the outcomes on the newest bars and check the losing streak.

    MLflow is not read: the state is the one the last trading process left on disk. An error is
    posted as an alert and trading continues.

    Args:
        home: Opened home.
        newest: Bars and signals of this run.

    Returns:
        Whether the streak breaker has pulled the brake.
    """
    try:
        record_outcomes(home, known_history(home, newest.as_of))
        state = stored_state(home.settings.services)
        return breaker_of(home).check(state, newest.as_of) or home.brake.operator == OPERATOR
    except SteelyardError as error:
        announce_failure(home, "settle", str(error))
        return False


@dataclass(frozen=True, slots=True)
class Traded:
    """The signals that were evaluated, and the number of those that came too late."""

    signals: tuple[TradedSignal, ...] = ()
    stale: int = 0


@step()
def trade_signals(home: Home, newest: Newest, clock: Clock) -> Traded:
    """Evaluate, size and order the signals of the newest bars; record a veto for those too old.

    A signal is traded only if its entry is still to come or has just come, by the clock if the run
    started later than it was scheduled. Its evaluation is on
    disk before its order is sent, so that every order has its reason, whatever happens then. If
    all signals are too late, an alert says so: the schedule may be late for every signal.

    Args:
        home: Opened home.
        newest: Bars and signals of this run.
        clock: Clock the lease is held against.

    Returns:
        The signals evaluated, each with its veto if there is one, and how many were too late.

    Raises:
        RestoreService: If an evaluation cannot be written to disk; its signal is not ordered.
    """
    rows = cast(list[dict[str, Any]], newest.signals.to_dict("records"))
    now, fresh, stale = max(newest.as_of, clock()), list[Row](), list[Row]()
    for row in rows:
        (fresh if _is_fresh(home, newest, row, now) else stale).append(row)
    broker = broker_of(home)
    home.ledger.record_trades(
        [
            order_row(_order_in(home, newest.bars, row), broker.name, "vetoed", STALE)
            for row in stale
        ]
    )
    if not fresh:
        if stale:
            announce_stale(home, len(stale), now)
        return Traded(stale=len(stale))
    session = open_session(home.folder, home.conf, clock, lineage=home.lineage)
    try:
        session.warm(newest.bars)
        traded = tuple(_trade(home, session, broker, newest.bars, row) for row in fresh)
        return Traded(traded, len(stale))
    finally:
        session.close()


def broker_of(home: Home) -> Broker:
    """Return the configured broker."""
    settings = home.settings
    return open_broker(settings.broker, settings.brackets, home.ledger, exit_rule(home.strategy))


def _is_fresh(home: Home, newest: Newest, row: Row, now: datetime) -> bool:
    """Return whether a signal is of the newest bar of all symbols and its entry is not over."""
    last_stamp = max(bars.timestamp[-1] for bars in newest.bars.values())
    own_stamp = newest.bars[row["symbol"]].timestamp[-1]
    if not _stamp(row["timestamp"]) == last_stamp == own_stamp:
        return False
    closed_at = pd.Timestamp(newest.bars[row["symbol"]].closes_at[-1], tz="UTC")
    decided_at, settings = min(row["decided_at"], closed_at), home.settings
    opens_at = next_open(settings.source.calendar, decided_at)
    ends = entry_ends(decided_at, opens_at, home.lake.bar_size.to_pytimedelta(), settings.risk)
    return now <= ends


def _stamp(at: pd.Timestamp) -> np.datetime64:
    return at.tz_convert("UTC").tz_localize(None).to_datetime64()


def _trade(
    home: Home, session: Session, broker: Broker, bars: Mapping[str, Bars], row: Row
) -> TradedSignal:
    evaluation = session.evaluate(signal_of(row, home.feature_names), bars)
    session.persist()
    order = _order_in(home, bars, row)
    with _alone_at_the_account(home):
        equity = broker.equity(bars)
        assessment = _assess(home, equity, bars, order, evaluation)
        veto: str | None = assessment.veto
        reason = assessment.explanation
        if veto is None:
            sized = replace(order, quantity=assessment.size * equity / order.price)
            veto, reason = _submit(broker, sized, reason)
    if veto not in (None, REFUSED):
        home.ledger.record_trades([order_row(order, broker.name, "vetoed", veto)])
    return TradedSignal(
        signal_id=evaluation.signal_id,
        side=evaluation.side,
        confidence_existing=evaluation.confidence_existing,
        blended=evaluation.blended,
        weight=evaluation.weight,
        arm=evaluation.arm,
        fallback_reason=evaluation.fallback_reason,
        decision=evaluation.decision,
        size=assessment.size,
        regime=assessment.regime,
        veto=veto,
        words=reason,
    )


def _alone_at_the_account(home: Home) -> AbstractContextManager[None]:
    """Return a context in which no other lineage uses the room that is being measured."""
    return home.ledger.exclusive("account") if home.lineage else nullcontext()


def signal_of(row: Row, feature_names: Sequence[str]) -> Signal:
    """Return a row of the history as a signal for the trading session.

    Args:
        row: One signal of the history, by column.
        feature_names: The model's inputs; those that are sub-scores or the user's own are taken.
    """
    scores, own = (
        {
            name.removeprefix(kind): float(row[name])
            for name in feature_names
            if name.startswith(kind)
        }
        for kind in (SCORE, OWN)
    )
    return Signal(
        signal_id=row["signal_id"],
        symbol=row["symbol"],
        side=row["side"],
        timestamp=row["timestamp"].to_pydatetime(),
        decided_at=row["decided_at"].to_pydatetime(),
        confidence=float(row["confidence_existing"]),
        scores=scores,
        own=own,
    )


def _order_in(home: Home, bars: Mapping[str, Bars], row: Row) -> Order:
    policy, rule = home.settings.brackets, exit_rule(home.strategy)
    return order_of(row, bars[row["symbol"]], policy, rule, home.lineage)


def order_of(
    row: Row,
    bars: Bars,
    policy: BracketPolicy,
    rule: Exiting | None,
    lineage: str | None = None,
) -> Order:
    """Return the order of a signal with quantity 0, to be sized later.

    Args:
        row: The signal, by column.
        bars: Bars of its symbol, up to the decision bar or later.
        policy: Bracket of signals without levels of their own.
        rule: The existing system's own exit rule; None without one.
        lineage: Lineage of the signal where the home holds several, else None.
    """
    bars = bars[: int(np.searchsorted(bars.timestamp, _stamp(row["timestamp"]))) + 1]
    distance = atr(bars, policy.atr_period)[-1:]
    plan = ExitPlan.at_decision(
        pd.DataFrame([row]),
        bars.close[-1:],
        np.array([1 if row["side"] == "buy" else -1]),
        policy.stop_atr * distance,
        (np.nan if rule else policy.target_atr) * distance,
        policy.time_limit_bars,
    )
    levels = (plan.stops[0], plan.targets[0], row.get("level_bars", np.nan), plan.trails[0])
    return Order(
        signal_id=row["signal_id"],
        symbol=row["symbol"],
        side=row["side"],
        timestamp=row["timestamp"].to_pydatetime(),
        decided_at=row["decided_at"].to_pydatetime(),
        quantity=0.0,
        price=float(bars.close[-1]),
        stop_offset=float(plan.stop_offsets[0]),
        target_offset=float(plan.target_offsets[0]),
        levels=cast(tuple[float, float, float, float], tuple(map(float, levels))),
        lineage=lineage,
    )


def _assess(
    home: Home, equity: float, bars: Mapping[str, Bars], order: Order, evaluation: Evaluation
) -> Assessment:
    features = evaluation.features if len(evaluation.features) else np.full(len(FEATURES), np.nan)
    proposal = Proposal(
        symbol=order.symbol,
        side=order.side,
        decision=evaluation.decision,
        price=order.price,
        stop_offset=order.stop_offset,
        volatility=float(features[_VOLATILITY]),
        trend=float(features[_TREND]),
    )
    ledger, settings = home.ledger, home.settings
    own = Account(equity, exposures(ledger.trades(WORKING), bars, equity))
    if home.lineage is None:
        return assess(proposal, own, settings.risk, settings.books)
    whole = Account(equity, exposures(ledger.account_trades(WORKING), bars, equity))
    shared = SharedAccount(whole, settings.account)
    return assess(proposal, own, settings.risk, settings.books, shared)


def _submit(broker: Broker, order: Order, reason: str) -> tuple[str | None, str]:
    """Submit the tradable part of an order; return the veto, None if accepted, and the reason."""
    quantity = broker.tradable(order.quantity)
    if not quantity:
        return "too_small", f"{order.quantity:.3g} units, {broker.name} takes whole ones"
    refusal = broker.submit(replace(order, quantity=quantity))
    return (REFUSED, refusal) if refusal else (None, reason)
