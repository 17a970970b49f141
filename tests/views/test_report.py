"""Pictures and the page of a replay."""

import io
from datetime import datetime
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from factories.evidence import books
from steelyard.settings import load
from steelyard.views import charts, plots, report
from steelyard.views.format import (
    recorded_bands,
    weight_axis_top,
    weight_bands,
)
from steelyard.views.records import DecisionRecord, VersionRecord
from steelyard.views.replay import ReplayResult
from steelyard.weight.decision import Rule
from steelyard.weight.policy import Band, Bands, WeightPolicy


def day_of(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")


BOOK = {"trades": 3, "total_return": 0.1, "sharpe": float("nan"), "win_rate": 0.515}
RULE = Rule(name="accuracy", figure=0.44, bound=0.45, fired=True, reason="44% under <45%>")


def decision(
    day: str, verdict: str, before: float, after: float, phase: str, kind: str = "weight"
) -> DecisionRecord:
    return DecisionRecord(
        sequence=1,
        as_of=day_of(day),
        period_end=day_of(day),
        kind=kind,
        phase=phase,
        weight_before=before,
        weight_after=after,
        verdict=verdict,
        reasons=(f"because of {verdict} <b>",),
        rules=(RULE,),
        run_id=None,
    )


def replay(*decisions: DecisionRecord, accepted: bool = True) -> ReplayResult:
    """A replay of 2020 with one training."""
    misses = "holdout accuracy 53.9% misses 55.0% by 1.1 points"
    training = VersionRecord(
        as_of=day_of("2020-01-01"),
        version="1",
        stage="champion",
        family="lightgbm",
        accepted=accepted,
        holdout_accuracy=0.539,
        no_information_rate=0.52,
        trials=None,
        verdict=f"{misses}; the booster beats a logistic regression",
        reasons=(misses,),
        run_id="run",
    )
    return ReplayResult(
        start=day_of("2020-01-01"),
        end=day_of("2020-12-31"),
        signals=100,
        signals_settled=90,
        signals_with_opinion=80,
        signals_per_month=8.2,
        trainings=(training,),
        promotions=(decision("2020-01-01", "HOLD", 0.0, 0.0, "shadow", kind="promotion"),),
        decisions=decisions,
        books=books(
            **{
                f"{book}__{measure}": figure
                for book in ("baseline", "ml", "blended")
                for measure, figure in BOOK.items()
            }
        ),
        worth=None,
        phase=decisions[-1].phase if decisions else "foundation",
        weight=decisions[-1].weight_after if decisions else 0.0,
        seconds=1.0,
    )


BANDS = weight_bands(WeightPolicy())
STAY = decision("2020-02-01", "HOLD", 0.0, 0.0, "shadow")
UP = decision("2020-03-01", "RAISE", 0.0, 0.15, "pilot")
CUT = decision("2020-05-01", "CUT", 0.15, 0.02, "pilot")
DOWN = decision("2020-06-01", "DISABLE", 0.15, 0.0, "shadow")
DAYS = pd.date_range("2020-01-02", periods=50, freq="D")
EQUITY = pd.DataFrame(
    {name: np.linspace(0, 0.1, 50) for name in ("baseline", "ml", "blended")}, index=DAYS
)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        pytest.param(
            replay(UP),
            "The model decides 15% of the confidence, in phase pilot.",
            id="in charge of some",
        ),
        pytest.param(
            replay(UP, CUT),
            "The model decides 2% of the confidence, in phase pilot; it had 15% before.",
            id="in charge of less",
        ),
        pytest.param(
            replay(UP, DOWN), "reached 15% and lost it: on 2020-06-01", id="rise and fall"
        ),
        pytest.param(replay(), "A model served, but never earned weight", id="shadow"),
        pytest.param(
            replay(accepted=False),
            "2020-01-01: holdout accuracy 53.9% misses 55.0% by 1.1 points.",
            id="refused",
        ),
    ],
)
def test_the_answer_comes_in_one_plain_sentence(told: ReplayResult, message: str) -> None:
    """What became of the model."""
    assert message in report.course(told.decisions, told.trainings)


def test_the_path_of_the_weight_is_that_of_the_decisions() -> None:
    """From 0 at the start to the last weight at the end, one step for each change."""
    moments, weights = replay(UP, DOWN).history.weight_steps()

    assert weights == [0.0, 0.15, 0.0, 0.0]
    assert [f"{moment:%m-%d}" for moment in moments] == ["01-01", "03-01", "06-01", "12-31"]


def test_the_phases_follow_each_other_without_a_gap() -> None:
    """From foundation at the start to the last phase at the end."""
    stretches = replay(STAY, UP, DOWN).history.phase_spans()

    assert [phase for phase, _, _ in stretches] == ["foundation", "shadow", "pilot", "shadow"]
    assert [f"{since:%m-%d}" for _, since, _ in stretches] == ["01-01", "02-01", "03-01", "06-01"]
    assert [until for _, _, until in stretches[:-1]] == [since for _, since, _ in stretches[1:]]
    assert f"{stretches[-1][2]:%m-%d}" == "12-31"


def test_every_decision_has_its_mark() -> None:
    """At its day and the weight it left, told apart by verdict; promotions below.

    No empty entries in the legend.
    """
    axes = Figure().subplots()
    plots.draw_weight(axes, replay(STAY, UP, DOWN).history, BANDS)
    drawn = {str(mark.get_label()): mark.get_offsets().tolist() for mark in axes.collections}

    assert drawn["held (1)"] == [[date2num(pd.Timestamp("2020-02-01")), 0.0]]
    assert drawn["raised or phase entered (1)"] == [[date2num(pd.Timestamp("2020-03-01")), 0.15]]
    assert drawn["disabled (1)"] == [[date2num(pd.Timestamp("2020-06-01")), 0.0]]
    assert drawn["new champion (1)"][0][0] == date2num(pd.Timestamp("2020-01-01"))
    assert len(drawn) == 4
    assert {"shadow", "pilot"} <= {text.get_text().strip() for text in axes.texts}


OTHER = WeightPolicy(
    bands=Bands(
        pilot=Band(floor=0.05, ceiling=0.08),
        expansion=Band(floor=0.08, ceiling=0.30),
        optimization=Band(floor=0.30, ceiling=0.60),
    ),
    ceiling=0.5,
)


def test_the_bands_in_a_picture_are_those_of_the_policy(conf: Path) -> None:
    """Edges, the overall ceiling and the end of the axis come from conf/weight.yaml."""
    bands = OTHER.bands.model_dump()
    (conf / "weight.yaml").write_text(yaml.safe_dump({"bands": bands, "ceiling": 0.5}))
    drawn = weight_bands(load(conf).weight)
    axes = Figure().subplots()
    raised = replay(decision("2020-03-01", "RAISE", 0.0, 0.5, "pilot"))
    plots.draw_weight(axes, raised.history, drawn)
    edges = [
        edge
        for patch in axes.patches[:3]
        for edge in (patch.get_y(), patch.get_y() + patch.get_height())
    ]

    assert drawn == weight_bands(OTHER)
    assert edges == pytest.approx([0.05, 0.08, 0.08, 0.30, 0.30, 0.50])
    assert axes.get_ylim()[1] == pytest.approx(0.52)


def test_the_page_draws_the_bands_of_the_policy() -> None:
    """As far as the axis shows them; a ceiling under the last floor leaves that band out."""
    chart = charts.weight_chart(replay(UP).history, weight_bands(OTHER))
    low = weight_bands(WeightPolicy(ceiling=0.3))

    assert [(stripe.name, stripe.low, stripe.high) for stripe in chart.stripes][:2] == [
        ("pilot", 0.05, 0.08),
        ("expansion", 0.08, pytest.approx(0.21)),
    ]
    assert all(">optimization<" not in svg for _, svg in chart.drawings())
    assert [(band.phase, band.ceiling) for band in low] == [("pilot", 0.2), ("expansion", 0.3)]


def test_the_picture_of_a_decision_has_the_bands_it_was_made_under() -> None:
    """The policy in the record counts, not the one in force today.

    An empty record has the defaults.
    """
    assert recorded_bands(OTHER.model_dump(mode="json")) == weight_bands(OTHER)
    assert recorded_bands({}) == BANDS


def test_a_weight_above_every_band_is_still_in_the_picture() -> None:
    """A path may begin under an older policy."""
    assert weight_axis_top([0.7], weight_bands(OTHER)) == pytest.approx(0.72)
    assert weight_axis_top([0.0], ()) == pytest.approx(0.06)


def test_the_reliability_curve_says_how_many_and_how_good() -> None:
    """A constant 60 % where half are won: Brier 0.26, off by 10 points.

    Every interval lies within the axes.
    """
    axes = Figure().subplots()
    plots.draw_reliability(axes, np.full(100, 0.6), np.tile([True, False], 50))
    (segments,) = (part.get_segments() for part in axes.collections)

    assert "100 signals in 10 groups of 10" in axes.get_title("left")
    assert "Brier 0.260 · calibration error 0.100" in axes.get_title("left")
    assert axes.get_ylim()[0] < min(segment[:, 1].min() for segment in segments)


JUDGED = ("p_win", "confidence_ml", "confidence_existing")


def test_every_picture_is_one() -> None:
    """Readable PNG files of a size for a page, not empty ones."""
    won = np.tile([True, False, True], 40)
    drawn = [
        plots.story(
            "A title that is long enough to be wrapped " * 4,
            replay(UP, DOWN).history,
            EQUITY,
            BANDS,
        ),
        plots.weight_path(replay(UP, DOWN).history, BANDS),
        plots.equity_curves(EQUITY),
        plots.reliability(np.linspace(0.4, 0.6, 120), won),
        plots.importance({f"f{n}": n / 100 for n in range(30)}),
        plots.confidence(pd.DataFrame(dict.fromkeys(JUDGED, np.linspace(0.4, 0.6, 120))), 70.0),
    ]
    for png in drawn:
        image = matplotlib.image.imread(io.BytesIO(png))
        assert 400 < image.shape[1] < 2000
        assert image[..., :3].std() > 0.02
