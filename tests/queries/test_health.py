"""Missing records raise an alert, and the report shows the model's health."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from factories.evidence import EARLIER
from factories.homes import pilot_home
from factories.pilot import BAR, BEGAN, bars_frame, conf_folder, trained_pilot_home
from factories.registry import copy_mlflow
from factories.settled import settled
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle as settle_flow
from steelyard.gateways.lake import Lake
from steelyard.home import Home, open_home
from steelyard.monitoring.health import Importance
from steelyard.queries.history import recent_signals, signals_between
from steelyard.queries.report import lineage_report
from steelyard.views.report import lineage_page

DAY = datetime(2020, 10, 1, tzinfo=UTC)


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    """A home whose bars end on ``DAY``."""
    stores, bars = trained_pilot_home(tmp_path, empty_mlflow), bars_frame()
    stores.lake.append(bars[(bars["timestamp"] + BAR <= pd.Timestamp(DAY)).to_numpy()], BAR)
    return stores


def run(stores: Home, what: object, at: datetime) -> None:
    what.fn(at, str(stores.folder), str(conf_folder(stores.folder)))  # type: ignore[attr-defined]


def told(stores: Home) -> list[str]:
    return [
        stored.alert.title.rpartition(": ")[2]
        for stored in stores.alerts.open()
        if stored.alert.kind == "silence"
    ]


def test_signals_without_predictions_alert_once_a_day(pilot: Home) -> None:
    """Without settling the guard alerts with figures; a settled home raises none."""
    run(pilot, guard, DAY)
    run(pilot, guard, DAY)
    assert told(pilot) == ["signals get no prediction"]
    [alert] = [stored.alert for stored in pilot.alerts.open() if stored.alert.kind == "silence"]
    assert "signals have no prediction, from 2020-09-0" in alert.figure

    run(pilot, settle_flow, DAY)
    run(pilot, guard, DAY + timedelta(days=1))
    assert told(pilot) == ["signals get no prediction"]


def test_an_end_of_signals_posts_an_alert(pilot: Home) -> None:
    """Three weeks without bars raise an alert, one day does not."""
    run(pilot, settle_flow, DAY)
    run(pilot, guard, DAY + timedelta(days=1))
    assert told(pilot) == []

    run(pilot, guard, DAY + timedelta(days=21))
    assert "there are no signals any more" in told(pilot)


def test_the_guard_of_a_settled_home_reads_no_bars(
    pilot: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What settle recorded is what there is; only bars that came later are asked for signals."""
    reads, read = list[object](), Lake.bars
    monkeypatch.setattr(
        Lake, "bars", lambda *args, **known: reads.append(known) or read(*args, **known)
    )
    run(pilot, settle_flow, DAY)
    asked = signals_between(pilot, BEGAN, DAY)
    told_by_ledger = recent_signals(pilot, BEGAN, DAY)
    assert asked is not None
    assert told_by_ledger is not None
    pd.testing.assert_series_equal(
        told_by_ledger["signal_id"].sort_values(ignore_index=True),
        asked["signal_id"].sort_values(ignore_index=True),
        check_dtype=False,
    )
    reads.clear()
    run(pilot, guard, DAY + timedelta(days=1))
    assert (reads, told(pilot)) == ([], [])

    bars = bars_frame()
    later = (bars["timestamp"] + BAR <= pd.Timestamp(DAY + timedelta(days=3))).to_numpy()
    pilot.lake.append(bars[later], BAR)
    reads.clear()
    run(pilot, guard, DAY + timedelta(days=5))
    assert reads
    assert told(pilot) == ["signals get no prediction"]


def test_figures_that_surely_miss_their_target_alert_once_a_period(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    """Thirty identical wrong predictions: one alert per figure and latch period."""
    stores = pilot_home(tmp_path, empty_mlflow)
    wrong = settled(
        90, p_win=0.6, won=[False] * 90, model_version="1", arm="all", weight=0.15
    ).iloc[61:]
    stores.ledger.record_predictions(wrong)
    stores.ledger.record_outcomes(wrong)

    def ill(days: int) -> list[str]:
        guard.fn(EARLIER + timedelta(days=days), str(stores.folder))
        posted = [stored.alert for stored in stores.alerts.open() if stored.alert.kind == "health"]
        return sorted(alert.title.split(": ")[2].split()[0] for alert in posted)

    told = ["brier", "ece", "overconfidence", "uniform_share"]
    assert ill(90) == told
    assert ill(91) == told
    [brier] = [stored.alert for stored in stores.alerts.open() if "brier" in stored.alert.title]
    assert brier.figure.startswith("0.36 against 0.25: mean squared error")


def test_a_lineage_without_a_champion_raises_no_health_alert(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    """Without a champion missing predictions raise no alert."""
    copy_mlflow(empty_mlflow, tmp_path / "mlruns")
    stores = open_home(tmp_path)
    guard.fn(EARLIER, str(tmp_path))
    stores.ledger.record_predictions(settled(60, p_win=float("nan"), fallback_reason="no_model"))
    guard.fn(EARLIER + timedelta(days=61), str(tmp_path))

    assert [stored.alert.kind for stored in stores.alerts.open()] == []


def test_the_report_shows_health_with_targets(pilot: Home) -> None:
    """The report shows coverage, fallback rate and calibration by confidence band."""
    run(pilot, settle_flow, DAY)
    document = lineage_report(pilot, DAY)
    content = lineage_page(document)
    figures = {figure.name: figure for figure in document.health.figures}

    assert BEGAN < DAY
    assert figures["coverage"].value == 1.0
    assert figures["coverage"].ok
    assert figures["fallback_rate"].target == 0.01
    assert sum(document.health.confidence_ml) == document.health.opinions
    assert "Health of the model in the last window" in content
    assert "confidence of the model" in content
    assert document.health.importance[0] == Importance("f0", gain=0.7, shap=0.6)
    assert "feature of the champion" in content
