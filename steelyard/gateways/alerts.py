"""Alerts: what an operator must be told, kept until every channel has taken it.

An alert is a file in ``open/`` before it is sent anywhere, and moves to ``sent/`` afterwards, so that neither a channel that
is down nor a process that dies loses one. Each channel is remembered by a hash of its address: the address itself, which
carries its token, is written nowhere.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import AwareDatetime, Field

from steelyard.gateways.files import write_whole
from steelyard.values import FrozenModel

CONNECT_SECONDS, READ_SECONDS = 2.0, 3.0
KEEP_SECONDS = 5
MAX_ATTEMPTS = 20
LONGEST_WAIT = timedelta(days=14)
TALKATIVE = ("apprise", "urllib3.connectionpool", "requests")
"""Loggers that would write a channel's address, token and all."""


class Alert(FrozenModel):
    """Something an operator must be told.

    Attributes:
        key: The same event has the same key and is told once.
        at: When it happened.
        kind: cut, disable, demotion, rollback, lease, state, sample ratio, quarantine, silence, health, drift or flow.
        title: What happened, in one line.
        figure: The figure and its bound; empty where there is none.
        advice: What to do.
        link: Page of the run; empty where there is none.
    """

    key: str
    at: AwareDatetime
    kind: str
    title: str
    figure: str = ""
    advice: str
    link: str = ""

    @property
    def body(self) -> str:
        """Figure, advice and link, one a line."""
        return "\n".join(line for line in (self.figure, self.advice, self.link) if line)


class Stored(FrozenModel):
    """An alert and how far it came.

    Attributes:
        kept_at: When it was posted; what happened may lie further back.
        taken: Channels that took it, by the hash of their address.
        attempts: How often it was tried.
        trouble: Why it is still here; names channels by their place in the configuration.
        given_up: Nobody took it in ``MAX_ATTEMPTS`` attempts or ``LONGEST_WAIT``.
    """

    alert: Alert
    kept_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    taken: tuple[str, ...] = ()
    attempts: int = 0
    last_tried: AwareDatetime | None = None
    trouble: str = ""
    given_up: bool = False


@dataclass(frozen=True)
class Alerts:
    """The alerts of a home, in a folder of its own, and the channels they go to (addresses in apprise's form).

    No method raises: whoever has something to tell has something more important to do than to tell it.
    """

    folder: Path
    channels: tuple[str, ...] = field(repr=False)

    def post(self, alert: Alert) -> None:
        """Keep an alert, once for each key, and try to deliver it; the ones before it wait for ``deliver``."""
        try:
            file = self._keep(alert)
        except OSError:
            _deliver(alert, self.channels, ())  # a full disk is when it counts
            return
        if file is not None:
            with suppress(OSError), FileLock(self.folder / ".delivering", timeout=KEEP_SECONDS):
                self._try(file)

    def _keep(self, alert: Alert) -> Path | None:
        """Write an alert down; returns its file, None where it was there already."""
        name = f"{hashlib.sha256(alert.key.encode()).hexdigest()[:16]}.json"
        for folder in (self._open, self._sent):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".keeping", timeout=KEEP_SECONDS):
            if (self._open / name).exists() or (self._sent / name).exists():
                return None
            stored = Stored(alert=alert, trouble="not tried yet")
            write_whole(self._open / name, stored.model_dump_json(indent=1))
            return self._open / name

    def deliver(self) -> int:
        """Try every open alert on the channels that have not taken it; returns how many stay open.

        Where another process is delivering, it is left to that one.
        """
        with suppress(OSError), FileLock(self.folder / ".delivering", timeout=0):
            for file in sorted(self._open.glob("*.json")):
                self._try(file)
        return len(self.open())

    def _try(self, file: Path) -> None:
        stored = _read(file)
        if stored is None:
            return
        now = datetime.now(UTC)
        taken, trouble = _deliver(stored.alert, self.channels, stored.taken)
        attempts = stored.attempts + (1 if self.channels else 0)
        over = bool(self.channels) and (
            attempts >= MAX_ATTEMPTS or now - stored.kept_at > LONGEST_WAIT
        )
        tried = {"taken": taken, "attempts": attempts, "last_tried": now, "trouble": trouble}
        stored = stored.model_copy(update={**tried, "given_up": bool(trouble) and over})
        write_whole(file, stored.model_dump_json(indent=1))
        if not trouble or over:
            os.replace(file, self._sent / file.name)

    def open(self) -> list[Stored]:
        """Return what no channel, or not every channel, has taken yet, oldest first; a damaged file with a word about it."""
        found = [(file, _read(file)) for file in self._open.glob("*.json")]
        return sorted(
            (stored or _damaged(file) for file, stored in found), key=lambda stored: stored.alert.at
        )

    def recent(self, most: int) -> list[Stored]:
        """Return the latest alerts, delivered or not, newest first."""
        sent = [stored for file in self._sent.glob("*.json") if (stored := _read(file))]
        return sorted([*self.open(), *sent], key=lambda stored: stored.alert.at, reverse=True)[
            :most
        ]

    @property
    def _open(self) -> Path:
        return self.folder / "open"

    @property
    def _sent(self) -> Path:
        return self.folder / "sent"


def _deliver(
    alert: Alert, channels: tuple[str, ...], taken: tuple[str, ...]
) -> tuple[tuple[str, ...], str]:
    """Return the channels that have taken the alert now, and what is wrong with the others in one line."""
    if not channels:
        return taken, "no channel configured"
    trouble = []
    for place, channel in enumerate(channels, start=1):
        mark = hashlib.sha256(channel.encode()).hexdigest()[:12]
        if mark in taken:
            continue
        wrong = _send(alert, channel)
        if wrong:
            trouble.append(f"channel {place} {wrong}")
        else:
            taken = (*taken, mark)
    return taken, "; ".join(trouble)


def _send(alert: Alert, channel: str) -> str:
    """Send an alert to one channel; returns what is wrong, empty for nothing."""
    import apprise

    with _silence():
        try:
            sender: Any = apprise.Apprise.instantiate(channel)
            if sender is None:
                return "is not an address apprise knows"
            sender.socket_connect_timeout, sender.socket_read_timeout = (
                CONNECT_SECONDS,
                READ_SECONDS,
            )
            return (
                ""
                if sender.notify(title=f"Steelyard: {alert.title}", body=alert.body)
                else "did not take it"
            )
        except Exception as error:  # noqa: BLE001  # a hundred services' code; no alert may ever stop a flow
            return f"failed with {type(error).__name__}"


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what this thread logs through libraries that would write down a token."""
    mine = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != mine

    loggers = [logging.getLogger(name) for name in TALKATIVE]
    for logger in loggers:
        logger.addFilter(others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(others)


def _read(file: Path) -> Stored | None:
    try:
        return Stored.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _damaged(file: Path) -> Stored:
    at = datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.exists() else datetime.now(UTC)
    alert = Alert(
        key=file.name,
        at=at,
        kind="alert",
        title="an alert that cannot be read",
        advice=f"look at {file}",
    )
    return Stored(alert=alert, trouble=f"cannot be read: {file.name}")
