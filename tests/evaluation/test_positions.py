"""Position rules: which of its signals each book has room for."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from factories.evidence import EARLIER
from factories.settled import UNLIMITED, held, settled
from steelyard.desk.risk import Account, Proposal, RiskPolicy, assess
from steelyard.evaluation.books import BOOKS, SizingPolicy, measure_books
from steelyard.evaluation.evidence import WindowPolicy, gather_evidence
from steelyard.evaluation.positions import PositionLimits, take_positions

DAY = timedelta(days=1)
NORMAL = Proposal("", "buy", decision=True, price=100.0, stop_offset=2.0, volatility=1.0, trend=0.0)


def lives(
    *signals: tuple[str, float, float], limits: PositionLimits = UNLIMITED, **columns: object
) -> pd.DataFrame:
    """Signals given as symbol, hour decided and hours open, a quarter of the account each."""
    symbols, decided, hours = zip(*signals, strict=True)
    begin = pd.Timestamp(EARLIER) + pd.to_timedelta(decided, unit="h")
    stamps = {"decided_at": begin, "settled_at": begin + pd.to_timedelta(hours, unit="h")}
    zoned = {name: at.astype("datetime64[ns, UTC]") for name, at in stamps.items()}
    return held(len(signals), limits, symbol=list(symbols), **{**zoned, **columns})


def rows_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The signals without what the books made of them."""
    return frame[list(settled(0).columns)]


@pytest.mark.parametrize(
    ("signals", "limits", "taken"),
    [
        pytest.param([("A", 0, 5), ("A", 4, 9), ("A", 5, 1)], {}, [1, 0, 1], id="one per symbol"),
        pytest.param([("A", 0, 5), ("A", 0, 5)], {}, [1, 0], id="two of one moment"),
        pytest.param(
            [("C", 0, 9), ("A", 0, 5), ("B", 0, 9), ("C", 5, 9)],
            {"max_positions": 2},
            [0, 1, 1, 1],
            id="as many as allowed, by symbol",
        ),
        pytest.param(
            [("A", 0, 9), ("B", 1, 9), ("C", 2, 9)],
            {"max_exposure": 0.5},
            [1, 1, 0],
            id="as much as allowed",
        ),
        pytest.param([("A", 0, 0), ("A", 0, 3)], {}, [1, 1], id="over at once"),
    ],
)
def test_a_book_takes_what_its_account_has_room_for(
    signals: list[tuple[str, float, float]], limits: dict[str, float], taken: list[int]
) -> None:
    """A position that ends at a decision makes room for it; the rest is counted as blocked."""
    frame = lives(*signals, limits=PositionLimits(**limits))  # type: ignore[arg-type]
    book = measure_books(frame, EARLIER, EARLIER + DAY).baseline

    for name in (*BOOKS, "decision"):
        assert frame[f"{name}_taken"].astype(int).tolist() == taken, name
    assert (book.signals, book.trades, book.blocked) == (len(taken), sum(taken), taken.count(0))
    assert book.total_return == pytest.approx(sum(taken) * 0.0025)


def test_the_last_room_is_used_and_no_more() -> None:
    """Two quarters of the account and, of a limit of 60 %, the last tenth."""
    frame = lives(("A", 0, 9), ("B", 0, 9), ("C", 0, 9), limits=PositionLimits(max_exposure=0.6))

    assert frame["ml_return"].tolist() == pytest.approx([0.0025, 0.0025, 0.001])


def test_each_book_holds_positions_of_its_own() -> None:
    """What the baseline left is free for the blend; a signal both want may find room in one only.

    The first is pivotal. The second is not: the books agree on it, and the one whose account is
    taken counts it as blocked. The third, wanted by the blend alone, finds its account taken.
    """
    frame = lives(
        ("A", 0, 9), ("A", 1, 9), ("A", 2, 9),
        confidence_existing=[60, 80, 60], blended=[80, 80, 80], confidence_ml=60.0,
        decision=[True, True, True],
    )  # fmt: skip
    books = measure_books(frame, EARLIER, EARLIER + DAY)

    assert frame["baseline_taken"].tolist() == [False, True, False]
    assert frame["blended_taken"].tolist() == [True, False, False]
    assert (books.baseline.blocked, books.blended.blocked, books.ml.blocked) == (0, 2, 0)
    assert books.pivotal == 1


def test_blocked_signals_are_no_errors_of_the_book() -> None:
    """A winner without room was not left by mistake, and a loser without room not taken."""
    won = pd.array([True, True, False], dtype="boolean")
    book = measure_books(
        lives(("A", 0, 9), ("A", 1, 9), ("A", 2, 9), won=won), EARLIER, EARLIER + DAY
    ).ml

    assert book.false_negative_rate == 0
    assert np.isnan(book.false_positive_rate)


def test_a_window_knows_the_positions_open_at_its_begin() -> None:
    """A position from before the window keeps its symbol, and counts itself where it settles."""
    frame = lives(("A", 0, 49), ("A", 40, 20), ("A", 47, 30), ("A", 50, 9))
    evidence = gather_evidence(frame, EARLIER + 4 * DAY, EARLIER, WindowPolicy(2, 1))
    alone = take_positions(rows_of(frame[1:]), SizingPolicy(), UNLIMITED)

    assert (evidence.books.ml.trades, evidence.books.ml.blocked) == (2, 2)
    assert alone["ml_taken"].tolist() == [True, False, False]


SIGNALS = st.lists(
    st.tuples(st.sampled_from("ABCD"), st.integers(0, 30), st.integers(1, 20), st.booleans()),
    min_size=1,
    max_size=25,
)


@given(SIGNALS, st.integers(1, 3), st.floats(0.2, 1.2))
@hypothesis_settings(max_examples=60)
def test_a_book_holds_what_the_desk_would_have_held(
    signals: list[tuple[str, int, int, bool]], max_positions: int, max_exposure: float
) -> None:
    """Signal by signal, the desk's own rule about an account gives the same sizes."""
    policy = RiskPolicy(max_positions=max_positions, max_exposure=max_exposure)
    confidence = np.where([wanted for *_, wanted in signals], 80.0, 60.0)
    frame = lives(
        *(signal[:3] for signal in signals), limits=policy, confidence_existing=confidence
    )
    ordered = frame.sort_values(["decided_at", "symbol"], kind="stable")
    for row in ordered.to_dict("records"):
        before = ordered[: int((ordered["signal_id"] == row["signal_id"]).to_numpy().argmax())]
        open_now = before[before["baseline_taken"] & (before["settled_at"] > row["decided_at"])]
        exposures = dict(zip(open_now["symbol"], open_now["baseline_return"] / 0.01, strict=True))
        proposal = replace(NORMAL, symbol=row["symbol"], decision=row["baseline_wanted"])
        assessment = assess(proposal, Account(1e5, exposures), policy, SizingPolicy())

        assert row["baseline_return"] == pytest.approx(assessment.size * 0.01)


def test_the_order_of_the_rows_changes_nothing() -> None:
    """The desk's order is decision time, symbol and side, whatever the order of the rows."""
    rng = np.random.default_rng(1)
    signals = [
        (f"S{symbol}", hour, hours) for symbol, hour, hours in rng.integers(1, 9, size=(60, 3))
    ]
    frame = rows_of(lives(*signals)).assign(side=np.where(np.arange(60) % 2, "buy", "sell"))
    narrow = SizingPolicy(), PositionLimits(max_positions=3)
    shuffled = take_positions(frame.sample(frac=1, random_state=1), *narrow)

    pd.testing.assert_frame_equal(shuffled.sort_index(), take_positions(frame, *narrow))
