"""What the books are worth after all trials, as a value and in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from steelyard.evaluation.sharpe import BookSharpes, DeflatedSharpe, MonthlyGain


@dataclass(frozen=True, slots=True)
class LifetimeWorth:
    """Sharpe ratios of the books since the first settled prediction.

    Attributes:
        since: Decision of the first settled signal with a prediction (UTC).
        tried: Kind of trial → number of trials.
        sharpes: The ratios, deflated by all trials.
    """

    since: datetime
    tried: Mapping[str, int]
    sharpes: BookSharpes

    @property
    def sentences(self) -> tuple[str, ...]:
        """The ratios in words: each book, then the model's gains."""
        sharpes = self.sharpes
        return (
            *(_book_words(book, sharpe, sharpes.trials) for book, sharpe in sharpes.books.items()),
            *(_gain_words(book, gain) for book, gain in sharpes.gains.items()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "since": self.since.isoformat(),
            "tried": dict(self.tried),
            **self.sharpes.to_dict(),
            "words": list(self.sentences),
        }


def _book_words(book: str, sharpe: DeflatedSharpe, trials: int) -> str:
    if sharpe.luck is None:
        return f"{book}: too few days to tell luck from skill"
    luck = f"a Sharpe this high would come from luck with {sharpe.luck:.0%}"
    after = "" if book == "baseline" else f"after {trials} trials "
    summary = f"{book}: Sharpe {sharpe.sharpe:.1f}; {after}{luck}"
    if sharpe.days_needed is None:
        return f"{summary}; no number of days like these would show a gain"
    return (
        f"{summary}; {sharpe.days_needed:,.0f} days like these are needed to be 95 % sure of a "
        f"gain, {sharpe.days} are there"
    )


def _gain_words(book: str, gain: MonthlyGain) -> str:
    mean, low, high = gain.mean, gain.low, gain.high
    if mean is None or low is None or high is None:
        return f"{book} over baseline: too few days"
    certainty = "with 95 %" if low <= 0 <= high else "with 95 %, so not by luck alone"
    return (
        f"{book} over baseline: {mean:+.2%} of the account in 30 days, "
        f"between {low:+.2%} and {high:+.2%} {certainty}"
    )
