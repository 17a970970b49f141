"""The documentation as one site, opened from its files without a network."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

SITE = Path(__file__).parents[1] / "build" / "site"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_is_searched_without_a_network(browser: Browser, scheme: str) -> None:
    """A search leads to its page; nothing is fetched from elsewhere, axe-core finds nothing."""
    assert SITE.is_dir(), "make docs builds the site"
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((SITE / "index.html").as_uri())

    page.locator(".md-search__input").click()
    page.keyboard.type("evidence")
    page.locator(".md-search-result__link").first.click()

    expect(page.locator("h1")).to_have_text(re.compile("^Evidence"))
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    violations = Axe().run(page, context=".md-content").response["violations"]
    assert [violation["id"] for violation in violations] == []
    context.close()
