"""A lineage with a history, every server that shows it, and a real browser."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from factories.lived import BEGAN, END, Lived
from factories.running_up import running_up
from steelyard.environment import go_offline
from steelyard.flows.replay import replay
from steelyard.home import open_home
from steelyard.tasks.pages import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

go_offline()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", type=Path, help="Folder to keep what the browser saw in.")


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("e2e")
    home = folder / "home"
    replay.fn("simulated:dying", BEGAN, END, trials=6, retrain_days=60, home=str(home))
    with running_up(
        folder, home, {"source": {"kind": "simulated", "edge": "dying", "calendar": "24/7"}}
    ) as up:
        stores = open_home(home, up.conf)
        written = write_report(stores, END, home / "lineage.html")
        yield Lived(up, home / "lineage.html", written.document.status.answer)


@pytest.fixture(scope="session")
def browser(
    lived: Lived,
) -> Iterator[Browser]:  # which began before: where a browser runs, no flow may start a loop
    browser_file = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser_file, (
        f"no browser: install Debian's chromium, or put one of {', '.join(BROWSERS)} on the path"
    )
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser_file, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Save a screenshot if a folder for it was given."""
    folder: Path | None = request.config.getoption("--pictures")

    def keep(page: Page, name: str) -> None:
        if folder:
            page.wait_for_timeout(1500)  # until what fades in has
            page.screenshot(path=folder / f"{name}.png")

    return keep
