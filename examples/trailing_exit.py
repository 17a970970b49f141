"""A system with exits of its own: a channel breakout both ways, left by a trailing stop."""

from steelyard.market.bars import Bars
from steelyard.market.strategy import Candidate, Levels

CHANNEL, LONG = 55, 200


class Turtle:
    """Buys above and sells below the channel of 55 bars; no target, the winners run.

    The stop starts three ATRs from the entry and follows the best price of closed bars.
    """

    warmup = LONG
    score_names = ("distance", "age")

    def propose(self, bars: Bars) -> Candidate | None:
        """Return the trade to enter at the next open; None inside the channel."""
        close = bars.close[-1]
        highest, lowest = bars.high[-CHANNEL - 1 : -1].max(), bars.low[-CHANNEL - 1 : -1].min()
        if lowest <= close <= highest:
            return None
        width = highest - lowest
        beyond = max(close - highest, lowest - close)
        # a channel that is narrow beside the long one has rested long
        longer = bars.high[-LONG:].max() - bars.low[-LONG:].min()
        scores = {
            "distance": 100 * beyond / (beyond + 0.1 * width) if width else 50.0,
            "age": 100 * (1 - width / longer) if longer else 50.0,
        }
        return Candidate(
            "buy" if close > highest else "sell",
            confidence=float(40 + 0.35 * scores["distance"] + 0.25 * scores["age"]),
            scores=scores,
            levels=Levels(trail_atr=3.0, bars=120),
        )
