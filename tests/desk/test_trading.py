"""A trading process on a real home writes what the scheduled flows write."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories.pilot import BAR, BEGAN, END, conf_folder, market, signal_of, trained_pilot_home
from steelyard import trading
from steelyard.gateways.ledger.tables import Mark
from steelyard.home import Home, open_state_file
from steelyard.market.bars import Bars
from steelyard.market.history import as_known
from steelyard.tasks.handover import hand_over
from steelyard.tasks.predictions import record_opinions
from steelyard.trading import open_session


def bars_until(bars: dict[str, Bars], moment: pd.Timestamp) -> dict[str, Bars]:
    until = moment.tz_convert("UTC").tz_localize(None).to_datetime64()
    return {
        symbol: history[: int(np.searchsorted(history.closes_at, until, side="right"))]
        for symbol, history in bars.items()
    }


def trade(home: Home, bars: dict[str, Bars], rows: pd.DataFrame) -> None:
    """Evaluate each signal when its bar closes."""
    session = open_session(home.folder, conf_folder(home.folder), lambda: END)
    session.warm(bars_until(bars, rows["decided_at"].iloc[0] - BAR))
    for row in rows.to_dict("records"):
        session.evaluate(signal_of(row), bars_until(bars, row["decided_at"]))
    session.close()


def test_live_writes_what_the_flows_write(tmp_path: Path, empty_mlflow: Path) -> None:
    """Signals evaluated bar by bar give the flows' rows, latency aside."""
    bars, signals = market()
    inside = (signals["decided_at"] > pd.Timestamp(BEGAN)) & (
        signals["decided_at"] <= pd.Timestamp(END)
    )
    rows = signals[inside.to_numpy()].reset_index(drop=True)
    live, batch = (trained_pilot_home(tmp_path / name, empty_mlflow) for name in ("live", "batch"))
    trade(live, bars, rows)
    state = batch.journal.state()
    assert state is not None
    record_opinions(batch, as_known(signals, pd.Timestamp(END)), state)
    live_rows, batch_rows = (
        home.ledger.predictions(BEGAN, END).drop(columns="latency_ms") for home in (live, batch)
    )

    assert len(live_rows) > 30
    assert {"control", "treatment"} == set(live_rows["arm"])
    pd.testing.assert_frame_equal(live_rows, batch_rows, rtol=1e-5, atol=1e-5)
    for signal_id in live_rows["signal_id"].iloc[:10]:
        live_signal, batch_signal = (home.ledger.signal(signal_id) for home in (live, batch))
        assert live_signal is not None
        assert batch_signal is not None
        assert live_signal["feature_set_hash"] == batch_signal["feature_set_hash"]
        assert live_signal["features"] == pytest.approx(batch_signal["features"], abs=1e-9)


def test_a_process_starts_without_mlflow(tmp_path: Path, empty_mlflow: Path) -> None:
    """It uses the last model and state on disk; a changed state is not trusted."""
    bars, signals = market()
    home = trained_pilot_home(tmp_path, empty_mlflow)
    open_session(home.folder, conf_folder(home.folder)).close()
    (tmp_path / "mlruns" / "mlflow.db").rename(tmp_path / "gone.db")
    (tmp_path / "mlruns" / "mlflow.db").mkdir()
    row = signals[(signals["decided_at"] > pd.Timestamp(BEGAN)).to_numpy()].iloc[0]
    signal = replace(signal_of(row), signal_id="S:1:buy")

    session = open_session(home.folder, conf_folder(home.folder), lambda: END)
    session.warm(bars_until(bars, row["decided_at"] - BAR))
    evaluation = session.evaluate(signal, bars_until(bars, row["decided_at"]))
    session.close()
    assert (evaluation.fallback_reason, evaluation.weight, evaluation.model_version) == (
        None,
        0.15,
        "1",
    )

    state_file = home.state_folder / "state.json"
    state_file.write_text(state_file.read_text().replace("0.15", "0.65"))
    session = open_session(home.folder, conf_folder(home.folder), lambda: END)
    session.warm(bars_until(bars, row["decided_at"] - BAR))
    evaluation = session.evaluate(signal, bars_until(bars, row["decided_at"]))
    session.close()
    assert (evaluation.weight, evaluation.blended, evaluation.fallback_reason) == (
        0.0,
        evaluation.confidence_existing,
        "no_state",
    )


def test_a_light_process_follows_what_the_flows_leave_on_disk(
    tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model and weight by the hand-over; a newer decision without one means weight 0."""
    bars, signals = market()
    home = trained_pilot_home(tmp_path, empty_mlflow)
    hand_over(home)
    row = signals[(signals["decided_at"] > pd.Timestamp(BEGAN)).to_numpy()].iloc[0]
    monkeypatch.setattr(trading, "HAS_MLFLOW", False)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    session = open_session(home.folder, conf_folder(home.folder), lambda: END)
    session.warm(bars_until(bars, row["decided_at"] - BAR))

    evaluation = session.evaluate(signal_of(row), bars_until(bars, row["decided_at"]))
    assert (evaluation.fallback_reason, evaluation.weight, evaluation.model_version) == (
        None,
        0.15,
        "1",
    )
    assert session.status(END).troubles == ()

    state = open_state_file(home.settings.services).read()
    assert state is not None
    home.ledger.raise_mark(state.lineage, Mark(state.sequence + 1, "later", home.seal.key_id))
    session.close()
    session = open_session(home.folder, conf_folder(home.folder), lambda: END)
    evaluation = session.evaluate(signal_of(row), bars_until(bars, row["decided_at"]))
    session.close()
    assert (evaluation.fallback_reason, evaluation.weight) == ("no_state", 0.0)
