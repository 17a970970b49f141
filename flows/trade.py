"""Trade: the newest bars to signals, evaluations, sizes and orders; run per bar, and safe to run twice."""

from datetime import datetime
from typing import Any

from prefect import flow

from flows.failure import failed
from flows.moment import moment, opened
from tasks.trading import fill, newest_signals, trade_signals


@flow(name="trade", on_failure=[failed], on_crashed=[failed])
def trade(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Fill what the bars closed by ``as_of`` fill, then trade the signals of the newest bar; nothing is ordered twice."""
    stores, at = opened(home, conf), moment(as_of)
    newest = newest_signals(stores, at)
    filled = fill(stores, newest.bars)
    evaluated = trade_signals(stores, newest)
    return {"as_of": at.isoformat(), "filled": filled, "signals": evaluated}
