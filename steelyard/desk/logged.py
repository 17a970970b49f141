"""Signals that another program sends: when they were decided, and on which bar."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from steelyard.desk.signals import LoggedSignal, Signal
from steelyard.market.bars import Bars
from steelyard.market.logged import LogSettings

NextClose = Callable[[datetime], datetime]
"""Time of a close → when the next bar of the market is known."""


@dataclass(frozen=True, slots=True)
class LogTerms:
    """How the signals of a program are taken in.

    Attributes:
        settings: Scale and stamps of the program.
        known_after: Time from the open of a bar to its close; None in a home without bars.
        next_close: When the bar after a close is known; not asked without bars.
    """

    settings: LogSettings
    known_after: pd.Timedelta | None
    next_close: NextClose

    def decided_at(self, timestamp: datetime) -> datetime:
        """Return the time of the decision that a program's ``timestamp`` stands for."""
        if self.settings.stamps == "open" and self.known_after is not None:
            return timestamp + self.known_after.to_pytimedelta()
        return timestamp

    def on_bar(self, logged: LoggedSignal, bars: Mapping[str, Bars]) -> Signal:
        """Return a signal on the last bar known at its decision, for the trading session.

        On no bar, which lets the existing system decide alone, if its symbol has none, or if one
        that should be known by then was not received: the features would not be the decision's.

        Args:
            logged: The signal as it was sent.
            bars: Bars received so far, by symbol.
        """
        return Signal(
            signal_id=logged.signal_id,
            symbol=logged.symbol,
            side=logged.side,
            timestamp=self._bar_open(logged, bars),
            decided_at=logged.decided_at,
            confidence=logged.confidence,
            scores={},
            own=logged.own,
        )

    def _bar_open(self, logged: LoggedSignal, bars: Mapping[str, Bars]) -> datetime:
        history = bars.get(logged.symbol)
        if history is None:
            return NO_BAR
        moment = np.datetime64(logged.decided_at.astimezone(UTC).replace(tzinfo=None), "ns")
        position = int(np.searchsorted(history.closes_at, moment, side="right")) - 1
        if position < 0 or self.next_close(_aware(history.closes_at[position])) <= (
            logged.decided_at
        ):
            return NO_BAR
        return _aware(history.timestamp[position])


NO_BAR = datetime(1970, 1, 1, tzinfo=UTC)
"""Open of a bar that no market has."""


def _aware(stamp: np.datetime64) -> datetime:
    return pd.Timestamp(stamp, tz="UTC").to_pydatetime()
