"""Simulated markets do what their names say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from factories.bars import FOUR_HOURS
from steelyard.market.bars import by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.simulated import Edge, SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy


@pytest.mark.parametrize(
    ("edge", "before", "after"),
    [
        ("none", (0.45, 0.55), (0.45, 0.55)),
        ("hidden", (0.59, 0.72), (0.59, 0.72)),
        ("dying", (0.59, 0.72), (0.45, 0.55)),
    ],
)
def test_a_model_sees_the_edge_and_the_existing_system_does_not(
    edge: Edge, before: tuple[float, float], after: tuple[float, float]
) -> None:
    """Accuracy of a line fitted on 2020, in 2021 and in 2022 (the edge dies on New Year).

    Within the band claimed.
    """
    past = history(
        by_symbol(simulate(SimulatedMarket(edge=edge)), FOUR_HOURS),
        TrendStrategy(),
        BracketPolicy(),
    )
    past = past[past["won"].notna()]
    x, won = past[list(feature_names(TrendStrategy()))].to_numpy(), past["won"].to_numpy(dtype=bool)
    decided = past["decided_at"]
    fit = (past["settled_at"] < pd.Timestamp("2021-01-01", tz="UTC")).to_numpy()
    alive = decided.between(
        pd.Timestamp("2021-01-02", tz="UTC"), pd.Timestamp("2021-12-15", tz="UTC")
    ).to_numpy()
    dead = (decided > pd.Timestamp("2022-01-10", tz="UTC")).to_numpy()
    line = make_pipeline(StandardScaler(), LogisticRegression(C=0.05)).fit(x[fit], won[fit])

    assert before[0] < line.score(x[alive], won[alive]) < before[1]
    assert after[0] < line.score(x[dead], won[dead]) < after[1]
    traded = past["confidence_existing"].to_numpy() > 70
    assert 0.42 < won[traded].mean() < 0.56


def test_bars_are_valid_and_repeatable() -> None:
    """High and low enclose open and close, volume is positive.

    A seed gives the same bars and another seed others.
    """
    short = SimulatedMarket(symbols=2, end=pd.Timestamp("2020-03-01", tz="UTC").to_pydatetime())
    frame = simulate(short)

    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    assert (frame[["low", "volume"]] > 0).all(axis=None)
    pd.testing.assert_frame_equal(frame, simulate(short))
    assert not np.allclose(frame["close"], simulate(short.model_copy(update={"seed": 8}))["close"])
