"""Steps around a signal's life: the model's opinion when it is decided, the outcome when its bracket has ended."""

import time
from datetime import datetime

import numpy as np
import pandas as pd

from steelyard.desk.blend import Terms, opinions
from steelyard.gateways.registry import Version
from steelyard.market.features import feature_set_hash
from steelyard.weight.state import State
from tasks.step import step
from tasks.stores import Stores


@step()
def record_opinions(stores: Stores, known: pd.DataFrame, state: State) -> int:
    """Freeze the features of each signal and record the champion's opinion on it; what is recorded already stays.

    ``known`` holds what was known at the moment of the run. Signals decided before the lineage began are history to
    learn from, not signals to have an opinion on; a champion that was not there yet when a signal was decided has none.

    Returns:
        Number of new predictions.
    """
    new = known[(known["decided_at"] > state.began).to_numpy(dtype=bool)]
    if new.empty:
        return 0
    names = stores.feature_names
    stores.ledger.record_features(new, names, feature_set_hash(names))
    champion = stores.registry.champion()
    heard = np.full(len(new), champion is not None)
    if champion is not None:
        heard &= (new["decided_at"] >= champion.as_of).to_numpy()
    in_force = np.array([state.weight_in_force(at) for at in new["decided_at"]])
    rows = []
    for was_there in (False, True):
        for weight in np.unique(in_force):
            group = new[(heard == was_there) & (in_force == weight)]
            if len(group):
                rows.append(_opinions(stores, group, champion if was_there else None, state, float(weight)))
    return stores.ledger.record_predictions(pd.concat(rows, ignore_index=True))


def _opinions(stores: Stores, signals: pd.DataFrame, champion: Version | None, state: State, weight: float) -> pd.DataFrame:
    p_win = confidence_ml = np.full(len(signals), np.nan)
    latency_ms = 0.0
    if champion is not None:
        model = stores.model(champion.number)
        started = time.perf_counter()
        p_win, confidence_ml = model.predict(signals[list(stores.feature_names)].to_numpy(dtype=np.float64))
        latency_ms = (time.perf_counter() - started) / len(signals) * 1e3
    terms = Terms(
        weight=weight if champion else 0.0,
        phase=state.phase,
        threshold=stores.settings.books.threshold,
        ab_key=stores.settings.weight.ab_key,
        model_version=champion.number if champion else "",
        latency_ms=latency_ms,
        fallback_reason=_reason(champion, state, weight),
    )
    return opinions(signals, p_win, confidence_ml, terms)


def _reason(champion: Version | None, state: State, weight: float) -> str | None:
    """Return why the existing system decides alone; a weight that is 0 by decision is no such reason."""
    if champion is None:
        return "no_model"
    return "lease_expired" if state.weight and not weight else None


@step()
def record_outcomes(stores: Stores, known: pd.DataFrame, since: datetime | None = None) -> int:
    """Write the outcome of every predicted signal whose bracket has ended; one already written stays as it is.

    Args:
        stores: The home.
        known: History as it was known at the moment of the run.
        since: Outcomes settled at or before this moment are known to be in the ledger already.

    Returns:
        Number of new outcomes.
    """
    settled = known[known["settled_at"].notna().to_numpy()]
    if since is not None:
        settled = settled[(settled["settled_at"] > since).to_numpy(dtype=bool)]
    open_ids = stores.ledger.unsettled()["signal_id"]
    return stores.ledger.record_outcomes(settled[settled["signal_id"].isin(open_ids)])
