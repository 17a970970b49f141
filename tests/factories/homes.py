"""A home in pilot: a champion in service, predictions with features and outcomes."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from factories.evidence import EARLIER, POLICY, state
from factories.registry import LINEAGE, copy_mlflow
from factories.samples import NAMES, make_samples
from factories.settled import settled
from steelyard.gateways.registry import Registration
from steelyard.home import Home, open_home
from steelyard.learning.model import Model
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.training import train
from steelyard.market.features import feature_set_hash
from steelyard.weight.decision import make_decision
from steelyard.weight.state import initial_state
from steelyard.weight.transitions import install_champion

SIGNALS = 60
LAST = EARLIER + timedelta(days=SIGNALS)
SAMPLES = make_samples(500, signal=1.5)


@cache
def model(names: tuple[str, ...] = NAMES) -> Model:
    """A small model with some skill; of more features than the samples have, these again."""
    x = SAMPLES.x[:, np.arange(len(names)) % len(NAMES)]
    samples = replace(SAMPLES, x=x, feature_names=names)
    trained = train(samples, LearningPolicy(trials=2, rounds=20)).model
    assert trained is not None
    return trained


def registration(
    key: str, as_of: datetime, feature_names: tuple[str, ...] = NAMES, **changes: object
) -> Registration:
    """A training of that model, ready to be registered."""
    registered: dict[str, object] = {
        "key": key,
        "as_of": as_of,
        "family": model().family,
        "trained_through": "2020-04-10T00:00:00",
        "files": model(feature_names).to_files(),
        "params": {"rounds": 20},
        "metrics": {"holdout_accuracy": 0.6, "holdout_no_information_rate": 0.52},
        "artifacts": {
            "trials.csv": b"number",
            "importance.json": b'{"gain": {"f0": 0.7, "f1": 0.3}, "shap": {"f0": 0.6, "f1": 0.4}}',
        },
        "verdict": "holdout accuracy 60.0% passes 55.0%",
        "feature_names": feature_names,
        "data_hash": "d",
    }
    return Registration(**(registered | changes))  # type: ignore[arg-type]


def pilot_home(
    home: Path, empty: Path, conf: Path | None = None, weight: float = 0.15, phase: str = "pilot"
) -> Home:
    """A home run until ``LAST``: version 1 serves from day 0, the weight was raised on day 15."""
    copy_mlflow(empty, home / "mlruns")
    stores = open_home(home, conf)
    _record(stores, weight)
    journal = stores.journal
    journal.begin(initial_state(LINEAGE, EARLIER))
    stores.registry.register(registration("a", EARLIER))
    promote(stores, "1", EARLIER)
    before, at = journal.state(), EARLIER + timedelta(days=15)
    assert before is not None
    up = state(phase, weight, champion="1", phase_since=at, as_of=at, lease_until=at)  # type: ignore[arg-type]
    journal.append(
        make_decision("gates", before, up, POLICY, at, verdict="RAISE", reasons=("shadow → pilot",))
    )
    journal.renew_lease(LAST + timedelta(days=3))
    return stores


def promote(stores: Home, number: str, at: datetime) -> None:
    """Promote a version by a decision in the journal."""
    before = stores.journal.state()
    assert before is not None
    after = install_champion(before, number, at, at)
    stores.journal.append(
        make_decision(
            "promotion",
            before,
            after,
            POLICY,
            at,
            verdict="HOLD",
            reasons=(f"version {number} serves",),
        )
    )


def _record(stores: Home, weight: float) -> None:
    x = SAMPLES.x[:SIGNALS]
    p_win, confidence_ml = model().predict(x)
    existing = 65.5 + np.arange(SIGNALS) % 10
    blended = (1 - weight) * existing + weight * confidence_ml
    arm = np.where(np.arange(SIGNALS) % 2 == 0, "control", "treatment")
    won = SAMPLES.won[:SIGNALS]
    frame = settled(
        SIGNALS,
        p_win=p_win,
        confidence_existing=existing,
        confidence_ml=confidence_ml,
        blended=blended,
        weight=weight,
        arm=arm,
        decision=np.where(arm == "control", existing > 70, blended > 70),
        pivotal=(existing > 70) != (blended > 70),
        net_return=np.where(won, 0.01, -0.01),
        won=pd.array(won, dtype="boolean"),
        timestamp=lambda rows: rows["decided_at"],
    )
    frame[list(NAMES)] = x
    stores.ledger.record_features(frame, NAMES, feature_set_hash(NAMES))
    stores.ledger.record_predictions(frame)
    stores.ledger.record_outcomes(frame.iloc[:-1])
