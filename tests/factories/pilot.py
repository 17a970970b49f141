"""A lineage in pilot on a simulated market, with a champion trained on that market."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from factories.evidence import POLICY
from factories.homes import promote, registration
from factories.registry import LINEAGE, copy_mlflow
from steelyard.desk.signals import Signal
from steelyard.home import Home, open_home
from steelyard.learning.model import Model
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.training import train
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import as_known, history
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy
from steelyard.settings import PACKAGE
from steelyard.tasks import trading
from steelyard.weight.decision import make_decision
from steelyard.weight.state import initial_state

STRATEGY = TrendStrategy()
BAR = pd.Timedelta("4h")
BEGAN = datetime(2020, 9, 1, tzinfo=UTC)
END = datetime(2020, 9, 25, tzinfo=UTC)


@cache
def bars_frame() -> pd.DataFrame:
    """Bars of three symbols with an edge the existing system does not see."""
    return simulate(SimulatedMarket(edge="hidden", symbols=3))


@cache
def market() -> tuple[dict[str, Bars], pd.DataFrame]:
    """The same bars by symbol, and every signal with features and outcome."""
    bars = by_symbol(bars_frame(), BAR)
    return bars, history(bars, STRATEGY, BracketPolicy())


def conf_folder(folder: Path) -> Path:
    """Folder of the settings of the home in ``place``."""
    return folder / "conf"


@cache
def trained_model() -> Model:
    """A model trained on that market up to ``BEGAN``."""
    settled = as_known(market()[1], pd.Timestamp(BEGAN))
    samples = Samples.from_history(settled[settled["won"].notna()], feature_names(STRATEGY))
    model = train(samples, LearningPolicy(trials=2, rounds=40)).model
    assert model is not None
    return model


def trained_pilot_home(folder: Path, empty: Path) -> Home:
    """A home in pilot at a weight of 15 % since ``BEGAN``, with a trained champion."""
    copy_mlflow(empty, folder / "mlruns")
    shutil.copytree(PACKAGE / "conf", conf_folder(folder))
    (conf_folder(folder) / "desk.yaml").write_text("deadline_ms: 10000  # the machine may be busy")
    stores = open_home(folder, conf_folder(folder))
    model, journal = trained_model(), stores.journal
    journal.begin(initial_state(LINEAGE, BEGAN))
    trained = {
        "files": model.to_files(),
        "feature_names": model.feature_names,
        "trained_through": model.trained_through,
    }
    stores.registry.register(registration("a", BEGAN, **trained))
    promote(stores, "1", BEGAN)
    before = journal.state()
    assert before is not None
    up = before.model_copy(update={"phase": "pilot", "weight": 0.15, "base": 0.1, "bonus": 0.05})
    journal.append(
        make_decision("gates", before, up, POLICY, BEGAN, verdict="RAISE", reasons=("made",))
    )
    journal.renew_lease(END + timedelta(days=3))
    return stores


def signal_of(row: Mapping[str, Any] | pd.Series) -> Signal:
    """A row of the history as a signal for the trading session."""
    return trading.signal_of(
        row.to_dict() if isinstance(row, pd.Series) else row, feature_names(STRATEGY)
    )
