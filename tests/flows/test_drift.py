"""The drift flow on a home with a trained champion: one check a day, one training per cooldown."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from httpx import ConnectError
from prefect.deployments.runner import RunnerDeployment
from prefect.testing.utilities import prefect_test_harness

from factories.pilot import BAR, BEGAN, bars_frame, conf_folder, market, trained_pilot_home
from steelyard.flows.drift import drift
from steelyard.home import Home
from steelyard.market.features import feature_names, feature_set_hash
from steelyard.market.history import as_known
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.tasks import drift as drift_task
from steelyard.tasks import retraining
from steelyard.tasks.predictions import record_opinions
from steelyard.tasks.retraining import replace_model
from steelyard.tasks.rollback import roll_back_weight
from steelyard.views.drift import JudgedDrift

Command = Callable[..., tuple[int, str, str]]
DAY = datetime(2021, 3, 1, tzinfo=UTC)


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    stores = trained_pilot_home(tmp_path, empty_mlflow)
    bars = bars_frame()
    stores.lake.append(
        bars[(bars["timestamp"] + BAR <= pd.Timestamp(DAY) + pd.Timedelta("30D")).to_numpy()], BAR
    )
    return stores


def lived(stores: Home, until: datetime = DAY, **moved: float) -> None:
    """Record signals since the training, with features moved by the given standard deviations."""
    settled = as_known(market()[1], pd.Timestamp(until))
    new = settled[(settled["decided_at"] > pd.Timestamp(BEGAN)).to_numpy()].copy()
    for name, by in moved.items():
        new[name] = new[name] + by * new[name].std()
    state = stores.journal.state()
    assert state is not None
    names = feature_names(stores.strategy)
    stores.ledger.record_features(new, names, feature_set_hash(names))
    record_opinions(stores, new, state)


def checked(stores: Home, day: datetime = DAY) -> JudgedDrift:
    judged = drift.fn(day, str(stores.folder), str(conf_folder(stores.folder)))
    assert judged is not None
    return judged


def important(stores: Home, count: int) -> list[str]:
    model = stores.model("1")
    order = np.argsort(-model.learner.gain(len(model.feature_names)))
    return [model.feature_names[number] for number in order[:count]]


def test_an_unchanged_market_is_checked_once_a_day(pilot: Home) -> None:
    """Scores in the ledger, page and picture in MLflow; a second run returns the same check."""
    lived(pilot)
    first, again = checked(pilot), checked(pilot)
    [recorded] = pilot.ledger.drift_checks(5)

    assert first.check.verdict in ("fine", "watch")
    assert first.training is None
    assert again.check.run_id == first.check.run_id
    assert not again.new
    assert again.to_dict() == first.to_dict() | {"new": False}
    assert recorded.columns[-1].name == "p_win"
    assert all(math.isfinite(column.psi) for column in recorded.columns if not column.unjudged)
    client = pilot.registry.observations._tracking.client
    assert {file.path for file in client.list_artifacts(first.check.run_id)} == {
        "drift.json",
        "drift.html",
        "drift.png",
    }
    assert pilot.alerts.open() == []


def test_a_moved_market_asks_for_a_training_once_per_cooldown(
    pilot: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdict retrain and an alert, then none for two weeks, then another."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    lived(pilot, **dict.fromkeys(important(pilot, 8), 3.0))
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=15)]
    first, second, later = (checked(pilot, day) for day in days)

    assert [judged.check.verdict for judged in (first, second, later)] == ["retrain"] * 3
    assert [judged.check.asked for judged in (first, second, later)] == [True, False, True]
    assert first.training == "no Prefect server is configured; run steelyard train"
    assert [stored.alert.kind for stored in pilot.alerts.open()] == ["drift", "drift"]
    assert pilot.journal.state() is not None
    assert pilot.journal.state().weight == 0.15  # type: ignore[union-attr]


def test_a_server_that_knows_the_deployment_gets_one_run_per_cause(
    pilot: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drift, and a model that a rollback took out, each start one training on Prefect's server."""
    check = DriftRecord("key", DAY, "1", "retrain", 0.5, ("features moved",), (), "", asked=True)
    judged = JudgedDrift(check, page="", new=True)
    assert replace_model(pilot, DAY) is None
    roll_back_weight(pilot, "spread tripled", "anna", DAY)
    assert replace_model(pilot, DAY) == "no Prefect server is configured; run steelyard train"
    with prefect_test_harness(server_startup_timeout=120):
        monkeypatch.setattr(retraining, "prefect_server_configured", lambda: True)
        assert drift_task.ask_for_training(pilot, judged) == (
            f"the Prefect server knows no deployment {retraining.TRAINING}; run steelyard train"
        )
        name = retraining.TRAINING.rpartition("/")[2]
        RunnerDeployment.from_entrypoint("steelyard.flows.train.train", name).apply()
        started = [drift_task.ask_for_training(pilot, judged) for _ in range(2)]
        replaced = [replace_model(pilot, DAY + timedelta(days=day)) for day in range(2)]

    assert str(started[0]).startswith("training started: ")
    assert len(set(started)) == len(set(replaced)) == 1
    assert started[0] != replaced[0]
    assert drift_task.ask_for_training(pilot, replace(judged, new=False)) is None


def test_a_server_that_does_not_answer_fails_no_guard(
    pilot: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says so, and what to run."""

    def refuse(*_: object, **__: object) -> None:
        raise ConnectError("connection refused")

    monkeypatch.setattr(retraining, "prefect_server_configured", lambda: True)
    monkeypatch.setattr(retraining, "server_answers", lambda: True)
    monkeypatch.setattr(retraining, "run_deployment", refuse)
    roll_back_weight(pilot, "spread tripled", "anna", DAY)

    assert replace_model(pilot, DAY) == (
        "the Prefect server gave no answer (connection refused); run steelyard train"
    )


def test_few_signals_are_not_judged(pilot: Home) -> None:
    """The reason says so, and there is no alarm."""
    lived(pilot, BEGAN + timedelta(days=10))
    check = checked(pilot, BEGAN + timedelta(days=10)).check

    assert check.verdict == "fine"
    assert "not judged" in check.reasons[0]


def test_the_command_prints_verdict_and_features(pilot: Home, command: Command) -> None:
    """As text and as JSON."""
    lived(pilot)
    places = [
        "--home",
        str(pilot.folder),
        "--conf",
        str(conf_folder(pilot.folder)),
        "--as-of",
        DAY.isoformat(),
    ]
    code, out, err = command("drift", *places)
    assert code == 0, err
    assert out.splitlines()[-1].endswith(": version 1")
    assert "PSI" in out
    code, out, _ = command("drift", *places, "--json")
    assert json.loads(out)["model_version"] == "1"


def test_without_a_champion_nothing_is_judged(tmp_path: Path, command: Command) -> None:
    """The command says so in one sentence."""
    code, out, err = command("drift", "--home", str(tmp_path))

    assert code == 0, err
    assert out == "no champion yet; nothing to check\n"
