"""Steps around a signal's life: the model's opinion when it is decided, the outcome when its bracket has ended."""

import time
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from steelyard.desk.blend import BlendTerms, blend_predictions
from steelyard.desk.streak_breaker import StreakBreaker
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.market.features import feature_set_hash
from steelyard.tasks.step import step
from steelyard.weight.decision import Entry
from steelyard.weight.state import State


@step()
def record_opinions(home: Home, known: pd.DataFrame, state: State) -> int:
    """Freeze the features of each signal and record the champion's opinion on it; what is recorded already stays.

    ``known`` holds what was known at the moment of the run. Signals decided before the lineage began are history to
    learn from, not signals to have an opinion on; a champion that was not there yet when a signal was decided has none.

    Returns:
        Number of new predictions.
    """
    new = known[(known["decided_at"] > state.began).to_numpy(dtype=bool)]
    if new.empty:
        return 0
    names = home.feature_names
    home.ledger.record_features(new, names, feature_set_hash(names))
    champion = home.registry.champion()
    heard = np.full(len(new), champion is not None)
    if champion is not None:
        heard &= (new["decided_at"] >= champion.as_of).to_numpy()
    in_force = np.array([state.weight_in_force(at) for at in new["decided_at"]])
    rows = []
    for was_there in (False, True):
        for weight in np.unique(in_force):
            group = new[(heard == was_there) & (in_force == weight)]
            if len(group):
                rows.append(
                    _opinions(home, group, champion if was_there else None, state, float(weight))
                )
    return home.ledger.record_predictions(pd.concat(rows, ignore_index=True))


def _opinions(
    home: Home, signals: pd.DataFrame, champion: Version | None, state: State, weight: float
) -> pd.DataFrame:
    p_win = confidence_ml = np.full(len(signals), np.nan)
    latency_ms = 0.0
    if champion is not None:
        model = home.model(champion.number)
        started = time.perf_counter()
        p_win, confidence_ml = model.predict(
            signals[list(home.feature_names)].to_numpy(dtype=np.float64)
        )
        latency_ms = (time.perf_counter() - started) / len(signals) * 1e3
    terms = BlendTerms(
        weight=weight if champion else 0.0,
        phase=state.phase,
        threshold=home.settings.books.threshold,
        ab_key=home.settings.weight.ab_key,
        model_version=champion.number if champion else "",
        latency_ms=latency_ms,
        fallback_reason=_reason(champion, state, weight),
    )
    return blend_predictions(signals, p_win, confidence_ml, terms)


def _reason(champion: Version | None, state: State, weight: float) -> str | None:
    """Return why the existing system decides alone; a weight that is 0 by decision is no such reason."""
    if champion is None:
        return "no_model"
    return "lease_expired" if state.weight and not weight else None


@step()
def record_outcomes(home: Home, known: pd.DataFrame, since: datetime | None = None) -> int:
    """Write the outcome of every predicted signal whose bracket has ended; one already written stays as it is.

    Args:
        home: The home.
        known: History as it was known at the moment of the run.
        since: Outcomes settled at or before this moment are known to be in the ledger already.

    Returns:
        Number of new outcomes.
    """
    settled = known[known["settled_at"].notna().to_numpy()]
    if since is not None:
        settled = settled[(settled["settled_at"] > since).to_numpy(dtype=bool)]
    open_ids = home.ledger.unsettled()["signal_id"]
    return home.ledger.record_outcomes(
        _as_filled(home, settled[settled["signal_id"].isin(open_ids)])
    )


def _as_filled(home: Home, settled: pd.DataFrame) -> pd.DataFrame:
    """Return outcomes in which traded signals end as the broker filled them; those it still works on are left out.

    Slippage is measured against what the bracket kernel says about the same bars.
    """
    trades = home.ledger.trades(("submitted", "open", "closed")).set_index("signal_id")
    traded = settled["signal_id"].isin(trades.index)
    if not traded.any():
        return settled
    working = trades.index[trades["status"] != "closed"]
    kept = settled[~settled["signal_id"].isin(working)].copy()
    for at, row in kept[kept["signal_id"].isin(trades.index)].iterrows():
        for name, value in _filled(trades.loc[row["signal_id"]], row).items():
            kept.loc[at, name] = value
    return kept


def _filled(trade: pd.Series, row: pd.Series) -> dict[str, Any]:
    side = 1 if trade["side"] == "buy" else -1
    entry, left = trade["entry_price"], trade["exit_price"]
    net = side * (left / entry - 1) - trade["fees"] / (trade["quantity"] * entry)
    slipped = side * (entry / row["entry_price"] - 1) + side * (1 - left / row["exit_price"])
    return {
        "settled_at": trade["exit_at"],
        "net_return": net,
        "won": bool(net > 0),
        "exit_reason": trade["exit_reason"],
        "hold_minutes": (trade["exit_at"] - trade["entry_at"]) / pd.Timedelta("1min"),
        "slippage_bps": slipped * 1e4,
    }


@step()
def watch_streak(home: Home, as_of: datetime) -> Entry | None:
    """Disable the model at once where the latest ML outcomes settled by ``as_of`` are more losses in a row than allowed."""
    return breaker_of(home).enforce(as_of)


def breaker_of(home: Home) -> StreakBreaker:
    """Return the streak breaker of the home."""
    settings = home.settings
    return StreakBreaker(home.ledger, home.journal, home.brake, settings.weight, settings.books)
