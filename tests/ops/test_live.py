"""The live page: rendered once per change, fresh in every browser, never blank."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx import Response
from starlette.testclient import TestClient

from factories.homes import LAST, pilot_home
from factories.registry import copy_mlflow
from steelyard.gateways.alerts import Alert
from steelyard.home import Home, open_home, open_lineages
from steelyard.ops.live import page as page_module
from steelyard.ops.live.actions import arguments
from steelyard.ops.live.application import application, live_pages
from steelyard.ops.live.page import LOOK_SECONDS, RENDER_SECONDS, LivePage
from steelyard.queries.report import lineage_report
from steelyard.tasks.rollback import hold_weight
from steelyard.views.lineage import LineageReport
from steelyard.views.live import Command, LiveBar, age_words
from steelyard.weight.state import initial_state

LINEAGE, TOKEN = "signal-confidence", "token of the form"


@dataclass
class Watch:
    """A page of a home in pilot, its clock, and the number of times it was rendered."""

    page: LivePage
    seconds: list[float]
    rendered: list[datetime] = field(default_factory=list)

    def later(self, seconds: float = LOOK_SECONDS) -> None:
        self.seconds[0] += seconds


@pytest.fixture
def watch(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    home, seconds = pilot_home(tmp_path, empty_mlflow), [0.0]
    links = {"Prefect": "http://127.0.0.1:4200", "MLflow": "http://127.0.0.1:5000"}
    page = LivePage(
        home,
        LiveBar(LINEAGE, links),
        clock=lambda: LAST + timedelta(seconds=seconds[0]),
        ticks=lambda: seconds[0],
    )
    watched = Watch(page, seconds)

    def counted(home: Home, as_of: datetime) -> LineageReport:
        watched.rendered.append(as_of)
        return lineage_report(home, as_of)

    monkeypatch.setattr(page_module, "lineage_report", counted)
    return watched


@pytest.fixture
def browser(watch: Watch) -> Iterator[TestClient]:
    with TestClient(
        application({LINEAGE: watch.page}, "anna"), base_url="http://127.0.0.1:8788"
    ) as client:
        yield client


def test_ten_browsers_and_no_news_cost_one_rendering(watch: Watch, browser: TestClient) -> None:
    """Refreshes without a change are 304 and small; after a change the page is another."""
    threads = [threading.Thread(target=browser.get, args=("/",)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = browser.get("/")
    watch.later()
    again = browser.get("/", headers={"If-None-Match": first.headers["etag"]})

    assert len(watch.rendered) == 1
    assert "The model decides 15.0% of the confidence; phase pilot" in first.text
    assert (again.status_code, again.text) == (304, "")
    assert browser.get(f"/{LINEAGE}/").text == first.text

    seen = {"seen": first.headers["etag"].strip('"')}
    assert "HX-Trigger" not in browser.get(f"/{LINEAGE}/freshness", params=seen).headers
    hold_weight(watch.page.home, "a look <b>", "anna", LAST)
    watch.later()
    fresh = browser.get(f"/{LINEAGE}/freshness", params=seen)
    assert fresh.headers["HX-Trigger"] == "report-changed"
    changed = browser.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, len(watch.rendered)) == (200, 2)
    assert "held by an operator" in changed.text
    assert "a look &lt;b&gt;" in changed.text
    assert "<b>" not in changed.text.partition("<main")[2]


def test_an_alert_an_outcome_and_the_time_are_news(watch: Watch) -> None:
    """What the report shows makes a new page: an alert, an outcome, and hours that passed."""
    home = watch.page.home

    def etag_later(seconds: float = LOOK_SECONDS) -> str:
        watch.later(seconds)
        rendering = watch.page.current().rendering
        assert rendering is not None
        return rendering.etag

    etags = [etag_later()]
    home.alerts.post(Alert(key="k", at=LAST, kind="cut", title="a cut", advice="look"))
    etags.append(etag_later())
    unsettled = home.ledger.unsettled()
    outcome = home.ledger.settled_predictions(datetime.min.replace(tzinfo=UTC), LAST).tail(1)
    home.ledger.record_outcomes(outcome.assign(signal_id=unsettled["signal_id"].to_numpy()))
    etags.append(etag_later())

    assert len(set(etags)) == len(watch.rendered) == 3
    etag_later(RENDER_SECONDS)
    assert len(watch.rendered) == 4


def test_a_dead_store_leaves_the_last_good_page_and_one_line(
    watch: Watch, browser: TestClient
) -> None:
    """Ledger and MLflow away: the page stays, the line says what is wrong and how old it is."""
    good, folder = browser.get("/").text, watch.page.home.folder
    ledger, mlflow = folder / ".steelyard" / "ledger.db", folder / "mlruns" / "mlflow.db"

    def is_told() -> bool:
        watch.later(180)
        line = browser.get(f"/{LINEAGE}/freshness").text
        told = 'class="fault"' in line and f"This page is of {LAST:%Y-%m-%d}" in line
        return told and browser.get("/").text == good

    with sqlite3.connect(ledger) as connection:
        connection.execute("ALTER TABLE ml_predictions RENAME TO away")
    assert is_told()
    with sqlite3.connect(ledger) as connection:
        connection.execute("ALTER TABLE away RENAME TO ml_predictions")
    mlflow.rename(folder / "away.db")
    assert is_told()
    (folder / "away.db").rename(mlflow)
    watch.later()
    assert "Up to date at" in browser.get(f"/{LINEAGE}/freshness").text


def test_before_the_first_decision_the_page_says_what_to_do(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    """One line, never a blank; the bar with its links is there, and an unknown name is 404."""
    copy_mlflow(empty_mlflow, tmp_path / "mlruns")
    page = LivePage(open_home(tmp_path), LiveBar(LINEAGE, {"Prefect": "http://p"}))
    client = TestClient(application({LINEAGE: page}, "anna"))
    answer = client.get("/")

    assert answer.status_code == 503
    assert "nothing was decided here yet; run steelyard guard" in answer.text
    assert '<a href="http://p">Prefect</a>' in answer.text
    assert client.get("/nobody/").status_code == 404
    assert "htmx" in client.get("/htmx.js").text
    assert "steelyard_prefect_up 0.0" in client.get("/metrics").text


FORMS = [
    ("rollback", {"reason": "no token"}, 403),
    ("rollback", {"reason": "a wrong token", "token": "x"}, 403),
    ("rollback", {"reason": " ", "token": TOKEN}, 422),
    ("rollback", {"reason": "x" * 501, "token": TOKEN}, 422),
    ("rollback", {"reason": "a version", "version": "1", "token": TOKEN}, 422),
    ("approve", {"reason": "no version", "token": TOKEN}, 422),
    ("approve", {"reason": "not one", "version": "--help", "token": TOKEN}, 422),
]


def test_a_form_that_was_not_handed_out_or_says_nothing_does_nothing(
    watch: Watch, browser: TestClient
) -> None:
    """The form comes again with a new token and one line that says what is missing."""
    for path, sent, status in FORMS:
        form = browser.get(f"/{LINEAGE}/actions/{path}").text
        token = sent.get("token", "").replace(TOKEN, token_of(form))
        answer = browser.post(f"/{LINEAGE}/actions/{path}", data={**sent, "token": token})

        assert "phase pilot" in form
        assert answer.status_code == status
        assert token_of(answer.text) not in ("", token)
        assert 'role="alert"' in answer.text
    assert browser.get(f"/{LINEAGE}/actions/explode").status_code == 404
    assert len(watch.page.home.journal.entries()) == 2


def token_of(form: str) -> str:
    """The token of a form."""
    found = re.search(r'name="token" value="([^"]+)"', form)
    assert found
    return found[1]


def test_a_fault_of_the_program_is_a_line_too(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a blank page; the traceback is in the log."""
    monkeypatch.setattr(page_module, "newest_mark", lambda _: 1 / 0)
    client = TestClient(application({LINEAGE: watch.page}, "anna"), raise_server_exceptions=False)
    answer = client.get("/")

    assert answer.status_code == 500
    assert "unexpected ZeroDivisionError; the traceback is in" in answer.text


@pytest.fixture
def two(tmp_path: Path, empty_mlflow: Path) -> list[Home]:
    """A home with two lineages that have just begun."""
    conf, names = tmp_path / "conf", ("one", "two")
    for name in names:
        (conf / "lineages" / name).mkdir(parents=True)
        (conf / "lineages" / name / "weight.yaml").write_text("{}")
    copy_mlflow(empty_mlflow, tmp_path / "home" / "mlruns")
    homes = open_lineages(tmp_path / "home", conf)
    for home, name in zip(homes, names, strict=True):
        home.journal.begin(initial_state(name, LAST))
    return homes


def test_a_rollback_of_all_lineages_is_the_command_with_the_operator_of_the_login(
    two: list[Home],
) -> None:
    """Each journal has it once, with name and reason; a form that is sent again does nothing."""
    pages = live_pages(two)
    client = TestClient(application(pages, "anna"))
    index = client.get("/").text

    def send(path: str, reason: str) -> list[Response]:
        sent = {"token": token_of(client.get(path).text), "reason": reason}
        return [client.post(path, data=sent) for _ in range(2)]

    assert all(f'<a href="/{name}/">{name}</a>' in index for name in pages)
    assert index.count("The existing system decides alone") == 2
    assert client.get("/actions/hold").status_code == 404
    done, again = send("/actions/rollback", "--help <i>fills</i>")
    assert (done.status_code, again.status_code) == (200, 403), done.text
    assert "Roll back: done" in done.text
    for home in two:
        [entry] = home.journal.entries()
        assert (entry.decision.kind, entry.decision.operator) == ("rollback", "anna")
        assert "--help <i>fills</i>" in entry.decision.reasons[0]
    assert '<a href="/">All lineages</a>' in client.get("/two/").text

    pages["two"].home = replace(two[1], conf=two[1].folder / "nowhere")
    failed, _ = send("/two/actions/hold", "the settings are gone")
    assert failed.status_code == 409
    assert "no such configuration folder" in failed.text


def test_an_action_names_its_lineage_where_there_are_several(two: list[Home]) -> None:
    """A form of one lineage cannot act on another; an approval names the version."""
    one = arguments(two[0], Command("approve", "seen", "3"), "anna")
    every = arguments(two[0], Command("rollback", "a flood", every=True), "anna")
    only = arguments(open_home(two[0].folder.parent), Command("hold", "-x"), "anna")

    assert one[:2] == ["approve", "3"]
    assert "--lineage=one" in one
    assert "--all" in every
    assert not [argument for argument in [*every, *only] if argument.startswith("--lineage")]
    assert {"--reason=-x", "--by=anna"} <= set(only)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 seconds"), (119, "119 seconds"), (180, "3 minutes"), (7200, "2 hours")],
)
def test_an_age_is_told_in_the_largest_unit(seconds: float, words: str) -> None:
    """Two of a unit at least, so that nothing is "1 minutes"."""
    assert age_words(seconds) == words
