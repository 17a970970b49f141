"""The health of the model in service, against figures worked out by hand.

The three ways of falling silent.
"""

import json
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from factories.evidence import EARLIER
from factories.settled import settled
from steelyard.gateways.ledger import SETTLED
from steelyard.monitoring.health import (
    WORDS,
    BaselineTrading,
    Figure,
    ModelHealth,
    TrainingFigures,
    health,
    silences,
)
from steelyard.monitoring.targets import TARGETS

NAN = float("nan")
OVERDUE = pd.Timedelta("3D")


def day(number: float) -> datetime:
    return EARLIER + timedelta(days=number)


def of(
    predictions: pd.DataFrame, signals: int = 10, train: float = NAN, holdout: float = NAN
) -> ModelHealth:
    """The health over the ten days that hold the first ten of ``settled``."""
    return health(predictions, signals, day(-1), day(9), TrainingFigures(train, holdout))


def figure(result: ModelHealth, name: str) -> Figure:
    return next(row for row in result.figures if row.name == name)


def mixed() -> pd.DataFrame:
    """Ten predictions: two fallbacks, two not settled, four traded, one pivotal."""
    return settled(
        10,
        p_win=[0.9, 0.8, 0.7, 0.6, 0.6, 0.4, 0.3, 0.2, NAN, NAN],
        confidence_ml=[95.0, 85.0, 75.0, 65.0, 65.0, 45.0, 30.0, 100.0, NAN, NAN],
        won=pd.array(
            [True, True, False, True, None, False, False, None, True, False], dtype="boolean"
        ),
        settled_at=pd.Series(
            [day(i) if i not in (4, 7) else pd.NaT for i in range(10)], dtype="datetime64[ns, UTC]"
        ),
        fallback_reason=[None] * 8 + ["stale_bars", "no_model"],
        decision=[True] * 4 + [False] * 6,
        pivotal=[True] + [False] * 9,
        latency_ms=[float(i) for i in range(1, 9)] + [NAN, NAN],
        hold_minutes=[10.0, 20.0, NAN, 30.0] + [900.0] * 6,
        slippage_bps=[1.0, 2.0, 3.0, 6.0] + [90.0] * 6,
    )


@pytest.mark.parametrize(
    ("name", "value", "target", "ok"),
    [
        ("brier", (0.01 + 0.04 + 0.49 + 0.16 + 0.16 + 0.09) / 6, 0.25, True),
        (
            "ece",
            (0.1 + 0.2 + 0.7 + 0.4 + 0.4 + 0.3) / 6,
            0.05 + 0.5 * np.sqrt(20 / np.pi / 6),
            True,
        ),
        ("overfitting_gap", 0.2, 0.10, False),
        ("latency_p50_ms", 4.5, None, None),
        ("latency_p95_ms", 7.65, None, None),
        ("latency_p99_ms", 7.93, 50.0, True),
        ("coverage", 8 / 20, 0.99, False),
        ("fallback_rate", 0.2, 0.01, False),
        ("pivotal_rate", 0.1, None, None),
        ("overconfidence", (0.9 + 0.8 + 0.7 + 0.6 + 0.6 + 0.7) / 6 - 5 / 6, 0.05, True),
        ("uniform_share", 2 / 8, 0.5, True),
        ("extreme_share", 3 / 8, None, None),
        ("top_feature_share", NAN, 0.5, None),
        ("hit_rate", 4 / 20, 0.5, False),
        ("trades_per_day", 0.4, None, None),
        ("mean_hold_minutes", 20.0, None, None),
        ("mean_slippage_bps", 3.0, None, None),
    ],
)
def test_a_figure_stands_beside_its_target(
    name: str, value: float, target: float | None, ok: bool | None
) -> None:
    """Outcomes of settled opinions, hold and slippage of settled trades.

    Shares of signals or of predictions.
    """
    result = figure(of(mixed(), signals=20, train=0.8, holdout=0.6), name)

    assert result.value == pytest.approx(value, nan_ok=True)
    assert result.target == (None if target is None else pytest.approx(target))
    assert (result.ok, result.words) == (ok, WORDS[name])


def test_health_counts_what_it_rests_on() -> None:
    """Fallbacks by reason, the most frequent first."""
    result = of(mixed().assign(fallback_reason=["slow"] * 2 + [None] * 6 + ["stale_bars", "slow"]))

    assert (result.predictions, result.opinions, result.settled) == (10, 8, 6)
    assert result.fallbacks == (("slow", 3), ("stale_bars", 1))


def test_confidences_are_counted_in_tenths() -> None:
    """A tenth holds its lower end, the last one 1 and 100 as well; a missing opinion is in none."""
    result = of(mixed())

    assert result.p_win == (0, 0, 1, 1, 1, 0, 2, 1, 1, 1)
    assert result.confidence_ml == (0, 0, 0, 1, 1, 0, 2, 1, 1, 2)
    assert of(settled(10, p_win=1.0, confidence_ml=0.0)).p_win == (0,) * 9 + (10,)


def test_reliability_is_told_by_band_of_confidence() -> None:
    """Signals that settled: how many, what was said of them, and how many won."""
    bands = of(
        settled(4, confidence_ml=[70.0, 79.9, 80.0, NAN], p_win=[0.6, 0.7, 0.8, 0.9])
    ).reliability

    assert [(band.low, band.high, band.count) for band in bands][7:9] == [
        (70.0, 80.0, 2),
        (80.0, 90.0, 1),
    ]
    assert (bands[7].mean_p_win, bands[7].win_rate) == (pytest.approx(0.65), 1.0)
    assert np.isnan(bands[0].mean_p_win)
    assert np.isnan(bands[0].win_rate)


def test_an_outcome_nobody_knows_is_no_loss() -> None:
    """Settled, but not known whether it won."""
    result = of(settled(2, won=pd.array([True, None], dtype="boolean")))

    assert (result.settled, figure(result, "brier").value) == (1, pytest.approx(0.16))


def test_a_target_met_exactly_is_met_but_latency_must_stay_under() -> None:
    """Coverage of 99 % is enough, a fallback rate of 1 % too; 50 ms is too slow."""
    frame = settled(
        100, p_win=[0.6] * 99 + [NAN], fallback_reason=[None] * 99 + ["slow"], latency_ms=50.0
    )
    result = health(frame, 100, day(-1), day(99))

    assert {
        name: figure(result, name).ok for name in ("coverage", "fallback_rate", "latency_p99_ms")
    } == {
        "coverage": True,
        "fallback_rate": True,
        "latency_p99_ms": False,
    }


ILL = {
    "brier": {"p_win": 0.9, "won": [False] * 100},
    "ece": {"p_win": 0.6},
    "overconfidence": {"p_win": 0.9, "won": [True, False] * 50},
    "uniform_share": {"p_win": 0.6},
    "latency_p99_ms": {"latency_ms": [0.1] * 90 + [60.0] * 10},
    "coverage": {"p_win": [0.6] * 90 + [NAN] * 10},
    "fallback_rate": {"fallback_reason": [None] * 90 + ["slow"] * 10},
    "hit_rate": {"decision": [True] * 20 + [False] * 80},
    "mean_slippage_bps": {"slippage_bps": [9.0, 11.0] * 50},
}


@pytest.mark.parametrize(("name", "columns"), ILL.items(), ids=ILL)
def test_a_miss_that_chance_does_not_explain_is_alarming(
    name: str, columns: dict[str, object]
) -> None:
    """A hundred observations say so, six of the same kind do not; a well one is never alarming."""
    won = pd.array(columns.get("won", [True] * 100), dtype="boolean")
    ill, usual = settled(100, **{**columns, "won": won}), BaselineTrading(slippage_bps=4.0)
    well = settled(100, p_win=np.linspace(0.8, 1.0, 100))
    few = health(pd.concat([ill[:3], ill[-3:]]), 6, day(-1), day(99), baseline=usual)

    assert figure(health(ill, 100, day(-1), day(99), baseline=usual), name).alarming
    assert not figure(few, name).alarming
    assert not figure(health(well, 100, day(-1), day(99), baseline=usual), name).alarming


def test_a_small_miss_is_missed_and_not_alarming() -> None:
    """Two fallbacks of a hundred where one is allowed: chance does that one time in four."""
    whole = health(settled(100, fallback_reason=[None] * 98 + ["slow"] * 2), 100, day(-1), day(99))

    assert (figure(whole, "fallback_rate").ok, figure(whole, "fallback_rate").alarming) == (
        False,
        False,
    )
    assert figure(whole, "fallback_rate").chance == pytest.approx(
        1 - 0.99**100 - 100 * 0.01 * 0.99**99
    )


def test_what_training_said_is_judged_by_the_size_of_its_holdout() -> None:
    """A gap of 20 points: chance over 20 holdout rows, none over 400. Rested on one feature.

    Missed, never alarming.
    """
    shares = {"gain": {"a": 0.3, "b": 0.7}, "shap": {"a": 0.6, "b": 0.4}}
    few, many = (
        health(settled(10), 10, day(-1), day(9), TrainingFigures(0.8, 0.6, n, **shares))
        for n in (20, 400)
    )

    assert [figure(result, "overfitting_gap").alarming for result in (few, many)] == [False, True]
    assert (figure(many, "top_feature_share").ok, figure(many, "top_feature_share").alarming) == (
        False,
        False,
    )
    assert [(entry.name, entry.gain, entry.shap) for entry in many.importance] == [
        ("a", 0.3, 0.6),
        ("b", 0.7, 0.4),
    ]


def test_a_figure_without_a_target_says_why() -> None:
    """In its words; every other has one."""
    for row in of(mixed()).figures:
        assert (row.name in TARGETS) != ("no target" in row.words)


def test_only_predictions_decided_in_the_time_count() -> None:
    """After the start, up to the end."""
    result = health(settled(10), 10, day(2), day(5))

    assert result.predictions == 3
    assert figure(result, "trades_per_day").value == 1.0
    assert np.isnan(figure(health(settled(10), 0, day(2), day(2)), "trades_per_day").value)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(settled(0), id="with dtypes"),
        pytest.param(pd.DataFrame({name: [] for name in SETTLED}, dtype=object), id="without"),
    ],
)
def test_where_nothing_is_known_nothing_is_claimed(frame: pd.DataFrame) -> None:
    """NaN and no word on the target; only trades a day are known to be none."""
    result = of(frame, signals=0)

    assert {row.name for row in result.figures if not np.isnan(row.value)} == {"trades_per_day"}
    assert all(row.ok is None for row in result.figures)
    assert (
        sum(result.p_win)
        + sum(result.confidence_ml)
        + sum(band.count for band in result.reliability)
        == 0
    )


def test_signals_without_any_prediction_are_a_coverage_of_none() -> None:
    """A model that says nothing does not pass for one that was not asked."""
    coverage = figure(of(settled(0), signals=5), "coverage")

    assert (coverage.value, coverage.ok) == (0.0, False)


def test_health_is_plain_json_and_the_frame_stays_as_it_was() -> None:
    """NaN becomes None."""
    frame, unchanged = mixed(), mixed()
    document = of(frame).to_dict()

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (
        next(row for row in document["figures"] if row["name"] == "overfitting_gap")["value"]
        is None
    )
    assert document["reliability"][0]["win_rate"] is None
    pd.testing.assert_frame_equal(frame, unchanged)


def test_nothing_fell_silent() -> None:
    """Every signal predicted, every prediction settled, the last one a day ago."""
    assert silences(settled(90), settled(90), day(90), OVERDUE) == ()


def test_signals_without_predictions_are_an_alarm() -> None:
    """Counted, with when it began and ended."""
    (result,) = silences(settled(90), settled(90).drop(index=[10, 11, 12]), day(90), OVERDUE)

    assert result.code == "unpredicted"
    assert (
        result.words
        == "3 of 90 signals have no prediction, from 2025-01-11 00:00 UTC to 2025-01-13 00:00 UTC."
    )


@pytest.mark.parametrize(
    ("age", "alarms"),
    [pytest.param(3.0, False, id="as old as allowed"), pytest.param(3.1, True, id="older")],
)
def test_predictions_that_never_settled_are_an_alarm(age: float, alarms: bool) -> None:
    """From the age on at which they should have."""
    frame = settled(90)
    frame.loc[[88, 89], "settled_at"] = pd.NaT
    result = silences(frame, frame, day(88 + age), OVERDUE)

    assert [silence.code for silence in result] == ["unsettled"] * alarms
    assert not alarms or result[0].words == (
        "1 of 90 predictions are older than 3.0 days and have no outcome, "
        "the oldest since 2025-03-30 00:00 UTC."
    )


@pytest.mark.parametrize(
    ("pause", "alarms"),
    [pytest.param(6.9, False, id="1 in 992"), pytest.param(7.0, True, id="1 in 1097")],
)
def test_signals_that_stop_are_an_alarm_once_chance_no_longer_explains_it(
    pause: float, alarms: bool
) -> None:
    """One a day: e^−6.9 is over one in a thousand, e^−7 is under it."""
    result = silences(settled(90), settled(90), day(89 + pause), OVERDUE)

    assert [silence.code for silence in result] == ["quiet"] * alarms
    assert not alarms or result[0].words == (
        "No signal for 7.0 days, since 2025-03-31 00:00 UTC, after 90 in 90 days: "
        "the probability by chance is under 0.1%."
    )


def test_a_long_silence_does_not_make_itself_look_usual() -> None:
    """The rate is that of the time before it."""
    assert [silence.code for silence in silences(settled(90), settled(90), day(400), OVERDUE)] == [
        "quiet"
    ]


def test_a_pause_no_longer_than_an_earlier_one_is_none() -> None:
    """A signal every hour of five days, then a weekend without.

    That is expected every week, an hour more is not.
    """
    hours = [timedelta(days=7 * week, hours=hour) for week in range(12) for hour in range(120)]
    decided = pd.Series([EARLIER + hour for hour in hours], dtype="datetime64[ns, UTC]")
    frame = pd.DataFrame(
        {"signal_id": decided.astype(str), "decided_at": decided, "settled_at": decided}
    )
    last = decided.iloc[-1].to_pydatetime()

    assert silences(frame, frame, last + timedelta(hours=49), OVERDUE) == ()
    assert [
        entry.code for entry in silences(frame, frame, last + timedelta(hours=50), OVERDUE)
    ] == ["quiet"]


def test_several_silences_are_all_told() -> None:
    """In a fixed order; what comes after the end is not looked at."""
    frame = settled(90)
    open_ones = frame.assign(
        settled_at=pd.Series(pd.NaT, index=frame.index, dtype="datetime64[ns, UTC]")
    )
    later = pd.concat([frame, settled(1, signal_id="later", decided_at=pd.Timestamp(day(200)))])

    result = silences(later, open_ones[1:], day(150), OVERDUE)

    assert [silence.code for silence in result] == ["unpredicted", "unsettled", "quiet"]
    assert result[0].words.startswith("1 of 90 signals")


@pytest.mark.parametrize(
    "empty",
    [
        pytest.param(settled(0), id="with dtypes"),
        pytest.param(pd.DataFrame({name: [] for name in SETTLED}, dtype=object), id="without"),
    ],
)
def test_a_system_that_never_spoke_is_not_silent(empty: pd.DataFrame) -> None:
    """Nothing there, nothing missing."""
    assert silences(empty, empty, day(0), OVERDUE) == ()
    assert [silence.code for silence in silences(settled(1), empty, day(1), OVERDUE)] == [
        "unpredicted"
    ]
