"""Exits of one's own: levels of a signal, trailing stops and rules, in labels and in fills."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories.bars import bars_of, small_market
from factories.guides import classes_of
from factories.registry import LINEAGE
from steelyard.errors import FixConfiguration
from steelyard.gateways.brokers import PaperBroker
from steelyard.gateways.ledger import Ledger
from steelyard.market.bars import Bars, until
from steelyard.market.brackets import BracketPolicy, outcomes, settle
from steelyard.market.exits import ExitPlan, exit_rule, longest_trade
from steelyard.market.history import as_known, history
from steelyard.market.indicators import atr
from steelyard.market.strategy import Entry, Scan, Strategy, TrendStrategy, signals
from steelyard.tasks.trading import order_of

FLAT = (100.0, 100.0, 100.0, 100.0)
REASON = {0: None, 1: "stop", 2: "target", 3: "time", 4: "trail"}
POLICY = BracketPolicy()
BARS = {"SIM00": small_market()["SIM00"][:600]}
SIGN = {"stop": -1, "target": 1}
Rows = list[tuple[float, float, float, float]]


def trailed(rows: Rows, side: int = 1) -> tuple[int, float, str | None]:
    """Settle one trade that enters at the first of ``rows``, a stop trailing 10 behind, 5 bars."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    exit_bar, price, reason = settle(
        *columns,
        np.array([0]),
        np.array([side]),
        np.array([100.0 - 10 * side]),
        np.array([np.nan]),
        np.array([10.0]),
        np.array([5]),
    )
    return int(exit_bar[0]), float(price[0]), REASON[int(reason[0])]


def mirrored(rows: Rows) -> Rows:
    return [(200 - o, 200 - low, 200 - high, 200 - c) for o, high, low, c in rows]


TRAILS = [
    pytest.param([(100, 101, 89, 95)], (0, 90.0, "stop"), id="stopped before it moved"),
    pytest.param(
        [(100, 120, 91, 95)], (-1, np.nan, None), id="the forming bar's high moves nothing"
    ),
    pytest.param([(100, 120, 100, 118), (115, 116, 109, 112)], (1, 110.0, "trail"), id="it moved"),
    pytest.param(
        [(100, 120, 100, 118), (115, 140, 111, 120)],
        (-1, np.nan, None),
        id="a higher high within the bar moves nothing for the bar itself",
    ),
    pytest.param(
        [(100, 120, 100, 118), (105, 106, 104, 105)],
        (1, 105.0, "trail"),
        id="a gap",
    ),
    pytest.param(
        [(100, 120, 100, 118), (115, 116, 111, 112), (112, 113, 110, 111)],
        (2, 110.0, "trail"),
        id="a lower high never moves it back",
    ),
    pytest.param(
        [(100, 105 + n, 99 + n, 104 + n) for n in range(5)], (4, 108.0, "time"), id="the time limit"
    ),
]


@pytest.mark.parametrize(("rows", "expected"), TRAILS)
def test_a_trailing_stop_follows_closed_bars(
    rows: Rows, expected: tuple[int, float, str | None]
) -> None:
    """For buys, and mirrored for sells."""
    sold = trailed(mirrored(rows), side=-1)

    assert trailed(rows) == pytest.approx(expected, nan_ok=True)
    assert (sold[0], 200 - sold[1], sold[2]) == pytest.approx(expected, nan_ok=True)


class Fixed(TrendStrategy):
    """Levels of its own on every candidate, by distances from the close."""

    def __init__(self, **distances: float) -> None:
        self.distances = distances

    def scan(self, bars: Bars) -> Scan:
        plain = super().scan(bars)
        levels = {
            name: bars.close + np.where(plain.side < 0, -distance, distance) * SIGN[name]
            if name in SIGN
            else np.full(len(bars), distance)
            for name, distance in self.distances.items()
        }
        return Scan(plain.side, plain.confidence, plain.scores, levels)


def test_levels_of_a_signal_stand_in_place_of_the_policys() -> None:
    """Stop and target stay at their price; what is left out is the policy's."""
    plain, own = (history(BARS, system, POLICY) for system in (TrendStrategy(), Fixed(stop=4.0)))
    side = np.where(own["side"] == "buy", 1, -1)
    closes = pd.Series(BARS["SIM00"].close, pd.to_datetime(BARS["SIM00"].timestamp, utc=True))
    decided = closes.loc[own["timestamp"]].to_numpy()

    np.testing.assert_array_equal(own["stop_price"], decided - 4.0 * side)
    np.testing.assert_allclose(own["stop_distance"] * own["entry_price"], 4.0)
    pd.testing.assert_series_equal(own["target_price"], plain["target_price"])
    assert "level_stop" not in plain


@pytest.mark.parametrize(
    ("distances", "no_target"),
    [({"target": np.inf}, True), ({"trail": 3.0}, True), ({"bars": 3.0}, False)],
    ids=["none named", "trailing", "only a limit"],
)
def test_a_trade_may_have_no_target(distances: Mapping[str, float], no_target: bool) -> None:
    """A trailing stop lets gains run unless a target is named."""
    own = history(BARS, Fixed(**distances), POLICY)

    assert own["target_price"].isna().all() == no_target
    assert ("target" in set(own["exit_reason"])) != no_target
    assert (own["hold_minutes"].max() > 3 * 240) == no_target


def test_a_trail_may_be_in_atrs() -> None:
    """ATR14 of the decision bar; with a stop the nearer one counts."""
    in_atrs = history(BARS, Fixed(trail_atr=3.0, stop=0.5), POLICY)
    bars, first = BARS["SIM00"], in_atrs.iloc[0]
    decided = int(np.searchsorted(bars.timestamp, first["timestamp"].to_datetime64()))

    assert first["level_trail"] == 3.0 * atr(bars)[decided]
    assert first["stop_price"] == first["level_stop"]
    assert set(in_atrs["exit_reason"].dropna()) <= {"stop", "trail", "time"}


def test_an_entry_beyond_a_level_leaves_at_once() -> None:
    """The stop's price has been passed overnight: out at the open, at no more than the costs."""
    bars = bars_of([(100.0, 101.0, 99.0, 100.0)] * 15 + [FLAT, (90.0, 95.0, 89.0, 94.0)])
    signal = pd.DataFrame(
        {
            "symbol": ["X"],
            "timestamp": pd.to_datetime(bars.timestamp[15:16], utc=True),
            "side": ["buy"],
            "level_stop": [95.0],
        }
    )
    [outcome] = outcomes({"X": bars}, signal, POLICY).to_dict("records")

    assert (outcome["exit_reason"], outcome["exit_price"], outcome["entry_price"]) == (
        "stop",
        90.0,
        90.0,
    )
    assert -0.001 < outcome["net_return"] < 0


@given(st.floats(80, 120), st.floats(80, 120), st.sampled_from([1, -1]))
def test_a_level_on_the_wrong_side_is_not_used(stop: float, target: float, side: int) -> None:
    """A log may hold any; the policy's distance stands in its place."""
    row = pd.DataFrame({"level_stop": [stop], "level_target": [target]})
    ten, close, sides = np.array([10.0]), np.array([100.0]), np.array([side])
    plan = ExitPlan.at_decision(row, close, sides, ten, ten, 48)
    [stop_price], [target_price] = plan.prices(close, sides)
    stop_counts, target_counts = (100 - stop) * side > 0, (target - 100) * side > 0

    assert stop_price == (stop if stop_counts else 100 - 10 * side)
    assert target_price == (target if target_counts else 100 + 10 * side)
    assert plan.stop_offsets[0] > 0


class Peeking(Fixed):
    """A scan whose stops know the next low."""

    def scan(self, bars: Bars) -> Scan:
        plain = super().scan(bars)
        ahead = np.where(plain.side > 0, np.roll(bars.low, -1) - 50, np.roll(bars.high, -1) + 50)
        return Scan(plain.side, plain.confidence, plain.scores, {"stop": ahead})


class Unknown(Fixed):
    def scan(self, bars: Bars) -> Scan:
        plain = super().scan(bars)
        return Scan(plain.side, plain.confidence, plain.scores, {"stop_loss": bars.close})


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (Fixed(stop=-1.0), "the stop lies on the losing side"),
        (Fixed(target=-1.0), "the target on the other"),
        (Fixed(bars=0.0), "bars are 1 or more"),
        (Fixed(trail=-2.0), "a distance over 0"),
        (Peeking(), "scan sees past SIM00.*stop"),
        (Unknown(), "stop_loss; a level is one of stop, target, bars, trail, trail_atr"),
    ],
)
def test_impossible_levels_are_refused(system: Strategy, message: str) -> None:
    """The message names class, symbol, bar and values."""
    with pytest.raises(FixConfiguration, match=message) as refused:
        signals(BARS, system)
    assert type(system).__name__ in str(refused.value)


@pytest.mark.parametrize(("own", "longest"), [([np.nan, 120.0], 120), ([12.0], 48), ([], 48)])
def test_the_longest_trade_is_what_an_outcome_may_wait_for(own: list[float], longest: int) -> None:
    """The guard calls an outcome overdue after it; the policy's limit is the least."""
    assert longest_trade(pd.DataFrame({"level_bars": own}, dtype=float), 48) == longest


# rules


class Impatient(TrendStrategy):
    """Leaves three bars after the entry."""

    longest = 0

    def exit(self, bars: Bars, entry: Entry) -> bool:
        type(self).longest = max(self.longest, len(bars))
        return len(bars) - entry.position == 3


class Undecided(TrendStrategy):
    def exit(self, bars: Bars, entry: Entry) -> bool:
        return None  # type: ignore[return-value]


def test_a_rule_leaves_at_the_next_open() -> None:
    """Asked at each close with the bars up to there; stop and time limit stay, the target goes."""
    own = history(BARS, Impatient(), POLICY).dropna(subset=["exit_at"])
    left = own[own["exit_reason"] == "exit"]
    bars = BARS["SIM00"]
    exits = np.searchsorted(bars.timestamp, left["exit_at"].dt.tz_localize(None))

    assert set(own["exit_reason"]) == {"exit", "stop"}
    assert (left["exit_at"] - left["entry_at"] == pd.Timedelta("12h")).all()
    np.testing.assert_array_equal(left["exit_price"], bars.open[exits])
    assert (left["settled_at"] - left["exit_at"] == pd.Timedelta("4h")).all()
    assert Impatient.longest < len(bars)
    with pytest.raises(FixConfiguration, match=r"Undecided\.exit gave None for SIM00"):
        history(BARS, Undecided(), POLICY)


SYSTEMS = [
    pytest.param(Fixed(stop=2.0, target=5.0), id="prices"),
    pytest.param(Fixed(trail_atr=2.0, stop=3.0, bars=20.0), id="trailing"),
    pytest.param(Impatient(), id="a rule"),
    *(pytest.param(system(), id=system.__name__) for system in classes_of("own-exits.md")),
]


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_was_known_then_is_what_is_known_later(system: Strategy) -> None:
    """The law of every history, with exits of one's own."""
    whole, as_of = history(BARS, system, POLICY), pd.Timestamp("2020-03-15T08:00", tz="UTC")

    pd.testing.assert_frame_equal(
        history(until(BARS, as_of), system, POLICY), as_known(whole, as_of)
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_broker_fills_what_the_history_says(system: Strategy, tmp_path: Path) -> None:
    """Bar by bar, in a ledger that a restart goes on with: same exits, reasons and prices."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE)
    ledger.migrate()
    bars = BARS["SIM00"]
    past = history(BARS, system, POLICY).dropna(subset=["exit_at"]).iloc[::16]
    for row in past.to_dict("records"):
        decided = int(np.searchsorted(bars.timestamp, row["timestamp"].to_datetime64()))
        paper = PaperBroker(ledger, POLICY, 1e5, exit_rule(system))
        paper.submit(order_of(row, bars[: decided + 1], POLICY, exit_rule(system)))
        settled = int(np.searchsorted(bars.timestamp, row["exit_at"].to_datetime64()))
        for known in sorted({decided + 2, settled, settled + 1}):
            PaperBroker(ledger, POLICY, 1e5, exit_rule(system)).advance({"SIM00": bars[:known]})
    trades = ledger.trades(("closed",)).set_index("signal_id").loc[past["signal_id"]]
    slip = np.where(past["side"] == "buy", 1, -1) * POLICY.slippage_bps / 1e4

    assert trades["exit_reason"].tolist() == past["exit_reason"].tolist()
    assert (trades["exit_at"].array == past["settled_at"].array).all()
    np.testing.assert_array_equal(trades["exit_price"], past["exit_price"] * (1 - slip))
