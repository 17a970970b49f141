"""Steps around a signal: the model's prediction at the decision, the outcome after the exit."""

import time
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from steelyard.desk.blend import BlendTerms, blend_predictions
from steelyard.desk.streak_breaker import StreakBreaker
from steelyard.errors import FixConfiguration
from steelyard.gateways.coverage import CoverageFile
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.market.exits import longest_trade
from steelyard.market.features import feature_set_hash
from steelyard.queries.history import coverage_now
from steelyard.queries.systems import given_ids, latest_ownership
from steelyard.tasks.events import emit_decision
from steelyard.tasks.step import step
from steelyard.weight.decision import Entry
from steelyard.weight.state import State

SYSTEM_CHECK = "system check"
"""Recorded as the operator of the brake; only a brake pulled under this name is released here."""


@step()
def record_opinions(home: Home, history: pd.DataFrame, state: State) -> int:
    """Record features and the champion's prediction of every new signal; records stay as they are.

    Signals decided before the lineage began are training data and get no prediction, and so are
    those a log gave with or after their outcome. A champion promoted after a signal was decided
    predicts nothing for it.

    Args:
        home: Opened home.
        history: One row per signal with features, as known at the time of the run.
        state: State of the lineage, for weight and phase.

    Returns:
        Number of new predictions.
    """
    new = _judged(history, state)
    if new.empty:
        return 0
    home.ledger.record_features(new, home.feature_names, feature_set_hash(home.feature_names))
    champion = home.registry.champion()
    has_model = np.full(len(new), champion is not None)
    if champion is not None:
        has_model &= (new["decided_at"] >= champion.as_of).to_numpy()
    in_force = np.array([state.weight_in_force(at) for at in new["decided_at"]])
    predictions = []
    for with_model in (False, True):
        version = champion if with_model else None
        for weight in np.unique(in_force):
            group = new[(has_model == with_model) & (in_force == weight)]
            if len(group):
                predictions.append(_predict(home, group, version, state, float(weight)))
    return home.ledger.record_predictions(pd.concat(predictions, ignore_index=True))


@step()
def note_coverage(home: Home, history: pd.DataFrame, as_of: datetime) -> None:
    """Note that every signal known at ``as_of`` is recorded, for the guard.

    Args:
        home: Opened home.
        history: One row per signal, as known at the time of the run.
        as_of: Time of the run (UTC).
    """
    longest = longest_trade(history, home.settings.brackets.time_limit_bars)
    CoverageFile(home.state_folder).write(coverage_now(home, as_of, longest))


@step()
def require_one_system(home: Home, history: pd.DataFrame, state: State, as_of: datetime) -> None:
    """Refuse to go on, with the brake pulled, if the lineage has begun with another system.

    Args:
        home: Opened home.
        history: One row per signal, as known at the time of the run.
        state: State of the lineage.
        as_of: Time of the run (UTC).

    Raises:
        FixConfiguration: If most of the latest recorded signals are not the existing system's.
    """
    given = given_ids(home, as_of) if "earns" in history else history["signal_id"]
    ownership = latest_ownership(home, state.began, as_of, given)
    if ownership.is_another_system:
        fault = (
            f"{len(ownership.strange)} of the latest {ownership.recorded} signals of lineage "
            f"{state.lineage} (newest {ownership.strange[0]}) are not those of the system in "
            "conf/strategy.yaml"
        )
        home.brake.pull(SYSTEM_CHECK, fault)
        raise FixConfiguration(
            f"{fault}; the brake is pulled, the weight is 0: put the former system back, or give "
            "this one a lineage of its own (lineage in conf/services.yaml)"
        )
    if home.brake.operator == SYSTEM_CHECK:
        home.brake.release()


def _judged(history: pd.DataFrame, state: State) -> pd.DataFrame:
    """Return the signals decided since the lineage began, taken in before their outcome."""
    judged = history[(history["decided_at"] > state.began).to_numpy(dtype=bool)]
    return judged[judged["earns"].to_numpy(dtype=bool)] if "earns" in judged else judged


def _predict(
    home: Home, signals: pd.DataFrame, champion: Version | None, state: State, weight: float
) -> pd.DataFrame:
    p_win = confidence_ml = np.full(len(signals), np.nan)
    latency_ms = 0.0
    fallback_reason: str | None = "no_model"
    if champion is not None:
        model = home.model(champion.number)
        features = signals[list(home.feature_names)].to_numpy(dtype=np.float64)
        started = time.perf_counter()
        p_win, confidence_ml = model.predict(model.arrange(features, home.feature_names))
        latency_ms = (time.perf_counter() - started) / len(signals) * 1e3
        fallback_reason = "lease_expired" if state.weight and not weight else None
    terms = BlendTerms(
        weight=weight if champion else 0.0,
        phase=state.phase,
        threshold=home.settings.books.threshold,
        ab_key=home.settings.weight.ab_key,
        model_version=champion.number if champion else "",
        latency_ms=latency_ms,
        fallback_reason=fallback_reason,
    )
    return blend_predictions(signals, p_win, confidence_ml, terms)


@step()
def record_outcomes(home: Home, history: pd.DataFrame, since: datetime | None = None) -> int:
    """Record the outcome of every predicted signal that has ended; records stay as they are.

    Args:
        home: Opened home.
        history: One row per signal with its outcome, as known at the time of the run.
        since: Skip outcomes settled at or before this time (UTC), known to be recorded; None for
            all.

    Returns:
        Number of new outcomes.
    """
    settled = history[history["settled_at"].notna().to_numpy()]
    if since is not None:
        settled = settled[(settled["settled_at"] > since).to_numpy(dtype=bool)]
    unsettled = settled["signal_id"].isin(home.ledger.unsettled()["signal_id"])
    settled = settled[unsettled]
    if "reported" not in settled:
        return home.ledger.record_outcomes(as_filled(home, settled))
    settled = settled[settled["earns"].to_numpy(dtype=bool)]
    told = settled["reported"].to_numpy(dtype=bool)
    recorded = home.ledger.record_outcomes(settled[told], reported=True)
    return recorded + home.ledger.record_outcomes(as_filled(home, settled[~told]))


def as_filled(home: Home, settled: pd.DataFrame) -> pd.DataFrame:
    """Return outcomes with the broker's fills for traded signals; leave out trades still open.

    Slippage is measured against the prices of the bracket kernel on the same bars.

    Args:
        home: Opened home.
        settled: One row per signal, columns ``signal_id`` and those of ``outcomes``.
    """
    trades = home.ledger.trades(("submitted", "open", "closed")).set_index("signal_id")
    if not settled["signal_id"].isin(trades.index).any():
        return settled
    still_open = trades.index[trades["status"] != "closed"]
    outcomes = settled[~settled["signal_id"].isin(still_open)].copy()
    for index, row in outcomes[outcomes["signal_id"].isin(trades.index)].iterrows():
        for name, value in _filled_outcome(trades.loc[row["signal_id"]], row).items():
            outcomes.loc[index, name] = value
    return outcomes


def _filled_outcome(trade: pd.Series, row: pd.Series) -> dict[str, Any]:
    side = 1 if trade["side"] == "buy" else -1
    entry_price, exit_price = trade["entry_price"], trade["exit_price"]
    gross = side * (exit_price / entry_price - 1)
    net = gross - trade["fees"] / (trade["quantity"] * entry_price)
    entry_slippage = side * (entry_price / row["entry_price"] - 1)
    exit_slippage = side * (1 - exit_price / row["exit_price"])
    return {
        "settled_at": trade["exit_at"],
        "net_return": net,
        "won": bool(net > 0),
        "exit_reason": trade["exit_reason"],
        "hold_minutes": (trade["exit_at"] - trade["entry_at"]) / pd.Timedelta("1min"),
        "slippage_bps": (entry_slippage + exit_slippage) * 1e4,
    }


@step()
def watch_streak(home: Home, as_of: datetime) -> Entry | None:
    """Disable the model if its latest losses in a row exceed the limit.

    Args:
        home: Opened home.
        as_of: Count outcomes settled by this time (UTC).

    Returns:
        The journal entry; None if the limit holds.

    Raises:
        RestoreService: If the ledger or MLflow cannot be reached; a pulled brake stays pulled.
    """
    entry = breaker_of(home).enforce(as_of)
    if entry is not None:
        emit_decision(home, entry)
    return entry


def breaker_of(home: Home) -> StreakBreaker:
    """Return the streak breaker of the home."""
    settings = home.settings
    return StreakBreaker(
        home.ledger, home.journal, home.brake, settings.weight, settings.books, settings.risk
    )
