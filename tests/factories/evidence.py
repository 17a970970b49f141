"""Evidence, books and states with chosen figures, for the rules of the weight."""

from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd

from steelyard.evaluation.ab_test import ArmComparison
from steelyard.evaluation.books import Books, SizingPolicy, measure_books
from steelyard.evaluation.evidence import Evidence, VersionFigures
from steelyard.evaluation.positions import PositionLimits, take_positions
from steelyard.weight.policy import Phase, WeightPolicy
from steelyard.weight.state import State

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EARLIER = datetime(2025, 1, 1, tzinfo=UTC)
POLICY = WeightPolicy(evidence="ladder")
"""The plain rules, to the letter."""

COLUMNS = {
    "symbol": "str",
    "side": "str",
    "settled_at": "datetime64[ns, UTC]",
    "decided_at": "datetime64[ns, UTC]",
    "p_win": float,
    "confidence_existing": float,
    "confidence_ml": float,
    "blended": float,
    "net_return": float,
    "stop_distance": float,
    "won": bool,
    "hold_minutes": float,
    "slippage_bps": float,
    "pivotal": bool,
    "fallback_reason": object,
    "latency_ms": float,
    "arm": object,
    "decision": bool,
}


def no_settled() -> pd.DataFrame:
    """An empty frame of settled predictions, with columns and dtypes."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})


def books(**figures: float) -> Books:
    """Healthy books with the given measures, named ``book__measure``: ``ml__sharpe=1.2``."""
    nothing = take_positions(no_settled(), SizingPolicy(), PositionLimits())
    empty = measure_books(nothing, EARLIER, NOW)
    changes: dict[str, object] = {"pivotal": 8} | {
        name: replace(
            getattr(empty, name), sharpe=1.0, max_drawdown=0.02, win_rate=0.52, mean_return=0.001
        )
        for name in ("baseline", "ml", "blended")
    }
    for name, figure in figures.items():
        book, _, measure = name.partition("__")
        changes[book if measure else name] = (
            replace(changes[book], **{measure: figure}) if measure else figure
        )
    return replace(empty, **changes)


EVEN = ArmComparison(30, 30, 0.0, 0.0, 0.001, 1.0)


def evidence(
    settled: int = 60,
    accuracy: float = 0.58,
    streak: int = 3,
    rate: float = 0.52,
    arms: ArmComparison = EVEN,
    **figures: float,
) -> Evidence:
    """Evidence of a healthy month, with the given figures in place of its own."""
    return Evidence(
        start=EARLIER,
        end=NOW,
        extended=False,
        settled=settled,
        independent=figures.pop("independent", float(settled)),
        accuracy=accuracy,
        no_information_rate=rate,
        losing_streak=streak,
        losing_days=int(figures.pop("losing_days", 0)),
        coverage=figures.pop("coverage", 1.0),
        fallback_rate=figures.pop("fallback_rate", 0.0),
        latency_p99_ms=figures.pop("latency_p99_ms", 0.2),
        arms=arms,
        versions={"1": VersionFigures(settled, accuracy, 0.01)},
        books=books(**{"ml__sharpe": 1.5, **figures}),
    )


def state(phase: Phase = "pilot", weight: float = 0.10, **changes: object) -> State:
    """A state in the given phase since ``EARLIER``, its lease valid until ``NOW``."""
    base = POLICY.band(phase).floor
    document: dict[str, object] = {
        "lineage": "signal-confidence",
        "weight": weight,
        "phase": phase,
        "base": base,
        "bonus": round(weight - base, 10),
        "began": EARLIER,
        "as_of": EARLIER,
        "phase_since": EARLIER,
        "evidence_since": EARLIER,
        "lease_until": NOW,
    }
    return State.model_validate(document | changes)
