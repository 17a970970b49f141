"""What the live page has around the report: its bar, the index of lineages and short messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files

from steelyard.views.html import render_template

SCRIPT = "/htmx.js"
"""Path of the script that keeps the page fresh."""
NO_REPORT = "none"
"""What a browser has seen that shows no report yet."""


@dataclass(frozen=True, slots=True)
class LiveBar:
    """What stands above the report on the live page.

    Attributes:
        lineage: Name of the lineage.
        links: Link text → address of the other pages.
        script: Path of htmx.
    """

    lineage: str
    links: Mapping[str, str]
    script: str = SCRIPT

    @property
    def base(self) -> str:
        """Path of the lineage's pages, without a slash at its end."""
        return f"/{self.lineage}"


@cache
def script() -> bytes:
    """Return htmx, as the package carries it."""
    return files("steelyard.views").joinpath("static", "htmx.min.js").read_bytes()


def freshness(bar: LiveBar, etag: str, at: datetime | None, now: datetime, fault: str) -> str:
    """Return the line that says how fresh the page is, as a part of the page.

    Args:
        bar: Bar of the page.
        etag: Hash of the newest page; empty before the first.
        at: When it was rendered (UTC); None before the first.
        now: Present time (UTC).
        fault: Why there is no newer page; empty if there is.
    """
    return render_template(
        "live_freshness",
        bar=bar,
        seen=etag or NO_REPORT,
        at=at,
        now=now,
        age="" if at is None else age_words((now - at).total_seconds()),
        fault=fault,
    )


def age_words(seconds: float) -> str:
    """Return an age in the largest unit it has two of, such as "3 minutes"."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}s"
    return f"{max(seconds, 0):.0f} seconds"


def message_page(bar: LiveBar, title: str, message: str) -> str:
    """Return a page with one message in place of the report.

    Args:
        bar: Bar of the page.
        title: Its heading.
        message: What there is to know.
    """
    return render_template("live_message", live=bar, title=title, message=message)


def index_page(lineages: Sequence[LiveBar]) -> str:
    """Return the page that leads to every lineage."""
    return render_template("live_index", live=None, lineages=lineages, title="Steelyard")
