"""Trade: the newest bars to signals, evaluations, sizes and orders; run per bar, and safe to run twice."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.tasks.alerts import announce
from steelyard.tasks.predictions import watch_streak
from steelyard.tasks.trading import fill, newest_signals, settle_outcomes, trade_signals


@flow(name="trade", on_failure=[failed], on_crashed=[failed])
def trade(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Fill what the bars closed by ``as_of`` fill, then trade the signals of the newest bar; nothing is ordered twice.

    Outcomes are settled before: a losing streak that has just broken its limit takes the weight from these very signals.
    """
    stores, at = opened(home, conf), moment(as_of)
    newest = newest_signals(stores, at)
    filled = fill(stores, newest.bars)
    broken = settle_outcomes(stores, newest)
    evaluated = trade_signals(stores, newest)
    announce(stores, [watch_streak(stores, at) if broken else None])
    return {"as_of": at.isoformat(), "filled": filled, "signals": evaluated}
