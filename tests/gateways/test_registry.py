"""The registry, on a real MLflow database."""

import sqlite3
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from made import EARLIER, NOW, POLICY, evidence, state
from samples_made import made
from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.registry import Registration, Registry
from steelyard.learning.model import Model
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.training import train
from steelyard.weight.journal import Entry, first_break
from steelyard.weight.ladder import evaluate
from steelyard.weight.state import initial_state

SAMPLES = made(500, signal=1.5)
MODEL = train(SAMPLES, LearningPolicy(trials=2, rounds=20)).model


def registration(key: str = "key", **changes: object) -> Registration:
    assert MODEL is not None
    plain = Registration(
        key=key,
        as_of=NOW,
        family=MODEL.family,
        trained_through=MODEL.trained_through,
        files=MODEL.to_files(),
        params={"rounds": 20},
        metrics={"holdout_accuracy": 0.6, "auc": float("nan")},
        artifacts={"trials.csv": b"number\n0\n"},
        verdict="passes",
        feature_names=SAMPLES.feature_names,
        data_hash="d",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def decide(registry: Registry, month: int) -> Entry:
    """Evaluate one healthy month from the state in force, pilot at 10 % first."""
    at = NOW + timedelta(days=30 * month)
    return registry.append(evaluate(registry.state() if month else state(), evidence(), POLICY, at, at))  # type: ignore[arg-type]


def test_nothing_is_absent_not_unreachable(registry: Registry) -> None:
    """A new registry answers None to everything."""
    assert (registry.champion(), registry.challenger(), registry.state(), registry.find("key")) == (None,) * 4
    assert registry.versions() == registry.journal() == []


def test_a_model_comes_back_as_it_was_stored(registry: Registry) -> None:
    """Registered, loaded, and predicting to the last bit what it did; its NaN metrics are left out."""
    assert MODEL is not None
    version = registry.register(registration())
    loaded = Model.from_files(registry.load(version.number))

    assert loaded.predict(SAMPLES.x)[0].tobytes() == MODEL.predict(SAMPLES.x)[0].tobytes()
    assert (version.stage, version.as_of, version.metrics) == ("challenger", NOW, {"holdout_accuracy": 0.6})
    assert registry.challenger() == version


def test_the_same_training_is_registered_once(registry: Registry) -> None:
    """The second time the first version comes back."""
    first = registry.register(registration())

    assert registry.register(registration()) == first
    assert registry.register(registration("another")).number == "2"
    assert len(registry.versions()) == 2


def test_promotion_retires_the_champion_before(registry: Registry) -> None:
    """Stages, aliases and reasons tell the story, also when the promotion is repeated."""
    registry.register(registration("a"))
    registry.promote("1", ("first",))
    registry.register(registration("b"))
    registry.promote("2", ("better",))
    promoted = registry.promote("2", ("better",))
    registry.register(registration("c"))
    refused = registry.refuse("3", ("worse",))

    assert [version.stage for version in registry.versions()] == ["retired", "champion", "refused"]
    assert registry.champion() == promoted
    assert (promoted.reasons, refused.reasons) == (("better",), ("worse",))
    assert registry.challenger() is None


def test_a_training_without_a_model_is_kept_as_refused(registry: Registry) -> None:
    """Scores that could not be calibrated: a version with a reason, no alias."""
    version = registry.register(registration(files={}, trained_through="", refused=("not calibratable",)))

    assert (version.stage, version.reasons) == ("refused", ("not calibratable",))
    assert registry.challenger() is None


def test_nothing_stored_can_execute_code(registry: Registry, tmp_path: Path) -> None:
    """No pickle among the files of a version, and MLflow's own loader gives the same predictions."""
    import mlflow.pyfunc
    import pandas as pd

    assert MODEL is not None
    version = registry.register(registration())
    files = [file for file in (tmp_path / "mlruns" / "artifacts").rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in (".pkl", ".pickle", ".joblib", ".py")]
    folder = next(file for file in files if file.name == "MLmodel" and version.run_id in str(file)).parent
    frame = pd.DataFrame(SAMPLES.x, columns=list(SAMPLES.feature_names))
    predicted = mlflow.pyfunc.load_model(str(folder)).predict(frame)

    np.testing.assert_array_equal(predicted["p_win"], MODEL.predict(SAMPLES.x)[0])


def test_a_decision_is_recorded_once_and_the_journal_replays_to_the_state(registry: Registry) -> None:
    """Three months: three entries in a whole chain; the same month again returns its entry; the last entry is the state."""
    registry.renew_lease(initial_state("signal-confidence", EARLIER), EARLIER)
    entries = [decide(registry, month) for month in range(3)]
    again = registry.append(evaluate(state(), evidence(accuracy=0.3), POLICY, NOW, NOW))

    assert again == entries[0]
    assert registry.decided("weight", NOW) == entries[0]
    assert registry.decided("weight", NOW + timedelta(days=300)) is None
    assert registry.journal() == entries
    assert first_break(entries) is None
    assert registry.state() == entries[-1].state


def test_the_state_is_readable_in_the_page(registry: Registry) -> None:
    """Weight and phase are tags of their own."""
    decide(registry, 0)
    tags = registry._client.get_registered_model("signal-confidence").tags  # what a person sees

    assert tags["phase"] == "pilot"
    assert tags["ml_weight"] == "0.1500"


def test_a_process_that_died_before_writing_the_state_is_made_good(registry: Registry, tmp_path: Path) -> None:
    """The run is finished, the state tag still says what was before: the next reader writes what the journal says."""
    first = decide(registry, 0)
    stale = registry.state()
    second = decide(registry, 1)
    assert stale is not None
    registry._write_state(stale)  # what a crash leaves behind
    reopened = Registry(f"sqlite:///{tmp_path}/mlruns/mlflow.db", f"{tmp_path}/mlruns/artifacts", "signal-confidence")
    found = reopened.state()

    assert found is not None
    assert (found.sequence, found.weight) == (second.sequence, second.decision.after.weight)
    assert first.sequence < second.sequence


def test_renewing_the_lease_changes_nothing_else(registry: Registry) -> None:
    """Same sequence, later lease."""
    entry = decide(registry, 0)
    renewed = registry.renew_lease(entry.state, NOW + timedelta(days=3))

    assert renewed == entry.state.model_copy(update={"lease_until": NOW + timedelta(days=3)})
    assert registry.state() == renewed


def test_a_locked_database_is_one_clear_line_within_seconds(registry: Registry, tmp_path: Path) -> None:
    """Another process holds the file; MLflow itself would retry for minutes."""
    file = tmp_path / "mlruns" / "mlflow.db"
    other = sqlite3.connect(file)
    other.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()

    with pytest.raises(RestoreService, match="database is locked; nothing was changed"):
        registry.champion()
    assert time.monotonic() - started < 30
    other.rollback()


def test_an_address_that_is_none_is_refused() -> None:
    """A folder is not an address."""
    with pytest.raises(FixConfiguration, match="mlflow must be"):
        Registry("./mlruns", "./mlruns/artifacts", "x").champion()
