"""Requests to a venue that are made again, a few times, if the venue did not answer."""

import time
from collections.abc import Callable
from typing import TypeVar

from steelyard.errors import RestoreService

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each repetition of a request."""
LONGEST_PAUSE = 90.0
"""Seconds a venue is waited for at most if it says when it will answer again."""
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
"""Errors of libraries that read an answer which is none, such as a page about maintenance."""
Answer = TypeVar("Answer")


class Interrupted(Exception):  # caught below, which words the consequence
    """The venue did not answer, or asks to wait; the same request may be made again.

    Args:
        reason: What happened, in a few words.
        wait_seconds: Seconds the venue asks to wait; 0 if it does not say.
    """

    def __init__(self, reason: object, wait_seconds: float = 0.0) -> None:
        super().__init__(one_line(reason))
        self.wait_seconds = wait_seconds


def persistently(
    ask: Callable[[], Answer],
    venue: str,
    until_then: str = "what is in the lake is not asked again",
) -> Answer:
    """Return the answer to a request, which is repeated after pauses if it is ``Interrupted``.

    Args:
        ask: Makes the request; safe to repeat.
        venue: Name of the venue, for the message.
        until_then: What holds until it answers, for the message.

    Raises:
        RestoreService: If the last repetition is interrupted, too.
    """
    for pause in PAUSES:
        try:
            return ask()
        except Interrupted as interruption:
            time.sleep(max(pause, min(interruption.wait_seconds, LONGEST_PAUSE)))
    try:
        return ask()
    except Interrupted as interruption:
        raise RestoreService(
            f"{venue} does not answer after {len(PAUSES) + 1} requests ({interruption}); run it "
            f"again later, {until_then}"
        ) from interruption


def seconds_asked(header: str | None) -> float:
    """Return the seconds a header ``Retry-After`` asks to wait; 0 without a number."""
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 0.0


def one_line(reason: object) -> str:
    """Return the begin of a library's message, without line breaks."""
    return " ".join(str(reason).split())[:160]
