"""What the operator does from the page: the commands of the terminal, in processes of their own."""

import secrets
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass

from steelyard.environment import child_environment
from steelyard.home import Home
from steelyard.views.live import Command

LONGEST_SECONDS = 300.0
"""Time after which a command is ended, seconds."""
MOST_TICKETS = 1000
"""Forms that may be open at once; the oldest can no longer be sent."""


class Tickets:
    """Tokens of the forms that were handed out; each is good for one sending.

    Another page cannot read one, so it cannot send a form with the login of the operator's browser,
    and a form that is sent twice acts once. A restart of the process voids all.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, None] = OrderedDict()

    def issue(self) -> str:
        """Return a new token."""
        token = secrets.token_urlsafe(24)
        self._open[token] = None
        if len(self._open) > MOST_TICKETS:
            self._open.popitem(last=False)
        return token

    def redeem(self, token: str) -> bool:
        """Return whether the token was handed out and is used for the first time."""
        return self._open.pop(token, self) is None


@dataclass(frozen=True, slots=True)
class Ended:
    """Whether a command did what it was asked, and what it printed."""

    worked: bool
    words: str


def run(home: Home, command: Command, operator: str) -> Ended:
    """Run a command, which has its own lock, journal entry and alerts.

    Args:
        home: Home of the lineage; any of them if the command is for all.
        command: What the operator asks for.
        operator: Name of the operator, for the journal.
    """
    line = (sys.executable, "-m", "steelyard", *arguments(home, command, operator))
    try:
        ended = subprocess.run(
            line,
            capture_output=True,
            text=True,
            check=False,
            env=child_environment(COLUMNS="100"),
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Ended(False, "the command has not ended after five minutes; see steelyard status")
    if ended.returncode:
        return Ended(False, (ended.stderr.strip().splitlines() or ["it failed without a word"])[-1])
    return Ended(True, ended.stdout.strip())


def arguments(home: Home, command: Command, operator: str) -> list[str]:
    """Return the arguments of the command line; no text of the form can be taken for an option.

    Args:
        home: Home of the lineage; any of them if the command is for all.
        command: What the operator asks for.
        operator: Name of the operator, for the journal.
    """
    return [
        command.name,
        *([command.version] if command.version else []),
        f"--reason={command.reason}",
        f"--by={operator}",
        f"--home={home.folder}",
        *([f"--conf={home.conf}"] if home.conf else []),
        *(["--all"] if command.every else [f"--lineage={home.lineage}"] if home.lineage else []),
    ]
