"""The first gate: accuracy above 55 % and above saying always the same, or a proof."""

import pytest

from steelyard.learning.admission import ProofRule, first_gate, too_good
from steelyard.learning.policy import LearningPolicy

SUFFICES, INFORMS = ProofRule(20, admits=True), ProofRule(20, admits=False)
NAN = float("nan")


def figures(
    accuracy: float, rate: float, skill: float = 1.0, loss: float = 0.69
) -> dict[str, float]:
    return {
        "holdout_accuracy": accuracy,
        "holdout_no_information_rate": rate,
        "holdout_skill": skill,
        "holdout_log_loss": loss,
        "holdout_base_log_loss": 0.692,
    }


@pytest.mark.parametrize(
    ("metrics", "proof", "reasons"),
    [
        pytest.param(figures(0.551, 0.55), INFORMS, 0, id="passes"),
        pytest.param(figures(0.551, 0.55), SUFFICES, 0, id="passes without a proof"),
        pytest.param(figures(0.55, 0.50), INFORMS, 2, id="at the accuracy"),
        pytest.param(figures(0.56, 0.56), INFORMS, 2, id="at the no-information rate"),
        pytest.param(figures(0.50, 0.60), SUFFICES, 3, id="misses everything"),
        pytest.param(figures(NAN, 0.50, NAN, NAN), SUFFICES, 3, id="NaN passes nothing"),
        pytest.param(figures(0.53, 0.52, 20), SUFFICES, 0, id="proven"),
        pytest.param(figures(0.53, 0.54, 20), SUFFICES, 0, id="proven, where most lose"),
        pytest.param(figures(0.53, 0.52, 20), INFORMS, 2, id="proven, but the accuracy counts"),
        pytest.param(figures(0.53, 0.52, 19.9), SUFFICES, 2, id="nearly proven"),
        pytest.param(
            figures(0.53, 0.52, 20, 0.692), SUFFICES, 2, id="no better than the base rate"
        ),
        pytest.param({"holdout_accuracy": 0.53}, SUFFICES, 3, id="a version of before the proof"),
    ],
)
def test_conditions_of_the_first_champion(
    metrics: dict[str, float], proof: ProofRule, reasons: int
) -> None:
    """Each missed condition has a reason, and one more says what the proof is worth."""
    admission = first_gate(metrics, LearningPolicy(), proof)

    assert len(admission.reasons) == reasons
    assert all(reason in admission.verdict for reason in admission.reasons)


@pytest.mark.parametrize(
    ("metrics", "proof", "verdict"),
    [
        pytest.param(
            figures(0.53, 0.52, 3.14159),
            SUFFICES,
            "holdout accuracy 53.0% misses 55.0% by 2.0 points; nor is it proven: e-value 3.14 on "
            "the holdout, 20 needed",
            id="missed both ways",
        ),
        pytest.param(
            figures(0.53, 0.52, 25),
            INFORMS,
            "holdout accuracy 53.0% misses 55.0% by 2.0 points; `evidence: sequential` would let "
            "it in: e-value 25 on the holdout, 20 needed",
            id="the other rule would let it in",
        ),
        pytest.param(
            figures(0.53, 0.52, 25),
            SUFFICES,
            "holdout accuracy 53.0% misses 55.0% by 2.0 points, but it is proven: e-value 25 on "
            "the holdout, 20 needed",
            id="let in by its proof",
        ),
        pytest.param(
            figures(0.53, 0.52, 25, 0.70),
            SUFFICES,
            "holdout accuracy 53.0% misses 55.0% by 2.0 points; nor is it proven: log-loss 0.7000 "
            "is not under 0.6920, that of the base rate",
            id="an e-value alone",
        ),
    ],
)
def test_a_verdict_says_what_was_missed_and_what_the_other_rule_says(
    metrics: dict[str, float], proof: ProofRule, verdict: str
) -> None:
    """In one sentence, with figure and bound."""
    assert first_gate(metrics, LearningPolicy(), proof).verdict == verdict


@pytest.mark.parametrize(
    ("metrics", "doubts"),
    [
        pytest.param(figures(0.75, 0.5), 0, id="at the bound"),
        pytest.param(figures(0.7501, 0.5), 1, id="above it"),
        pytest.param({"holdout_accuracy": 0.6, "holdout_losers": 0.0}, 1, id="no loser"),
        pytest.param({"holdout_accuracy": 0.6, "holdout_losers": 1.0}, 0, id="one loser"),
        pytest.param({"holdout_accuracy": 1.0, "holdout_losers": 0.0}, 2, id="always right"),
        pytest.param({"holdout_accuracy": NAN}, 0, id="NaN, which passes no gate"),
        pytest.param({}, 0, id="no holdout"),
    ],
)
def test_what_is_too_good_to_be_true(metrics: dict[str, float], doubts: int) -> None:
    """An accuracy above the bound, and a holdout without one loser, each in a line."""
    lines = too_good(metrics, LearningPolicy())

    assert len(lines) == doubts
    assert all("too good to be true" in line for line in lines)


def test_the_bound_that_asks_for_an_approval_is_configured() -> None:
    """Exits that nearly always win or lose make high accuracies honest."""
    metrics = figures(0.82, 0.8)

    assert too_good(metrics, LearningPolicy(approve_accuracy=0.85)) == ()
    assert too_good(metrics, LearningPolicy(approve_accuracy=0.81)) == (
        "holdout accuracy 82.00% is above 81%, too good to be true",
    )
