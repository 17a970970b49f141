"""Steps of a trading run: the newest bars' signals, evaluated, sized, ordered; every veto and every fill in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
import pandas as pd

from steelyard.desk.risk import Account, Assessment, Proposal, assess
from steelyard.desk.session import Session
from steelyard.desk.signals import Evaluation, Signal
from steelyard.desk.streak_breaker import OPERATOR
from steelyard.errors import SteelyardError
from steelyard.gateways.brokers import WORKING, Broker, Order, exposures, order_row
from steelyard.home import Home, open_broker
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.features import FEATURES
from steelyard.market.history import history
from steelyard.market.indicators import atr
from steelyard.market.strategy import signals
from steelyard.tasks.alerts import announce_failure
from steelyard.tasks.predictions import breaker_of, record_outcomes
from steelyard.tasks.step import step
from steelyard.trading import open_session, stored_state

STALE, REFUSED = "stale", "broker_rejected"
_NAMES = [feature.name for feature in FEATURES]
_VOLATILITY, _TREND = _NAMES.index("regime_volatility"), _NAMES.index("regime_trend")


@dataclass(frozen=True, slots=True)
class Newest:
    """The bars known at a moment, and the signals nobody has dealt with yet, oldest first."""

    as_of: datetime
    bars: Mapping[str, Bars]
    signals: pd.DataFrame


@step()
def newest_signals(home: Home, as_of: datetime) -> Newest:
    """Return the signals without order or veto: those of the newest bar, and what was missed since the last one noted.

    MLflow is not asked: whatever state it is in, the existing system's signals are traded.
    """
    bars = by_symbol(home.lake.read(until=pd.Timestamp(as_of)), home.lake.bar_size)
    found, noted = signals(bars, home.strategy), home.ledger.trades()
    newest = pd.Timestamp(max(one.closes_at[-1] for one in bars.values()), tz="UTC")
    since = min(noted["submitted_at"].max(), newest) if len(noted) else newest
    new = (found["decided_at"] >= since) & ~found["signal_id"].isin(noted["signal_id"])
    return Newest(as_of, bars, found[new.to_numpy(dtype=bool)].reset_index(drop=True))


@step()
def fill(home: Home, bars: Mapping[str, Bars]) -> int:
    """Let the broker write the fills the bars brought; returns how many trades changed."""
    return broker_of(home).advance(bars)


@step()
def settle_outcomes(home: Home, newest: Newest) -> bool:
    """Write the outcomes the bars brought; returns whether the streak breaker's brake is pulled.

    MLflow is not asked here: the state is the one the last trading process left on disk. What goes wrong is told, and
    trading goes on: an outcome is no reason to leave a signal.
    """
    try:
        record_outcomes(home, history(newest.bars, home.strategy, home.settings.brackets))
        state = stored_state(home.settings.services, home.registry)
        return breaker_of(home).check(state, newest.as_of) or home.brake.operator == OPERATOR
    except SteelyardError as error:
        announce_failure(home, "settle", str(error))
        return False


@step()
def trade_signals(home: Home, newest: Newest) -> list[dict[str, Any]]:
    """Evaluate the signals of the newest bars, size them, order them; what came too late is noted and left.

    Only a signal whose entry is still to come, or has just come, can be traded as it was decided.
    """
    rows = cast(list[dict[str, Any]], newest.signals.to_dict("records"))
    latest = home.settings.risk.entry_delay * home.lake.bar_size
    in_time = [
        newest.as_of - row["decided_at"] <= latest and _is_newest(newest.bars, row) for row in rows
    ]
    fresh = [row for row, good in zip(rows, in_time, strict=True) if good]
    stale = [row for row, good in zip(rows, in_time, strict=True) if not good]
    home.ledger.record_trades([_left(home, newest.bars, row, STALE) for row in stale])
    if not fresh:
        return []
    session = open_session(home.folder, home.conf)
    try:
        session.warm(newest.bars)
        return [_traded(home, session, newest.bars, row) for row in fresh]
    finally:
        session.close()


def broker_of(home: Home) -> Broker:
    """Return the configured broker."""
    return open_broker(home.settings.broker, home.settings.brackets, home.ledger)


def _is_newest(bars: Mapping[str, Bars], row: Mapping[str, Any]) -> bool:
    newest = max(one.timestamp[-1] for one in bars.values())
    return bool(_stamp(row["timestamp"]) == newest == bars[row["symbol"]].timestamp[-1])


def _stamp(moment: pd.Timestamp) -> np.datetime64:
    return moment.tz_convert("UTC").tz_localize(None).to_datetime64()


def _traded(
    home: Home, session: Session, bars: Mapping[str, Bars], row: Mapping[str, Any]
) -> dict[str, Any]:
    evaluation = session.evaluate(signal_of(row, home.strategy.score_names), bars)
    broker, order = broker_of(home), _order(home, bars, row)
    equity = broker.equity(bars)
    assessed = _assessed(home, equity, bars, order, evaluation)
    veto: str | None = assessed.veto
    words = assessed.explanation
    if veto is None:
        veto, words = _ordered(
            broker, replace(order, quantity=assessed.size * equity / order.price), words
        )
    if veto not in (None, REFUSED):
        home.ledger.record_trades([order_row(order, broker.name, "vetoed", veto)])
    return _record(evaluation, assessed) | {"veto": veto, "words": words}


def _ordered(broker: Broker, order: Order, words: str) -> tuple[str | None, str]:
    """Order what can be ordered of it; returns a veto and its words where it came to nothing."""
    quantity = broker.tradable(order.quantity)
    if not quantity:
        return "too_small", f"{order.quantity:.3g} units, {broker.name} takes whole ones"
    refusal = broker.submit(replace(order, quantity=quantity))
    return (REFUSED, refusal) if refusal else (None, words)


def signal_of(row: Mapping[str, Any], score_names: Sequence[str]) -> Signal:
    """Return a row of the history as the trading side is asked about it."""
    return Signal(
        signal_id=row["signal_id"],
        symbol=row["symbol"],
        side=row["side"],
        timestamp=row["timestamp"].to_pydatetime(),
        decided_at=row["decided_at"].to_pydatetime(),
        confidence=float(row["confidence_existing"]),
        scores={name: float(row[f"score_{name}"]) for name in score_names},
    )


def _order(home: Home, bars: Mapping[str, Bars], row: Mapping[str, Any]) -> Order:
    """Return the order of a signal, its quantity not decided yet."""
    one, policy = bars[row["symbol"]], home.settings.brackets
    at = int(np.searchsorted(one.timestamp, _stamp(row["timestamp"])))
    distance = float(atr(one[: at + 1], policy.atr_period)[-1])
    return Order(
        signal_id=row["signal_id"],
        symbol=row["symbol"],
        side=row["side"],
        timestamp=row["timestamp"].to_pydatetime(),
        decided_at=row["decided_at"].to_pydatetime(),
        quantity=0.0,
        price=float(one.close[at]),
        stop_offset=policy.stop_atr * distance,
        target_offset=policy.target_atr * distance,
    )


def _assessed(
    home: Home, equity: float, bars: Mapping[str, Bars], order: Order, evaluation: Evaluation
) -> Assessment:
    regime = evaluation.features if len(evaluation.features) else np.full(len(FEATURES), np.nan)
    proposal = Proposal(
        symbol=order.symbol,
        side=order.side,
        decision=evaluation.decision,
        price=order.price,
        stop_offset=order.stop_offset,
        volatility=float(regime[_VOLATILITY]),
        trend=float(regime[_TREND]),
    )
    account = Account(equity, exposures(home.ledger.trades(WORKING), bars, equity))
    return assess(proposal, account, home.settings.risk, home.settings.books)


def _left(
    home: Home, bars: Mapping[str, Bars], row: Mapping[str, Any], veto: str
) -> dict[str, Any]:
    return order_row(_order(home, bars, row), broker_of(home).name, "vetoed", veto)


def _record(evaluation: Evaluation, assessed: Assessment) -> dict[str, Any]:
    return {
        "signal_id": evaluation.signal_id,
        "side": evaluation.side,
        "confidence_existing": evaluation.confidence_existing,
        "blended": evaluation.blended,
        "weight": evaluation.weight,
        "arm": evaluation.arm,
        "fallback_reason": evaluation.fallback_reason,
        "decision": evaluation.decision,
        "size": assessed.size,
        "regime": assessed.regime,
    }
