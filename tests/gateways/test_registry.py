"""The registry, on a real MLflow database."""

import json
import re
import sqlite3
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factories.evidence import NOW
from factories.registry import open_registry, promote
from factories.samples import make_samples
from steelyard import scoring
from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways import pyfunc
from steelyard.gateways.registry import Dataset, Registration, Registry, Trial
from steelyard.learning.model import Model
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.scorer import Scorer
from steelyard.learning.search import TrialRow
from steelyard.learning.training import train

SAMPLES = make_samples(500, signal=1.5)
FOREIGN = re.compile(r"\s*(from|import) +steelyard").match
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


def test_nothing_is_absent_not_unreachable(registry: Registry) -> None:
    """A new registry answers None to everything."""
    assert (
        registry.champion(),
        registry.challenger(),
        registry.journal.state(),
        registry.find("key"),
    ) == (None,) * 4
    assert registry.versions() == registry.journal.entries() == []


def test_a_model_comes_back_as_it_was_stored(registry: Registry) -> None:
    """The loaded model predicts the same to the last bit; NaN metrics are left out."""
    assert MODEL is not None
    version = registry.register(registration())
    loaded = Model.from_files(registry.load(version.number))

    assert loaded.predict(SAMPLES.x)[0].tobytes() == MODEL.predict(SAMPLES.x)[0].tobytes()
    assert (version.stage, version.as_of, version.metrics) == (
        "challenger",
        NOW,
        {"holdout_accuracy": 0.6},
    )
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
    promote(registry, "1", ("first",))
    registry.register(registration("b"))
    promote(registry, "2")
    promoted = promote(registry, "2")
    registry.register(registration("c"))
    refused = registry.refuse("3", ("worse",))

    assert [version.stage for version in registry.versions()] == ["retired", "champion", "refused"]
    assert registry.champion() == promoted
    assert (promoted.reasons, refused.reasons) == (("better",), ("worse",))
    assert registry.challenger() is None


def test_a_training_without_a_model_is_kept_as_refused(registry: Registry) -> None:
    """Scores that could not be calibrated: a version with a reason, no alias."""
    version = registry.register(
        registration(files={}, trained_through="", refused=("not calibratable",))
    )

    assert (version.stage, version.reasons) == ("refused", ("not calibratable",))
    assert registry.challenger() is None


def test_nothing_stored_is_pickled_and_the_code_is_ours(registry: Registry, tmp_path: Path) -> None:
    """Beside the model's files lies a copy of the scoring package, which needs public packages."""
    registry.register(registration())
    files = [file for file in (tmp_path / "mlruns" / "artifacts").rglob("*") if file.is_file()]
    code = {file.name: file.read_text() for file in files if file.suffix == ".py"}
    [requirements] = [file for file in files if file.name == "requirements.txt"]

    assert not [file for file in files if file.suffix in (".pkl", ".pickle", ".joblib")]
    assert code == {file.name: file.read_text() for file in Path(scoring.__path__[0]).glob("*.py")}
    assert not [line for text in code.values() for line in text.splitlines() if FOREIGN(line)]
    assert {line.partition("==")[0] for line in requirements.read_text().split()} == {
        "mlflow",
        "numba",
        "numpy",
        "pandas",
    }


def test_mlflow_answers_as_the_trading_side_does(registry: Registry, tmp_path: Path) -> None:
    """To the last bit, also where a feature is missing, and for the example beside the model.

    A version of a former release, which carries no code, is loaded by Steelyard's.
    """
    import mlflow.pyfunc
    import pandas as pd

    assert MODEL is not None
    registry.register(registration())
    [file] = (tmp_path / "mlruns" / "artifacts").rglob("MLmodel")
    x = SAMPLES.x.copy()
    x[::7, 2] = np.nan
    frame = pd.DataFrame(x, columns=list(SAMPLES.feature_names))[reversed(SAMPLES.feature_names)]
    served = mlflow.pyfunc.load_model(str(file.parent))
    scorer = Scorer.from_files(MODEL.to_files())

    expected = np.array([scorer.score(row) for row in x])
    np.testing.assert_array_equal(served.predict(frame)[["p_win", "confidence_ml"]], expected)
    former = pyfunc._load_pyfunc(str(file.parent / "data" / "stored"))
    np.testing.assert_array_equal(former.predict(frame), served.predict(frame))
    example = served.input_example
    assert list(example.columns) == list(SAMPLES.feature_names)
    np.testing.assert_array_equal(example, SAMPLES.x[: len(example)])
    assert served.predict(example)["p_win"].between(0, 1).all()


def test_a_locked_database_is_one_clear_line_within_seconds(
    registry: Registry, tmp_path: Path
) -> None:
    """Another process holds the file; MLflow itself would retry for minutes."""
    file = tmp_path / "mlruns" / "mlflow.db"
    blocker = sqlite3.connect(file)
    blocker.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()

    with pytest.raises(RestoreService, match="database is locked"):
        registry.champion()
    assert time.monotonic() - started < 30
    blocker.rollback()


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    """A folder is not an address."""
    with pytest.raises(FixConfiguration, match="mlflow must be"):
        open_registry(tmp_path, "./mlruns").champion()


def test_the_oldest_that_waits_is_the_challenger(registry: Registry) -> None:
    """A later training waits behind the first; after the first comparison the next moves up."""
    for key in ("a", "b", "c"):
        registry.register(registration(key))
    assert [version.number for version in registry.waiting()] == ["1", "2", "3"]
    assert registry.misplaced() == []
    registry.refuse("1", ("worse",))
    challenger = registry.challenger()

    assert challenger is not None
    assert challenger.number == "2"
    assert registry.misplaced() == []


def test_an_alias_that_was_left_behind_stays_until_recovered(registry: Registry) -> None:
    """The challenger follows from the versions' stages; reading it moves no alias."""
    registry.register(registration("a"))
    client = registry._tracking.client
    client.delete_registered_model_alias("signal-confidence", "challenger")
    challenger = registry.challenger()

    assert challenger is not None
    assert challenger.number == "1"
    assert registry.misplaced() == ["the alias challenger names version none, it should name 1"]
    registry.recover()
    assert registry.misplaced() == []


def test_an_alias_moved_by_hand_is_found_and_put_back(registry: Registry) -> None:
    """The journal says who serves, whatever the page says."""
    registry.register(registration("a"))
    registry.register(registration("b"))
    promote(registry, "1")
    client = registry._tracking.client
    client.set_registered_model_alias("signal-confidence", "champion", "2")
    client.set_model_version_tag("signal-confidence", "2", "stage", "champion")
    champion = registry.champion()

    assert champion is not None
    assert champion.number == "1"
    assert registry.misplaced() == [
        "the alias champion names version 2, it should name 1",
        "the alias challenger names version 2, it should name none",
        "version 2 has the stage champion, but the journal lets 1 serve",
    ]
    registry.align()
    assert registry.misplaced() == []
    assert registry.version("2").stage == "refused"


def test_the_best_five_trials_are_runs_below_their_training(registry: Registry) -> None:
    """In the order they were tried; a pruned trial is none of them."""
    values = [0.69, 0.68, np.nan, 0.70, 0.66, 0.67, 0.71, 0.65]
    trials = tuple(
        Trial(
            TrialRow(number, "xgboost", "pruned" if np.isnan(value) else "complete", value, 40, {}),
            NOW + timedelta(seconds=number),
            NOW + timedelta(seconds=number + 1),
        )
        for number, value in enumerate(values)
    )
    version = registry.register(registration(trials=trials))
    client = registry._tracking.client
    runs = client.search_runs(
        [client.get_run(version.run_id).info.experiment_id],
        f"tags.mlflow.parentRunId = '{version.run_id}'",
        order_by=["attributes.start_time"],
    )

    assert [run.data.metrics["oof_log_loss"] for run in runs] == [0.69, 0.68, 0.66, 0.67, 0.65]
    assert client.get_run(version.run_id).info.start_time == int(NOW.timestamp() * 1000)


def test_versions_are_looked_up_by_tag(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow returns the versions that are asked for, not all of them."""
    for key in "abc":
        registry.register(registration(key))
    registry.refuse("1", ("worse",))
    returned: list[int] = []
    search = registry._tracking.client.search_model_versions

    def counted(*args: Any, **options: Any) -> Any:
        versions = search(*args, **options)
        returned.append(len(versions))
        return versions

    monkeypatch.setattr(registry._tracking.client, "search_model_versions", counted)
    found = registry.find("b")

    assert found is not None
    assert found.number == "2"
    assert registry.find("d") is None
    assert [version.number for version in registry.waiting()] == ["2", "3"]
    assert [version.number for version in registry.versions(stage="refused")] == ["1"]
    assert returned == [1, 0, 2, 1]


def test_a_version_is_read_once_while_the_home_is_alone(registry: Registry) -> None:
    """Until it is changed; a home that is not alone reads it every time."""
    registry.register(registration("a"))
    promote(registry, "1")
    client = registry._tracking.client
    with registry.journal.alone():
        assert registry.version("1").stage == "champion"
        client.set_model_version_tag("signal-confidence", "1", "verdict", "edited")
        assert registry.version("1").verdict == "passes"
        registry.let_wait("1", ("too good",))
        assert registry.version("1").reasons == ("too good",)
        assert registry.version("1").verdict == "edited"
    client.set_model_version_tag("signal-confidence", "1", "verdict", "edited again")
    assert registry.version("1").verdict == "edited again"


def test_every_trial_is_a_run_below_its_training_if_asked_for(registry: Registry) -> None:
    """Parameters, log-loss unless pruned, state, family, duration; a repeat adds no runs."""
    rows = [
        TrialRow(0, "xgboost", "complete", 0.68, 40, {"eta": 0.1}),
        TrialRow(1, "lightgbm", "pruned", np.nan, 25, {}),
    ]
    ends = [NOW + timedelta(seconds=second) for second in range(3)]
    trials = tuple(
        Trial(row, began, ended) for row, began, ended in zip(rows, ends, ends[1:], strict=False)
    )
    version = registry.register(registration(trials=trials, every_trial=True))
    registry.register(registration(trials=trials, every_trial=True))
    client = registry._tracking.client
    wanted = f"tags.mlflow.parentRunId = '{version.run_id}'"
    experiment = client.get_run(version.run_id).info.experiment_id
    first, second = client.search_runs([experiment], wanted, order_by=["attributes.start_time"])

    assert len(client.search_runs([experiment])) == 3
    assert first.data.params == {"family": "xgboost", "eta": "0.1"}
    assert first.data.metrics == {"oof_log_loss": 0.68, "rounds": 40.0, "seconds": 1.0}
    assert (second.data.tags["state"], second.data.tags["family"], second.info.status) == (
        "pruned",
        "lightgbm",
        "FINISHED",
    )
    assert "oof_log_loss" not in second.data.metrics
    assert second.info.end_time - second.info.start_time == 1000
    assert client.get_run(version.run_id).info.start_time == first.info.start_time


def test_a_run_names_the_rows_it_learned_from(registry: Registry) -> None:
    """Name, digest, source, columns and counts; the rows themselves are not stored."""
    data = Dataset(
        "settled signals", "training", "ab" * 32, "/home/lake", ("rsi",), {"num_rows": 400}
    )
    version = registry.register(registration(data=(data,)))
    [logged] = registry._tracking.client.get_run(version.run_id).inputs.dataset_inputs

    assert (logged.dataset.name, logged.dataset.digest) == ("settled signals", ("ab" * 32)[:36])
    assert [(tag.key, tag.value) for tag in logged.tags] == [("mlflow.data.context", "training")]
    assert json.loads(logged.dataset.source) == {"uri": "/home/lake"}
    assert [column["name"] for column in json.loads(logged.dataset.schema)["mlflow_colspec"]] == [
        "rsi",
        "won",
    ]
    assert json.loads(logged.dataset.profile) == {"num_rows": 400}


def test_pages_tell_what_became_of_each_version(registry: Registry) -> None:
    """Verdict, reasons, figures, links to its runs; the model's page names the champion."""
    for key in ("a", "b", "c"):
        registry.register(registration(key))
    client = registry._tracking.client

    def description(version_number: str) -> str:
        return str(client.get_model_version("signal-confidence", version_number).description)

    assert description("1").startswith("Waits to be compared")
    promote(registry, "1", ("first champion",))
    promote(registry, "2", ("version 2 serves", "higher accuracy"))
    registry.refuse("3", ("worse",))
    retired, champion = client.get_model_version("signal-confidence", "1"), registry.version("2")

    assert description("1").startswith(
        f"Retired on {NOW:%Y-%m-%d}, version 2 serves; higher accuracy. It had served since"
    )
    assert retired.tags["retired_because"] == f"{NOW:%Y-%m-%d}, version 2 serves; higher accuracy"
    assert retired.tags["holdout_accuracy"] == "60.0%"
    assert description("2").startswith(f"Serves since {NOW:%Y-%m-%d}: higher accuracy.")
    assert "| 60.0% |" in description("2")
    assert f"runs/{champion.run_id})" in description("2")
    assert "[decision](#/experiments/" in description("2")
    assert description("3").startswith("Refused, it never served: worse.")
    about = client.get_registered_model("signal-confidence").description
    assert about.startswith("**The model decides nothing**: phase foundation")
    assert "[version 2](#/models/signal-confidence/versions/2)" in about
    assert "**promoted at 0.0%**, version 2 serves" in about


def test_words_without_end_are_cut_not_refused(registry: Registry) -> None:
    """An operator's reason of ten thousand characters is recorded, cut to the longest tag."""
    registry.register(registration("a"))
    promote(registry, "1", ("why " * 2500,))

    assert registry.journal.faults() == []
    assert registry.misplaced() == []
