"""The streak breaker: eleven ML losses in a row disable the model at once, whatever is down."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories.homes import LAST, pilot_home
from factories.settled import settled
from steelyard.desk.session import Session
from steelyard.desk.signals import Outcome
from steelyard.desk.streak_breaker import OPERATOR
from steelyard.errors import RestoreService
from steelyard.home import Home, home_under
from steelyard.queries.status import status
from steelyard.tasks.predictions import breaker_of
from steelyard.tasks.rollback import roll_back_weight
from steelyard.trading import open_session, open_watch

NOW = datetime.now(UTC)


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    return pilot_home(tmp_path, empty_mlflow)


def record_losses(home: Home, count: int, end: datetime = LAST, *, won: int = 0) -> None:
    """Record losing trades of the ml book; the first ``won`` of them win."""
    home.ledger.record_predictions(taken_signals(count, end))
    frame = taken_signals(count, end)
    frame["won"] = pd.array(np.arange(count) < won, dtype="boolean")
    frame["net_return"] = np.where(frame["won"], 0.01, -0.01)
    home.ledger.record_outcomes(frame)


def taken_signals(count: int, end: datetime) -> pd.DataFrame:
    frame = settled(count, confidence_ml=90.0)
    for name, ago in (("decided_at", 2), ("settled_at", 1)):
        frame[name] = [
            pd.Timestamp(end) - pd.Timedelta(minutes=ago + 60 - number) for number in range(count)
        ]
    frame["signal_id"] = [f"L:{number:02d}:{end:%Y%m%d}:buy" for number in range(count)]
    return frame


@pytest.mark.parametrize(("streak", "weight"), [(10, 0.15), (14, 0.0)])
def test_losses_beyond_chance_disable_and_others_do_not(
    pilot: Home, streak: int, weight: float
) -> None:
    """One journal entry; the brake is pulled until it is written."""
    record_losses(pilot, streak + 1, won=1)
    entry = breaker_of(pilot).enforce(LAST)
    repeated = breaker_of(pilot).enforce(LAST + timedelta(days=1))
    state = pilot.journal.state()

    assert state is not None
    assert state.weight == weight
    assert (entry is not None) is (weight == 0.0)
    assert repeated is None
    assert not pilot.brake.pulled
    assert pilot.journal.faults() == []


def test_without_mlflow_the_brake_stays_until_the_journal_can_be_written(pilot: Home) -> None:
    """Weight 0 meanwhile; the next check records the decision and releases the brake."""
    record_losses(pilot, 11)
    nowhere = pilot.settings.services.model_copy(update={"mlflow": "http://127.0.0.1:9"})
    cut_off = home_under(pilot.settings.model_copy(update={"services": nowhere}), pilot.folder)
    assert breaker_of(cut_off).check(pilot.journal.state(), LAST)
    with pytest.raises(RestoreService):
        breaker_of(cut_off).enforce(LAST)
    words = f"{OPERATOR}: 11 consecutive ML losses, at most 10 allowed by {LAST:%Y-%m-%d %H:%M}"
    assert pilot.brake.words == pilot.ledger.brake("signal-confidence") == words
    pilot.brake.release()  # as if somebody had removed the file
    assert status(pilot, LAST).brake == words

    entry = breaker_of(pilot).enforce(LAST)
    assert entry is not None
    assert entry.decision.verdict == "DISABLE"
    assert not pilot.brake.pulled
    assert pilot.ledger.brake("signal-confidence") is None


def test_who_died_after_the_decision_leaves_no_brake_behind(pilot: Home) -> None:
    """With the decision recorded and the brake pulled, the next check only releases the brake."""
    record_losses(pilot, 11)
    breaker_of(pilot).enforce(LAST)
    pilot.brake.pull(OPERATOR, "11 ML losses in a row")

    assert breaker_of(pilot).enforce(LAST + timedelta(hours=1)) is None
    assert not pilot.brake.pulled


def test_an_operators_brake_is_not_let_go(pilot: Home) -> None:
    """A brake pulled by an operator stays pulled."""
    pilot.brake.pull("operator", "odd fills")
    breaker_of(pilot).enforce(LAST)

    assert pilot.brake.pulled
    roll_back_weight(pilot, "odd fills", "operator", LAST)
    assert not pilot.brake.pulled


def report_losses(session: Session, count: int) -> None:
    for number, row in enumerate(taken_signals(count, NOW).to_dict("records")):
        session.settle(
            Outcome(
                signal_id=row["signal_id"],
                settled_at=row["settled_at"].to_pydatetime(),
                net_return=-0.01 - number / 1e4,
                won=False,
                exit_reason="stop",
                hold_minutes=60.0,
                slippage_bps=4.0,
                stop_distance=0.02,
            )
        )


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_outcomes_told_to_a_session_take_the_weight_from_its_next_evaluation(pilot: Home) -> None:
    """After the eleventh loss this process is at weight 0; the journal entry follows."""
    pilot.journal.renew_lease(NOW + timedelta(days=3))
    pilot.ledger.record_predictions(taken_signals(11, NOW))
    session = open_session(pilot.folder)
    watch = session._watch
    assert watch.weight(NOW) == 0.15
    report_losses(session, 10)
    assert wait_until(
        lambda: len(pilot.ledger.settled_predictions(NOW - timedelta(days=1), NOW)) == 10
    )
    assert watch.weight(NOW) == 0.15

    report_losses(session, 11)
    assert wait_until(lambda: watch.weight(NOW) == 0.0)
    assert wait_until(
        lambda: not pilot.brake.pulled and pilot.journal.entries()[-1].decision.verdict == "DISABLE"
    )
    session.close()
    assert [alert.alert.kind for alert in pilot.alerts.open()] == ["disable"]


def test_an_outcome_nobody_predicted_or_a_second_one_is_set_aside(pilot: Home) -> None:
    """Other outcomes are recorded; the line is kept for the operator."""
    pilot.ledger.record_predictions(taken_signals(2, NOW))
    session = open_session(pilot.folder)
    report_losses(session, 3)
    report_losses(session, 1)
    recorder = session._recorder
    assert recorder is not None
    assert wait_until(lambda: recorder.set_aside == 1)
    session.settle(Outcome("L:00:" + f"{NOW:%Y%m%d}:buy", NOW, 0.5, True, "target", 1.0, 0.0, 0.02))
    assert wait_until(lambda: recorder.set_aside == 2)
    session.close()

    lines = (pilot.folder / ".steelyard" / "spool" / "damaged.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert "L:02:" in lines[0]


def test_a_watch_alone_sees_the_brake(pilot: Home) -> None:
    """Another process of the same home sees the brake, too."""
    watch = open_watch(pilot.folder)
    watch.refresh()
    record_losses(pilot, 11)
    breaker_of(pilot).check(pilot.journal.state(), LAST)
    watch.check_brake()

    assert watch.terms(LAST)[1:] == (0.0, "brake")
