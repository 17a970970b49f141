"""A trading process on a real home writes what the scheduled flows write."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories.pilot import BAR, BEGAN, END, conf_folder, market, signal_of, trained_pilot_home
from steelyard.home import Home
from steelyard.market.bars import Bars
from steelyard.market.history import as_known
from steelyard.tasks.predictions import record_opinions
from steelyard.trading import open_session


def upto(bars: dict[str, Bars], moment: pd.Timestamp) -> dict[str, Bars]:
    until = moment.tz_convert("UTC").tz_localize(None).to_datetime64()
    return {
        symbol: one[: int(np.searchsorted(one.closes_at, until, side="right"))]
        for symbol, one in bars.items()
    }


def trade(stores: Home, bars: dict[str, Bars], rows: pd.DataFrame) -> None:
    """Evaluate each signal when its bar closes."""
    session = open_session(stores.folder, conf_folder(stores.folder))
    session.warm(upto(bars, rows["decided_at"].iloc[0] - BAR))
    for row in rows.to_dict("records"):
        session.evaluate(signal_of(row), upto(bars, row["decided_at"]))
    session.close()


def test_live_writes_what_the_flows_write(tmp_path: Path, empty_mlflow: Path) -> None:
    """Signals evaluated bar by bar give the flows' rows, latency aside."""
    bars, known = market()
    inside = (known["decided_at"] > pd.Timestamp(BEGAN)) & (
        known["decided_at"] <= pd.Timestamp(END)
    )
    rows = known[inside.to_numpy()].reset_index(drop=True)
    live, batch = (
        trained_pilot_home(tmp_path / name, empty_mlflow, known) for name in ("live", "batch")
    )
    trade(live, bars, rows)
    state = batch.journal.state()
    assert state is not None
    record_opinions(batch, as_known(known, pd.Timestamp(END)), state)
    one, other = (
        stores.ledger.predictions(BEGAN, END).drop(columns="latency_ms") for stores in (live, batch)
    )

    assert len(one) > 30
    assert {"control", "treatment"} == set(one["arm"])
    pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-5)
    for signal_id in one["signal_id"].iloc[:10]:
        found, wanted = (stores.ledger.signal(signal_id) for stores in (live, batch))
        assert found is not None
        assert wanted is not None
        assert found["feature_set_hash"] == wanted["feature_set_hash"]
        assert found["features"] == pytest.approx(wanted["features"], abs=1e-9)


def test_a_process_starts_without_mlflow(tmp_path: Path, empty_mlflow: Path) -> None:
    """It uses the last model and state on disk; a changed state is not trusted."""
    bars, known = market()
    stores = trained_pilot_home(tmp_path, empty_mlflow, known)
    open_session(stores.folder, conf_folder(stores.folder)).close()
    (tmp_path / "mlruns" / "mlflow.db").rename(tmp_path / "gone.db")
    (tmp_path / "mlruns" / "mlflow.db").mkdir()
    row = known[(known["decided_at"] > pd.Timestamp(BEGAN)).to_numpy()].iloc[0]
    signal = replace(signal_of(row), signal_id="S:1:buy")

    session = open_session(stores.folder, conf_folder(stores.folder))
    session.warm(upto(bars, row["decided_at"] - BAR))
    found = session.evaluate(signal, upto(bars, row["decided_at"]))
    session.close()
    assert (found.fallback_reason, found.weight, found.model_version) == (None, 0.15, "1")

    kept = stores.state_folder / "state.json"
    kept.write_text(kept.read_text().replace("0.15", "0.65"))
    session = open_session(stores.folder, conf_folder(stores.folder))
    session.warm(upto(bars, row["decided_at"] - BAR))
    found = session.evaluate(signal, upto(bars, row["decided_at"]))
    session.close()
    assert (found.weight, found.blended, found.fallback_reason) == (
        0.0,
        found.confidence_existing,
        "no_state",
    )
