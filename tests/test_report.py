"""Pictures and the page of a replay."""

import io
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from steelyard import pictures, report


def decision(day: str, verdict: str, before: float, after: float, phase: str) -> dict[str, Any]:
    return {
        "as_of": f"{day}T00:00:00+00:00",
        "kind": "weight",
        "phase": phase,
        "weight_before": before,
        "weight_after": after,
        "verdict": verdict,
        "reasons": [f"because of {verdict} <b>"],
        "rules": [],
    }


def document(*decisions: dict[str, Any], accepted: bool = True) -> dict[str, Any]:
    book = {"trades": 3, "total_return": 0.1, "sharpe": None}
    training = {"as_of": "2020-01-01", "version": "1", "stage": "champion", "accepted": accepted, "holdout_accuracy": 0.539}
    return {
        "start": "2020-01-01T00:00:00+00:00",
        "end": "2020-12-31T00:00:00+00:00",
        "signals": 100,
        "signals_per_month": 8.2,
        "trainings": [training | {"verdict": "holdout accuracy 53.9% misses 55.0% by 1.1 points"}],
        "promotions": [{"as_of": "2020-01-01T00:00:00+00:00"}],
        "decisions": list(decisions),
        "books": {"baseline": book, "ml": book, "blended": book},
        "final": {"phase": decisions[-1]["phase"], "weight": decisions[-1]["weight_after"]}
        if decisions
        else {"phase": "foundation", "weight": 0},
    }


UP = decision("2020-03-01", "RAISE", 0.0, 0.15, "pilot")
DOWN = decision("2020-06-01", "DISABLE", 0.15, 0.0, "shadow")
DAYS = pd.date_range("2020-01-02", periods=50, freq="D")
EQUITY = pd.DataFrame({name: np.linspace(0, 0.1, 50) for name in ("baseline", "ml", "blended")}, index=DAYS)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        pytest.param(document(UP), "The model decides 15% of the confidence, in phase pilot.", id="in charge of some"),
        pytest.param(document(UP, DOWN), "reached 15% and lost it: on 2020-06-01", id="rise and fall"),
        pytest.param(document(), "served in shadow, but never earned weight", id="shadow"),
        pytest.param(document(accepted=False), "misses 55.0% by 1.1 points", id="refused, and by how much"),
    ],
)
def test_the_answer_comes_in_one_plain_sentence(told: dict[str, Any], words: str) -> None:
    """What became of the model."""
    assert words in report.answer(told)


def test_the_path_of_the_weight_is_that_of_the_decisions() -> None:
    """From 0 at the start to the last weight at the end, one step for each change."""
    moments, weights = pictures.path_of(document(UP, DOWN))

    assert weights == [0.0, 0.15, 0.0, 0.0]
    assert [f"{moment:%m-%d}" for moment in moments] == ["01-01", "03-01", "06-01", "12-31"]


def test_every_picture_is_one() -> None:
    """Readable PNG files of a size for a page, not empty ones."""
    won = np.tile([True, False, True], 40)
    drawn = [
        pictures.story("A title that is long enough to be wrapped " * 4, document(UP, DOWN), EQUITY),
        pictures.weight_path(document(UP, DOWN)),
        pictures.equity_curves(EQUITY),
        pictures.reliability(np.linspace(0.4, 0.6, 120), won),
        pictures.importance({f"f{n}": n / 100 for n in range(30)}),
    ]
    for png in drawn:
        image = matplotlib.image.imread(io.BytesIO(png))
        assert 400 < image.shape[1] < 2000
        assert image[..., :3].std() > 0.02


def test_the_page_says_the_answer_first_works_offline_and_escapes() -> None:
    """Nothing is fetched from anywhere; reasons are text, not markup."""
    html = report.page("A market", document(UP, DOWN), EQUITY)
    own = html[html.rindex("</script></head>") :]

    assert "<h1>The model reached 15% and lost it" in own
    assert "because of RAISE &lt;b&gt;" in own
    assert "src=" not in own
    assert "<link" not in html
    assert 'name="viewport"' in html
