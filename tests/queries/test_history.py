"""The history learns from what really happened, and a signal enters when it still can."""

from pathlib import Path

import numpy as np
import pandas as pd

from factories.bars import small_history, small_market
from factories.pilot import BAR, BEGAN, END, bars_frame, market, trained_pilot_home
from steelyard.market.brackets import BracketPolicy, outcomes
from steelyard.queries.history import known_history
from steelyard.tasks.predictions import record_opinions
from steelyard.tasks.training import settled_samples


def test_a_reported_outcome_reaches_the_training(tmp_path: Path, empty_mlflow: Path) -> None:
    """The kernel said one thing, the trader another: the model learns what the trader said."""
    home = trained_pilot_home(tmp_path, empty_mlflow)
    home.lake.append(bars_frame(), BAR)
    state = home.journal.state()
    signals = market()[1]
    lived = signals[signals["decided_at"].between(BEGAN, END) & signals["settled_at"].lt(END)]
    assert state is not None
    record_opinions(home, lived, state)
    first = lived.iloc[[0]]
    reported = first.assign(
        won=~first["won"], net_return=-first["net_return"], exit_reason="by_hand"
    )
    before = settled_samples(home, known_history(home, END))
    home.ledger.record_outcomes(reported, reported=True)
    home.ledger.record_outcomes(lived.iloc[1:])
    known = known_history(home, END)
    after = settled_samples(home, known)

    changed = np.flatnonzero(before.won != after.won)
    assert after.signal_id[changed].tolist() == [lived["signal_id"].iloc[0]]
    assert known.set_index("signal_id").at[lived["signal_id"].iloc[0], "exit_reason"] == "by_hand"
    assert known_history(home, BEGAN)["settled_at"].max() <= pd.Timestamp(BEGAN)


def test_a_decision_within_a_bar_enters_at_the_next_open() -> None:
    """A stamp seconds after the close is the close; one in the middle has missed that open."""
    bars, signals = small_market(), small_history().iloc[[0, 1, 2]]
    delay = pd.to_timedelta(["0s", "30s", "1h"])
    moved = signals[["symbol", "timestamp", "side"]].assign(
        decided_at=signals["decided_at"] + delay
    )
    entered = outcomes(bars, moved, BracketPolicy())["entry_at"]
    size = next(iter(bars.values())).bar_size

    waited = (entered - signals["decided_at"]) / size
    assert waited.tolist() == [0, 0, 1]
    assert outcomes(bars, moved.drop(columns="decided_at"), BracketPolicy())["entry_at"].equals(
        signals["entry_at"]
    )
