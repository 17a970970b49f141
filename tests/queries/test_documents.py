"""The JSON of status and report keeps its keys, in order, for whoever reads it by program."""

import json
from pathlib import Path
from typing import Any

import pytest

from factories.evidence import EARLIER
from factories.homes import LAST, pilot_home
from steelyard.home import Home, open_home
from steelyard.monitoring.drift import ColumnDrift
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.queries.records import decision_records
from steelyard.queries.replay import ReplayDays, replay_result
from steelyard.queries.report import lineage_report
from steelyard.queries.simulation import operating_characteristics
from steelyard.queries.status import status
from steelyard.queries.why import explain_signal
from steelyard.settings import Settings
from steelyard.simulation.characteristics import Design
from steelyard.views.drift import JudgedDrift
from steelyard.views.drills import DrillResult, FireDrill, FireDrills, Notice
from steelyard.views.operations import Check, Deployment, Examination, Verification
from steelyard.views.pages import WrittenPage
from steelyard.views.records import PeriodDecisions, SingleDecision
from steelyard.views.runs import Collection, LogCollection, Settlement, TradedSignal, TradingRun

EMPTY = ["lineage", "as_of", "fault", "brake", "run", "warnings", "alerts", "state", "answer"]
STATUS = [
    *EMPTY,
    "weight_in_force",
    "lease",
    "champion",
    "challenger",
    "queued",
    "shadow_window",
    "decisions",
    "reviews",
    "schedules",
    "limits",
    "false_alarms",
    "proof",
    "influence",
    "gate",
    "evidence",
    "improvement",
    "worth",
    "drift",
    "rollout",
    "milestones",
]
REPORT = [
    *STATUS,
    "start",
    "end",
    "signals",
    "signals_settled",
    "promotions",
    "trainings",
    "books",
    "recent_alerts",
    "health",
    "account",
]
ACCOUNT = ["capital", "tear_sheets", "months", "symbols", "buy_and_hold"]
PARTS = {
    "lease": ["until", "days_left", "words"],
    "proof": ["name", "figure", "bound", "fired", "reason", "binding"],
    "influence": ["weighed", "changed", "gained", "mean", "low", "high", "influence"],
    "improvement": ["achieved", "expected"],
}
ROWS = {
    "limits": ["name", "figure", "bound", "fired", "reason"],
    "gate": ["name", "figure", "bound", "fired", "reason"],
    "reviews": ["kind", "period_end"],
    "schedules": ["name", "cron", "last_seen", "expected_by", "dead_since"],
    "rollout": ["name", "begins", "due", "earliest", "standing", "words"],
    "milestones": ["name", "begins", "due", "earliest", "standing", "words"],
}
EXPLANATION = {
    "signal": ["signal_id", "symbol", "side", "decided_at"],
    "existing": ["confidence", "scores"],
    "model": [
        "version",
        "family",
        "p_win",
        "confidence_ml",
        "latency_ms",
        "fallback_reason",
        "top_features",
        "replayed",
        "note",
        "approved",
    ],
    "blend": ["weight", "blended", "arm", "decision", "pivotal", "threshold"],
}
SIMULATION = ["answer", "evidence", "months", "seed", "rise", "note", "cells", "page"]
CELL = [
    *("world", "lives", "signals", "dependence", "variant", "information_limit_months"),
    *("ladder", "sequential"),
]
CHARACTERISTICS = [
    *("held", "held_at_end", "path", "reached", "months_to", "disabled", "disabled_by"),
    "after_turn",
]
AFTER_TURN = [
    *("lives", "months_to_half", "months_to_zero", "half_within_6_months"),
    "zero_within_4_months",
]
DRIFT = [
    *("key", "as_of", "model_version", "verdict", "share", "reasons", "columns", "run_id"),
    "asked",
]
DRIFT_COLUMN = ["name", "importance", "psi", "bound", "wasserstein", "unjudged", "drifted"]
DECISION = [
    *("sequence", "as_of", "period_end", "kind", "phase", "weight_before", "weight_after"),
    *("verdict", "reasons", "rules", "run_id"),
]
VERSION = [
    *("as_of", "version", "stage", "family", "accepted", "holdout_accuracy"),
    *("no_information_rate", "trials", "verdict", "reasons", "run_id", "approved"),
]
SHARPE = ["sharpe", "positive", "luck", "days", "days_needed"]
HEALTH = [
    *("start", "end", "signals", "predictions", "opinions", "settled", "figures", "p_win"),
    *("confidence_ml", "reliability", "fallbacks", "importance"),
]
REPLAY = [
    *("start", "end", "signals", "signals_settled", "signals_with_opinion", "signals_per_month"),
    *("trainings", "promotions", "decisions", "books", "worth", "final", "timing", "page"),
]
SIGNAL = TradedSignal(
    signal_id="S:1:buy",
    side="buy",
    confidence_existing=80.0,
    blended=75.0,
    weight=0.15,
    arm="all",
    fallback_reason=None,
    decision=True,
    size=0.2,
    regime="calm",
    veto=None,
    words="within every bound",
)
EXAMINATION = Examination("home", LAST, (Check("ledger", "wrong", "unreachable", "start it"),))
DRILLS = FireDrills(
    "home",
    (
        FireDrill(
            "stuck-feed",
            "The feed stops.",
            DrillResult((Notice("silence", "guard", 7.0, float("nan")),), ((LAST, 0.25),)),
            "home/stuck-feed",
            12.3,
        ),
    ),
)


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    return pilot_home(tmp_path, empty_mlflow)


def as_json(document: dict[str, Any]) -> dict[str, Any]:
    """The document as a reader of ``--json`` gets it."""
    read: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return read


def _times(schedules: list[dict[str, Any]]) -> list[str]:
    names = ("last_seen", "expected_by", "dead_since")
    return [row[name] for row in schedules for name in names if row[name]]


def test_the_status_keeps_its_keys(pilot: Home) -> None:
    """At the top, in every part and in every row."""
    document = as_json(status(pilot, LAST).to_dict())

    assert list(document) == STATUS
    assert {name: list(document[name]) for name in PARTS} == PARTS
    assert {name: list(document[name][0]) for name in ROWS} == ROWS
    assert all(time.endswith("+00:00") for time in _times(document["schedules"]))
    assert document["state"] == status(pilot, LAST).current.state.model_dump(mode="json")  # type: ignore[union-attr]


def test_the_status_of_an_empty_home_has_no_state(tmp_path: Path) -> None:
    """The keys every status has."""
    document = as_json(status(open_home(tmp_path), LAST).to_dict())

    assert list(document) == EMPTY
    assert document["state"] is None


def test_the_report_is_the_status_and_the_lifetime(pilot: Home) -> None:
    """Decisions are those of the lifetime, each with its page; promotions have none."""
    document = as_json(lineage_report(pilot, LAST).to_dict())

    assert list(document) == REPORT
    assert list(document["account"]) == ACCOUNT
    assert document["account"]["capital"] == 100_000.0
    assert [decision["sequence"] for decision in document["decisions"]] == [1, 2]
    assert all("page" in decision for decision in document["decisions"])
    assert ["page" in promotion for promotion in document["promotions"]] == [False]


def test_the_explanation_keeps_its_keys(pilot: Home) -> None:
    """Signal, both opinions and the blend."""
    document = as_json(explain_signal(pilot, "S:11:buy").to_dict())

    assert list(document) == ["signal", "answer", "existing", "model", "blend", "outcome"]
    assert {name: list(document[name]) for name in EXPLANATION} == EXPLANATION


def test_the_simulation_keeps_its_keys() -> None:
    """A life that turns has a course after the turn, any other has none."""
    simulated, _ = operating_characteristics(Settings(), [Design(10, 6, 30)])
    document = as_json(WrittenPage(simulated, "simulation.html").to_dict())
    cells = {cell["world"]: cell for cell in document["cells"]}

    assert list(document) == SIMULATION
    assert all(list(cell) == CELL for cell in cells.values())
    assert list(cells["55 %"]["ladder"]) == CHARACTERISTICS
    assert list(cells["58 % dying"]["sequential"]["after_turn"]) == AFTER_TURN
    assert cells["55 %"]["ladder"]["after_turn"] is None


def test_a_check_for_drift_keeps_its_keys_and_survives_the_ledger(pilot: Home) -> None:
    """NaN and an unjudged column come back as they were written; status shows the same check."""
    columns = (
        ColumnDrift("f0", 0.75, 0.5, 0.25, 1.5),
        ColumnDrift("p_win", float("nan"), unjudged="too few rows"),
    )
    check = DriftRecord("key", LAST, "1", "watch", None, ("f0 moved",), columns, "run", asked=False)
    pilot.ledger.record_drift(check)
    [recorded] = pilot.ledger.drift_checks(1)
    document = as_json(JudgedDrift(recorded, "page", new=True).to_dict())

    assert list(document) == [*DRIFT, "page", "new", "training"]
    assert [list(column) for column in document["columns"]] == [DRIFT_COLUMN] * 2
    assert document["columns"] == [column.to_dict() for column in columns]
    assert document["columns"][1]["psi"] is None
    assert as_json(status(pilot, LAST).to_dict())["drift"] == as_json(check.to_dict())


def test_decisions_versions_and_worth_keep_their_keys(pilot: Home) -> None:
    """A decision names operator and page in the status, its page in the report, neither alone."""
    shown = as_json(status(pilot, LAST).to_dict())
    reported = as_json(lineage_report(pilot, LAST).to_dict())

    assert [list(row) for row in shown["decisions"]] == [[*DECISION, "operator", "page"]] * 2
    assert [list(row) for row in reported["decisions"]] == [[*DECISION, "page"]] * 2
    assert [list(row) for row in reported["promotions"]] == [DECISION]
    assert [list(row) for row in reported["trainings"]] == [VERSION]
    assert list(shown["champion"]) == VERSION
    assert list(shown["worth"]) == ["since", "tried", "trials", "books", "gains", "words"]
    assert list(shown["worth"]["books"]["ml"]) == SHARPE
    assert list(shown["worth"]["gains"]) == ["ml", "blended"]
    assert list(reported["books"]["ml"])[:3] == ["signals", "trades", "total_return"]


def test_the_health_of_the_model_keeps_its_keys(pilot: Home) -> None:
    """Unknown figures are null, whatever is drawn for them on the page."""
    health = as_json(lineage_report(pilot, LAST).to_dict())["health"]

    assert list(health) == HEALTH
    assert list(health["figures"][0]) == ["name", "value", "target", "ok", "words", "chance"]
    assert list(health["reliability"][0]) == ["low", "high", "count", "mean_p_win", "win_rate"]
    assert list(health["importance"][0]) == ["name", "gain", "shap"]


def test_a_replay_keeps_its_keys(pilot: Home) -> None:
    """Promotions apart from the other decisions, without pages; the duration to hundredths."""
    result = replay_result(pilot, ReplayDays(EARLIER, LAST, 7), 1.234)
    document = as_json(result.to_dict())

    assert list(document) == REPLAY
    assert [list(row) for row in document["promotions"] + document["decisions"]] == [DECISION] * 2
    assert list(document["trainings"][0]) == VERSION
    assert {record.page for record in (*result.promotions, *result.decisions)} == {""}
    assert document["final"] == {"phase": "pilot", "weight": 0.15}
    assert document["timing"] == {"lived_seconds": 1.23}


def test_what_guard_and_weight_return_keeps_its_keys(pilot: Home) -> None:
    """One decision or none, or all of a run, each with its page, and the state after them."""
    [record] = decision_records(pilot, pilot.journal.entries(last=1))
    state = pilot.journal.entries()[-1].state
    documents = [
        SingleDecision(record, state).to_dict(),
        SingleDecision(None, state).to_dict(),
        PeriodDecisions((record,), state).to_dict(),
    ]

    assert [list(document) for document in documents] == [
        ["decision", "state"],
        ["decision", "state"],
        ["decisions", "state"],
    ]
    assert list(documents[0]["decision"]) == [*DECISION, "page"]
    assert documents[1]["decision"] is None
    assert documents[2]["decisions"] == [documents[0]["decision"]]
    assert documents[0]["state"] == state.model_dump(mode="json")


LOG = LogCollection(1, 2, 3, 4, ("odd",))
OPERATIONS: list[tuple[dict[str, Any], list[str]]] = [
    (
        Collection(1, 2, 3, 4, ("A",), ("odd",), "docs.html").to_dict(),
        [
            *("added", "already_there", "conflicting", "quarantined", "held_back", "findings"),
            *("docs", "log"),
        ],
    ),
    (
        {**Collection(0, 0, 0, 0, (), (), "", LOG).to_dict()["log"]},
        ["added", "settled", "differing", "quarantined", "findings", "quarantine"],
    ),
    (Settlement(LAST, 1, 2).to_dict(), ["as_of", "predictions", "outcomes"]),
    (TradingRun(LAST, 1, (SIGNAL,)).to_dict(), ["as_of", "filled", "signals", "stale"]),
    (
        TradingRun(LAST, 1, (SIGNAL,)).to_dict()["signals"][0],
        [
            *("signal_id", "side", "confidence_existing", "blended", "weight", "arm"),
            *("fallback_reason", "decision", "size", "regime", "veto", "words"),
        ],
    ),
    (Verification(3, ("a fault",)).to_dict(), ["decisions", "faults", "repaired", "notes"]),
    (EXAMINATION.to_dict(), ["home", "as_of", "wrong", "warning", "rows"]),
    (EXAMINATION.to_dict()["rows"][0], ["name", "standing", "found", "advice"]),
    (DRILLS.to_dict(), ["home", "noticed", "drills"]),
    (
        DRILLS.to_dict()["drills"][0],
        [
            *("scenario", "story", "noticed", "notices", "weights", "words", "home"),
            "seconds",
        ],
    ),
    (
        DRILLS.to_dict()["drills"][0]["notices"][0],
        ["what", "by", "bound", "after", "unit", "words", "in_time"],
    ),
    (Deployment("train/weekly", None, "0 6 * * 6").to_dict(), ["name", "next_run", "cron"]),
]


@pytest.mark.parametrize(("document", "keys"), OPERATIONS)
def test_what_operations_return_keeps_its_keys(document: dict[str, Any], keys: list[str]) -> None:
    """In order, as JSON."""
    assert list(as_json(document)) == keys


def test_what_was_never_noticed_is_null() -> None:
    """NaN is no JSON; the drill counts as not noticed."""
    [drill] = as_json(DRILLS.to_dict())["drills"]

    assert drill["notices"][0]["after"] is None
    assert not drill["noticed"]
    assert not DRILLS.noticed
    assert EXAMINATION.count("wrong") == 1
