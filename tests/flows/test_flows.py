"""Flows on real stores: a second run changes nothing, and a replay equals the scheduled flows."""

import hashlib
import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from mlflow import tracking
from prefect.utilities.callables import parameter_schema

from factories.digests import lake_digest, ledger_digest
from factories.evidence import POLICY, evidence
from factories.registry import LINEAGE
from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.replay import replay
from steelyard.flows.settle import settle
from steelyard.flows.train import compare, train
from steelyard.flows.weight import weight
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.registry import Registration
from steelyard.home import open_home
from steelyard.learning.policy import Retraining
from steelyard.market.overlap import SignalCount
from steelyard.queries.history import known_history
from steelyard.queries.state import current_state
from steelyard.tasks.training import compare_with_champion, settled_samples
from steelyard.tasks.weight import review_gates
from steelyard.weight.case import Case
from steelyard.weight.limits import guard as limits

START = datetime(2020, 6, 1, tzinfo=UTC)
LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
TRIALS = 2


@pytest.fixture
def simulated(conf: Path) -> str:
    """Settings with a simulated market as source and few trials."""
    (conf / "source.yaml").write_text(
        "kind: simulated\nedge: hidden\nbar_size: auto\ncalendar: 24/7\n"
    )
    learning = (conf / "learning.yaml").read_text().replace("trials: 30", f"trials: {TRIALS}")
    (conf / "learning.yaml").write_text(learning)
    return str(conf)


def live_one_day(day: datetime, home: str, conf: str, *, retrain: bool) -> None:
    """Run the flows of one scheduled day in their order."""
    collect.fn(day, home, conf)
    settle.fn(day, home, conf)
    if retrain:
        train.fn(as_of=day, home=home, conf=conf)
    guard.fn(day, home, conf)
    weight.fn(day, home, conf)


def content(home: Path) -> dict[str, str]:
    """Content of a home: lake, ledger, MLflow's database and every other file."""
    with sqlite3.connect(home / "mlruns" / "mlflow.db") as connection:
        registry = "\n".join(connection.iterdump())
    files = [
        f for f in home.rglob("*") if f.is_file() and ".db" not in f.name and f.suffix != ".lock"
    ]
    return {
        "lake": lake_digest(home / ".steelyard" / "lake"),
        "ledger": ledger_digest(Ledger(f"sqlite:///{home}/.steelyard/ledger.db", LINEAGE)),
        "registry": registry,
        "files": str({str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)}),
    }


def test_running_every_flow_twice_changes_nothing(home: Path, simulated: str) -> None:
    """Days with and without a training run twice: lake, ledger, registry, files stay the same."""
    live_one_day(START, str(home), simulated, retrain=True)
    live_one_day(START + timedelta(days=5), str(home), simulated, retrain=False)
    before = content(home)
    live_one_day(START + timedelta(days=5), str(home), simulated, retrain=False)
    assert content(home) == before

    live_one_day(START + timedelta(days=6), str(home), simulated, retrain=True)
    before = content(home)
    live_one_day(START + timedelta(days=6), str(home), simulated, retrain=True)
    assert content(home) == before
    stores = open_home(home, Path(simulated))
    assert stores.ledger.trial_counts(FAR_AHEAD) == {
        "search": 2 * TRIALS,
        "settings": 2,
    }
    assert [version.metrics["trials_so_far"] for version in stores.registry.versions()] == [
        TRIALS + 1,
        2 * TRIALS + 2,
    ]
    assert 0 < stores.registry.versions()[0].metrics["holdout_ml_luck"] < 1


def test_a_replay_writes_what_living_day_by_day_writes(
    home: Path, tmp_path: Path, simulated: str
) -> None:
    """Five days scheduled and replayed: same predictions, outcomes, features, decisions."""
    end = START + timedelta(days=5)
    for number in range(6):
        live_one_day(START + timedelta(days=number), str(home), simulated, retrain=number % 3 == 0)
    replayed = tmp_path / "replayed"
    replay.fn(
        "simulated:hidden",
        START,
        end,
        trials=TRIALS,
        retrain_days=3,
        home=str(replayed),
        conf=simulated,
    )
    lived, again = (open_home(folder, Path(simulated)) for folder in (home, replayed))

    timed = ["latency_ms"]
    for read in ("predictions", "settled_predictions"):
        scheduled, other = (
            getattr(stores.ledger, read)(LONG_AGO, FAR_AHEAD).drop(columns=timed)
            for stores in (lived, again)
        )
        assert len(scheduled) > 5
        pd.testing.assert_frame_equal(scheduled, other)
    assert _decided(lived) == _decided(again)
    assert [v.key for v in lived.registry.versions()] == [v.key for v in again.registry.versions()]
    state, other_state = lived.journal.state(), again.journal.state()
    assert state is not None
    assert other_state is not None
    own = {"decision_run_id": None, "decision_hash": None}
    assert state.model_copy(update=own) == other_state.model_copy(update=own)


def _decided(stores: object) -> list[tuple[object, ...]]:
    journal = stores.journal.entries()  # type: ignore[attr-defined]
    return [
        (
            e.decision.kind,
            e.decision.period_end,
            e.decision.verdict,
            e.decision.reasons,
            e.decision.rules,
        )
        for e in journal
    ]


def test_a_flow_does_not_decide_about_the_past_again(home: Path, simulated: str) -> None:
    """No decision about a period before the lineage; a recorded one comes back; no way back."""
    live_one_day(START, str(home), simulated, retrain=False)
    assert weight.fn(START, str(home), simulated).decisions == ()
    later = START + timedelta(days=31)
    decided = weight.fn(later, str(home), simulated).decisions

    assert [decision.kind for decision in decided] == ["weight", "gates"]
    assert weight.fn(later + timedelta(days=1), str(home), simulated).decisions == decided
    with pytest.raises(FixConfiguration, match="lies before the last decision"):
        settle.fn(START, str(home), simulated)


def test_comparing_without_a_challenger_says_so(home: Path, simulated: str) -> None:
    """The message says to train first."""
    collect.fn(START, str(home), simulated)
    with pytest.raises(CollectMoreData, match="no challenger waits"):
        compare.fn(START, str(home), simulated)


def test_a_late_prediction_uses_no_model_promoted_later(home: Path, simulated: str) -> None:
    """Signals decided before the promotion have no prediction, however late they are settled."""
    promoted = datetime(2020, 10, 1, tzinfo=UTC)
    guard.fn(promoted - timedelta(days=3), str(home), simulated)
    collect.fn(promoted + timedelta(days=3), str(home), simulated)
    assert train.fn(Retraining(trials=10), promoted, str(home), simulated).stage == "champion"
    settle.fn(promoted + timedelta(days=3), str(home), simulated)
    rows = open_home(home, Path(simulated)).ledger.predictions(LONG_AGO, FAR_AHEAD)

    assert (rows.loc[rows["decided_at"] < promoted, "fallback_reason"] == "no_model").all()
    assert rows.loc[rows["decided_at"] >= promoted, "p_win"].notna().all()
    assert (rows["decided_at"] < promoted).any()
    assert (rows["blended"] == rows["confidence_existing"]).all()


def test_after_a_breaker_a_challenger_must_pass_the_first_gate_again(
    home: Path, simulated: str
) -> None:
    """One with 51 % on its holdout is refused; one that passes need not beat the disabled model."""
    promoted = datetime(2020, 10, 1, tzinfo=UTC)
    collect.fn(promoted, str(home), simulated)
    train.fn(Retraining(trials=10), promoted, str(home), simulated)
    stores = open_home(home, Path(simulated))
    review_gates(stores, promoted + timedelta(days=14), SignalCount(1000, 1000))
    state = current_state(stores, promoted + timedelta(days=14))
    assert state.phase == "shadow"
    stores.journal.append(
        limits(
            Case(
                state,
                evidence(accuracy=0.40),
                POLICY,
                promoted + timedelta(days=14),
                promoted + timedelta(days=14),
            )
        )
    )
    later = promoted + timedelta(days=15)
    samples = settled_samples(stores, known_history(stores, later))
    weak = Registration(
        key="weak",
        as_of=later,
        family="lightgbm",
        trained_through="2020-08-01",
        files=stores.registry.load("1"),
        params={},
        metrics={"holdout_accuracy": 0.51, "holdout_no_information_rate": 0.50},
        artifacts={},
        verdict="weak",
        feature_names=samples.feature_names,
        data_hash="",
    )
    judged = compare_with_champion(stores, samples, stores.registry.register(weak), later)

    assert judged.stage == "refused"
    assert judged.reasons[0] == "holdout accuracy 51.0% misses 55.0% by 4.0 points"
    assert judged.reasons[1].startswith("nor is it proven: e-value nan on the holdout")

    passing = {"holdout_accuracy": 0.57, "holdout_no_information_rate": 0.50}
    same = replace(weak, key="same", metrics=passing, verdict="the same again")
    judged = compare_with_champion(stores, samples, stores.registry.register(same), later)

    assert judged.stage == "champion"
    assert "champion after a breaker: the same again" in judged.reasons


def test_a_training_by_hand_says_what_it_did_otherwise_and_why(home: Path, simulated: str) -> None:
    """Its run records settings, reason, pictures and rows; an unknown symbol is named."""
    at = datetime(2020, 10, 1, tzinfo=UTC)
    collect.fn(at, str(home), simulated)
    stores = open_home(home, Path(simulated))
    few = sorted(known_history(stores, at)["symbol"].unique())[:4]
    request = Retraining(
        trials=2, families=("lightgbm",), symbols=tuple(few), reason="a look at four"
    )
    version = train.fn(request, at, str(home), simulated)
    client = stores.registry._tracking.client
    run = client.get_run(version.run_id)
    params, files = (
        run.data.params,
        {file.path for file in client.list_artifacts(version.run_id)},
    )
    seen = {
        data.tags[0].value: json.loads(data.dataset.profile) for data in run.inputs.dataset_inputs
    }
    trials = client.search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{version.run_id}'"
    )

    assert version.family == "lightgbm"
    assert params["reason"] == "a look at four"
    assert params["symbols"] == ", ".join(few)
    assert params["trials"] == "2"
    assert files >= {
        "equity.png",
        "confidence.png",
        "reliability.png",
        "importance.png",
        "data_docs",
        "model",
    }
    assert seen["training"]["settled_through"] < seen["holdout"]["decided_from"]
    assert seen["holdout"]["num_rows"] == run.data.metrics["holdout_signals"]
    assert sorted(trial.info.run_name for trial in trials) == ["trial 0", "trial 1"]
    table = pd.read_csv(StringIO(str(stores.registry._tracking.read(version.run_id, "trials.csv"))))
    assert list(table["number"]) == [0, 1]
    assert (table["seconds"] > 0).all()
    measured = run.data.metrics
    assert measured["evaluate_log_loss"] == pytest.approx(measured["holdout_log_loss"])
    assert measured["evaluate_example_count"] == measured["holdout_signals"]
    assert measured["system/cpu_utilization_percentage"] >= 0
    assert "evaluate_confusion_matrix.png" in files
    assert run.data.tags["mlflow.note.content"].endswith("Reason: a look at four.")
    assert not tracking.is_tracking_uri_set()
    with pytest.raises(FixConfiguration, match="no signals of NOBODY; collected are"):
        train.fn(Retraining(symbols=("NOBODY",)), at, str(home), simulated)


def test_prefects_form_describes_and_bounds_a_training() -> None:
    """Prefect's form comes from the parameter model."""
    fields = parameter_schema(train.fn).definitions["Retraining"]["properties"]

    assert all(field["description"] for field in fields.values())
    assert {"minimum": 1, "maximum": 10_000}.items() <= fields["trials"]["anyOf"][0].items()
    assert "MODULE:CLASS" in fields["families"]["description"]
    assert "logistic|lightgbm|xgboost" in fields["families"]["items"]["pattern"]
