"""Figures in words: with as many digits as it takes to see on which side of its bound one lies."""

MAX_DIGITS = 12
SHARES = frozenset(
    {
        "accuracy",
        "arms",
        "breaker_accuracy",
        "coverage",
        "cut_accuracy",
        "cut_drawdown",
        "drawdown",
        "fallback_rate",
        "improvement",
        "life_accuracy",
        "life_profit",
        "life_return",
        "mean_return",
        "no_information_rate",
        "raise_accuracy",
        "stable_improvement",
        "weight_at_floor",
        "weight_at_top",
        "win_rate",
    }
)
"""Rules whose figures are shares of 1, read as percentages."""


def percent(figure: float, bound: float, digits: int = 1) -> str:
    """Return a share in percent, with the digits that tell it from its bound.

    Args:
        figure: Share, for example 0.4997.
        bound: What it is held against, likewise; NaN asks for no further digits.
        digits: Digits after the point, at least.
    """
    return f"{number(100 * figure, 100 * bound, digits)}%"


def number(figure: float, bound: float, digits: int = 2) -> str:
    """Return a figure with the digits that tell it from its bound.

    Args:
        figure: What was measured.
        bound: What it is held against; NaN asks for no further digits.
        digits: Digits after the point, at least.
    """
    for more in range(digits, MAX_DIGITS):
        text = f"{figure:.{more}f}"
        if _side(float(text), bound) == _side(figure, bound):
            return text
    return f"{figure:.{digits}f}"


def plain(bound: float) -> str:
    """Return a bound with the digits it was written with, no more."""
    return f"{bound:.10g}"


def plain_percent(bound: float) -> str:
    """Return a bound that is a share in percent, with the digits it was written with."""
    return f"{100 * bound:.10g}%"


def _side(figure: float, bound: float) -> int:
    """Return on which side of the bound a figure lies; 0 on it, or with NaN in either."""
    return (figure > bound) - (figure < bound)
