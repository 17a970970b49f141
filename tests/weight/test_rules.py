"""The scalar rules: NaN falls on the safe side, and compiled code decides as Python does."""

import math
from collections.abc import Callable
from inspect import isfunction
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import njit

from steelyard.evaluation import figures
from steelyard.weight import rules

NAN, INFINITE = float("nan"), float("inf")
FLOORS = (0.0, 0.0, 0.10, 0.20, 0.40)
FIGURES = (NAN, -INFINITE, -1.2, 0.0, 0.05, 0.1, 0.5, 1.0, 20.0, INFINITE)
FLAGS = (False, True)


class Measures(NamedTuple):
    """What the pilot's gate compares of a book."""

    mean_return: float
    win_rate: float
    sharpe: float
    max_drawdown: float


BOOKS = (
    Measures(0.001, 0.52, 1.0, 0.02),
    Measures(0.001, 0.51, 1.2, 0.03),
    Measures(NAN, NAN, 0.0, 0.0),
)

ARGUMENTS: dict[Callable[..., Any], tuple[tuple[Any, ...], ...]] = {
    rules.blend_confidence: ((0.0, 0.05, 0.7), (0.0, 33.3, 70.0), (NAN, 0.1, 99.9)),
    rules.under: (FIGURES, FIGURES),
    rules.over: (FIGURES, FIGURES),
    rules.exceeds: (FIGURES, FIGURES),
    rules.at_least: (FIGURES, FIGURES),
    rules.at_most: (FIGURES, FIGURES),
    rules.shortfall_bound: (FIGURES, (0.1, 0.2)),
    rules.drawdown_bound: (FIGURES, (1.0, 1.5)),
    rules.decay_reaches: (FIGURES, (0.5, 20.0)),
    rules.breach_confirmed: (FLAGS, FIGURES, (0.5, 20.0), FLAGS),
    rules.decay_fires: (FLAGS, FIGURES, (0.5, 20.0)),
    rules.time_passed: ((0, 29, 30, 31), (0, 1), (30,)),
    rules.is_pivotal: ((60.0, 71.0), (0.0, 95.0), (0.0, 0.2, 0.7), (70.0,)),
    rules.month_healthy: (FIGURES, (0.5,), FIGURES, FIGURES),
    rules.skill_proven: (FIGURES, FIGURES, (1.0,), (0.5,)),
    rules.step_up: ((0.1, 0.15, 0.17, 0.2, 0.2 - 1e-10), (0.05,), (0.2,)),
    rules.step_down: ((0.0, 0.03, 0.05, 0.2), (0.05,)),
    rules.bounded_weight: ((-0.1, 0.0, 0.009, 0.01, 0.15, 0.3), (0.2,), (0.01,)),
    rules.phase_of_weight: ((0.0, 0.05, 0.1, 0.2, 0.39, 0.4, 0.7), (1, 2, 3, 4), (FLOORS,)),
    rules.weight_on_entry: ((0.0, 0.15, 0.3), (0.1, 0.2)),
    rules.recorded_weight: ((0.0, 0.15, 0.1 + 0.2, 0.7 * 0.15),),
    rules.chance_shortfall: ((1.645,), FIGURES),
    rules.treatment_not_worse: (FIGURES, FIGURES),
    rules.split_fair: (FIGURES, (0.001, 0.5)),
    rules.cut_effect: (FLAGS, (0.0, 0.15), FLAGS, FLAGS, FLAGS),
    rules.blend_keeps_up: (BOOKS, BOOKS),
    figures.called_right: ((NAN, 0.4, 0.5, 0.6), FLAGS),
    figures.share: ((0.0, 1.0, NAN), (0, 3)),
    figures.larger_share: ((0, 3, 7), (0, 7)),
    figures.improvement: (FIGURES, FIGURES, (0.5, 30)),
    figures.neighbour_correlation: ((0.0, 10.0), (0.0, 4.0, 10.0), (4.0, 5.0), (0.0, 3.0)),
    figures.base_rate_loss: ((0, 3, 7), (0, 7)),
    figures.trades_a_year: ((0, 50), (NAN, 1.0, 300.0)),
    figures.streak_by_chance: ((0.0, 50.0, 1000.0), (0.5, 0.6), (NAN, -0.1, 0.3), (0.05,)),
    figures.clustered_error: ((0.0, NAN, 4.0), (0, 1, 2, 9)),
    figures.varies: (FIGURES, FIGURES),
    figures.annual_sharpe: (FIGURES, FIGURES),
    figures.window_short: ((0, 5, 20), (10,), (0, 5, 20)),
    figures.first_needed: ((0, 5, 20), (10,)),
}


@pytest.mark.parametrize("rule", ARGUMENTS, ids=lambda rule: rule.__name__)
def test_compiled_code_decides_as_python_does(rule: Callable[..., Any]) -> None:
    """Every rule gives the same value in a kernel, NaN and infinity included."""

    @njit
    def compiled(*arguments: Any) -> Any:
        return rule(*arguments)

    for arguments in product(*ARGUMENTS[rule]):
        np.testing.assert_array_equal(compiled(*arguments), rule(*arguments), str(arguments))


def test_every_rule_is_compared() -> None:
    """A rule that is added later must be compared, too."""
    shared = {
        rule
        for module in (rules, figures)
        for name, rule in vars(module).items()
        if isfunction(rule) and rule.__module__ == module.__name__ and name != "shared"
    }

    assert shared == set(ARGUMENTS)


@pytest.mark.parametrize("bound", [NAN, 0.5])
def test_an_unknown_figure_falls_on_the_safe_side(bound: float) -> None:
    """NaN breaches every limit, meets no criterion, proves nothing and becomes weight 0."""
    assert rules.under(NAN, bound)
    assert rules.over(NAN, bound)
    assert rules.decay_reaches(NAN, bound)
    assert not rules.exceeds(NAN, bound)
    assert not rules.at_least(NAN, bound)
    assert not rules.at_most(NAN, bound)
    assert not rules.treatment_not_worse(NAN, bound)
    assert not rules.month_healthy(0.6, 0.5, NAN, bound)
    assert not rules.skill_proven(NAN, 0.0, bound, 6.0)
    assert not rules.skill_proven(200.0, NAN, 100.0, bound)
    assert rules.bounded_weight(NAN, 0.2, 0.01) == 0.0
    assert math.isnan(rules.shortfall_bound(NAN, bound))
