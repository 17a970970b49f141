"""What the live page has around the report: its bar, the index of lineages and short messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files

from steelyard.views.html import render_template
from steelyard.views.records import VersionRecord

SCRIPT = "/htmx.js"
"""Path of the script that keeps the page fresh."""
NO_REPORT = "none"
"""What a browser has seen that shows no report yet."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action of the operator.

    Attributes:
        title: What its link and button say.
        consequence: What it does, in a sentence.
    """

    title: str
    consequence: str


ACTIONS = {
    "hold": Action("Hold", "The weight stays where it is; a breached limit still lowers it."),
    "resume": Action("Resume", "The weight may move again."),
    "rollback": Action(
        "Roll back",
        "The weight is 0 at once, and orders that only the model wanted are cancelled. The model "
        "must be retrained and requalify from shadow.",
    ),
    "approve": Action(
        "Approve",
        "A version that looked too good to be true is compared with the champion, and serves if it "
        "wins.",
    ),
}
"""Command → the action of the page."""


@dataclass(frozen=True, slots=True)
class Command:
    """What the operator asks for.

    Attributes:
        name: Key of ``ACTIONS``.
        reason: Why, in one line.
        version: Number of the version to approve; empty for the other actions.
        every: Whether it is for all lineages of the home.
    """

    name: str
    reason: str
    version: str = ""
    every: bool = False


@dataclass(frozen=True, slots=True)
class LiveBar:
    """What stands above the report on the live page.

    Attributes:
        lineage: Name of the lineage; empty for the page of all.
        links: Link text → address of the other pages.
        version: Hash of the report below; ``NO_REPORT`` without one.
        script: Path of htmx.
    """

    lineage: str
    links: Mapping[str, str]
    version: str = NO_REPORT
    script: str = SCRIPT

    @property
    def allowed(self) -> tuple[str, ...]:
        """Keys of ``ACTIONS`` that can be done here; to all lineages at once only a rollback."""
        return tuple(ACTIONS) if self.lineage else ("rollback",)

    @property
    def actions(self) -> Mapping[str, str]:
        """Title → path of the forms of all actions."""
        return {ACTIONS[name].title: f"{self.base}/actions/{name}" for name in self.allowed}

    @property
    def base(self) -> str:
        """Path of the lineage's pages, without a slash at its end."""
        return f"/{self.lineage}" if self.lineage else ""


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


def message_page(bar: LiveBar | None, title: str, message: str) -> str:
    """Return a page with one message in place of the report.

    Args:
        bar: Bar of the page; None without one.
        title: Its heading.
        message: What there is to know.
    """
    return render_template("live_message", live=bar, title=title, message=message)


def index_page(bar: LiveBar, answers: Mapping[str, str]) -> str:
    """Return the page that leads to every lineage.

    Args:
        bar: Bar of the page of all lineages.
        answers: Lineage → what its model decides, in a sentence.
    """
    return render_template("live_index", live=bar, answers=answers, title="All lineages")


def action_page(
    bar: LiveBar,
    name: str,
    answers: Mapping[str, str],
    operator: str,
    token: str,
    versions: Sequence[VersionRecord] = (),
    complaint: str = "",
) -> str:
    """Return the form of an action, which asks for a reason.

    Args:
        bar: Bar of the page.
        name: Key of ``ACTIONS``.
        answers: Lineage that it is about → what its model decides now, in a sentence.
        operator: Name that the journal will hold.
        token: Token of the form, good for one sending.
        versions: Versions to choose from; none but for an approval.
        complaint: What was wrong with the form that was sent before; empty for the first.
    """
    return render_template(
        "live_action",
        live=bar,
        title=ACTIONS[name].title,
        name=name,
        action=ACTIONS[name],
        answers=answers,
        operator=operator,
        token=token,
        versions=versions,
        complaint=complaint,
    )


def done_page(bar: LiveBar, name: str, words: str, *, worked: bool) -> str:
    """Return what became of an action.

    Args:
        bar: Bar of the page.
        name: Key of ``ACTIONS``.
        words: What the command printed.
        worked: Whether it did what it was asked.
    """
    outcome = "done" if worked else "refused or failed"
    title = f"{ACTIONS[name].title}: {outcome}"
    return render_template("live_done", live=bar, title=title, words=words)
