"""The bounds of the weight: ``conf/weight.yaml``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steelyard.evaluation.evidence import WindowPolicy
from steelyard.evaluation.skill import BetPolicy
from steelyard.values import FrozenModel
from steelyard.weight.rules import phase_of_weight

Phase = Literal["foundation", "shadow", "pilot", "expansion", "optimization"]
PHASES: tuple[Phase, ...] = ("foundation", "shadow", "pilot", "expansion", "optimization")

Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[int, Field(ge=1, le=3650)]
Ratio = Annotated[float, Field(ge=0, le=100)]


class Band(FrozenModel):
    """Weights a phase allows.

    Attributes:
        floor: Lowest weight; entering the phase lifts the weight to it.
        ceiling: Highest weight.
    """

    floor: Share
    ceiling: Share


class Bands(FrozenModel):
    """One band for each phase in which the model has influence."""

    pilot: Band = Band(floor=0.10, ceiling=0.20)
    expansion: Band = Band(floor=0.20, ceiling=0.40)
    optimization: Band = Band(floor=0.40, ceiling=0.70)


class LimitPolicy(FrozenModel):
    """Breakers and cuts of the evaluation and the daily guard (groups 1 and 2)."""

    breaker_accuracy: Share = 0.45
    breaker_streak: Annotated[int, Field(ge=1)] = 10
    breaker_losing_days: Annotated[int, Field(ge=1)] = 10
    streak_years: Annotated[float, Field(gt=0, lt=1)] = 0.05
    cut_accuracy: Share = 0.50
    cut_accuracy_factor: Share = 0.5
    drawdown_ratio: Annotated[float, Field(ge=1)] = 1.5
    drawdown_factor: Share = 0.5
    sharpe_shortfall: Share = 0.20
    sharpe_factor: Share = 0.7
    latch_days: Days = 30
    clear_days: Days = 10


class StepPolicy(FrozenModel):
    """Rewards of the evaluation (groups 3 and 4)."""

    size: Annotated[float, Field(gt=0, le=0.25)] = 0.05
    raise_accuracy: Share = 0.55
    lower_accuracy: Share = 0.50
    sharpe_shortfall: Share = 0.10


class GatePolicy(FrozenModel):
    """Criteria of each phase for moving up."""

    foundation_settled: Annotated[int, Field(ge=1)] = 100
    shadow_days: Days = 14
    shadow_settled: Annotated[int, Field(ge=1)] = 50
    shadow_accuracy: Share = 0.55
    shadow_coverage: Share = 0.99
    shadow_latency_p99_ms: Annotated[float, Field(gt=0)] = 50.0
    pilot_days: Days = 14
    pilot_pivotal: Annotated[int, Field(ge=0)] = 5
    pilot_fallback_rate: Share = 0.01
    pilot_arm_signals: Annotated[int, Field(ge=2)] = 10
    pilot_arm_errors: Annotated[float, Field(ge=0)] = 1.645
    pilot_sample_ratio_p: Share = 0.001
    expansion_days: Days = 30
    expansion_improvement: Share = 0.10
    expansion_drawdown: Share = 0.05
    stable_days: Days = 60
    stable_improvement: Share = 0.20


class SequentialPolicy(FrozenModel):
    """Bounds on the lifetime evidence.

    It is computed in both modes and binds in the sequential one.

    Attributes:
        leave_shadow: e-value of skill needed to leave shadow.
        rise: e-value of skill needed for a step up and to leave pilot and expansion.
        confirm: Decay evidence, months, that confirms the cuts and the step down of the ladder.
        cut: Decay evidence that cuts by itself and confirms the breaker on accuracy.
        cut_factor: What that cut multiplies the weight by.
        disable: Decay evidence that takes the weight to 0.
        bets: How the evidence is accumulated.
    """

    leave_shadow: Annotated[float, Field(ge=1, le=1e6)] = 2.0
    rise: Annotated[float, Field(ge=1, le=1e6)] = 20.0
    confirm: Annotated[float, Field(ge=0, le=1e6)] = 6.0
    cut: Annotated[float, Field(gt=0, le=1e6)] = 30.0
    cut_factor: Share = 0.5
    disable: Annotated[float, Field(gt=0, le=1e9)] = 150.0
    bets: BetPolicy = BetPolicy()

    @model_validator(mode="after")
    def _bounds_rise(self) -> Self:
        if not self.confirm <= self.cut <= self.disable:
            raise ValueError(
                f"decay must rise: confirm {self.confirm:g}, cut {self.cut:g}, "
                f"disable {self.disable:g}"
            )
        if self.bets.cap < self.rise:
            raise ValueError(
                f"bets.cap {self.bets.cap:g} is under rise {self.rise:g}: no weight could ever rise"
            )
        return self


class RolloutPolicy(FrozenModel):
    """Targets of the rollout and their dates; nothing decides by them."""

    phase_weeks: Annotated[int, Field(ge=1, le=52)] = 2
    optimization_month: Annotated[int, Field(ge=1, le=120)] = 3
    expected_pilot: tuple[Share, Share] = (0.02, 0.05)
    expected_expansion: tuple[Share, Share] = (0.05, 0.10)
    expected_optimization: tuple[Share, Share] = (0.15, 0.25)
    month_2_accuracy: Share = 0.55
    month_4_weight: Share = 0.30
    month_4_improvement: Share = 0.10
    month_4_sharpe: Ratio = 1.5
    month_4_win_rate: Share = 0.52
    month_6_weight: Share = 0.50
    month_6_improvement: Share = 0.20
    month_6_sharpe: Ratio = 1.8
    month_6_win_rate: Share = 0.55
    month_6_profit_factor: Ratio = 2.0

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in ("expected_pilot", "expected_expansion", "expected_optimization"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must rise, got {low} to {high}")
        return self


class WeightPolicy(FrozenModel):
    """How far the weight may move, and how fast: the keys of ``conf/weight.yaml``.

    Examples:
        >>> WeightPolicy(ceiling=0.4).steps.size
        0.05
    """

    renamed_keys = {"smallest": "min_weight"}  # noqa: RUF012  # a ClassVar of the base

    evidence: Literal["ladder", "sequential"] = "sequential"
    ceiling: Annotated[float, Field(ge=0, le=0.70)] = 0.70
    min_weight: Share = 0.01
    window_days: Days = 30
    window_max_days: Days = 120
    min_settled: Annotated[int, Field(ge=1)] = 20
    evaluation_days: Days = 30
    review_days: Days = 14
    lease_days: Days = 3
    ab_key: Annotated[str, Field(min_length=8)] = "steelyard-pilot"
    bands: Bands = Bands()
    limits: LimitPolicy = LimitPolicy()
    steps: StepPolicy = StepPolicy()
    gates: GatePolicy = GatePolicy()
    sequential: SequentialPolicy = SequentialPolicy()
    rollout: RolloutPolicy = RolloutPolicy()

    @model_validator(mode="after")
    def _bands_follow_each_other(self) -> Self:
        edges = [0.0]
        for band in (self.bands.pilot, self.bands.expansion, self.bands.optimization):
            edges += [band.floor, band.ceiling]
        if edges != sorted(edges):
            raise ValueError("bands must rise without overlap: pilot, expansion, optimization")
        if self.window_max_days < self.window_days:
            raise ValueError(
                f"window_max_days {self.window_max_days} is under window_days {self.window_days}"
            )
        return self

    @property
    def evidence_binds(self) -> bool:
        """Whether lifetime evidence decides (sequential mode) or is only recorded (ladder mode)."""
        return self.evidence == "sequential"

    def band(self, phase: Phase) -> Band:
        """Return the band of ``phase``, capped by the overall ceiling; 0 to 0 before pilot."""
        if phase in ("foundation", "shadow"):
            return Band(floor=0.0, ceiling=0.0)
        band: Band = getattr(self.bands, phase)
        return Band(floor=min(band.floor, self.ceiling), ceiling=min(band.ceiling, self.ceiling))

    @property
    def window(self) -> WindowPolicy:
        """The window whose figures the monthly evaluation judges."""
        return WindowPolicy(self.window_days, self.min_settled, self.window_max_days)

    def phase_holding(self, weight: float, highest: Phase) -> Phase:
        """Return the phase that holds ``weight``: shadow at 0, else at least pilot.

        Args:
            weight: Weight, in [0, ``ceiling``].
            highest: Phase in force; no weight promotes beyond it.
        """
        floors = tuple(self.band(phase).floor for phase in PHASES)
        return PHASES[phase_of_weight(weight, PHASES.index(highest), floors)]
