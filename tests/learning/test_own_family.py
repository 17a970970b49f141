"""Families of the user's own: searched, stored without pickle, served and explained."""

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from factories.guides import classes_of
from factories.samples import make_samples
from steelyard.desk.served_model import ServedModel
from steelyard.errors import FixConfiguration, FixData
from steelyard.learning.calibration import logit
from steelyard.learning.model import Model
from steelyard.learning.own_family import load_family
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.scorer import Scorer
from steelyard.learning.training import Training, train
from steelyard.scoring.served import Served
from steelyard.weight.state import State, initial_state

CHAMPION_AT = datetime(2026, 1, 1, tzinfo=UTC)
CLASSES = {made.__name__: made for made in classes_of("own-model.md")}
FAMILIES = ["my_models:Condensed", "my_models:Bayes"]


def load(family: str) -> Any:
    """The class of the guide's page that a family names."""
    return CLASSES[family.partition(":")[2]]


@pytest.fixture(scope="module")
def skilled() -> Samples:
    return make_samples(900, signal=1.2)


def trained(samples: Samples, *families: str, trials: int = 3) -> Training:
    policy = LearningPolicy(trials=trials, rounds=20, families=families)
    return train(samples, policy, load=load)


@pytest.fixture(scope="module", params=FAMILIES)
def own(request: pytest.FixtureRequest, skilled: Samples) -> Training:
    return trained(skilled, request.param)


def test_it_is_searched_calibrated_and_finds_the_planted_signal(own: Training) -> None:
    """With its parameters among the trials, and the planted feature among the important ones."""
    assert own.refusal == ""
    assert own.metrics["holdout_accuracy"] > 0.6
    assert "f0" in list(own.importance)[:3]
    assert next(iter(own.shap)) == "f0"
    assert {"components", "smoothing"} & set(own.trials.columns)
    assert "my_models:" in own.comparison


def test_it_shares_the_search_with_the_built_in_families(skilled: Samples) -> None:
    """The first trial of each is the one it names; parameters of the same name do not collide."""
    rows = trained(skilled, "logistic", *FAMILIES, trials=6).trials

    assert set(rows["family"]) >= {"logistic", *FAMILIES}
    first = rows[rows["family"] == "my_models:Condensed"].iloc[0]
    assert (first["components"], first["C"]) == (5, 0.01)


def test_it_is_stored_without_pickle_and_read_back(own: Training, skilled: Samples) -> None:
    """As ONNX or by its own files; model and trading side answer the same, one row at a time."""
    assert own.model is not None
    files = own.model.to_files()
    reloaded, scorer = Model.from_files(files, load), Scorer.from_files(files, load)
    p_win, confidence = own.model.predict(skilled.x[:20])

    assert set(files) == {own.model.learner_file, "forest.npz", "model.json"}
    assert not any(b"\x80\x04\x95" in content for content in files.values())  # a pickle's begin
    np.testing.assert_allclose(reloaded.predict(skilled.x[:20])[0], p_win, atol=1e-9)
    scored = np.array([scorer.score(row) for row in skilled.x[:20]])
    np.testing.assert_allclose(scored[:, 0], p_win, atol=1e-6)
    np.testing.assert_allclose(scored[:, 1], confidence, atol=1e-3)


def test_mlflow_answers_the_same_where_its_class_is_installed(
    own: Training, skilled: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version of ONNX answers without the class, one of files of its own with it."""
    assert own.model is not None
    files = own.model.to_files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    if own.model.learner_file != "model.onnx":
        with pytest.raises(ModuleNotFoundError, match="my_models"):
            Served(tmp_path)
        monkeypatch.setitem(sys.modules, "my_models", SimpleNamespace(**CLASSES))
    scorer = Scorer.from_files(files, load)

    frame = pd.DataFrame(skilled.x[:20], columns=list(skilled.feature_names))
    answered = Served(tmp_path).predict(frame)
    np.testing.assert_allclose(answered, [scorer.score(row) for row in skilled.x[:20]], rtol=1e-6)


def test_its_contributions_sum_to_the_log_odds(own: Training, skilled: Samples) -> None:
    """Of every row, with the typical row's log odds last."""
    assert own.model is not None
    shares = own.model.contributions(skilled.x[:5])

    np.testing.assert_allclose(
        shares.sum(axis=1), logit(own.model.predict(skilled.x[:5])[0]), atol=1e-6
    )


def test_it_is_served_and_a_changed_file_is_not(own: Training, tmp_path: Path) -> None:
    """The served bundle answers; without the class only ONNX does; a changed file is refused."""
    assert own.model is not None
    files = own.model.to_files()
    state: State = initial_state("life", CHAMPION_AT).model_copy(update={"champion": "1"})
    served = ServedModel(lambda _: files, tmp_path, load_class=load)
    served.follow(state)
    assert served.bundle is not None
    assert served.bundle.version == "1"

    if own.model.learner_file == "model.onnx":
        assert Scorer.from_files(files).answer is not None
    else:
        with pytest.raises(FixConfiguration, match="family my_models:Bayes: No module"):
            Scorer.from_files(files)
    name = own.model.learner_file
    with pytest.raises(FixData, match="is missing or was changed after training"):
        Scorer.from_files(files | {name: files[name] + b" "}, load)


class Unstorable(HistGradientBoostingClassifier):  # type: ignore[misc]
    """Trees that skl2onnx cannot convert."""

    @staticmethod
    def search_space(trial: Any) -> dict[str, Any]:
        return {"max_iter": trial.suggest_int("max_iter", 2, 3)}


class Odd:
    """Gives one column instead of two."""

    @staticmethod
    def search_space(trial: Any) -> dict[str, Any]:
        del trial
        return {}

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> "Odd":
        del x, y, sample_weight
        return self

    def predict_proba(self, x: Any) -> Any:
        return np.full(len(x), 0.5)


class Broken(Odd):
    """Cannot be fitted."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> "Broken":
        raise ZeroDivisionError("nothing to divide")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Unstorable, "give the class to_files and from_files"),
        (Odd, "Odd.predict_proba must give probabilities of shape"),
        (Broken, "cannot be fitted with {}: ZeroDivisionError: nothing to divide"),
        (object, "lacks search_space, fit, predict_proba"),
    ],
)
def test_what_is_wrong_with_a_family_is_one_clear_line(
    made: Any, words: str, skilled: Samples
) -> None:
    """It names the family or its class, and what to do."""
    policy = LearningPolicy(trials=1, families=("mine:Family",))
    with pytest.raises(FixConfiguration, match=re.escape(words)):
        train(skilled, policy, load=lambda _: made)


def test_a_family_that_is_not_there_is_named() -> None:
    """With the setting that names it."""
    with pytest.raises(FixConfiguration, match=r"family gone:Away: No module .*learning\.yaml"):
        load_family("gone:Away", lambda _: __import__("gone_for_good"))


def test_own_features_without_a_value_reach_it_as_nan(skilled: Samples) -> None:
    """The page's families put a typical value in their place."""
    x = skilled.x.copy()
    x[::3, 1] = np.nan
    model = trained(replace(skilled, x=x), "my_models:Condensed").model

    assert model is not None
    assert np.isfinite(model.predict(x)[0]).all()
