"""Three lineages are decided about for half a year in one home, each as it would be alone."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from factories.evidence import EARLIER
from factories.living import assert_same_life
from factories.registry import copy_mlflow
from factories.settled import settled
from steelyard.home import Home, open_home
from steelyard.tasks.weight import evaluate_weight, guard_weight, record
from steelyard.weight.decision import make_decision
from steelyard.weight.state import initial_state

DAYS = 180
HIT_RATES = {"healthy": 0.75, "unskilled": 0.5, "disabled": 0.2}
"""Lineage → how often its model is right; all three propose signals of the same ids."""


def begun(folder: Path, conf: Path, name: str) -> Home:
    """Begin a lineage in pilot at 15 %, with half a year of signals that will have settled."""
    stores = open_home(folder, conf, name)
    chance = np.random.default_rng(7)
    won = chance.random(DAYS) < 0.5
    claims = np.where(chance.random(DAYS) < HIT_RATES[name], won, ~won)
    frame = settled(
        DAYS,
        p_win=np.where(claims, 0.7, 0.3),
        confidence_ml=np.where(claims, 85.0, 40.0),
        confidence_existing=65.5 + np.arange(DAYS) % 10,
        net_return=np.where(won, 0.01, -0.01),
        won=pd.array(won, dtype="boolean"),
        symbol=[f"S{day}" for day in range(DAYS)],
    )
    stores.ledger.record_predictions(frame)
    stores.ledger.record_outcomes(frame)
    stores.journal.begin(initial_state(name, EARLIER))
    before = stores.journal.state()
    assert before is not None
    pilot = before.model_copy(update={"phase": "pilot", "weight": 0.15, "base": 0.1, "bonus": 0.05})
    policy, reasons = stores.settings.weight, ("shadow → pilot",)
    record(
        stores,
        make_decision("gates", before, pilot, policy, EARLIER, verdict="RAISE", reasons=reasons),
    )
    return stores


def decide(lineages: Iterable[Home], at: datetime) -> None:
    """Run the decisions of a day, the lineages in turn."""
    for stores in lineages:
        guard_weight(stores, at)
        evaluate_weight(stores, at)


def conf_of(folder: Path, names: Iterable[str]) -> Path:
    conf = folder / "conf"
    for name in names:
        (conf / "lineages" / name).mkdir(parents=True)
        if name == "unskilled":
            own = "limits: {breaker_accuracy: 0.2, breaker_streak: 100}\n"
            (conf / "lineages" / name / "weight.yaml").write_text(own)
    (conf / "weight.yaml").write_text("evidence: ladder\n")
    return conf


def test_no_decision_differs_from_that_of_a_lineage_alone(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    """State, journal and rows of each are those of a home of its own.

    One rises, one is lucky and then cut, one is disabled.
    """
    homes = {"together": tuple(HIT_RATES), **{name: (name,) for name in HIT_RATES}}
    lineages: dict[str, dict[str, Home]] = {}
    for home, names in homes.items():
        copy_mlflow(empty_mlflow, tmp_path / home / "mlruns")
        conf = conf_of(tmp_path / home, names)
        lineages[home] = {name: begun(tmp_path / home, conf, name) for name in names}
    days = [EARLIER + timedelta(days=day) for day in range(30, DAYS + 1, 30)]
    for at in days:
        decide(lineages["together"].values(), at)
    for name in HIT_RATES:
        with lineages[name][name].journal.alone():
            for at in days:
                decide(lineages[name].values(), at)

    verdicts = {
        name: {entry.decision.verdict for entry in stores.journal.entries()[1:]}
        for name, stores in lineages["together"].items()
    }
    assert verdicts == {
        "healthy": {"HOLD", "RAISE"},
        "unskilled": {"HOLD", "RAISE", "CUT"},
        "disabled": {"HOLD", "DISABLE"},
    }
    for name in HIT_RATES:
        assert_same_life(lineages[name][name], lineages["together"][name])
