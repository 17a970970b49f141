"""Training: results, refusals, and repeatability bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from factories.samples import make_samples, weighted
from steelyard.errors import CollectMoreData, FixData
from steelyard.learning.boosters import GROWING_BOOSTERS, BoosterData
from steelyard.learning.calibration import logit
from steelyard.learning.families import FILES, READERS
from steelyard.learning.folds import split_holdout, walk_forward
from steelyard.learning.model import Model
from steelyard.learning.policy import Family, LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.search import TrialRow, search
from steelyard.learning.training import _score_metrics, sample_weights, train, training_key

QUICK = LearningPolicy(trials=6, rounds=60, patience=20)


@pytest.fixture(scope="module")
def skilled() -> Samples:
    return make_samples(900, signal=1.2)


def test_a_planted_signal_is_found_and_admitted(skilled: Samples) -> None:
    """Holdout accuracy above 60 %, the planted feature first, and every trial in the table."""
    logged: list[TrialRow] = []
    training = train(skilled, QUICK, on_trial=logged.append)

    assert training.refusal == ""
    assert training.metrics["holdout_accuracy"] > 0.6
    assert next(iter(training.importance)) == "f0"
    assert len(training.trials) == len(logged) == 6
    assert set(training.trials["state"]) <= {"complete", "pruned"}
    assert "logistic regression" in training.comparison


def test_same_data_and_seed_give_the_same_model(skilled: Samples) -> None:
    """Byte for byte; and the training key is the same."""
    first, second = train(skilled, QUICK), train(skilled, QUICK)

    assert first.model is not None
    assert second.model is not None
    assert first.model.to_files() == second.model.to_files()
    assert training_key(skilled.data_hash, QUICK) == training_key(
        skilled.take(np.arange(900)).data_hash, QUICK
    )
    assert training_key(skilled.data_hash, QUICK) != training_key(
        skilled.take(np.arange(899)).data_hash, QUICK
    )
    recorded_in_full = QUICK.model_copy(update={"log_trials": "all"})
    assert training_key(skilled.data_hash, QUICK) == training_key(
        skilled.data_hash, recorded_in_full
    )


@pytest.mark.parametrize("family", ["logistic", "lightgbm", "xgboost"])
def test_a_stored_model_predicts_the_same_bit_for_bit(family: Family, skilled: Samples) -> None:
    """Stored as native text, UBJ or plain numbers, with JSON beside it, and read back."""
    model = train(skilled, QUICK.model_copy(update={"families": (family,)})).model
    assert model is not None
    files = model.to_files()
    reloaded = Model.from_files(files)

    assert set(files) == {
        "model.json",
        "forest.npz",
        FILES[family],
    }
    for expected, actual in zip(model.predict(skilled.x), reloaded.predict(skilled.x), strict=True):
        assert expected.tobytes() == actual.tobytes()


def test_a_changed_booster_is_not_loaded(skilled: Samples) -> None:
    """One byte more, and the SHA-256 in the JSON differs."""
    model = train(skilled, QUICK).model
    assert model is not None
    files = {
        name: content + b" " if name in FILES.values() else content
        for name, content in model.to_files().items()
    }

    with pytest.raises(FixData, match="was changed after training"):
        Model.from_files(files)


def test_features_with_a_missing_column_are_refused(skilled: Samples) -> None:
    """Five columns of six."""
    model = train(skilled, QUICK).model
    assert model is not None

    with pytest.raises(FixData, match="6 columns expected"):
        model.predict(skilled.x[:, :5])


def test_the_holdout_changes_only_its_own_score(skilled: Samples) -> None:
    """With every holdout outcome flipped, the model is the same byte for byte."""
    _, holdout = split_holdout(skilled, QUICK)
    won = skilled.won.copy()
    won[holdout] = ~won[holdout]
    flipped = train(replace(skilled, won=won), QUICK)
    original = train(skilled, QUICK)

    assert flipped.model is not None
    assert original.model is not None
    assert flipped.model.to_files() == original.model.to_files()
    assert flipped.metrics["holdout_accuracy"] == pytest.approx(
        1 - original.metrics["holdout_accuracy"]
    )


def test_a_scored_fold_does_not_stop_its_own_boosting(skilled: Samples) -> None:
    """With the outcomes of the last test fold flipped, each trial stops at the same rounds."""
    development, _ = split_holdout(skilled, QUICK)
    folds = walk_forward(skilled, development, QUICK)
    won = skilled.won.copy()
    won[folds[-1].test] = ~won[folds[-1].test]
    single_trial = QUICK.model_copy(update={"trials": 1, "families": ("lightgbm",)})

    expected, actual = (
        search(samples, samples.uniqueness, folds, single_trial)
        for samples in (skilled, replace(skilled, won=won))
    )
    assert expected.rounds == actual.rounds
    np.testing.assert_array_equal(expected.out_of_fold, actual.out_of_fold)


def test_pruned_trials_are_counted(skilled: Samples) -> None:
    """Of 30 trials some are pruned, all are numbered, and only complete ones have a value."""
    rows: list[TrialRow] = []
    train(skilled, LearningPolicy(trials=30, rounds=120, patience=20), on_trial=rows.append)

    assert [row.number for row in rows] == list(range(30))
    assert {row.state for row in rows} == {"complete", "pruned"}
    assert all(np.isnan(row.value) == (row.state == "pruned") for row in rows)
    assert [row.family for row in rows[:3]] == ["logistic", "lightgbm", "xgboost"]
    assert [row.state for row in rows[:3]] == ["complete"] * 3


@pytest.mark.parametrize("family", ["lightgbm", "xgboost"])
def test_only_the_first_rounds_of_a_booster_are_stored(family: Family, skilled: Samples) -> None:
    """Grown to 20 rounds and stored at 10, it predicts as with 10."""
    table = BoosterData.from_rows(weighted(skilled))
    booster = GROWING_BOOSTERS[family]({}, table, seed=1)
    for _ in range(20):
        booster.grow()

    np.testing.assert_array_equal(
        READERS[family](booster.to_bytes(10)).predict(skilled.x), booster.predict(skilled.x, 10)
    )


@pytest.mark.parametrize("lasts", [True, False], ids=["the edge lasts", "it turned round"])
def test_the_loss_of_the_base_rate_is_what_a_proof_must_beat(skilled: Samples, lasts: bool) -> None:
    """The share that won in training, foretold for each signal of the holdout."""
    development, holdout = split_holdout(skilled, QUICK)
    won = skilled.won.copy()
    won[holdout] ^= not lasts
    samples = replace(skilled, won=won)
    metrics = train(samples, QUICK.model_copy(update={"families": ("logistic",)})).metrics
    share = np.average(samples.won[development], weights=samples.uniqueness[development])
    expected = -np.log(np.where(samples.won[holdout], share, 1 - share)).mean()

    assert metrics["holdout_base_log_loss"] == pytest.approx(expected)
    assert (metrics["holdout_log_loss"] < metrics["holdout_base_log_loss"]) is lasts
    assert metrics["holdout_independent"] == pytest.approx(samples.uniqueness[holdout].sum())


@pytest.mark.parametrize("half_life", [None, 30.0])
def test_a_half_life_forgets(half_life: float | None) -> None:
    """A month before the latest signal, a signal of its own weighs half as much."""
    samples = make_samples(900)
    weight = sample_weights(samples, QUICK.model_copy(update={"half_life_days": half_life}))
    age = (samples.decided_at[-1] - samples.decided_at) / np.timedelta64(1, "D")
    expected = samples.uniqueness * (0.5 ** (age / half_life) if half_life else 1.0)

    assert weight == pytest.approx(expected)
    assert weight[-121] == pytest.approx(samples.uniqueness[-121] * (0.5 if half_life else 1.0))


def test_one_outcome_only_is_refused() -> None:
    """A fold with wins only cannot be learned from, and a log without a loser is asked about."""
    wins, last = np.ones(600, dtype=bool), np.arange(600) == 599

    for won, words in ((~last, "only one outcome"), (wins, "find out how the system knows")):
        with pytest.raises(CollectMoreData, match=words):
            train(replace(make_samples(600), won=won), QUICK)


@pytest.mark.parametrize("family", ["logistic", "lightgbm", "xgboost"])
def test_contributions_of_features_add_up(family: Family, skilled: Samples) -> None:
    """To the raw log odds and, calibrated, to those of ``p_win``; with NaN features, too."""
    model = train(skilled, QUICK.model_copy(update={"families": (family,)})).model
    assert model is not None
    x = skilled.x.copy()
    x[0, 1] = np.nan
    original = x.tobytes()
    raw, calibrated = model.learner.contributions(x), model.contributions(x)

    assert raw.shape == calibrated.shape == (900, 7)
    np.testing.assert_allclose(raw.sum(axis=1), logit(model.learner.predict(x)), atol=1e-4)
    np.testing.assert_allclose(calibrated.sum(axis=1), logit(model.predict(x)[0]), atol=1e-4)
    assert np.abs(calibrated[:, :-1]).mean(axis=0).argmax() == 0
    assert np.ptp(calibrated[:, -1]) == 0
    assert x.tobytes() == original


def test_importance_by_gain_and_by_shapley_values(skilled: Samples) -> None:
    """Shares of all features sum to 1, largest first; the planted feature leads both."""
    training = train(skilled, QUICK)

    for shares in (training.importance, training.shap):
        assert set(shares) == set(skilled.feature_names)
        assert sum(shares.values()) == pytest.approx(1)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert next(iter(shares)) == "f0"


def test_contributions_of_features_with_a_missing_column_are_refused(skilled: Samples) -> None:
    """Five columns of six."""
    model = train(skilled, QUICK).model
    assert model is not None

    with pytest.raises(FixData, match="6 columns expected"):
        model.contributions(skilled.x[:, :5])


def test_always_saying_no_is_not_better_than_a_constant() -> None:
    """Nine of eleven right, nine of eleven lost: as one minus the share won, the rate is lower."""
    scores = _score_metrics("holdout", np.full(11, 0.3), np.arange(11) < 2)

    assert scores["holdout_accuracy"] == scores["holdout_no_information_rate"] == 9 / 11
    assert 9 / 11 > 1 - 2 / 11
