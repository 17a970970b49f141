"""Drift: an unchanged world is left alone, a changed one is noticed.

What cannot be judged is named.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from steelyard.monitoring.drift import (
    PREDICTION,
    ColumnDrift,
    Drift,
    DriftPolicy,
    Performance,
    drift,
    drift_page,
    psi_noise,
)

POLICY = DriftPolicy()
IMPORTANCE = {"minor": 1.0, "major": 14.0, "middle": 5.0}
TRAINING = Performance(outcomes=1000, accuracy=0.58, log_loss=0.67, ece=0.02, loss_deviation=0.2)


def world(rows: int, seed: int, **columns: Any) -> pd.DataFrame:
    """A normal, a heavy-tailed and a whole-numbered feature, and the prediction.

    ``columns`` replace some.
    """
    generator = np.random.default_rng(seed)
    features = {
        "minor": generator.poisson(8, rows),
        "major": generator.normal(0.0, 0.0005, rows),
        "middle": generator.standard_t(2, rows),
        PREDICTION: generator.beta(20, 18, rows),
    }
    return pd.DataFrame(features).assign(**columns)


def moved(name: str, rows: int = 500, seed: int = 2, errors: float = 1.5) -> pd.DataFrame:
    """A world in which the column ``name`` moved by so many of its standard deviations."""
    now = world(rows, seed)
    return now.assign(**{name: now[name] + errors * now[name].std()})


def judged(
    current: pd.DataFrame, performance: tuple[Performance, Performance] | None = None
) -> Drift:
    return drift(world(1000, 1), current, IMPORTANCE, performance, POLICY)


def column(result: Drift, name: str) -> ColumnDrift:
    return next(column for column in result.columns if column.name == name)


@pytest.mark.parametrize(("before", "now"), [(100, 100), (1000, 100), (1000, 1000), (5000, 5000)])
def test_an_unchanged_world_is_fine(before: int, now: int) -> None:
    """At any number of rows: of ten pairs of samples at most one alarms."""
    result = [
        drift(world(before, seed), world(now, 100 + seed), IMPORTANCE, None, POLICY)
        for seed in range(10)
    ]

    assert sum(entry.verdict != "fine" for entry in result) <= 1
    assert (
        "no drift: the largest PSI is"
        in next(entry for entry in result if entry.verdict == "fine").reasons[0]
    )


@pytest.mark.parametrize(
    ("name", "verdict", "share"),
    [
        pytest.param("major", "retrain", 0.7, id="70 % of the importance"),
        pytest.param("middle", "watch", 0.25, id="25 %"),
        pytest.param("minor", "fine", 0.05, id="5 %"),
    ],
)
def test_a_feature_weighs_as_much_as_the_model_makes_of_it(
    name: str, verdict: str, share: float
) -> None:
    """The same shift asks for retraining in one feature and for nothing in another.

    Is named in both.
    """
    result = judged(moved(name))

    assert (result.verdict, result.share) == (verdict, share)
    assert [column.name for column in result.columns if column.drifted] == [name]
    assert f"{share:.1%} of the importance" in result.reasons[0]
    assert f"{name} (PSI" in result.reasons[0]


@pytest.mark.parametrize(
    ("feature", "verdict"),
    [
        pytest.param("minor", "retrain", id="with a feature"),
        pytest.param(PREDICTION, "watch", id="by themselves"),
    ],
)
def test_predictions_that_drift_ask_for_retraining_when_a_feature_did_too(
    feature: str, verdict: str
) -> None:
    """A slight feature is enough; none at all is only worth watching."""
    result = judged(moved(PREDICTION).assign(**{feature: moved(feature)[feature]}))

    assert result.prediction.drifted
    assert result.verdict == verdict
    assert result.reasons[0].startswith("predictions drifted: PSI")


def test_one_moved_column_among_forty_is_found_and_no_other() -> None:
    """The bound is widened for the number of columns.

    Not past a shift of half a deviation over 500 rows.
    """
    generator, names = np.random.default_rng(5), [f"f{i}" for i in range(40)]
    before, now = (
        pd.DataFrame(generator.normal(size=(rows, 40)), columns=names) for rows in (1000, 500)
    )
    now["f7"] += 0.6

    result = drift(before, now, dict.fromkeys(names, 1.0), None, POLICY)

    assert [column.name for column in result.columns if column.drifted] == ["f7"]
    assert result.verdict == "fine"


def test_the_bound_is_the_mean_of_the_noise_and_some_deviations() -> None:
    """It exceeds (bands − 1)(1/n + 1/m), falls with the rows.

    Rises with the bands and the certainty asked for.
    """
    assert psi_noise(10, 1000, 500, 0.01) > 9 * (1 / 1000 + 1 / 500)
    assert psi_noise(10, 2000, 1000, 0.01) == pytest.approx(psi_noise(10, 1000, 500, 0.01) / 2)
    assert (
        psi_noise(5, 1000, 500, 0.01)
        < psi_noise(10, 1000, 500, 0.01)
        < psi_noise(10, 1000, 500, 0.001)
    )


def test_few_rows_need_a_larger_shift() -> None:
    """Over 100 rows the bound is the noise of sampling, over 5000 the customary one."""
    few = drift(world(100, 1), world(100, 2), IMPORTANCE, None, POLICY)
    many = drift(world(5000, 1), world(5000, 2), IMPORTANCE, None, POLICY)

    assert column(few, "major").bound > 0.3
    assert column(many, "major").bound == POLICY.psi_bound


def test_the_distance_is_in_deviations_of_the_reference() -> None:
    """Small numbers are not measured against a width they do not have; NaN is left out of it."""
    before, now = world(1000, 1), moved("major")
    now.loc[:9, "major"] = np.nan
    expected = wasserstein_distance(before["major"], now["major"].dropna()) / before["major"].std(
        ddof=0
    )

    assert column(judged(now), "major").wasserstein == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param(np.nan, "no number in current", id="all NaN"),
        pytest.param(np.inf, "no number in current", id="all infinite"),
        pytest.param("text", "no number in current", id="text"),
        pytest.param(
            [1.0] * 60 + [np.nan] * 440, "60 rows in current, 100 needed", id="mostly NaN"
        ),
    ],
)
def test_a_column_without_numbers_is_reported_and_the_rest_judged(
    values: object, reason: str
) -> None:
    """It neither stops the report nor vanishes from it, and counts as not drifted."""
    result = judged(world(500, 2, major=values))

    assert column(result, "major").unjudged == reason
    assert not column(result, "middle").unjudged
    assert (result.verdict, result.judged_share) == ("fine", 0.3)
    assert f"not judged: major ({reason})" in result.reasons


def test_a_missing_column_is_reported() -> None:
    """On either side; the prediction too."""
    before, now = world(1000, 1), world(500, 2)

    assert column(judged(now.drop(columns="major")), "major").unjudged == "missing in current"
    result = drift(before.drop(columns=["major", PREDICTION]), now, IMPORTANCE, None, POLICY)
    assert column(result, "major").unjudged == "missing in reference"
    assert result.prediction.unjudged == "missing in reference"


def test_a_column_that_never_changes_is_not_judged_one_that_stopped_changing_is() -> None:
    """A constant says nothing; a feed that froze, or one that woke up, is drift."""
    quiet, moving = world(1000, 1, major=3.0), world(1000, 1)

    never = drift(quiet, world(500, 2, major=3.0), IMPORTANCE, None, POLICY)
    froze = drift(moving, world(500, 2, major=0.0), IMPORTANCE, None, POLICY)
    woke = drift(quiet, world(500, 2), IMPORTANCE, None, POLICY)

    assert column(never, "major").unjudged == "constant at 3"
    assert column(froze, "major").drifted
    assert column(woke, "major").drifted
    assert np.isnan(column(woke, "major").wasserstein)


def test_numbers_that_go_missing_are_drift() -> None:
    """A third of NaN where there was none."""
    now = world(500, 2)
    now.loc[::3, "major"] = np.nan

    assert column(judged(now), "major").drifted


def test_a_value_that_most_rows_share_does_not_hide_the_others() -> None:
    """Nine of ten rows at 1 and the rest below it: half of them below is seen."""
    rare, often = np.arange(1000) % 10 > 0, np.arange(500) % 2 > 0

    result = drift(world(1000, 1, major=rare), world(500, 2, major=often), IMPORTANCE, None, POLICY)

    assert column(result, "major").drifted


@pytest.mark.parametrize("dtype", ["int64", "Int64", "Float64", "float32", "object"])
def test_any_numeric_dtype_is_read(dtype: str) -> None:
    """Nullable ones with a gap as well."""
    now = world(500, 2)
    values = (
        now["minor"].astype("float64").where(now.index > 4)
        if dtype in ("Int64", "Float64")
        else now["minor"]
    )
    result = judged(now.assign(minor=values.astype(dtype)))

    assert not column(result, "minor").unjudged
    assert not column(result, "minor").drifted


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param(1000, 99, id="now"),
        pytest.param(50, 500, id="then"),
        pytest.param(0, 0, id="none"),
    ],
)
def test_too_few_rows_are_not_judged(before: int, now: int) -> None:
    """Whatever they look like."""
    current = moved("major", now, errors=5) if now else world(0, 2)
    result = drift(
        world(before, 1),
        current,
        IMPORTANCE,
        (TRAINING, Performance(outcomes=5, accuracy=0.0)),
        POLICY,
    )

    assert result.verdict == "fine"
    assert result.reasons[0] == f"not judged: {min(before, now)} rows, 100 needed"
    assert np.isnan(result.share)
    assert result.judged_share == 0


def test_columns_come_in_the_order_of_importance_and_shares_add_up() -> None:
    """Whatever order they are given in; the index of the rows says nothing."""
    result = judged(world(500, 2).set_index(pd.RangeIndex(500)[::-1]))

    assert [(column.name, column.importance) for column in result.columns] == [
        ("major", 0.7),
        ("middle", 0.25),
        ("minor", 0.05),
    ]
    assert result.judged_share == 1


def test_importance_that_is_no_positive_number_counts_as_none() -> None:
    """With none left, every feature counts the same; columns nobody named are not looked at."""
    before, now = world(1000, 1), world(500, 2)
    some = drift(before, now, {"major": 2.0, "middle": -1.0, "minor": float("nan")}, None, POLICY)
    none = drift(before, now, {"major": 0.0, "minor": 0.0}, None, POLICY)

    assert [column.importance for column in some.columns] == [1.0, 0.0, 0.0]
    assert [(column.name, column.importance) for column in none.columns] == [
        ("major", 0.5),
        ("minor", 0.5),
    ]


def test_a_model_without_features_has_only_its_prediction_judged() -> None:
    """No share to speak of."""
    result = drift(world(1000, 1), moved(PREDICTION), {}, None, POLICY)

    assert result.verdict == "watch"
    assert np.isnan(result.share)


@pytest.mark.parametrize(
    ("now", "verdict", "measure"),
    [
        pytest.param(
            Performance(300, 0.40, 0.67, 0.08, 0.2), "retrain", "accuracy", id="accuracy collapsed"
        ),
        pytest.param(
            Performance(300, 0.51, 0.67, 0.08, 0.2), "watch", "accuracy", id="accuracy slipped"
        ),
        pytest.param(
            Performance(300, 0.58, 0.74, 0.08, 0.2), "retrain", "log_loss", id="log-loss collapsed"
        ),
        pytest.param(
            Performance(300, 0.58, 0.70, 0.08, 0.2), "watch", "log_loss", id="log-loss slipped"
        ),
        pytest.param(
            Performance(300, 0.58, 0.67, 0.20, 0.2), "retrain", "ece", id="calibration collapsed"
        ),
        pytest.param(Performance(300, 0.70, 0.50, 0.00, 0.2), "fine", "", id="better than ever"),
        pytest.param(
            Performance(40, 0.45, 0.70, 0.15, 0.2), "fine", "", id="40 outcomes are worse by chance"
        ),
        pytest.param(
            Performance(29, 0.00, 9.00, 0.90, 0.2), "fine", "", id="29 outcomes are not judged"
        ),
    ],
)
def test_performance_is_judged_by_its_standard_error(
    now: Performance, verdict: str, measure: str
) -> None:
    """Worse than chance explains at 1 in 100 asks for retraining, at 1 in 10 it is watched."""
    result = judged(world(500, 2), (TRAINING, now))

    assert result.verdict == verdict
    assert result.reasons[0].startswith(measure)


def test_performance_is_judged_without_rows_of_features() -> None:
    """Outcomes are counted for themselves."""
    result = drift(
        world(0, 1), world(0, 2), IMPORTANCE, (TRAINING, Performance(300, accuracy=0.40)), POLICY
    )

    assert result.verdict == "retrain"
    assert (
        result.reasons[0]
        == "accuracy 0.400 now, 0.580 in training; chance explains values down to 0.504"
    )


def test_unknown_measures_are_named_not_judged() -> None:
    """Training that kept no log-loss deviation borrows the one of now; nothing else is guessed."""
    before = Performance(1000, accuracy=0.58, log_loss=0.67)
    result = judged(world(500, 2), (before, Performance(300, 0.57, 0.9, 0.05, 0.2)))

    assert {entry.name: entry.unjudged for entry in result.performance} == {
        "accuracy": "",
        "log_loss": "",
        "ece": "unknown in training or now",
    }
    assert (result.verdict, result.reasons[0][:8]) == ("retrain", "log_loss")
    assert "not judged: ece (unknown in training or now)" in result.reasons


def test_an_honest_model_seldom_looks_worse() -> None:
    """Outcomes drawn as predicted.

    Of 200 months of 60 signals at most a tenth and some are watched, hardly any more.
    """
    generator = np.random.default_rng(3)
    before, now = generator.beta(20, 18, 1000), generator.beta(20, 18, (200, 60))
    training = Performance.of(before, generator.random(1000) < before)
    result = [
        drift(
            world(0, 1),
            world(0, 1),
            {},
            (training, Performance.of(p, generator.random(60) < p)),
            POLICY,
        ).verdict
        for p in now
    ]

    assert result.count("retrain") <= 5
    assert result.count("watch") <= 25


def test_performance_is_measured_on_opinions() -> None:
    """By hand; without any it is unknown."""
    some = Performance.of(np.array([0.8, 0.4, np.nan]), np.array([True, True, False]))
    losses = -np.log([0.8, 0.4])

    assert (some.outcomes, some.accuracy) == (2, 0.5)
    assert some.log_loss == pytest.approx(losses.mean())
    assert some.loss_deviation == pytest.approx(losses.std(ddof=1))
    assert some.ece == pytest.approx((0.2 + 0.6) / 2)
    assert np.isnan(Performance.of(np.empty(0), np.empty(0, dtype=bool)).accuracy)


def test_the_most_important_reason_comes_first() -> None:
    """What asks for retraining before what is watched, performance before inputs.

    More than three features are counted.
    """
    names = [f"f{i}" for i in range(5)]
    generator = np.random.default_rng(4)
    before = pd.DataFrame(generator.normal(size=(500, 5)), columns=names)
    worse = (TRAINING, Performance(300, 0.51, 0.67, 0.08, 0.2))

    reasons = drift(before, before + 3, dict.fromkeys(names, 1.0), worse, POLICY).reasons

    assert reasons[0].startswith(
        "drifted features carry 100.0% of the importance, retrain from 30%: f0 (PSI"
    )
    assert reasons[0].endswith("and 2 more")
    assert reasons[1].startswith("accuracy 0.510 now")


def test_drift_is_plain_json_and_the_frames_stay_as_they_were() -> None:
    """NaN becomes None."""
    before, now = world(1000, 1), world(500, 2, minor=np.nan)
    copies = before.copy(), now.copy()
    document = drift(before, now, IMPORTANCE, (TRAINING, Performance(5)), POLICY).to_dict()

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["columns"][2]["psi"], document["prediction"]["importance"]) == (None, None)
    assert (document["columns"][0]["drifted"], document["performance"][0]["verdict"]) == (
        False,
        "fine",
    )
    pd.testing.assert_frame_equal(before, copies[0])
    pd.testing.assert_frame_equal(now, copies[1])


def test_the_page_shows_the_judged_columns() -> None:
    """What cannot be judged is left out instead of failing the page.

    With nothing left there is none.
    """
    before, now = world(1000, 1), world(500, 2, minor=np.nan)
    result = drift(before, now, IMPORTANCE, None, POLICY)
    page = drift_page(before, now, (*result.columns, result.prediction))

    assert page.lstrip().startswith("<")
    assert all(name in page for name in ("major in bands", "middle in bands", "p_win in bands"))
    assert "minor in bands" not in page
    assert (
        drift_page(before, now, [column for column in result.columns if column.name == "minor"])
        == ""
    )
