"""Silent failure is an alarm, and the model's health is on the report."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from flows.guard import guard
from flows.settle import settle
from pilots import BAR, BEGAN, conf_of, frame, home_of, market
from tasks.report import lineage_report
from tasks.stores import Stores

DAY = datetime(2020, 10, 1, tzinfo=UTC)


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Stores:
    """A home whose bars end on ``DAY``."""
    stores, bars = home_of(tmp_path, empty_mlflow, market()[1]), frame()
    stores.lake.append(bars[(bars["timestamp"] + BAR <= pd.Timestamp(DAY)).to_numpy()], BAR)
    return stores


def run(stores: Stores, what: object, at: datetime) -> None:
    what.fn(at, str(stores.home), str(conf_of(stores.home)))  # type: ignore[attr-defined]


def told(stores: Stores) -> list[str]:
    return [one.alert.title.rpartition(": ")[2] for one in stores.alerts.open() if one.alert.kind == "silence"]


def test_signals_without_predictions_are_told_once_a_day(pilot: Stores) -> None:
    """Nobody settles: the guard says so, with figures; a settled home is quiet."""
    run(pilot, guard, DAY)
    run(pilot, guard, DAY)
    assert told(pilot) == ["signals get no prediction"]
    [alert] = [one.alert for one in pilot.alerts.open() if one.alert.kind == "silence"]
    assert "signals have no prediction, from 2020-09-0" in alert.figure

    run(pilot, settle, DAY)
    run(pilot, guard, DAY + timedelta(days=1))
    assert told(pilot) == ["signals get no prediction"]


def test_no_signals_any_more_is_told(pilot: Stores) -> None:
    """Bars stopped coming three weeks ago; a day is no silence yet."""
    run(pilot, settle, DAY)
    run(pilot, guard, DAY + timedelta(days=1))
    assert told(pilot) == []

    run(pilot, guard, DAY + timedelta(days=21))
    assert "there are no signals any more" in told(pilot)


def test_the_report_shows_health_with_targets(pilot: Stores) -> None:
    """Coverage, fallback rate, calibration by band of confidence."""
    run(pilot, settle, DAY)
    document, content = lineage_report(pilot, DAY)
    figures = {one["name"]: one for one in document["health"]["figures"]}

    assert BEGAN < DAY
    assert figures["coverage"]["value"] == 1.0
    assert figures["coverage"]["ok"]
    assert figures["fallback_rate"]["target"] == 0.01
    assert sum(document["health"]["confidence_ml"]) == document["health"]["opinions"]
    assert "Health of the model in the last window" in content
    assert "confidence of the model" in content
