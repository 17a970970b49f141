"""The live page over HTTP: read only, behind the gate of ``steelyard up``."""

from collections.abc import Iterable, Mapping

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from steelyard.desk.state_watch import system_clock
from steelyard.home import Home
from steelyard.ops.live.page import LivePage
from steelyard.views import live
from steelyard.views.live import NO_REPORT, SCRIPT, LiveBar

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
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
        name = home.settings.services.lineage
        links = {"Prefect": home.settings.up.prefect_page, "MLflow": home.settings.services.pages}
        pages[name] = LivePage(home, LiveBar(name, links))
    return pages


def application(pages: Mapping[str, LivePage]) -> FastAPI:
    """Return the application that serves the pages.

    Args:
        pages: Page of every lineage, by name.
    """
    site = _Site(pages)
    app = FastAPI(title="Steelyard", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/health", site.health)
    app.add_api_route(SCRIPT, site.script)
    app.add_api_route("/", site.index)
    app.add_api_route("/{lineage}/", site.report)
    app.add_api_route("/{lineage}/freshness", site.freshness)
    return app


class _Site:
    """What the paths answer; those that read the stores run in threads."""

    def __init__(self, pages: Mapping[str, LivePage]) -> None:
        self._pages = pages

    async def health(self) -> Response:
        return PlainTextResponse("ok")

    async def script(self) -> Response:
        return Response(live.script(), media_type="text/javascript", headers=HEADERS)

    def index(self, request: Request) -> Response:
        """Return the report of the only lineage, or an index of all."""
        if len(self._pages) == 1:
            return _report(next(iter(self._pages.values())), request)
        return _html(live.index_page([page.bar for page in self._pages.values()]))

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

    def _page(self, lineage: str) -> LivePage:
        if lineage not in self._pages:
            known = ", ".join(self._pages)
            raise HTTPException(404, f"there is no lineage {lineage}; known are {known}")
        return self._pages[lineage]


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
