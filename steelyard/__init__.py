"""Steelyard adds an ML model to a rule-based trading system.

The model's influence is a weight: the share of its confidence in the blended confidence. It starts
at 0 %, rises on settled results, falls faster than it rises, and never exceeds 70 %.

What ``__all__`` lists is public and loaded at its first use; everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steelyard.garbage import without_collector

if TYPE_CHECKING:
    from steelyard.api import Policy, blend, decide, judge, simulate, skill
    from steelyard.evaluation.evidence import Evidence
    from steelyard.trading import open_session
    from steelyard.weight.state import State

__all__ = [
    "Evidence",
    "Policy",
    "State",
    "blend",
    "decide",
    "judge",
    "open_session",
    "simulate",
    "skill",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'steelyard' has no attribute {name!r}")
    home = "trading" if name == "open_session" else "api"
    with without_collector():
        return getattr(import_module(f"steelyard.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
