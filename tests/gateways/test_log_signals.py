"""Signals of a log in the ledger, on real SQLite and PostgreSQL."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from factories.registry import LINEAGE
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.ledger.tables import LOG_OUTCOME, LOG_SIGNAL

NOON = pd.Timestamp("2026-01-05 12:00", tz="UTC")
LATER = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    ledger = Ledger(ledger_url, LINEAGE)
    ledger.migrate()
    return ledger


def given(count: int, **changes: object) -> pd.DataFrame:
    """Signals of a log, one an hour, each a trade of half an hour that won 1 %."""
    opened = pd.Series(NOON + pd.to_timedelta(np.arange(count), unit="h"))
    closed = opened + pd.Timedelta("30min")
    frame = pd.DataFrame(
        {
            "signal_id": [f"S:{number}:buy" for number in range(count)],
            "symbol": "S",
            "timestamp": opened,
            "decided_at": opened,
            "taken_in_at": pd.Timestamp("2026-02-01", tz="UTC"),
            "side": "buy",
            "confidence": 75.0,
            "own": [{"funding": 0.01, "imbalance": np.nan}] * count,
            "levels": [{"stop": 95.0}] * count,
            "traded": True,
            "entry_at": opened,
            "entry_price": 100.0,
            "exit_at": closed,
            "exit_price": 101.0,
            "settled_at": closed,
            "net_return": 0.01,
            "won": True,
            "exit_reason": "roi",
            "hold_minutes": 30.0,
            "stop_distance": np.nan,
            "quantity": 2.0,
            "fees": 0.1,
            "outcome_taken_in_at": pd.Timestamp("2026-02-01", tz="UTC"),
            "faults": [["averaged entry"]] * count,
            "source": "trades.csv",
        }
    )
    return frame.assign(**changes)


def test_signals_of_a_log_are_read_as_they_were_given(ledger: Ledger) -> None:
    """Only a feature that is not a number comes back as null; giving them again adds nothing."""
    first, again = ledger.record_log_signals(given(3)), ledger.record_log_signals(given(3))

    assert (first.added, first.settled, first.differing) == (3, 0, ())
    assert (again.added, again.settled, again.differing) == (0, 0, ())
    assert ledger.log_signal_count() == 3
    stored = ledger.log_signals(LATER)
    expected = given(3, own=[{"funding": 0.01, "imbalance": None}] * 3)[list(LOG_SIGNAL)]
    pd.testing.assert_frame_equal(stored, expected, check_dtype=False)


def test_an_outcome_is_blank_before_it_is_known(ledger: Ledger) -> None:
    """At 13:00 the second signal is decided and open; the third is not there yet."""
    ledger.record_log_signals(given(3))
    known = ledger.log_signals((NOON + pd.Timedelta("1h")).to_pydatetime())

    assert known["signal_id"].tolist() == ["S:0:buy", "S:1:buy"]
    assert known["net_return"].notna().tolist() == [True, False]
    assert known.loc[1, list(LOG_OUTCOME)].isna().all()


def test_a_missing_outcome_is_filled_in_once(ledger: Ledger) -> None:
    """A signal logged at its decision gets the outcome told later, and keeps the first one told."""
    outcome = [*LOG_OUTCOME, "outcome_taken_in_at"]
    ledger.record_log_signals(given(1, traded=False, faults=[[]]).drop(columns=outcome))
    assert ledger.log_signals(LATER)["net_return"].isna().all()

    told = ledger.record_log_signals(given(1))
    other = ledger.record_log_signals(given(1, net_return=-0.5, won=False))

    assert (told.added, told.settled, told.differing) == (0, 1, ())
    assert (other.added, other.settled, other.differing) == (0, 0, ("S:0:buy",))
    stored = ledger.log_signals(LATER).loc[0]
    assert (stored["net_return"], stored["traded"]) == (0.01, True)
    assert stored["faults"] == ["averaged entry"]


@pytest.mark.parametrize(
    "change",
    [{"confidence": 80.0}, {"own": [{"funding": 0.02}]}, {"levels": [{"stop": 90.0}]}],
    ids=["confidence", "feature", "level"],
)
def test_a_signal_given_otherwise_is_told_and_stays(
    ledger: Ledger, change: dict[str, object]
) -> None:
    """The stored signal is what was known at the decision; nothing rewrites it."""
    ledger.record_log_signals(given(1))
    intake = ledger.record_log_signals(given(1, **change))

    assert (intake.added, intake.differing) == (0, ("S:0:buy",))
    assert ledger.log_signals(LATER).loc[0, "confidence"] == 75.0


def test_two_rows_of_one_signal_in_one_log_are_one_signal(ledger: Ledger) -> None:
    """The first counts, the second is named."""
    twice = pd.concat([given(1), given(1, confidence=50.0)])
    intake = ledger.record_log_signals(twice)

    assert (intake.added, intake.differing) == (1, ("S:0:buy",))


def test_the_names_of_features_and_outcomes_told_alone(ledger: Ledger) -> None:
    """Every name any signal came with; an outcome is filled in by the id of its signal, once."""
    outcome = [*LOG_OUTCOME, "outcome_taken_in_at"]
    assert ledger.own_names() == ()
    rows = given(2).drop(columns=outcome)
    rows["own"] = [{"funding": 0.01}, {"imbalance": 1.0, "funding": 2.0}]
    ledger.record_log_signals(rows)
    told = given(3, net_return=-0.02, won=False)[["signal_id", *LOG_OUTCOME]].iloc[1:]

    assert ledger.own_names() == ("funding", "imbalance")
    assert (ledger.fill_in_outcomes(told), ledger.fill_in_outcomes(told)) == (1, 0)
    assert ledger.log_signals(LATER)["net_return"].tolist() == pytest.approx(
        [np.nan, -0.02], nan_ok=True
    )
    assert ledger.taken_in_at("S:0:buy") == datetime(2026, 2, 1, tzinfo=UTC)
    assert ledger.taken_in_at("nobody") is None
