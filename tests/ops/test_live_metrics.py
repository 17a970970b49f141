"""Metrics of the live page: what stores and journal say, and a dashboard that knows their names."""

import json
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from factories.bars import FOUR_HOURS
from factories.homes import LAST, SIGNALS, pilot_home
from steelyard.home import Home
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.ops.live.flow_runs import FlowFigures, LastRun, flow_figures
from steelyard.ops.live.metrics import METRICS, Metrics

DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana" / "steelyard.json"
LINEAGE = "signal-confidence"
RUNS = FlowFigures(
    {"COMPLETED": 7, "FAILED": 1, "CRASHED": 0},
    (LastRun("guard/daily-guard", "", LAST, 4.5, failed=False),),
)
BARS = simulate(SimulatedMarket(symbols=2, end=datetime(2020, 1, 10, tzinfo=UTC)))
UP = ("mlflow", "ledger", "files")
Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def home(tmp_path: Path, empty_mlflow: Path) -> Home:
    opened = pilot_home(tmp_path, empty_mlflow)
    opened.lake.append(BARS, FOUR_HOURS)
    opened.ledger.record_drift(DriftRecord("k", LAST, "1", "watch", 0.25, (), (), "r", asked=False))
    return opened


def scrape(*homes: Home, runs: FlowFigures | None = RUNS) -> Scrape:
    named = {f"{LINEAGE}{number or ''}": home for number, home in enumerate(homes)}
    text = Metrics(named, lambda: runs, clock=lambda: LAST).text().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(scraped: Scrape, name: str, **labels: str) -> float:
    return scraped[name, frozenset(labels.items())]


def test_the_figures_are_those_of_journal_ledger_lake_and_prefect(home: Home) -> None:
    """Weight, phase, champion, counts, drift, freshness of bars and runs."""
    scraped, state = scrape(home), home.journal.state()
    assert state is not None
    predictions = home.ledger.predictions(pd.Timestamp(0, tz="UTC"), LAST)
    expected = {
        "steelyard_weight": 0.15,
        "steelyard_weight_decided": 0.15,
        "steelyard_champion_version": 1,
        "steelyard_lease_seconds": 3 * 86_400,
        "steelyard_decisions_total": 2,
        "steelyard_last_decision_timestamp_seconds": state.as_of.timestamp(),
        "steelyard_settled_total": SIGNALS - 1,
        "steelyard_pivotal_total": predictions["pivotal"].sum(),
        "steelyard_last_signal_timestamp_seconds": predictions["decided_at"].max().timestamp(),
        "steelyard_drift_share": 0.25,
        "steelyard_brake": 0,
        "steelyard_spooled": 0,
    }

    assert {name: value(scraped, name, lineage=LINEAGE) for name in expected} == expected
    traded = value(scraped, "steelyard_signals_total", lineage=LINEAGE, decision="trade")
    assert traded == predictions["decision"].sum()
    assert value(scraped, "steelyard_phase", lineage=LINEAGE, phase="pilot") == 1
    assert value(scraped, "steelyard_phase", lineage=LINEAGE, phase="shadow") == 0
    assert value(scraped, "steelyard_drift_verdict", lineage=LINEAGE, verdict="watch") == 1
    known_at = (BARS["timestamp"].max() + FOUR_HOURS).timestamp()
    bar = "steelyard_bar_timestamp_seconds"
    assert value(scraped, bar, lineage=LINEAGE, symbol="SIM01") == known_at
    success = "steelyard_flow_last_success_timestamp_seconds"
    of = {"lineage": LINEAGE, "deployment": "guard/daily-guard"}
    assert value(scraped, success, **of) == LAST.timestamp()
    assert value(scraped, "steelyard_flow_runs_total", state="completed") == 7


def test_a_store_that_is_away_keeps_nothing_else_back(home: Home) -> None:
    """Without the ledger's table the journal's figures are there, and the store is told as down."""
    with sqlite3.connect(home.folder / ".steelyard" / "ledger.db") as connection:
        connection.execute("ALTER TABLE ml_predictions RENAME TO away")
    scraped = scrape(home, runs=None)

    up = {store: value(scraped, "steelyard_store_up", lineage=LINEAGE, store=store) for store in UP}
    assert up == {"mlflow": 1, "ledger": 0, "files": 1}
    assert value(scraped, "steelyard_weight_decided", lineage=LINEAGE) == 0.15
    assert value(scraped, "steelyard_prefect_up") == 0
    assert ("steelyard_weight", frozenset({("lineage", LINEAGE)})) not in scraped


def test_a_server_that_does_not_answer_is_none() -> None:
    """Neither a closed port nor no address at all is an error."""
    assert flow_figures("http://127.0.0.1:9/api", "steelyard:secret") is None
    assert flow_figures("", "") is None


def test_the_dashboard_asks_only_for_what_a_scrape_gives() -> None:
    """Every name in an expression exists, and so does every label it selects or groups by."""
    dashboard = json.loads(DASHBOARD.read_text())
    asked = list(expressions(dashboard))

    assert len(asked) > 25
    for expression, legend in asked:
        names = set(re.findall(r"steelyard_\w+", expression))
        assert names, expression
        assert names <= set(METRICS), expression
        labels = set.union(*(set(METRICS[name][1]) for name in names))
        selected = re.findall(r"(\w+)(?:=~|=)\"", expression)
        grouped = re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression)))
        shown = re.findall(r"\{\{(\w+)\}\}", legend)
        assert {*selected, *grouped, *shown} <= labels, expression
    used = set(re.findall(r"steelyard_\w+", " ".join(expression for expression, _ in asked)))
    assert set(METRICS) - used <= {
        "steelyard_state_trusted",
        "steelyard_last_decision_timestamp_seconds",
        "steelyard_drift_check_timestamp_seconds",
    }


def expressions(dashboard: dict[str, object]) -> Iterator[tuple[str, str]]:
    """The expressions of all panels, each with its legend, and those of the variables."""
    panels, variables = dashboard["panels"], dashboard["templating"]
    assert isinstance(panels, list)
    assert isinstance(variables, dict)
    for panel in panels:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for variable in variables["list"]:
        if variable["type"] == "query":
            yield variable["query"], ""
