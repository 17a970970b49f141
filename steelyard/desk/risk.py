"""Risk rules: may a decided signal be traded, and how large? Pure functions; every veto has a code.

Size = risk per trade ÷ stop distance, scaled by the market regime. The books are sized by the same
rule, and ``positions.check_room`` says for both whether there is room, so that the evidence is
about what is traded (fixed-fractional sizing; Vince, "Portfolio Management Formulas", 1990).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from steelyard.evaluation import positions
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.positions import PositionLimits, check_room
from steelyard.market.strategy import Side

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
    "account_symbol_taken",
    "account_max_positions",
    "account_max_exposure",
    "too_small",
]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0, le=1)]


class RiskPolicy(PositionLimits):
    """Bounds of regime, volatility, exposure and size (``conf/risk.yaml``)."""

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

    @model_validator(mode="after")
    def _bounds_rise(self) -> Self:
        if self.calm_below > self.storm_above:
            raise ValueError(f"calm_below {self.calm_below} exceeds storm_above {self.storm_above}")
        if self.least_stop > self.most_stop:
            raise ValueError(f"least_stop {self.least_stop} exceeds most_stop {self.most_stop}")
        return self


def entry_ends(
    decided_at: datetime, opens_at: datetime, bar_size: timedelta, policy: RiskPolicy
) -> datetime:
    """Return until when a signal can still enter at the open of the bar after its decision bar.

    A closed market gives the time until it opens. One that is open starts the next bar at the
    decision, so ``entry_delay`` of a bar is allowed.

    Args:
        decided_at: Time of the decision (UTC).
        opens_at: When the market opens next after it (UTC); ``decided_at`` if it is open.
        bar_size: Time from a bar's open to the next.
        policy: Entry delay.
    """
    return max(opens_at, decided_at + policy.entry_delay * bar_size)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A signal at its decision, as the risk rules see it.

    Attributes:
        decision: Whether the evaluation decided to trade.
        price: Close of the decision bar.
        stop_offset: Distance from entry to stop, price units.
        volatility: Mean ATR14/ATR100 of the universe; NaN if unknown.
        trend: Mean efficiency ratio of the universe, positive in the direction of the trade,
            −1 to 1; NaN if unknown.
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
    """Equity and exposures of an account.

    Attributes:
        equity: Equity in the account's currency.
        exposures: Symbol → notional held or ordered, as a share of the equity.
    """

    equity: float
    exposures: Mapping[str, float]

    @property
    def exposure(self) -> float:
        """Notional of all positions and orders, as a share of the equity."""
        return sum(self.exposures.values())


@dataclass(frozen=True, slots=True)
class Assessment:
    """Verdict of the risk rules on a proposal.

    Attributes:
        size: Notional as a share of the equity; 0 with a veto.
        veto: Code of the rule that forbids the trade; None if it is allowed.
        explanation: The figure and its bound.
    """

    size: float
    regime: Regime
    veto: Veto | None
    explanation: str


def classify_regime(volatility: float, policy: RiskPolicy) -> Regime:
    """Return the market regime.

    Args:
        volatility: Mean ATR14/ATR100 of the universe; NaN means ``unknown``.
        policy: Bounds of calm and storm.
    """
    if not math.isfinite(volatility):
        return "unknown"
    if volatility > policy.storm_above:
        return "storm"
    return "calm" if volatility < policy.calm_below else "normal"


@dataclass(frozen=True, slots=True)
class SharedAccount:
    """The account of several lineages: what all of them hold, and the limits over it.

    Attributes:
        account: Equity and exposures of all lineages.
        limits: Positions and exposure allowed over all of them.
    """

    account: Account
    limits: PositionLimits


def assess(
    proposal: Proposal,
    account: Account,
    policy: RiskPolicy,
    sizing: SizingPolicy,
    shared: SharedAccount | None = None,
) -> Assessment:
    """Return whether a proposal may be traded and its size; NaN in price, stop or size is a veto.

    Args:
        proposal: Signal at its decision.
        account: Equity, and exposures of the lineage before the trade.
        policy: Bounds of regime, volatility and exposure.
        sizing: Risk per trade and largest position, as in the books.
        shared: What other lineages hold in the account counts, too; None if it has one.
    """
    regime = classify_regime(proposal.volatility, policy)
    scale = {
        "calm": policy.calm_scale,
        "storm": policy.storm_scale,
        "unknown": policy.unknown_scale,
    }.get(regime, 1.0)
    refusal = _find_veto(proposal, account, policy, scale)
    if refusal is not None:
        return Assessment(0.0, regime, *refusal)
    full = _find_full(proposal.symbol, account, policy) or _find_full_account(proposal, shared)
    if full is not None:
        return Assessment(0.0, regime, *full)
    room = policy.max_exposure - account.exposure
    if shared is not None:
        room = min(room, shared.limits.max_exposure - shared.account.exposure)
    size = sizing.risk_per_trade * proposal.price / proposal.stop_offset
    size = min(min(size, sizing.max_position) * scale, room)
    if not size >= policy.least_size:  # so written that NaN is a veto
        return Assessment(0.0, regime, "too_small", f"size {size:.4%} of the equity")
    return Assessment(size, regime, None, f"{size:.2%} of the equity, {regime} market")


def _find_full_account(proposal: Proposal, shared: SharedAccount | None) -> tuple[Veto, str] | None:
    """Return the veto of an account in which all lineages together leave no room."""
    full = shared and _find_full(proposal.symbol, shared.account, shared.limits)
    if not full:
        return None
    veto, words = full
    return cast(Veto, f"account_{veto}"), f"over all lineages: {words}"


def _find_full(symbol: str, account: Account, policy: PositionLimits) -> tuple[Veto, str] | None:
    """Return the veto of an account without room, by the rule the books follow."""
    held, exposure = account.exposures, account.exposure
    limits = policy.max_positions, policy.max_exposure, policy.least_size
    match check_room(symbol in held, len(held), exposure, *limits):
        case positions.SYMBOL_TAKEN:
            return "symbol_taken", f"{symbol} is held or ordered already"
        case positions.POSITIONS_FULL:
            bound = f"at most {policy.max_positions} allowed"
            return "max_positions", f"{len(held)} positions, {bound}"
        case positions.EXPOSURE_FULL:
            bound = f"at most {policy.max_exposure:.2f} allowed"
            return "max_exposure", f"exposure {exposure:.2f} of the equity, {bound}"
    return None


def _find_veto(
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
    return None
