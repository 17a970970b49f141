"""Trade: signals of the newest bars to evaluations, sizes and orders; run once per bar."""

from datetime import datetime

from steelyard.desk.state_watch import Clock
from steelyard.flows.common import resolve_as_of, run_clock
from steelyard.flows.operation import MINUTE, operation
from steelyard.home import Home, open_home
from steelyard.tasks.alerts import announce
from steelyard.tasks.answers import answer_signals, unanswered_signals, write_answers
from steelyard.tasks.predictions import watch_streak
from steelyard.tasks.trading import (
    fill,
    newest_signals,
    protect_positions,
    settle_outcomes,
    trade_signals,
)
from steelyard.views.runs import TradingRun


@operation("trade", per=MINUTE)
def trade(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> TradingRun:
    """Close what has no stop, fill open orders, settle outcomes, then trade new signals.

    Of a program that logs its signals and trades itself they are evaluated and answered, not
    ordered. A second run orders nothing. Outcomes come first: a losing streak that has just broken
    its limit takes the weight from the very signals traded next.

    Args:
        as_of: Trade on the bars closed by this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    if opened_home.program_trades:
        return _answer(opened_home, at, run_clock(as_of))
    protect_positions(opened_home)
    newest = newest_signals(opened_home, at)
    filled = fill(opened_home, newest.bars)
    streak_broken = settle_outcomes(opened_home, newest)
    traded = trade_signals(opened_home, newest, run_clock(as_of))
    announce(opened_home, [watch_streak(opened_home, at) if streak_broken else None])
    write_answers(opened_home, at)
    return TradingRun(at, filled, traded.signals, traded.stale)


def _answer(opened_home: Home, at: datetime, clock: Clock) -> TradingRun:
    """Evaluate the signals of a program that trades itself, and tell it what was decided."""
    unanswered = unanswered_signals(opened_home, at)
    streak_broken = settle_outcomes(opened_home, unanswered)
    answered = answer_signals(opened_home, unanswered, clock)
    write_answers(opened_home, at)
    announce(opened_home, [watch_streak(opened_home, at) if streak_broken else None])
    return TradingRun(at, 0, answered)
