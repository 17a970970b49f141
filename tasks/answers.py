"""Steps for a program that trades itself: what is decided about its signals, where it reads it."""

from datetime import datetime
from pathlib import Path
from typing import Any, cast

from steelyard.desk.state_watch import Clock
from steelyard.gateways.answers import append_answers
from steelyard.home import Home
from steelyard.queries.history import known_bars, proposed_signals
from steelyard.tasks.step import step
from steelyard.tasks.trading import Newest, signal_of
from steelyard.trading import ANSWER_AGE, open_session
from steelyard.views.runs import ANSWERED, TradedSignal


@step()
def unanswered_signals(home: Home, as_of: datetime) -> Newest:
    """Return the signals that a program logged in the last days and nothing was decided about.

    Args:
        home: Opened home of a log.
        as_of: Time of the run (UTC).

    Raises:
        CollectMoreData: If there are no bars yet, in a home that has any.
    """
    bars, since = known_bars(home, as_of) or {}, as_of - ANSWER_AGE
    proposed = proposed_signals(home, bars, as_of)
    answered = home.ledger.predictions(since, as_of)["signal_id"]
    new = (proposed["decided_at"] > since) & ~proposed["signal_id"].isin(answered)
    return Newest(as_of, bars, proposed[new.to_numpy(dtype=bool)].reset_index(drop=True))


@step()
def answer_signals(home: Home, newest: Newest, clock: Clock) -> tuple[TradedSignal, ...]:
    """Evaluate the signals of a program that trades itself; nothing is sized or ordered.

    Args:
        home: Opened home of a log.
        newest: Bars and signals of this run.
        clock: Clock the lease is held against.
    """
    if newest.signals.empty:
        return ()
    session = open_session(home.folder, home.conf, clock, lineage=home.lineage)
    try:
        session.warm(newest.bars)
        rows = cast(list[dict[str, Any]], newest.signals.to_dict("records"))
        evaluated = [
            session.evaluate(signal_of(row, home.feature_names), newest.bars) for row in rows
        ]
    finally:
        session.close()
    return tuple(
        TradedSignal(
            signal_id=evaluation.signal_id,
            side=evaluation.side,
            confidence_existing=evaluation.confidence_existing,
            blended=evaluation.blended,
            weight=evaluation.weight,
            arm=evaluation.arm,
            fallback_reason=evaluation.fallback_reason,
            decision=evaluation.decision,
            size=0.0,
            regime="",
            veto=ANSWERED,
            words="the program that logs it trades itself",
        )
        for evaluation in evaluated
    )


@step()
def write_answers(home: Home, as_of: datetime) -> int:
    """Append what was decided about the signals of the last days to the file of answers, once each.

    Args:
        home: Opened home of a log; without a file of answers nothing is written.
        as_of: Time of the run (UTC).

    Returns:
        Number of new lines.
    """
    file = home.settings.strategy.log.answers
    if not home.settings.strategy.is_log or not file:
        return 0
    decided = home.ledger.predictions(as_of - ANSWER_AGE, as_of)
    with home.ledger.exclusive("answers"):
        return append_answers(Path(file), decided)
