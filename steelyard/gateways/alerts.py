"""Alerts: messages for the operator, kept until every channel has accepted them.

An alert is a file in ``open/`` before it is sent and moves to ``sent/`` afterwards, so that neither
a channel that is down nor a crash loses one. Each channel is recorded by a hash of its address; the
address itself carries a token and is never written.
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

from steelyard.gateways.files import private_folder, write_whole
from steelyard.gateways.outside import in_terminal
from steelyard.values import FrozenModel

CONNECT_SECONDS, READ_SECONDS = 2.0, 3.0
KEEP_SECONDS = 5
MAX_ATTEMPTS = 20
LONGEST_WAIT = timedelta(days=14)
TALKATIVE = ("apprise", "urllib3.connectionpool", "requests")
"""Loggers that would write a channel's address with its token."""


class Alert(FrozenModel):
    """A message for the operator.

    Attributes:
        key: Identifies the event; each key is sent once.
        at: When it happened.
        kind: cut, disable, demotion, rollback, lease, state, sample ratio, quarantine, silence,
            stale, health, drift, approval, trading, unprotected or flow.
        title: What happened, in one line.
        figure: The value and its bound; empty if there is none.
        advice: What to do.
        link: Page of the run; empty if there is none.
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
        """Figure, advice and link, one per line."""
        return "\n".join(line for line in (self.figure, self.advice, self.link) if line)


class StoredAlert(FrozenModel):
    """An alert and the progress of its delivery.

    Attributes:
        alert: The alert.
        kept_at: When it was stored; the event may be older.
        taken: Channels that accepted it, by the hash of their address.
        attempts: Number of attempts.
        last_tried: Time of the last attempt; None before the first.
        trouble: Why it is not delivered; names channels by their number in the configuration.
        given_up: Whether delivery ended without success after ``MAX_ATTEMPTS`` or
            ``LONGEST_WAIT``.
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
    """The alerts of a home and the channels they are sent to.

    No method raises: the caller has something more important to do than to send an alert.

    Attributes:
        folder: Folder of the alerts.
        channels: Addresses in apprise's form.
    """

    folder: Path
    channels: tuple[str, ...] = field(repr=False)

    def post(self, alert: Alert) -> None:
        """Store an alert, once per key, and try to send it; earlier ones wait for ``deliver``."""
        try:
            file = self._store(alert)
        except OSError:
            _deliver(alert, self.channels, ())  # on a full disk it is sent all the same
            return
        if file is not None:
            with suppress(OSError), FileLock(self.folder / ".delivering", timeout=KEEP_SECONDS):
                self._try_sending(file)

    def _store(self, alert: Alert) -> Path | None:
        """Write an alert to its file and return the file; None if it was stored before."""
        name = f"{hashlib.sha256(alert.key.encode()).hexdigest()[:16]}.json"
        for folder in (self._open, self._sent):
            private_folder(folder)
        with FileLock(self.folder / ".keeping", timeout=KEEP_SECONDS):
            if (self._open / name).exists() or (self._sent / name).exists():
                return None
            stored = StoredAlert(alert=alert, trouble="not tried yet")
            write_whole(self._open / name, stored.model_dump_json(indent=1))
            return self._open / name

    def deliver(self) -> int:
        """Send every open alert to the channels that lack it, and return how many stay open.

        Does nothing while another process is delivering.
        """
        with suppress(OSError), FileLock(self.folder / ".delivering", timeout=0):
            for file in sorted(self._open.glob("*.json")):
                self._try_sending(file)
        return len(self.open())

    def _try_sending(self, file: Path) -> None:
        stored = _read(file)
        if stored is None:
            return
        now = datetime.now(UTC)
        taken, trouble = _deliver(stored.alert, self.channels, stored.taken)
        attempts = stored.attempts + (1 if self.channels else 0)
        exhausted = attempts >= MAX_ATTEMPTS or now - stored.kept_at > LONGEST_WAIT
        final = bool(self.channels) and exhausted
        progress = {"taken": taken, "attempts": attempts, "last_tried": now, "trouble": trouble}
        stored = stored.model_copy(update={**progress, "given_up": bool(trouble) and final})
        write_whole(file, stored.model_dump_json(indent=1))
        if not trouble or final:
            os.replace(file, self._sent / file.name)

    def open(self) -> list[StoredAlert]:
        """Return the alerts not every channel has accepted, oldest first, with unreadable files."""
        alerts = [_read(file) or _damaged(file) for file in self._open.glob("*.json")]
        return sorted(alerts, key=lambda stored: stored.alert.at)

    def recent(self, limit: int) -> list[StoredAlert]:
        """Return the latest alerts, delivered or not, newest first, at most ``limit``."""
        sent = [stored for file in self._sent.glob("*.json") if (stored := _read(file))]
        alerts = sorted([*self.open(), *sent], key=lambda stored: stored.alert.at, reverse=True)
        return alerts[:limit]

    @property
    def changed_at(self) -> float:
        """When an alert was last posted, tried or delivered, seconds since 1970; 0 without any."""
        folders = [folder for folder in (self._open, self._sent) if folder.is_dir()]
        return max((folder.stat().st_mtime for folder in folders), default=0.0)

    @property
    def _open(self) -> Path:
        return self.folder / "open"

    @property
    def _sent(self) -> Path:
        return self.folder / "sent"


def _deliver(
    alert: Alert, channels: tuple[str, ...], taken: tuple[str, ...]
) -> tuple[tuple[str, ...], str]:
    """Return the channels that have accepted the alert, and the problems of the others."""
    if not channels:
        return taken, "no channel configured"
    problems = []
    for number, channel in enumerate(channels, start=1):
        address_hash = hashlib.sha256(channel.encode()).hexdigest()[:12]
        if address_hash in taken:
            continue
        problem = _send(alert, channel)
        if problem:
            problems.append(f"channel {number} {problem}")
        else:
            taken = (*taken, address_hash)
    return taken, "; ".join(problems)


def _send(alert: Alert, channel: str) -> str:
    """Send an alert to one channel and return the problem; empty if it was accepted."""
    import apprise

    with _silence():
        try:
            sender: Any = apprise.Apprise.instantiate(channel)
            if sender is None:
                return "has an address that apprise does not know"
            sender.socket_connect_timeout = CONNECT_SECONDS
            sender.socket_read_timeout = READ_SECONDS
            notifier = apprise.Apprise(sender)
            accepted = notifier.notify(
                title=in_terminal(" ".join(f"Steelyard: {alert.title}".splitlines())),
                body=in_terminal(alert.body),
                body_format=apprise.NotifyFormat.TEXT,  # escaped where a channel shows HTML
            )
            return "" if accepted else "did not accept it"
        except Exception as error:  # noqa: BLE001  # code of 100 services; no alert may stop a flow
            return f"failed with {type(error).__name__}"


@contextmanager
def _silence() -> Iterator[None]:
    """Drop this thread's log lines from libraries that would write a token."""
    this_thread = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != this_thread

    loggers = [logging.getLogger(name) for name in TALKATIVE]
    for logger in loggers:
        logger.addFilter(others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(others)


def _read(file: Path) -> StoredAlert | None:
    try:
        return StoredAlert.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _damaged(file: Path) -> StoredAlert:
    at = datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.exists() else datetime.now(UTC)
    alert = Alert(
        key=file.name,
        at=at,
        kind="alert",
        title="an alert cannot be read",
        advice=f"Read {file}, then delete it.",
    )
    return StoredAlert(alert=alert, trouble=f"cannot be read: {file.name}")
