"""Changes of a price scale: dividends and splits that a source adjusts its history for."""

SPLIT_RATIO = 1.2
"""Ratio of prices, or its inverse, that means a split; dividends move prices far less."""
DIVIDEND_RATIO = 1.0005
"""Ratio of prices, or its inverse, from which a history was adjusted anew."""


def differs(ratio: float, bound: float) -> bool:
    """Return whether a ratio of prices lies beyond a bound or its inverse; NaN does not.

    Args:
        ratio: Ratio of prices, positive.
        bound: Ratio above 1.
    """
    return ratio > bound or ratio < 1 / bound
