"""A trading process over a real home: what it writes is what the scheduled flows would have written."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from homes import promote, registration
from made import POLICY
from registries import LINEAGE, copied
from steelyard.desk.session import Signal
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.training import train
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import as_known, history
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy
from steelyard.settings import PROJECT
from steelyard.trading import open_session
from steelyard.weight.changes import conclude
from steelyard.weight.state import initial_state
from tasks.predictions import record_opinions
from tasks.stores import Stores, open_stores

STRATEGY = TrendStrategy()
BAR = pd.Timedelta("4h")
BEGAN = datetime(2020, 9, 1, tzinfo=UTC)
END = datetime(2020, 9, 25, tzinfo=UTC)


@pytest.fixture(scope="module")
def market() -> tuple[dict[str, Bars], pd.DataFrame]:
    frame = simulate(SimulatedMarket(edge="hidden", symbols=3))
    bars = by_symbol(frame, BAR)
    return bars, history(bars, STRATEGY, BracketPolicy())


def conf_of(place: Path) -> Path:
    return place / "conf"


def home_of(place: Path, empty: Path, known: pd.DataFrame) -> Stores:
    """A lineage in pilot at 15 % since ``BEGAN``, whose champion knows something about this market."""
    copied(empty, place / "mlruns")
    shutil.copytree(PROJECT / "conf", conf_of(place))
    (conf_of(place) / "desk.yaml").write_text("deadline_ms: 10000  # the machine may be busy")
    stores = open_stores(place, conf_of(place))
    settled = as_known(known, pd.Timestamp(BEGAN))
    samples = Samples.from_history(settled[settled["won"].notna()], feature_names(STRATEGY))
    model = train(samples, LearningPolicy(trials=2, rounds=40)).model
    assert model is not None
    journal = stores.journal
    journal.begin(initial_state(LINEAGE, BEGAN))
    trained = {"files": model.to_files(), "feature_names": model.feature_names, "trained_through": model.trained_through}
    stores.registry.register(registration("a", BEGAN, **trained))
    promote(stores, "1", BEGAN)
    before = journal.state()
    assert before is not None
    up = before.model_copy(update={"phase": "pilot", "weight": 0.15, "base": 0.1, "bonus": 0.05})
    journal.append(conclude("gates", BEGAN, BEGAN, "RAISE", ("made",), (), before, up, None, POLICY))
    journal.renew_lease(END + timedelta(days=3))
    return stores


def upto(bars: dict[str, Bars], moment: pd.Timestamp) -> dict[str, Bars]:
    until = moment.tz_convert("UTC").tz_localize(None).to_datetime64()
    return {symbol: one[: int(np.searchsorted(one.closes_at, until, side="right"))] for symbol, one in bars.items()}


def trade(stores: Stores, bars: dict[str, Bars], rows: pd.DataFrame) -> None:
    """Evaluate each signal as its bar closes, in a process of its own over the home."""
    session = open_session(stores.home, conf_of(stores.home))
    session.warm(upto(bars, rows["decided_at"].iloc[0] - BAR))
    for row in rows.to_dict("records"):
        moments = {name: row[name].to_pydatetime() for name in ("timestamp", "decided_at")}
        scores = {name: float(row[f"score_{name}"]) for name in STRATEGY.score_names}
        named = {name: row[name] for name in ("signal_id", "symbol", "side")}
        signal = Signal(**named, **moments, confidence=float(row["confidence_existing"]), scores=scores)
        session.evaluate(signal, upto(bars, row["decided_at"]))
    session.close()


def test_live_writes_what_the_flows_write(
    tmp_path: Path, empty_mlflow: Path, market: tuple[dict[str, Bars], pd.DataFrame]
) -> None:
    """The same signals, evaluated bar by bar and settled by the flow: the same rows, but for the time they took."""
    bars, known = market
    inside = (known["decided_at"] > pd.Timestamp(BEGAN)) & (known["decided_at"] <= pd.Timestamp(END))
    rows = known[inside.to_numpy()].reset_index(drop=True)
    live, batch = (home_of(tmp_path / name, empty_mlflow, known) for name in ("live", "batch"))
    trade(live, bars, rows)
    state = batch.journal.state()
    assert state is not None
    record_opinions(batch, as_known(known, pd.Timestamp(END)), state)
    one, other = (stores.ledger.predictions(BEGAN, END).drop(columns="latency_ms") for stores in (live, batch))

    assert len(one) > 30
    assert {"control", "treatment"} == set(one["arm"])
    pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-5)
    for signal_id in one["signal_id"].iloc[:10]:
        found, wanted = (stores.ledger.signal(signal_id) for stores in (live, batch))
        assert found is not None
        assert wanted is not None
        assert found["feature_set_hash"] == wanted["feature_set_hash"]
        assert found["features"] == pytest.approx(wanted["features"], abs=1e-9)


def test_a_process_starts_without_mlflow(
    tmp_path: Path, empty_mlflow: Path, market: tuple[dict[str, Bars], pd.DataFrame]
) -> None:
    """With the model and the state that were there last; a state changed on disk is not believed."""
    bars, known = market
    stores = home_of(tmp_path, empty_mlflow, known)
    open_session(stores.home, conf_of(stores.home)).close()
    (tmp_path / "mlruns" / "mlflow.db").rename(tmp_path / "gone.db")
    (tmp_path / "mlruns" / "mlflow.db").mkdir()
    row = known[(known["decided_at"] > pd.Timestamp(BEGAN)).to_numpy()].iloc[0]
    scores = {name: float(row[f"score_{name}"]) for name in STRATEGY.score_names}
    moments = (row["timestamp"].to_pydatetime(), row["decided_at"].to_pydatetime())
    signal = Signal("S:1:buy", row["symbol"], row["side"], *moments, float(row["confidence_existing"]), scores)

    session = open_session(stores.home, conf_of(stores.home))
    session.warm(upto(bars, row["decided_at"] - BAR))
    found = session.evaluate(signal, upto(bars, row["decided_at"]))
    session.close()
    assert (found.fallback_reason, found.weight, found.model_version) == (None, 0.15, "1")

    kept = stores.state / "state.json"
    kept.write_text(kept.read_text().replace("0.15", "0.65"))
    session = open_session(stores.home, conf_of(stores.home))
    session.warm(upto(bars, row["decided_at"] - BAR))
    found = session.evaluate(signal, upto(bars, row["decided_at"]))
    session.close()
    assert (found.weight, found.blended, found.fallback_reason) == (0.0, found.confidence_existing, "no_state")
