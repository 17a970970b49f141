"""Risk: one veto code per reason, and a size that follows from the stop."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.desk.risk import (
    Account,
    Proposal,
    RiskPolicy,
    SharedAccount,
    assess,
    classify_regime,
)
from steelyard.evaluation.books import SizingPolicy

POLICY, SIZING = RiskPolicy(), SizingPolicy()
GOOD = Proposal(
    "AAPL", "buy", decision=True, price=100.0, stop_offset=2.0, volatility=1.0, trend=0.0
)
EMPTY = Account(100_000.0, {})
NAN, INFINITE = float("nan"), float("inf")


def test_a_good_proposal_risks_its_share_at_the_stop() -> None:
    """Half a percent of the account over a stop 2 % away: a quarter of the account."""
    assessment = assess(GOOD, EMPTY, POLICY, SIZING)

    assert (assessment.veto, assessment.size, assessment.regime) == (None, 0.25, "normal")
    assert assess(replace(GOOD, stop_offset=0.2), EMPTY, POLICY, SIZING).size == SIZING.max_position


@pytest.mark.parametrize(
    ("change", "account", "policy", "veto"),
    [
        pytest.param({"decision": False}, EMPTY, {}, "not_decided", id="not decided for"),
        pytest.param({"price": NAN}, EMPTY, {}, "no_price", id="NaN price"),
        pytest.param({"price": INFINITE}, EMPTY, {}, "no_price", id="infinite price"),
        pytest.param({"stop_offset": 0.0}, EMPTY, {}, "no_price", id="no stop"),
        pytest.param({"stop_offset": NAN}, EMPTY, {}, "no_price", id="NaN stop"),
        pytest.param({}, Account(0.0, {}), {}, "no_price", id="no equity"),
        pytest.param(
            {"volatility": 2.0}, EMPTY, {"storm_scale": 0.0}, "regime", id="storm, not traded"
        ),
        pytest.param(
            {"trend": -0.5}, EMPTY, {"with_trend": True}, "regime", id="against the trend"
        ),
        pytest.param({"stop_offset": 0.05}, EMPTY, {}, "too_quiet", id="stop too near"),
        pytest.param({"stop_offset": 30.0}, EMPTY, {}, "too_wild", id="stop too far"),
        pytest.param({}, Account(1e5, {"AAPL": 0.1}), {}, "symbol_taken", id="held already"),
        pytest.param(
            {},
            Account(1e5, {"A": 0.1, "B": 0.1}),
            {"max_positions": 2},
            "max_positions",
            id="too many",
        ),
        pytest.param({}, Account(1e5, {"A": 4.0}), {}, "max_exposure", id="no room"),
        pytest.param({}, EMPTY, {"least_size": 0.5}, "too_small", id="too small"),
    ],
)
def test_each_veto_has_its_code(
    change: dict[str, Any], account: Account, policy: dict[str, Any], veto: str
) -> None:
    """Size 0, the code, and a figure in words."""
    assessment = assess(replace(GOOD, **change), account, RiskPolicy(**policy), SIZING)

    assert (assessment.veto, assessment.size) == (veto, 0.0)
    assert assessment.explanation


@pytest.mark.parametrize(
    ("volatility", "regime", "size"),
    [(0.5, "calm", 0.25), (1.0, "normal", 0.25), (2.0, "storm", 0.125), (NAN, "unknown", 0.125)],
)
def test_the_regime_scales_the_size(volatility: float, regime: str, size: float) -> None:
    """A stormy or unknown regime halves the size."""
    assessment = assess(replace(GOOD, volatility=volatility), EMPTY, POLICY, SIZING)

    assert (classify_regime(volatility, POLICY), assessment.size) == (regime, size)


def test_the_last_room_is_used_and_no_more() -> None:
    """With exposure 3.9 of 4 the size is a tenth."""
    assert assess(GOOD, Account(1e5, {"A": 3.9}), POLICY, SIZING).size == pytest.approx(0.1)


figures = st.floats(allow_nan=True, allow_infinity=True)


HELD_BY_ANOTHER = {"A": 0.5, "B": 0.5}


@pytest.mark.parametrize(
    ("limits", "exposures", "veto", "words"),
    [
        ({"max_positions": 2}, HELD_BY_ANOTHER, "account_max_positions", "2 positions, at most 2"),
        ({"max_exposure": 1.0}, HELD_BY_ANOTHER, "account_max_exposure", "exposure 1.00 of the"),
        ({}, {GOOD.symbol: 0.1}, "account_symbol_taken", f"{GOOD.symbol} is held or ordered"),
        ({"max_positions": 3}, HELD_BY_ANOTHER, None, ""),
    ],
    ids=["positions", "exposure", "symbol", "room"],
)
def test_limits_of_the_account_hold_over_all_lineages(
    limits: dict[str, float], exposures: dict[str, float], veto: str | None, words: str
) -> None:
    """A lineage without a position has no room if the others used that of the account."""
    shared = SharedAccount(Account(1e5, exposures), RiskPolicy(**limits))
    assessment = assess(GOOD, EMPTY, POLICY, SIZING, shared)
    assert assessment.veto == veto
    assert words in assessment.explanation
    assert (f"over all lineages: {words}" in assessment.explanation) == (veto is not None)


def test_the_last_room_of_the_account_is_used_and_no_more() -> None:
    """The smaller of both rooms bounds the size."""
    shared = SharedAccount(Account(1e5, {"A": 3.95}), POLICY)
    assert assess(GOOD, EMPTY, POLICY, SIZING, shared).size == pytest.approx(0.05)


@given(price=figures, stop=figures, volatility=figures, trend=figures, exposure=st.floats(0, 10))
def test_no_figures_make_a_size_out_of_bounds(
    price: float, stop: float, volatility: float, trend: float, exposure: float
) -> None:
    """Any figures give a size between 0 and the limits; a veto gives 0."""
    proposal = Proposal(
        "AAPL",
        "sell",
        decision=True,
        price=price,
        stop_offset=stop,
        volatility=volatility,
        trend=trend,
    )
    assessment = assess(proposal, Account(1e5, {"A": exposure}), POLICY, SIZING)

    assert 0 <= assessment.size <= SIZING.max_position
    assert assessment.size + exposure <= POLICY.max_exposure + 1e-9 or assessment.size == 0
    assert (assessment.size == 0) is (assessment.veto is not None)
