"""The report on a lineage, rendered once per change however many browsers look at it."""

import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from steelyard.desk.state_watch import Clock, system_clock
from steelyard.errors import SteelyardError
from steelyard.home import Home
from steelyard.queries.figures import newest_mark
from steelyard.queries.replay import last_replayed_day
from steelyard.queries.report import lineage_report
from steelyard.views.live import LiveBar
from steelyard.views.report import lineage_page

LOOK_SECONDS = 2.0
"""Shortest time for which the stores are not asked again, seconds."""
LOOK_PAUSE = 20
"""Times the duration of the last look; a home of many years is looked at less often."""
RENDER_SECONDS = 600.0
"""Age from which a page is rendered again even if nothing came: it names days and hours left."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered page.

    Attributes:
        content: The page, HTML.
        etag: Hash of its time and of the records it shows.
        at: When it was rendered (UTC).
        mark: Mark of the records it shows.
        until: Reading of the monotonic clock from which it is rendered again, seconds.
    """

    content: str
    etag: str
    at: datetime
    mark: str
    until: float


@dataclass(frozen=True, slots=True)
class Shown:
    """The last good page (None before the first), and why there is no newer one (empty: it is)."""

    rendering: Rendering | None = None
    fault: str = ""


class LivePage:
    """The page of one lineage.

    Args:
        home: Opened home of the lineage.
        bar: What stands above the report.
        clock: Returns the present time.
        ticks: Monotonic clock, seconds.
    """

    def __init__(
        self,
        home: Home,
        bar: LiveBar,
        clock: Clock = system_clock,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.home = home
        self.bar = bar
        self._clock = clock
        self._ticks = ticks
        self._rendering_lock = threading.Lock()
        self._shown = Shown()
        self._look_at = -math.inf

    def current(self) -> Shown:
        """Return the page of the newest records, or the last good one while a store is away.

        One thread renders; meanwhile the others get the page before, if there is one.
        """
        if self._rendering_lock.acquire(blocking=self._shown.rendering is None):
            try:
                self._refresh()
            finally:
                self._rendering_lock.release()
        return self._shown

    def look_again(self) -> None:
        """Ask the stores at the next request: this process has just changed something."""
        self._look_at = -math.inf

    def _refresh(self) -> None:
        if self._ticks() < self._look_at:
            return
        self._look_at = self._ticks() + LOOK_SECONDS
        try:
            self._shown = Shown(self._newest())
        except SteelyardError as error:
            self._shown = replace(self._shown, fault=str(error))

    def _newest(self) -> Rendering:
        began, last = self._ticks(), self._shown.rendering
        mark = newest_mark(self.home)
        ended = self._ticks()
        self._look_at = ended + max(LOOK_SECONDS, LOOK_PAUSE * (ended - began))
        if last is not None and last.mark == mark and self._ticks() < last.until:
            return last
        at = self._clock()
        etag = hashlib.sha256(f"{mark}{at.isoformat()}".encode()).hexdigest()[:16]
        report = lineage_report(self.home, last_replayed_day(self.home) or at)
        content = lineage_page(report, live=replace(self.bar, version=etag))
        return Rendering(content, etag, at, mark, self._ticks() + RENDER_SECONDS)
