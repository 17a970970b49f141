"""The page of a lineage: the answer first, every decision, no external resources."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories.bars import small_market
from factories.homes import LAST, pilot_home, promote, registration
from factories.registry import LINEAGE, copy_mlflow
from steelyard.evaluation.influence import measure_pivotal
from steelyard.gateways.alerts import Alert
from steelyard.home import Home, open_home
from steelyard.queries.account import NEWEST
from steelyard.queries.report import lineage_report
from steelyard.tasks.pages import write_overview, write_report
from steelyard.tasks.rollback import roll_back_weight
from steelyard.views.account import TradePrices
from steelyard.views.report import EXPLAINED, lineage_page, page_content
from steelyard.weight.state import initial_state

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    return pilot_home(tmp_path, empty_mlflow)


class Outline(HTMLParser):
    """Headings, landmarks, ids, links and text of a page, without scripts."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self._silent = False
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self._silent = tag in ("script", "style")
        self.ids |= {attributes["id"] or ""} if "id" in attributes else set()
        self.links += [attributes["href"] or ""] if tag == "a" else []
        self.addresses += [attributes[name] or "" for name in ("src", "data") if name in attributes]

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else data


def test_the_page_answers_first_and_leads_to_every_decision(pilot: Home) -> None:
    """The heading is the answer, the reason follows, every decision has a row and a link."""
    document = lineage_report(pilot, LAST)
    content = lineage_page(document)
    page = Outline(content)
    entries = pilot.journal.entries()

    assert "The model decides 15.0% of the confidence; phase pilot" in page.text[:900]
    assert (
        "Because of the gates decision of 2025-01-16 (phase pilot entered, 0.0% → 15.0%)"
        in page.text
    )
    assert page.tags.index("main") < page.tags.index("h1")
    assert page.tags.count("h1") == 1
    assert {f"decision-{entry.sequence}" for entry in entries} <= page.ids
    assert [link for link in page.links if entries[-1].run_id in link]
    assert page.addresses == []
    assert not re.search(r"<link|@import|url\(|src=", content)
    assert 'name="viewport"' in content
    assert "color-scheme: light dark" in content
    assert document.books.blended.trades > 0


def test_the_interval_is_that_of_the_difference_in_large_type(pilot: Home) -> None:
    """Both are of all days since the model's first opinion, before which there is no difference."""
    document = lineage_report(pilot, LAST)
    money, worth = page_content(document)["money"], document.current.worth
    assert worth
    mean = worth.sharpes.gains["blended"].mean
    assert mean is not None

    assert money["difference"] == pytest.approx(mean * worth.sharpes.books["blended"].days / 30)
    assert money["low"] < money["difference"] < money["high"]


def test_pivotal_signals_alerts_and_a_rollback_are_on_it(pilot: Home) -> None:
    """Pivotal signals with their gain, alerts, and the reason of the rollback."""
    pilot.alerts.post(Alert(key="k", at=LAST, kind="cut", title="a cut <b>", advice="look"))
    roll_back_weight(pilot, "fills look odd", "operator", LAST)
    document = lineage_report(pilot, LAST + timedelta(days=1))
    content = lineage_page(document)
    page = Outline(content)

    assert document.status.answer.startswith("The existing system decides alone")
    assert "fills look odd" in page.text
    assert "An alert was not delivered: a cut <b>" in page.text
    assert "a cut <b>" not in content
    changed = measure_pivotal(document.account.held).changed
    assert page.text.count("decided by the weight") == changed > 0


def test_the_command_writes_the_page_and_prints_the_document(pilot: Home, command: Command) -> None:
    """The page goes to lineage.html or --out; a path that cannot be written is one line."""
    code, out, err = command(
        "report", "--home", str(pilot.folder), "--as-of", LAST.isoformat(), "--json"
    )
    assert code == 0, err
    assert json.loads(out)["page"] == str(pilot.folder / "lineage.html")
    assert (pilot.folder / "lineage.html").read_text().startswith("<!doctype html>")

    code, _, err = command(
        "report", "--home", str(pilot.folder), "--out", str(pilot.folder / "no" / "where.html")
    )
    assert code == 1
    assert "cannot be written" in err.strip().splitlines()[-1]


def test_a_review_is_written_once_per_period(pilot: Home, command: Command) -> None:
    """The report is in the home and in MLflow; a second review returns the same run."""
    places = ["review", "--home", str(pilot.folder), "--json", "--as-of"]
    first, again, next_one = (
        json.loads(command(*places, (LAST + timedelta(days=days)).isoformat())[1])
        for days in (0, 1, 31)
    )

    assert first["run_id"] == again["run_id"] != next_one["run_id"]
    assert first["run_page"].startswith("http://127.0.0.1:5000/#/experiments/")
    assert Path(first["page"]).parent == pilot.folder / ".steelyard" / "reports"
    kept = pilot.registry.observations._tracking.read(first["run_id"], "report.html")
    assert kept == Path(first["page"]).read_text()
    metrics = pilot.registry.observations._tracking.client.get_run(first["run_id"]).data.metrics
    assert metrics["weight"] == 0.15
    assert "blended_sharpe" in metrics


def test_the_page_over_several_lineages_leads_to_each(pilot: Home, tmp_path: Path) -> None:
    """One row a lineage: phase, weight and answer; its name is a link to its page."""
    own = write_report(pilot, LAST, tmp_path / "lineage-own.html")
    other = replace(own.document, status=replace(own.document.status, lineage="<other>"))
    over = write_overview(
        [own, replace(own, document=other, file=str(tmp_path / "lineage-other.html"))],
        tmp_path / "lineages.html",
    )
    page = Outline(Path(over).read_text())

    assert page.links == ["lineage-own.html", "lineage-other.html"]
    assert "<other>" in page.text
    assert page.text.count("The model decides 15.0% of the confidence") == 2


def test_a_year_of_hourly_trades_stays_under_two_megabytes(pilot: Home) -> None:
    """The most the page draws: every trade with the most candles, a year of days and decisions."""
    report = lineage_report(pilot, LAST)
    bars = small_market()["SIM00"][:400]
    first, last = (pd.Timestamp(bars.timestamp[at], tz="UTC").to_pydatetime() for at in (0, -1))
    middle = float(bars.close.mean())
    prices = TradePrices(bars, first, middle, middle * 0.98, middle * 1.02, last, middle)
    trade = replace(report.account.trades[0], prices=prices, changed=True)
    days = pd.date_range(LAST, periods=366, freq="D")
    rng = np.random.default_rng(0).normal(0, 0.01, (366, 3)).cumsum(axis=0)
    account = replace(
        report.account,
        equity=pd.DataFrame(rng, index=days, columns=["baseline", "ml", "blended"]),
        trades=(trade,) * NEWEST,
        trade_count=8_760,
    )
    decisions = tuple(replace(report.decisions[-1], rules=report.current.gate) for _ in range(400))
    page = lineage_page(replace(report, account=account, decisions=decisions))

    assert len(page.encode()) < 2_000_000
    assert f"The newest {NEWEST} of 8,760 settled signals" in " ".join(page.split())
    assert page.count('class="candles"') == NEWEST
    assert page.count("rules looked at") == EXPLAINED


def test_the_first_morning_has_a_page_without_a_figure_that_is_none(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    """Nothing settled, decided or trained: the next phase and what it needs, and no NaN."""
    copy_mlflow(empty_mlflow, tmp_path / "mlruns")
    home = open_home(tmp_path)
    home.journal.begin(initial_state(LINEAGE, LAST))
    page = Outline(lineage_page(lineage_report(home, LAST + timedelta(hours=1))))

    assert "missing: a champion" in page.text
    assert "too few days for an interval" in page.text
    assert "No settled trade yet." in page.text
    assert not re.search(r"\bnan|\bNone[^.]", page.text.replace("None here", ""))


def test_without_a_lineage_there_is_nothing_to_report(
    tmp_path: Path, empty_mlflow: Path, command: Command
) -> None:
    """The line says which command to run."""
    code, _, err = command("report", "--home", str(tmp_path))

    assert code == 1
    assert "nothing was decided here yet" in err


def test_a_lineage_that_began_this_moment_has_a_page(home: Path, empty_mlflow: Path) -> None:
    """No time has passed, so no figure per day is known."""
    copy_mlflow(empty_mlflow, home / "mlruns")
    opened = open_home(home)
    opened.journal.begin(initial_state(LINEAGE, LAST))
    opened.registry.register(registration("a", LAST))
    promote(opened, "1", LAST)

    written = write_report(opened, LAST, home / "lineage.html")

    assert "The existing system decides alone" in Path(written.file).read_text()
