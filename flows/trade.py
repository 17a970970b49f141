"""Trade: the newest bars to signals, evaluations, sizes and orders; run per bar, and safe to run twice."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.home import open_home
from steelyard.tasks.alerts import announce
from steelyard.tasks.predictions import watch_streak
from steelyard.tasks.trading import fill, newest_signals, settle_outcomes, trade_signals


@flow(name="trade", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def trade(
    as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Fill what the bars closed by ``as_of`` fill, then trade the signals of the newest bar; nothing is ordered twice.

    Outcomes are settled before: a losing streak that has just broken its limit takes the weight from these very signals.
    """
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    newest = newest_signals(opened_home, at)
    filled = fill(opened_home, newest.bars)
    broken = settle_outcomes(opened_home, newest)
    evaluated = trade_signals(opened_home, newest)
    announce(opened_home, [watch_streak(opened_home, at) if broken else None])
    return {"as_of": at.isoformat(), "filled": filled, "signals": evaluated}
