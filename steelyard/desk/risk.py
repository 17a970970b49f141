"""Risk: whether a signal that was decided for may be traded, and how large. Pure functions; every veto has a code.

The size is the account lost at the stop over the distance to it, scaled by the market's regime: the same rule the books are
sized by, so that what was judged is what is traded (fixed-fractional sizing; Vince, "Portfolio Management Formulas", 1990).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steelyard.evaluation.books import SizingPolicy
from steelyard.market.strategy import Side
from steelyard.values import FrozenModel

Regime = Literal["calm", "normal", "storm", "unknown"]
Veto = Literal[
    "not_decided",
    "no_price",
    "regime",
    "too_quiet",
    "too_wild",
    "symbol_taken",
    "max_positions",
    "max_exposure",
    "too_small",
]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0, le=1)]


class RiskPolicy(FrozenModel):
    """Bounds of what is traded (``conf/risk.yaml``)."""

    entry_delay: Share = 0.25
    calm_below: Annotated[float, Field(gt=0)] = 0.8
    storm_above: Annotated[float, Field(gt=0)] = 1.4
    calm_scale: Scale = 1.0
    storm_scale: Scale = 0.5
    unknown_scale: Scale = 0.5
    with_trend: bool = False
    trend_bound: Share = 0.3
    least_stop: Share = 0.001
    most_stop: Share = 0.25
    max_positions: Annotated[int, Field(ge=1)] = 20
    max_exposure: Annotated[float, Field(gt=0)] = 4.0
    least_size: Share = 0.001

    @model_validator(mode="after")
    def _bounds_rise(self) -> Self:
        if self.calm_below > self.storm_above:
            raise ValueError(f"calm_below {self.calm_below} is over storm_above {self.storm_above}")
        if self.least_stop > self.most_stop:
            raise ValueError(f"least_stop {self.least_stop} is over most_stop {self.most_stop}")
        return self


@dataclass(frozen=True, slots=True)
class Proposal:
    """A signal at its decision, as risk looks at it.

    Attributes:
        decision: What the evaluation said.
        price: Close of the decision bar.
        stop_offset: Distance from entry to stop, price units.
        volatility: Mean ATR14 over ATR100 of the universe; NaN where unknown.
        trend: Mean efficiency of the universe from the side of the trade, −1 to 1; NaN where unknown.
    """

    symbol: str
    side: Side
    decision: bool
    price: float
    stop_offset: float
    volatility: float
    trend: float


@dataclass(frozen=True, slots=True)
class Account:
    """What is held.

    Attributes:
        equity: Of the account, in its currency.
        exposures: Symbol → notional of what is held or ordered, as a share of the equity.
    """

    equity: float
    exposures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What risk says about a proposal.

    Attributes:
        size: Notional as a share of the equity; 0 with a veto.
        veto: Why it is not traded, None where it is.
        words: The figure and its bound.
    """

    size: float
    regime: Regime
    veto: Veto | None
    words: str


def regime_of(volatility: float, policy: RiskPolicy) -> Regime:
    """Return the regime of a market whose ATR stands so against its usual one."""
    if not math.isfinite(volatility):
        return "unknown"
    if volatility > policy.storm_above:
        return "storm"
    return "calm" if volatility < policy.calm_below else "normal"


def assess(
    proposal: Proposal, account: Account, policy: RiskPolicy, sizing: SizingPolicy
) -> Assessment:
    """Return whether ``proposal`` is traded and how large; what is not a number is not traded."""
    regime = regime_of(proposal.volatility, policy)
    scale = {
        "calm": policy.calm_scale,
        "storm": policy.storm_scale,
        "unknown": policy.unknown_scale,
    }.get(regime, 1.0)
    refused = _refused(proposal, account, policy, scale)
    if refused is not None:
        return Assessment(0.0, regime, *refused)
    size = (
        min(sizing.risk_per_trade * proposal.price / proposal.stop_offset, sizing.max_position)
        * scale
    )
    held = sum(account.exposures.values())
    size = min(size, policy.max_exposure - held)
    if not size >= policy.least_size:
        words = f"{held:.2f} of the equity is at work, at most {policy.max_exposure:.2f} allowed"
        veto: Veto = (
            "max_exposure" if policy.max_exposure - held < policy.least_size else "too_small"
        )
        return Assessment(
            0.0, regime, veto, words if veto == "max_exposure" else f"size {size:.4%} of the equity"
        )
    return Assessment(size, regime, None, f"{size:.2%} of the equity, {regime} market")


def _refused(
    proposal: Proposal, account: Account, policy: RiskPolicy, scale: float
) -> tuple[Veto, str] | None:
    if not proposal.decision:
        return "not_decided", "the blended confidence does not exceed the threshold"
    if not (
        proposal.price > 0
        and proposal.stop_offset > 0
        and math.isfinite(proposal.price)
        and account.equity > 0
    ):
        return (
            "no_price",
            f"price {proposal.price}, stop {proposal.stop_offset} away, equity {account.equity}",
        )
    if scale == 0 or (policy.with_trend and proposal.trend < -policy.trend_bound):
        return "regime", f"volatility {proposal.volatility:.2f}, trend {proposal.trend:+.2f}"
    stop = proposal.stop_offset / proposal.price
    if stop < policy.least_stop:
        return "too_quiet", f"stop {stop:.3%} away, at least {policy.least_stop:.3%} needed"
    if not stop <= policy.most_stop:
        return "too_wild", f"stop {stop:.1%} away, at most {policy.most_stop:.1%} allowed"
    if proposal.symbol in account.exposures:
        return "symbol_taken", f"{proposal.symbol} is held or ordered already"
    if len(account.exposures) >= policy.max_positions:
        return (
            "max_positions",
            f"{len(account.exposures)} positions, at most {policy.max_positions} allowed",
        )
    return None
