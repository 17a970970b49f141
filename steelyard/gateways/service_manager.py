"""Signs of life to systemd: READY=1, WATCHDOG=1 and STOPPING=1, as ``man sd_notify`` describes.

A program whose loop hangs sends none, and systemd starts it again after ``WatchdogSec``.
"""

import socket
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

BEAT_SECONDS = 5.0
"""Shortest time between two signs; ``WatchdogSec`` of our units is a minute or more."""


class ServiceManager:
    """What started this process and restarts it; leaving the context says that it stops.

    Args:
        address: Path of its Unix socket, abstract if it begins with ``@``; empty if nobody listens.
    """

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Say that this process is up and works; the first time, that it is ready."""
        if not self._told:
            self._tell("READY=1")
        elif time.monotonic() - self._told > BEAT_SECONDS:
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        self._told = time.monotonic()
        if self._address:
            # Nothing of the trading side ends because systemd does not listen.
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), self._address)
