"""What ``import steelyard`` offers: the next weight from a table of settled signals.

The flows read the ledger of a home, these functions a table of one's own; the rules behind both are
the same functions. A table has one row for each settled signal, in order of time:

- ``time``: time of the decision, with a zone.
- ``won``: whether it ended with a net gain.
- ``return``: what it earned, or would have, after costs: a fraction of the account.
- ``p_win``: the model's probability of a net gain, 0 to 1; NaN without an opinion.
- ``confidence``: confidence of the existing system, 0 to 100.
- ``settled``: time the outcome was known (optional; by default a second later).
- ``symbol``: market (optional). While a signal of a symbol is open, the next one of it is not
  traded, and both count as less than two; by default all are of one.
- ``confidence_ml``: ``p_win`` on the existing system's scale, 0 to 100 (optional; by default the
  confidence at the same quantile of the rows so far, SPEC §4).
"""

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import replace
from datetime import datetime
from typing import Any, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from steelyard.desk import blend as desk
from steelyard.errors import FixData
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import Evidence, gather_evidence
from steelyard.evaluation.positions import PositionLimits, take_positions
from steelyard.evaluation.skill import Origin, Skill, measure_skill
from steelyard.market.overlap import SHORTEST_LIFE
from steelyard.market.yes_or_no import TRADE_ABOVE
from steelyard.simulation import characteristics
from steelyard.weight.case import Case
from steelyard.weight.decision import Decision
from steelyard.weight.ladder import evaluate
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.state import State

Policy = WeightPolicy
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEEDED = ("time", "won", "return", "p_win", "confidence")
LARGEST_RETURN = 0.5
"""Share of the account that no single signal earns or loses: larger ones are percent."""
MAX_WEIGHT = 0.70
NO_LIMITS = PositionLimits(max_positions=1_000_000, max_exposure=1e9)


@overload
def blend(weight: float, existing: float, ml: float) -> float: ...
@overload
def blend(weight: float, existing: ArrayLike, ml: ArrayLike) -> Floats: ...
def blend(weight: float, existing: ArrayLike, ml: ArrayLike) -> float | Floats:
    """Return the blended confidence, ``(1 − weight)·existing + weight·ml``; trade above 70.

    At weight 0, and wherever ``ml`` is NaN, the result is ``existing`` bit for bit.

    Examples:
        >>> blend(0.2, 60.0, 90.0)
        66.0
        >>> blend(0.2, [60.0, 75.0], [90.0, float("nan")])
        array([66., 75.])

    Args:
        weight: Share of the model, 0 to 0.70.
        existing: Confidence of the existing system, 0 to 100: a number, or shape (n,).
        ml: Confidence of the model on the same scale and of the same shape; NaN without an opinion.

    Raises:
        ValueError: If a value lies outside its range, or the shapes differ.
    """
    if not 0 <= weight <= MAX_WEIGHT:
        raise ValueError(f"weight {weight} must lie in [0, {MAX_WEIGHT:.2f}]")
    first, second = (np.asarray(values, dtype=np.float64) for values in (existing, ml))
    if first.shape != second.shape or first.ndim > 1:
        raise ValueError(
            f"existing has shape {first.shape}, ml {second.shape}; give two numbers, or two arrays "
            "of the same length"
        )
    if not ((first >= 0) & (first <= 100)).all():
        raise ValueError("existing holds a value outside 0 to 100 or NaN; a confidence is needed")
    if not (((second >= 0) & (second <= 100)) | np.isnan(second)).all():
        raise ValueError("ml holds a value outside 0 to 100; a confidence or NaN is needed")
    blended = desk.blend(float(weight), np.atleast_1d(first), np.atleast_1d(second))
    return blended if first.ndim else float(blended[0])


def judge(
    signals: pd.DataFrame,
    state: State | None = None,
    policy: WeightPolicy | None = None,
    *,
    end: datetime | None = None,
    threshold: float = TRADE_ABOVE,
) -> Evidence:
    """Return the evidence of the month that ends with the table, and of the life before it.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> random = np.random.default_rng(1)
        >>> p_win = random.uniform(0.3, 0.7, 200)
        >>> won = random.random(200) < p_win
        >>> table = pd.DataFrame({
        ...     "time": pd.date_range("2026-01-01", periods=200, freq="8h", tz="UTC"),
        ...     "won": won, "return": np.where(won, 0.005, -0.005), "p_win": p_win,
        ...     "confidence": random.uniform(40, 100, 200)})
        >>> evidence = judge(table, State.holding(0.20, table["time"].iloc[0]))
        >>> evidence.settled, round(evidence.accuracy, 2), evidence.books.baseline.trades
        (90, 0.6, 47)

    Args:
        signals: Settled signals, one row each, with the columns named above.
        state: Weight in force and the begin of the evidence; None for weight 0 since the first
            signal.
        policy: Bounds of the weight; None for the default.
        end: Last time that counts; None for the last settled signal.
        threshold: Confidence above which a signal is traded, 0 to 100.

    Raises:
        FixData: If the table is not as described; the message names row and column.
    """
    policy = policy or WeightPolicy()
    table = _checked(signals)
    state = state or State.holding(0.0, table["decided_at"].iloc[0], policy)
    until = _last(table) if end is None else _aware(end, "end")
    held = _held(table, state.weight, threshold)
    evidence = gather_evidence(held, until, state.evidence_since, policy.window)
    lifetime = measure_skill(held, until, state.origin, policy.sequential.bets)
    return replace(evidence, lifetime=lifetime)


def skill(signals: pd.DataFrame, policy: WeightPolicy | None = None) -> Skill:
    """Return the evidence that the model has skill, over all signals of a table.

    ``skill`` of the result is an e-value: 20 is reached in one of twenty lives without skill,
    however often one looks. ``decay_evidence`` says in months how unlikely the recent outcomes are
    if the model keeps its claims.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> p_win, won = np.tile([0.4, 0.6], 150), np.tile([False, True], 150)
        >>> table = pd.DataFrame({
        ...     "time": pd.date_range("2026-01-01", periods=300, freq="8h", tz="UTC"),
        ...     "won": won, "return": np.where(won, 0.005, -0.005), "p_win": p_win,
        ...     "confidence": 75.0})
        >>> skill(table).skill > 20
        True

    Args:
        signals: Settled signals, one row each, with the columns named above.
        policy: Bounds of the weight, with the rules of the evidence; None for the default.

    Raises:
        FixData: If the table is not as described; the message names row and column.
    """
    table, bets = _checked(signals), (policy or WeightPolicy()).sequential.bets
    origin = Origin(table["decided_at"].iloc[0].to_pydatetime())
    return measure_skill(_held(table, 0.0, TRADE_ABOVE), _last(table), origin, bets)


def decide(state: State, evidence: Evidence, policy: WeightPolicy | None = None) -> Decision:
    """Return the decision of the monthly evaluation: limits before rewards (SPEC §6).

    Examples:
        >>> import numpy as np, pandas as pd
        >>> p_win, won = np.tile([0.4, 0.6], 150), np.tile([False, True], 150)
        >>> table = pd.DataFrame({
        ...     "time": pd.date_range("2026-01-01", periods=300, freq="8h", tz="UTC"),
        ...     "won": won, "return": np.where(won, 0.005, -0.005), "p_win": p_win,
        ...     "confidence": np.tile([75.0, 70.0, 60.0], 100)})
        >>> state = State.holding(0.20, table["time"].iloc[0])
        >>> decision = decide(state, judge(table, state))
        >>> decision.verdict, decision.weight
        ('RAISE', 0.25)

    Args:
        state: Weight in force, and what limits its next change.
        evidence: What was measured under it (``judge``).
        policy: Bounds of the weight; None for the default.

    Returns:
        The decision; ``weight`` is the new one, ``reasons`` say why in words, ``rules`` hold each
        figure with its bound, ``after`` is the state for the next month.

    Raises:
        ValueError: If the weight exceeds the policy's ceiling.
    """
    policy = policy or WeightPolicy()
    return evaluate(Case(state, evidence, policy, evidence.end, evidence.end))


def simulate(
    policy: WeightPolicy | None = None,
    *,
    lives: int = 200,
    months: int = 24,
    signals: int = 50,
    seed: int = 1,
) -> tuple[characteristics.Cell, ...]:
    """Return what a policy does to simulated lives of models whose true skill is known.

    The first call of an installation compiles for a minute or two.

    Examples:
        >>> cells = simulate(lives=20, months=6)
        >>> [cell.world for cell in cells][:2]
        ['no skill', '52 %']
        >>> cells[0].modes["sequential"].reached["20%"]
        0.0

    Args:
        policy: Bounds of the weight; None for the default. Both modes of evidence are simulated.
        lives: Lives of each model, at least 10.
        months: Length of a life, months of 30 days, at least 6.
        signals: Settled signals a month, at least 5.
        seed: Random seed.

    Raises:
        ValueError: If a number is too small.
    """
    if lives < 10 or months < 6 or signals < 5:
        raise ValueError(f"{lives=}, {months=}, {signals=}: at least 10, 6 and 5 are needed")
    designs = characteristics.designs(lives, months, [signals], None, seed)
    return tuple(characteristics.simulate(policy or WeightPolicy(), SizingPolicy(), designs))


def _held(table: pd.DataFrame, weight: float, threshold: float) -> pd.DataFrame:
    """Return the table as the three books hold it; each trade earns its account return."""
    existing = table["confidence_existing"].to_numpy(dtype=np.float64)
    blended = desk.blend(weight, existing, table["confidence_ml"].to_numpy(dtype=np.float64))
    sizing = SizingPolicy(threshold=threshold)
    predicted = table.assign(
        side="buy",
        blended=blended,
        decision=blended > threshold,
        arm="all",
        model_version="",
        stop_distance=sizing.risk_per_trade / sizing.max_position,  # the whole account: size 1
        hold_minutes=(table["settled_at"] - table["decided_at"]).dt.total_seconds() / 60,
        slippage_bps=math.nan,
        latency_ms=math.nan,
        fallback_reason=None,
    )
    held = take_positions(predicted, sizing, NO_LIMITS)
    return held.sort_values("settled_at", kind="stable", ignore_index=True)


def _checked(signals: pd.DataFrame) -> pd.DataFrame:
    """Return a table under the names of the ledger, or refuse it."""
    if not isinstance(signals, pd.DataFrame):
        raise FixData(f"signals is a {type(signals).__name__}; give a pandas.DataFrame")
    missing = [name for name in NEEDED if name not in signals]
    if missing:
        raise FixData(
            f"signals lacks the column {missing[0]}; a table of settled signals has "
            f"{', '.join(NEEDED)}, in order of time"
        )
    if signals.empty:
        raise FixData("signals has no row; evidence needs settled signals")
    time = _times(signals, "time")
    settled = _times(signals, "settled") if "settled" in signals else time + SHORTEST_LIFE
    symbol = signals["symbol"].astype(str) if "symbol" in signals else pd.Series("", signals.index)
    _refuse(settled < time, "settled lies before time")
    _refuse(time.diff() < pd.Timedelta(0), "time lies before that of the row above; sort by time")
    _refuse(
        pd.DataFrame({"time": time, "symbol": symbol}).duplicated(),
        "time stands twice; drop the copy, or name the markets in a column symbol",
    )
    earned, won = _returns(signals), _truths(signals)
    _refuse(won != (earned > 0), "won and return disagree: won means a return above 0, after costs")
    confidence = _confidences(signals, "confidence")
    p_win = _numbers(signals, "p_win")
    _refuse((p_win < 0) | (p_win > 1), "p_win must lie in 0 to 1 (0.55 for 55 %)")
    if "confidence_ml" in signals:
        matched = _confidences(signals, "confidence_ml", optional=True)
    else:
        matched = _matched(p_win, confidence)
    return pd.DataFrame(
        {
            "decided_at": time.array,
            "settled_at": settled.array,
            "symbol": symbol.array,
            "won": won,
            "net_return": earned,
            "p_win": p_win,
            "confidence_existing": confidence,
            "confidence_ml": matched,
        }
    )


def _matched(p_win: Floats, confidence: Floats) -> Floats:
    """Return the confidence at the quantile each opinion has so far, shape (n,); NaN without one.

    Later rows are not looked at: their opinions were not known when the signal was decided.

    Args:
        p_win: Opinions in order of time, shape (n,).
        confidence: Confidence of the existing system in the same signals, shape (n,).
    """
    matched = np.full(len(p_win), np.nan)
    opinions, confidences = list[float](), list[float]()
    for row in np.flatnonzero(np.isfinite(p_win)):
        insort(opinions, p_win[row])
        insort(confidences, confidence[row])
        equal = bisect_left(opinions, p_win[row]) + bisect_right(opinions, p_win[row]) - 1
        lower, upper = confidences[equal // 2], confidences[(equal + 1) // 2]
        matched[row] = (lower + upper) / 2
    return matched


def _times(signals: pd.DataFrame, name: str) -> pd.Series:
    stamps = signals[name]
    if not pd.api.types.is_datetime64_any_dtype(stamps.dtype):
        raise FixData(
            f"{name} holds no times; convert it: pd.to_datetime(table['{name}'], utc=True)"
        )
    if getattr(stamps.dtype, "tz", None) is None:
        raise FixData(f"{name} has no zone; if it is UTC: table['{name}'].dt.tz_localize('UTC')")
    _refuse(stamps.isna(), f"{name} is missing")
    utc: pd.Series = stamps.dt.tz_convert("UTC").astype("datetime64[ns, UTC]")
    return utc


def _numbers(signals: pd.DataFrame, name: str) -> Floats:
    try:
        return np.asarray(signals[name].to_numpy(dtype=np.float64, na_value=np.nan))
    except (ValueError, TypeError) as error:
        raise FixData(f"{name} holds something that is no number ({error})") from error


def _returns(signals: pd.DataFrame) -> Floats:
    earned = _numbers(signals, "return")
    _refuse(~np.isfinite(earned), "return is missing or infinite")
    _refuse(
        np.abs(earned) > LARGEST_RETURN,
        "return exceeds half of the account; give a fraction of the account, 0.012 for 1.2 %",
    )
    return earned


def _truths(signals: pd.DataFrame) -> Bools:
    won = _numbers(signals, "won")
    _refuse(~np.isin(won, (0.0, 1.0)), "won must be True or False")
    return np.asarray(won == 1.0)


def _confidences(signals: pd.DataFrame, name: str, *, optional: bool = False) -> Floats:
    confidence = _numbers(signals, name)
    outside = ~((confidence >= 0) & (confidence <= 100))
    _refuse(outside & ~(optional & np.isnan(confidence)), f"{name} must lie in 0 to 100")
    if np.nanmax(confidence, initial=0.0) <= 1:
        raise FixData(f"{name} lies within 0 to 1 in all rows; multiply it by 100")
    return confidence


def _refuse(faulty: Any, words: str) -> None:
    """Refuse the table for the first row that is faulty; shape (n,)."""
    rows = np.flatnonzero(np.asarray(faulty))
    if rows.size:
        more = f" (and {rows.size - 1} more)" if rows.size > 1 else ""
        raise FixData(f"row {rows[0]}{more}: {words}")


def _last(table: pd.DataFrame) -> datetime:
    return _aware(table["settled_at"].max(), "settled")


def _aware(at: datetime, name: str) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{name} {at} has no zone; give one, such as datetime.UTC")
    return pd.Timestamp(at).to_pydatetime()
