"""The live page over HTTP: read only, behind the gate of ``steelyard up``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from steelyard.desk.state_watch import system_clock
from steelyard.errors import SteelyardError
from steelyard.home import Home
from steelyard.ops.live.actions import Tickets, run
from steelyard.ops.live.metrics import Metrics, RunsReader
from steelyard.ops.live.page import LivePage
from steelyard.queries.records import version_record
from steelyard.queries.status import answer_now
from steelyard.queries.versions import may_be_approved
from steelyard.views import live
from steelyard.views.live import NO_REPORT, SCRIPT, LiveBar

LONGEST_REASON = 500
"""Length of a reason, characters."""
Fields = dict[str, str]
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # without any, a browser hides the origin of a form
    "X-Content-Type-Options": "nosniff",
}
"""A page is asked for again each time, loads nothing from elsewhere, and stands in no frame."""


def live_pages(homes: Iterable[Home]) -> dict[str, LivePage]:
    """Return the page of every lineage, by name.

    Args:
        homes: One opened home per lineage.
    """
    pages = {}
    for home in homes:
        name, services = home.settings.services.lineage, home.settings.services
        links = {"All lineages": "/"} if services.is_one_of_several else {}
        links |= {"Prefect": home.settings.up.prefect_page, "MLflow": services.pages}
        pages[name] = LivePage(home, LiveBar(name, links))
    return pages


def application(
    pages: Mapping[str, LivePage], operator: str, read_runs: RunsReader = lambda: None
) -> FastAPI:
    """Return the application that serves the pages.

    Args:
        pages: Page of every lineage, by name.
        operator: Name of the operator, for the journal: the user of the login.
        read_runs: Returns the figures of Prefect's server; None if it gives none.
    """
    homes = {lineage: page.home for lineage, page in pages.items()}
    site = _Site(pages, operator, Metrics(homes, read_runs))
    app = FastAPI(title="Steelyard", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(SteelyardError, _unavailable)
    app.add_exception_handler(Exception, _unexpected)
    app.add_api_route("/health", site.health)
    app.add_api_route(SCRIPT, site.script)
    app.add_api_route("/metrics", site.metrics)
    app.add_api_route("/", site.index)
    app.add_api_route("/actions/{name}", site.form)
    app.add_api_route("/actions/{name}", site.act, methods=["POST"])
    app.add_api_route("/{lineage}/", site.report)
    app.add_api_route("/{lineage}/freshness", site.freshness)
    app.add_api_route("/{lineage}/actions/{name}", site.form)
    app.add_api_route("/{lineage}/actions/{name}", site.act, methods=["POST"])
    return app


async def fields(request: Request) -> Fields:
    """Return the fields of the form that a request sends, the last of each name."""
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What an action is about: the bar of its pages, and one lineage or all, at least one."""

    bar: LiveBar
    pages: tuple[LivePage, ...]

    @property
    def answers(self) -> dict[str, str]:
        """Lineage → what its model decides."""
        return {page.bar.lineage: _answer(page.home) for page in self.pages}


class _Site:
    """What the paths answer; those that read the stores run in threads."""

    def __init__(self, pages: Mapping[str, LivePage], operator: str, metrics: Metrics) -> None:
        self._pages = pages
        self._metrics = metrics
        self._operator = operator
        self._tickets = Tickets()

    async def health(self) -> Response:
        return PlainTextResponse("ok")

    async def script(self) -> Response:
        return Response(live.script(), media_type="text/javascript", headers=HEADERS)

    def metrics(self) -> Response:
        """Return the metrics of all lineages in Prometheus' text format."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    def index(self, request: Request) -> Response:
        """Return the report of the only lineage, or an index of all."""
        if len(self._pages) == 1:
            return _report(next(iter(self._pages.values())), request)
        scope = self._scope("")
        return _html(live.index_page(scope.bar, scope.answers))

    def report(self, lineage: str, request: Request) -> Response:
        """Return the report on a lineage."""
        return _report(self._page(lineage), request)

    def freshness(self, lineage: str, seen: str = "") -> Response:
        """Return how fresh the report is, and have the browser fetch it if it is another."""
        page = self._page(lineage)
        shown, now = page.current(), system_clock()
        etag, at = (shown.rendering.etag, shown.rendering.at) if shown.rendering else ("", None)
        answer = _html(live.freshness(page.bar, etag, at, now, shown.fault))
        if seen == NO_REPORT and etag:
            answer.headers["HX-Refresh"] = "true"
        elif seen and etag != seen:
            answer.headers["HX-Trigger"] = "report-changed"
        return answer

    def form(self, name: str, lineage: str = "") -> Response:
        """Return the form of an action; nothing is done before it is sent."""
        return self._form(self._scope(lineage), name)

    def act(
        self, name: str, sent: Annotated[Fields, Depends(fields)], lineage: str = ""
    ) -> Response:
        """Do what a form asks for; one that was not handed out here does nothing."""
        scope = self._scope(lineage)
        if name not in scope.bar.allowed or not self._tickets.redeem(sent.get("token", "")):
            complaint = "Nothing was done: the form was old. Send this one."
            return self._form(scope, name, 403, complaint)
        reason, version = " ".join(sent.get("reason", "").split()), sent.get("version", "")
        if not reason or len(reason) > LONGEST_REASON:
            return self._form(scope, name, 422, f"Say why, in up to {LONGEST_REASON} characters.")
        if (name == "approve") != version.isdecimal():
            return self._form(scope, name, 422, "Choose a version.")
        command = live.Command(name, reason, version, every=not lineage)
        ended = run(scope.pages[0].home, command, self._operator)
        for page in scope.pages:
            page.look_again()
        content = live.done_page(scope.bar, name, ended.words, worked=ended.worked)
        return _html(content, 200 if ended.worked else 409)

    def _form(self, scope: _Scope, name: str, status: int = 200, complaint: str = "") -> Response:
        if name not in scope.bar.allowed:
            known = ", ".join(scope.bar.allowed)
            raise HTTPException(404, f"there is no action {name}; known are {known}")
        found = scope.pages[0].home.registry.versions() if name == "approve" else []
        content = live.action_page(
            scope.bar,
            name,
            scope.answers,
            self._operator,
            self._tickets.issue(),
            [version_record(version) for version in found if may_be_approved(version)],
            complaint,
        )
        return _html(content, status)

    def _scope(self, lineage: str) -> _Scope:
        if lineage:
            page = self._page(lineage)
            return _Scope(page.bar, (page,))
        pages = tuple(self._pages.values())
        return _Scope(LiveBar("", pages[0].bar.links), pages)

    def _page(self, lineage: str) -> LivePage:
        if lineage not in self._pages:
            known = ", ".join(self._pages)
            raise HTTPException(404, f"there is no lineage {lineage}; known are {known}")
        return self._pages[lineage]


def _answer(home: Home) -> str:
    """Return what the model decides; a rollback can be asked for even if that cannot be read."""
    try:
        return answer_now(home, system_clock())
    except SteelyardError as error:
        return f"{error}."


async def _unavailable(_: Request, error: Exception) -> Response:
    return _html(live.message_page(None, "Not available now", str(error)), 503)


async def _unexpected(_: Request, error: Exception) -> Response:
    """Return one line in place of a blank; the traceback goes to the log of the process."""
    line = f"unexpected {type(error).__name__}; the traceback is in .steelyard/logs/live.log"
    return _html(live.message_page(None, "Not available now", line), 500)


def _report(page: LivePage, request: Request) -> Response:
    """Return the report; 304 if the browser has it, a message if there is none yet."""
    shown = page.current()
    if shown.rendering is None:
        return _html(live.message_page(page.bar, "No report yet", shown.fault), 503)
    etag = f'"{shown.rendering.etag}"'
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={**HEADERS, "ETag": etag})
    answer = _html(shown.rendering.content)
    answer.headers["ETag"] = etag
    return answer


def _html(content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(content, status, HEADERS)
