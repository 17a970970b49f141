"""The report, Prefect's page of a run and MLflow's page of the model in a real browser."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from factories.lived import BEGAN, END, Lived
from steelyard.home import open_home
from steelyard.queries.account import NEWEST
from steelyard.queries.books import held_predictions

Keep = Callable[[Page, str], None]
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
MODEL = "signal-confidence"
PATIENCE_MS = 30_000


@pytest.fixture(
    params=[("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)],
    ids=["light", "dark", "phone-light", "phone-dark"],
)
def report(request: pytest.FixtureRequest, browser: Browser, lived: Lived) -> Iterator[Page]:
    """The report, opened from its file without network."""
    scheme, size = request.param
    context = browser.new_context(color_scheme=scheme, viewport=size, offline=True)
    page = context.new_page()
    page.complaints = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
    page.goto(lived.report.as_uri())
    yield page
    context.close()


@pytest.fixture
def page(browser: Browser, lived: Lived) -> Iterator[Page]:
    """A page in a browser that knows the login, as MLflow's asks for it."""
    user, _, password = lived.up.login.partition(":")
    context = browser.new_context(
        viewport=DESKTOP, http_credentials={"username": user, "password": password}
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def test_the_report_says_the_answer_first_and_draws_it(
    report: Page, lived: Lived, picture: Keep, request: pytest.FixtureRequest
) -> None:
    """The answer is on the first screen, every chart is drawn, nothing overflows or fails."""
    drawn = report.locator("figure svg:visible")

    expect(report.get_by_text(lived.answer, exact=True)).to_be_in_viewport()
    assert drawn.count() >= 4
    for number in range(drawn.count()):
        box = drawn.nth(number).bounding_box()
        assert box
        assert box["width"] > 300
    assert report.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert report.complaints == []  # type: ignore[attr-defined]
    picture(report, f"report-{request.node.callspec.id}")


def test_the_figures_of_the_report_are_the_ledgers(report: Page, lived: Lived) -> None:
    """Gains, trades and filters agree with the settled rows; a trade opens to its chart."""
    home = open_home(lived.report.parent, lived.up.conf)
    held = held_predictions(home, BEGAN, END)
    traded = held[held["decision_taken"] | held["baseline_taken"]]
    newest = traded.sort_values(["decided_at", "signal_id"], ascending=False).head(NEWEST)
    blended, baseline = (100 * held[f"{book}_return"].sum() for book in ("blended", "baseline"))
    trades = report.locator("#trade-list details")

    gain = report.locator(".pair tbody tr").first
    expect(gain).to_contain_text(f"{blended:+.2f}")
    expect(gain).to_contain_text(f"{baseline:+.2f}")
    expect(report.locator("section.card .big").first).to_contain_text(f"{blended - baseline:+.2f}")
    assert trades.count() == len(newest)
    expect(trades.first).to_contain_text(newest["symbol"].iloc[0])
    expect(trades.first).to_contain_text(f"{newest['decided_at'].iloc[0]:%Y-%m-%d %H:%M}")

    report.select_option("select[name=result]", "lost")
    report.select_option("select[name=side]", "sell")
    lost = newest[~newest["won"].astype(bool) & (newest["side"] == "sell")]
    assert report.locator("#trade-list details:visible").count() == len(lost) > 0
    expect(report.get_by_text(f"{len(lost)} shown")).to_be_visible()
    opened = report.locator("#trade-list details:visible").first
    opened.locator("summary").click()
    expect(opened.locator("svg.candles")).to_be_visible()
    expect(opened.get_by_text(f"steelyard why {lost['signal_id'].iloc[0]}")).to_be_visible()
    assert report.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_everybody_can_read_the_report(report: Page) -> None:
    """axe-core finds no violation in light mode, in dark mode and on a phone."""
    violations = Axe().run(report).response["violations"]

    broken = {rule["id"]: [node["target"] for node in rule["nodes"]][:3] for rule in violations}
    assert broken == {}


def test_the_report_is_walked_by_keyboard(report: Page) -> None:
    """Tab reaches the decisions, Enter opens the rules of one."""
    summary = report.locator("#decisions summary").first
    for _ in range(400):
        report.keyboard.press("Tab")
        if summary.evaluate("element => element === document.activeElement"):
            break
    report.keyboard.press("Enter")

    assert summary.evaluate("element => element.parentElement.open")


def log_in(page: Page, lived: Lived) -> None:
    """Give Prefect's page the login it asks for."""
    page.goto(lived.up.prefect)
    page.locator("input[type=password]").fill(lived.up.login)
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard*")


def test_strangers_see_nothing(browser: Browser, lived: Lived) -> None:
    """Without the login Prefect shows its form, and MLflow nothing."""
    context = browser.new_context(viewport=DESKTOP)
    stranger = context.new_page()
    stranger.goto(f"{lived.up.prefect}/runs")
    expect(stranger.locator("input[type=password]")).to_be_visible()
    answer = stranger.request.get(f"{lived.up.mlflow}/")

    assert answer.status == 401
    context.close()


def test_the_page_of_a_run_says_what_was_decided_and_why(
    page: Page, lived: Lived, picture: Keep
) -> None:
    """Prefect's page of an evaluation shows verdict, rules, bounds and a link to MLflow."""
    run = lived.up.completed("weight/daily-weight", as_of=END.isoformat())
    verdict = re.search(r"\*\*(.+)\*\* \(weight\)", lived.up.artifacts(run)["weight-summary"])
    assert verdict

    log_in(page, lived)
    page.goto(f"{lived.up.prefect}/runs/flow-run/{run}")
    page.get_by_role("listitem").filter(has_text="Artifacts").click()
    expect(page.get_by_text(f"{verdict[1]} (weight), phase").first).to_be_visible()
    page.get_by_role("link", name="weight-summary").click()
    expect(page.get_by_text("step up:").first).to_be_visible()
    expect(page.get_by_role("cell", name="raise_accuracy")).to_be_visible()
    picture(page, "prefect")
    link = page.get_by_role("link", name="The decision in MLflow").first
    expect(link).to_have_attribute("href", re.compile(re.escape(lived.up.mlflow)))


def test_the_page_of_the_model_says_what_it_may_decide(
    page: Page, lived: Lived, picture: Keep
) -> None:
    """MLflow's page of the model shows weight, phase and champion at first sight."""
    page.goto(f"{lived.up.mlflow}/#/models/{MODEL}")

    expect(page.get_by_role("cell", name="ml_weight")).to_be_visible()
    expect(page.get_by_role("cell", name="expansion", exact=True)).to_be_visible()
    expect(page.get_by_text("champion").first).to_be_visible()
    page.get_by_role("button", name="Close").first.click()
    picture(page, "mlflow")


def test_a_decision_in_mlflow_shows_its_picture(page: Page, lived: Lived) -> None:
    """The artifact of the run is a picture the browser draws."""
    summary = lived.up.artifacts(lived.up.completed("weight/daily-weight", as_of=END.isoformat()))[
        "weight-summary"
    ]
    address = re.search(r"The decision in MLflow\]\((.+?)\)", summary)
    assert address

    page.goto(f"{address[1]}/artifacts")
    page.get_by_text("decision.png").first.click()
    drawn = page.locator("img").last
    expect(drawn).to_be_visible()
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 400)")


def test_a_training_is_asked_for_in_a_form(page: Page, lived: Lived) -> None:
    """Prefect's form shows trials, families, reason and symbols, each with its description."""
    deployment = lived.up.api("deployments/name/train/weekly")["id"]
    log_in(page, lived)
    page.goto(f"{lived.up.prefect}/deployments/deployment/{deployment}/run")

    for label in (
        "Trials (Optional)",
        "Families (Optional)",
        "Reason (Optional)",
        "Symbols (Optional)",
    ):
        expect(page.get_by_text(label, exact=True).first).to_be_visible()


def test_the_live_page_follows_what_the_operator_does(
    page: Page, lived: Lived, picture: Keep
) -> None:
    """A hold with its reason is done from a form, and an open page shows it without a reload."""
    page.complaints = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
    page.goto(f"{lived.up.page}/")
    expect(page.get_by_role("status")).to_contain_text("Up to date at", timeout=PATIENCE_MS)
    expect(page.get_by_text("held by an operator")).to_have_count(0)
    page.evaluate("window.opened = true")
    picture(page, "live")

    form = page.context.new_page()
    form.set_viewport_size(PHONE)
    form.goto(f"{lived.up.page}/")
    assert form.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    form.get_by_role("link", name="Hold").click()
    form.get_by_label("Reason").fill("a look at <b>fills</b>")
    picture(form, "live-form")
    form.get_by_role("button", name="Hold").click()
    heading = form.get_by_role("heading", level=1)
    expect(heading).to_have_text("Hold: done", timeout=PATIENCE_MS)

    expect(page.get_by_text("held by an operator").first).to_be_visible(timeout=PATIENCE_MS)
    assert page.evaluate("window.opened")
    assert page.complaints == []  # type: ignore[attr-defined]
    entry = open_home(lived.up.home, lived.up.conf).journal.entries(last=1)[0].decision
    assert (entry.kind, entry.operator) == ("hold", "steelyard")
    assert "a look at <b>fills</b>" in entry.reasons[0]
