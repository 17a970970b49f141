"""What an operator does and sees: status, why, verify, rollback, hold, resume, and alerts."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from factories.evidence import EARLIER
from factories.homes import LAST, pilot_home, promote, registration
from factories.registry import LINEAGE
from factories.settled import settled
from steelyard.errors import RestoreService
from steelyard.flows.guard import guard
from steelyard.flows.weight import weight
from steelyard.home import Home, open_home
from steelyard.market.overlap import SignalCount
from steelyard.queries.evidence import shadow_window
from steelyard.queries.records import decision_records
from steelyard.tasks.alerts import announce
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.weight import evaluate_weight, review_gates
from steelyard.views.records import DecisionRecord

Command = Callable[..., tuple[int, str, str]]
APPROVED = "version 1 approved by ben: exits far apart"


def approve_champion(stores: Home) -> None:
    stores.registry._set_tags("1", {"approved": APPROVED})


@pytest.fixture
def pilot(home: Path, empty_mlflow: Path) -> Home:
    return pilot_home(home, empty_mlflow)


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """Messages received by a local web server, configured as the only channel."""
    messages: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name http.server calls
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(
        "STEELYARD_ALERTS", f"json://127.0.0.1:{server.server_port}/planted-channel-token"
    )
    yield messages
    server.shutdown()
    server.server_close()


def lose_everything(stores: Home) -> None:
    """Record thirty more signals, each a losing trade of the ml book."""
    frame = settled(
        90,
        p_win=0.6,
        confidence_ml=90.0,
        net_return=-0.02,
        won=[False] * 90,
        model_version="1",
        arm="all",
        weight=0.15,
    ).iloc[61:]
    stores.ledger.record_predictions(frame)
    stores.ledger.record_outcomes(frame)


# status


def test_status_says_how_things_stand(pilot: Home, command: Command) -> None:
    """Answer, weight with base and bonus, lease, versions, reviews, criteria with bounds."""
    code, out, err = command(
        "status", "--home", pilot.folder, "--as-of", LAST.isoformat(), "--json"
    )
    document = json.loads(out)

    assert code == 0, err
    assert (
        document["answer"]
        == "The model decides 15.0% of the confidence; phase pilot since 2025-01-16."
    )
    assert (document["state"]["base"], document["state"]["bonus"], document["weight_in_force"]) == (
        0.1,
        0.05,
        0.15,
    )
    assert document["lease"]["days_left"] == 3.0
    assert (document["champion"]["version"], document["challenger"]) == ("1", None)
    assert [review["kind"] for review in document["reviews"]] == ["weight", "gates"]
    assert {rule["name"] for rule in document["gate"]} >= {
        "days",
        "arms",
        "sample_ratio",
        "fallback_rate",
        "no_limit_breached",
    }
    assert all(rule["reason"] for rule in document["gate"])
    assert document["proof"]["reason"].startswith("evidence of skill")
    assert (document["proof"]["binding"], document["proof"]["figure"]) == (
        True,
        document["evidence"]["life_skill"],
    )
    assert document["evidence"]["life_settled"] >= document["evidence"]["settled"]
    assert set(document["influence"]) == {
        "weighed",
        "changed",
        "gained",
        "mean",
        "low",
        "high",
        "influence",
    }
    assert (
        "a healthy 55% model has 11 losses in a row" in document["false_alarms"]["breaker_streak"]
    )
    assert document["decisions"][0]["page"].startswith("http://127.0.0.1:5000/#/experiments/")
    assert {item["standing"] for item in document["rollout"]} <= {"done", "due", "late", "ahead"}
    assert (document["fault"], document["brake"], document["alerts"]) == (None, None, [])


def test_status_reads_well(pilot: Home, command: Command) -> None:
    """The text begins with the answer, and names the operator who approved the champion."""
    approve_champion(pilot)
    _, out, _ = command("status", "--home", pilot.folder, "--as-of", LAST.isoformat())

    assert out.startswith("The model decides 15.0% of the confidence")
    for message in (
        "base 10% + bonus +5.0%",
        "lease runs 3.0 more days",
        "version 1",
        "approved by ben",
        "Gate out of pilot",
        "Last decisions",
    ):
        assert message in out


def test_status_says_what_is_out_of_force_and_why(pilot: Home, command: Command) -> None:
    """An expired lease, a pulled brake, a state changed by hand."""
    client = pilot.registry._tracking.client
    client.set_registered_model_tag(LINEAGE, "steelyard.state", "{}")
    pilot.brake.pull("anna", "MLflow was down")
    _, out, _ = command(
        "status", "--home", pilot.folder, "--as-of", (LAST + timedelta(days=9)).isoformat()
    )

    assert "is out of force" in out
    assert "no guard has run since" in out
    assert "the state tag is not a state" in out
    assert "the brake is pulled by anna: MLflow was down" in out


def test_status_of_an_empty_home_is_a_sentence(home: Path, command: Command) -> None:
    """Exit code 0 and one sentence."""
    code, out, _ = command("status", "--home", home)

    assert (code, out) == (0, "Nothing was decided here yet; the existing system decides alone.\n")


# why


def test_why_explains_a_signal_and_asks_the_stored_model_again(
    pilot: Home, command: Command
) -> None:
    """Blend, arm, version and its approval, top features, outcome; the prediction is reproduced."""
    approve_champion(pilot)
    code, out, err = command("why", "S:11:buy", "--home", pilot.folder, "--json")
    document = json.loads(out)

    assert code == 0, err
    assert document["answer"].startswith(("traded: 85% × ", "left: 85% × "))
    assert document["blend"]["arm"] == "treatment"
    assert (document["model"]["version"], document["model"]["approved"]) == ("1", APPROVED)
    assert document["model"]["replayed"]["agrees"]
    assert document["model"]["top_features"][0]["name"] == "f0"
    assert document["outcome"]["exit_reason"] == "target"


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        pytest.param(
            "S:10:buy", "control arm of the pilot, the existing system decided", id="control"
        ),
        pytest.param("S:59:buy", "outcome: not settled yet", id="not settled"),
        pytest.param("S:11:buy", "reproduced", id="treatment"),
    ],
)
def test_why_reads_well(pilot: Home, command: Command, signal: str, message: str) -> None:
    """The text explains the case."""
    code, out, _ = command("why", signal, "--home", pilot.folder)

    assert code == 0
    assert message in out


def test_why_of_a_signal_nobody_predicted_is_one_line(pilot: Home, command: Command) -> None:
    """The line suggests existing ids."""
    code, out, err = command("why", "AAPL", "--home", pilot.folder)

    assert (code, out) == (1, "")
    assert "no signal AAPL was predicted here" in err
    assert "S:59:buy" in err


def test_why_without_a_model_says_who_decided(pilot: Home, command: Command) -> None:
    """Without a model there are no contributions, and the existing system decided alone."""
    frame = settled(
        200,
        p_win=float("nan"),
        confidence_ml=float("nan"),
        model_version="",
        fallback_reason="no_model",
    ).iloc[150:151]
    pilot.ledger.record_features(
        frame.assign(timestamp=frame["decided_at"], f0=1.0), ["f0"], "other"
    )
    pilot.ledger.record_predictions(frame)
    _, out, _ = command("why", "S:150:buy", "--home", pilot.folder)

    assert "the existing system decided alone (no_model): 80.0 against 70" in out
    assert "no model was asked" in out


# pictures


def test_every_decision_is_drawn_once_it_is_recorded(pilot: Home) -> None:
    """The weight's path so far, and the books the decision rests on; a promotion rests on none."""
    entry = evaluate_weight(pilot, LAST)
    illustrate(pilot)
    assert entry is not None
    promotion, *_, last = pilot.journal.entries()
    path = pilot.journal.weight_path(entry)

    assert pilot.journal.files(last) == {"decision.json", "decision.png", "weight.png"}
    assert pilot.journal.files(promotion) == {"decision.json", "weight.png"}
    assert [(point.sequence, point.kind) for point in path] == [
        (1, "promotion"),
        (2, "gates"),
        (3, "weight"),
    ]
    assert [point.weight_after for point in path] == [0.0, 0.15, entry.state.weight]
    assert pilot.journal.weight_path(promotion) == path[:1]


def test_a_picture_that_fails_stops_nothing_else(
    pilot: Home, monkeypatch: pytest.MonkeyPatch, received: list[dict[str, str]]
) -> None:
    """On a full disk the run fails after cut, alert and lease; the next run draws the picture."""

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    lose_everything(pilot)
    late = LAST + timedelta(days=28)
    with monkeypatch.context() as broken:
        broken.setattr(FigureCanvasAgg, "print_png", full)
        with pytest.raises(OSError, match="no space left"):
            guard.fn(late, str(pilot.folder))
    [entry], state = pilot.journal.entries(last=1), pilot.journal.state()

    assert state is not None
    assert (entry.decision.kind, state.sequence, state.weight) == ("guard", entry.sequence, 0.0)
    assert state.lease_until == late + timedelta(days=3)
    assert pilot.journal.files(entry) == {"decision.json"}
    assert any(message["title"].startswith("Steelyard: disable") for message in received)

    illustrate(pilot)
    assert pilot.journal.files(entry) == {"decision.json", "decision.png", "weight.png"}


# rollback, hold, resume


def test_a_rollback_takes_the_weight_and_says_why(
    pilot: Home, command: Command, received: list[dict[str, str]]
) -> None:
    """Weight 0, a journal entry with name and reason, an incident report, an alert, no brake."""
    approve_champion(pilot)
    arguments = (
        "--reason",
        "fills look odd",
        "--by",
        "anna",
        "--home",
        pilot.folder,
        "--as-of",
        LAST.isoformat(),
    )
    code, out, err = command("rollback", *arguments)
    state, fault = pilot.journal.verified()
    [entry] = pilot.journal.entries(last=1)
    run_files = {
        file.path for file in pilot.registry._tracking.client.list_artifacts(str(entry.run_id))
    }
    [report] = (pilot.state_folder / "incidents").iterdir()

    assert code == 0, err
    assert "rolled back by anna: fills look odd" in out
    assert state is not None
    assert (state.weight, state.phase, state.retrain_required, fault) == (0.0, "shadow", True, None)
    assert (entry.decision.operator, entry.decision.kind) == ("anna", "rollback")
    assert run_files == {"decision.json", "incident.md"}
    assert not pilot.brake.pulled
    assert [message["title"] for message in received] == [
        "Steelyard: rollback: signal-confidence: weight 15.0% → 0.0%, pilot → shadow"
    ]
    assert entry.run_id in received[0]["message"]
    for message in (
        "Rolled back by anna",
        f"An operator had let the champion in: {APPROVED}.",
        "settled predictions from",
        "Worst pivotal trades",
        "| S:",
        "shadow → pilot",
        "60.0%",
    ):
        assert message in report.read_text()


def test_a_rollback_without_mlflow_pulls_the_brake(
    pilot: Home, command: Command, conf: Path
) -> None:
    """Nothing can be recorded, so the brake stays pulled until a later rollback records it."""
    services = (conf / "services.yaml").read_text()
    (conf / "services.yaml").write_text(
        services.replace("sqlite:///{home}/mlruns/mlflow.db", "http://127.0.0.1:9")
    )
    code, _, err = command(
        "rollback", "--reason", "now", "--by", "anna", "--home", pilot.folder, "--conf", conf
    )

    assert code == 1
    assert "the brake is pulled, trading processes of" in err
    assert (pilot.brake.pulled, pilot.brake.words) == (True, "anna: now")
    assert command("rollback", "--reason", "now", "--by", "anna", "--home", pilot.folder)[0] == 0
    assert not pilot.brake.pulled


def test_a_rollback_without_the_ledger_still_takes_the_weight(
    pilot: Home, command: Command
) -> None:
    """The rollback succeeds; its report says why there is no evidence."""
    file = pilot.state_folder / "ledger.db"
    file.unlink()
    file.mkdir()
    code, _, err = command(
        "rollback", "--reason", "disk is gone", "--by", "anna", "--home", pilot.folder
    )

    assert code == 0, err
    [report] = (pilot.state_folder / "incidents").iterdir()
    assert "Could not be gathered" in report.read_text()
    assert pilot.journal.verified()[0].weight == 0.0  # type: ignore[union-attr]


def test_a_rollback_works_on_a_damaged_journal(pilot: Home, command: Command) -> None:
    """A decision's file and the champion are gone: the weight is 0, and verify names both."""
    client, first = pilot.registry._tracking.client, pilot.journal.entries()[0]
    next(
        Path(pilot.registry._tracking._artifacts).rglob(f"{first.run_id}/artifacts/decision.json")
    ).unlink()
    client.delete_model_version(LINEAGE, "1")
    code, _, err = command(
        "rollback", "--reason", "damaged", "--by", "anna", "--home", pilot.folder
    )

    assert code == 0, err
    assert pilot.journal.verified()[0].weight == 0.0  # type: ignore[union-attr]
    assert not pilot.brake.pulled
    code, out, _ = command("verify", "--home", pilot.folder)
    assert (code, "decision.json is gone" in out) == (1, True)


def test_a_rollback_needs_a_lineage_and_a_reason(
    home: Path, pilot: Home, command: Command, tmp_path: Path
) -> None:
    """Each refusal is one line and leaves no brake pulled."""
    code, _, err = command("rollback", "--reason", "  ", "--home", pilot.folder)
    assert (code, "--reason is empty" in err) == (1, True)
    assert command("rollback", "--home", pilot.folder)[0] == 2
    code, _, err = command("rollback", "--reason", "why", "--home", tmp_path / "empty")
    assert (code, "there is no weight to roll back" in err) == (1, True)
    assert not open_home(tmp_path / "empty").brake.pulled


def test_hold_and_resume_are_recorded_once(pilot: Home, command: Command) -> None:
    """A second hold adds no entry; resuming a weight that was never held is refused."""
    run = ("--home", pilot.folder, "--by", "anna")
    assert command("resume", "--reason", "why", *run)[0] == 1
    assert command("hold", "--reason", "earnings", *run)[0] == 0
    _, out, _ = command("hold", "--reason", "again", *run)
    assert "held by anna: earnings" in out
    _, out, _ = command("status", "--home", pilot.folder)
    assert "held by an operator" in out
    assert command("resume", "--reason", "over", *run)[0] == 0

    assert [entry.decision.kind for entry in pilot.journal.entries()[-2:]] == ["hold", "resume"]


@pytest.mark.parametrize("act", ["hold", "resume"])
def test_a_mistyped_home_is_not_held(act: str, home: Path, command: Command) -> None:
    """Whoever believes that the weight is held must not be wrong."""
    code, out, err = command(act, "--reason", "earnings", "--home", home)

    assert (code, out) == (1, "")
    assert f"nothing was ever decided here, there is no weight to {act}" in err
    assert open_home(home).journal.state() is None


# verify


def test_verify_makes_nothing_where_nothing_was_decided(home: Path, command: Command) -> None:
    """A mistyped home is no whole chain, and no new home."""
    for options in ((), ("--repair",)):
        code, out, _ = command("verify", *options, "--home", home)
        assert (code, out.strip()) == (
            0,
            "nothing was decided here yet; there is no chain to check",
        )
    assert not home.exists() or list(home.iterdir()) == []


def test_a_model_changed_in_the_registry_is_refused(pilot: Home, command: Command) -> None:
    """Verify names version and run of an edited calibration; only loading it is refused."""
    run_id = pilot.registry.version("1").run_id
    [stored] = Path(pilot.registry._tracking.client.get_run(run_id).info.artifact_uri).rglob(
        "model.json"
    )
    whole = stored.read_text()
    stored.write_text(whole.replace('"slope": ', '"slope": 1'))
    code, out, _ = command("verify", "--home", pilot.folder)

    assert code == 1
    assert (
        "the files of version 1 are not those that were registered; "
        f"restore the artifacts of its run {run_id}" in out
    )
    with pytest.raises(RestoreService, match="not those that were registered"):
        pilot.model("1")
    stored.write_text(whole)
    assert command("verify", "--home", pilot.folder)[0] == 0


def test_verify_names_what_was_changed_and_repairs_what_follows_from_the_journal(
    pilot: Home, command: Command
) -> None:
    """Verify exits with 1 and the place, with 0 after the repair; in between the guard refuses."""
    assert command("verify", "--home", pilot.folder)[0] == 0
    client = pilot.registry._tracking.client
    client.set_registered_model_tag(LINEAGE, "ml_weight", "0.7000")
    client.delete_registered_model_alias(LINEAGE, "champion")
    tags = client.get_registered_model(LINEAGE).tags
    client.set_registered_model_tag(
        LINEAGE, "steelyard.state", tags["steelyard.state"].replace("0.15", "0.65")
    )
    code, out, _ = command("verify", "--home", pilot.folder)

    assert code == 1
    for message in (
        "the state tag was changed by hand",
        "the tag ml_weight says 0.7000, the journal 0.1500",
        "the alias champion names version none, it should name 1",
    ):
        assert message in out
    code, _, err = command("guard", "--home", pilot.folder, "--as-of", LAST.isoformat())
    assert (code, "steelyard verify --repair" in err) == (1, True)
    code, out, _ = command("verify", "--repair", "--home", pilot.folder, "--json")
    assert (code, json.loads(out)["faults"]) == (0, [])
    assert len(json.loads(out)["repaired"]) == 3
    assert command("guard", "--home", pilot.folder, "--as-of", LAST.isoformat())[0] == 0


# alerts


def test_a_cut_and_an_expired_lease_alert_once(pilot: Home, received: list[dict[str, str]]) -> None:
    """After a week without guard, expired lease and losing streak give one alert each."""
    lose_everything(pilot)
    late = LAST + timedelta(days=28)
    for _ in range(2):
        guard.fn(late, str(pilot.folder))

    lapsed, disabled = [
        message for message in received if not message["title"].startswith("Steelyard: health")
    ]
    message = (
        "Steelyard: lease expired: signal-confidence: trading has used weight 0 since 2025-03-05"
    )
    assert lapsed["title"].startswith(message)
    assert (
        disabled["title"]
        == "Steelyard: disable: signal-confidence: weight 15.0% → 0.0%, pilot → shadow"
    )
    assert "consecutive ML losses, at most 10 allowed" in disabled["message"]
    assert "The next champion must requalify" in disabled["message"]
    assert "http://127.0.0.1:5000/#/experiments/" in disabled["message"]


def test_a_failed_flow_posts_an_alert_and_still_fails(
    pilot: Home, command: Command, received: list[dict[str, str]]
) -> None:
    """Settling without bars exits with 1 and one line, and alerts once a day."""
    for _ in range(2):
        assert command("settle", "--home", pilot.folder)[0] == 1

    [message] = received
    assert message["title"] == "Steelyard: flow failed: settle"
    assert "no bars yet; run steelyard collect" in message["message"]


def test_a_channel_that_is_down_fails_no_flow_and_status_shows_it(
    pilot: Home, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard disables the model; the alert stays open."""
    monkeypatch.setenv("STEELYARD_ALERTS", "json://127.0.0.1:9/planted")
    lose_everything(pilot)
    late = (LAST + timedelta(days=28)).isoformat()
    assert command("guard", "--home", pilot.folder, "--as-of", late)[0] == 0
    _, out, _ = command("status", "--home", pilot.folder, "--as-of", late)

    assert "undelivered since" in out
    assert "disable: signal-confidence" in out
    assert "planted" not in out


def test_a_wrong_split_of_arms_posts_an_alert(pilot: Home, received: list[dict[str, str]]) -> None:
    """With sixty treatment and few control signals the gate stays closed, and an alert is sent."""
    frame = settled(
        150, p_win=0.6, confidence_ml=80.0, arm="treatment", model_version="1", weight=0.15
    ).iloc[70:140]
    pilot.ledger.record_predictions(frame)
    pilot.ledger.record_outcomes(frame)
    reviewed = review_gates(pilot, EARLIER + timedelta(days=140), SignalCount(0, 0))
    announce(pilot, [reviewed])
    [entry] = decision_records(pilot, [reviewed])

    assert entry.phase == "pilot"
    assert any("uneven split" in reason for reason in entry.reasons)
    assert any(message["title"].startswith("Steelyard: sample ratio") for message in received)


def _weighed(stores: Home, day: int) -> tuple[DecisionRecord, ...]:
    """Evaluate and review without bars, which the gate out of pilot does not need."""
    at = EARLIER + timedelta(days=day)
    entries = [evaluate_weight(stores, at), review_gates(stores, at, SignalCount(0, 0))]
    announce(stores, entries)
    return decision_records(stores, entries)


def test_healthy_decisions_send_no_alert(pilot: Home, received: list[dict[str, str]]) -> None:
    """A healthy evaluation is recorded and sends no alert."""
    assert len(_weighed(pilot, 60)) == 2
    assert received == []
    assert weight.name == "weight"


# the queue


def test_a_challenger_waits_while_the_champion_is_in_its_shadow_window(
    home: Path, empty_mlflow: Path
) -> None:
    """The champion in shadow stays; behind the next challenger only the latest version waits."""
    from steelyard.tasks.training import compare_with_champion

    stores = pilot_home(home, empty_mlflow, weight=0.0, phase="shadow")
    early = EARLIER + timedelta(days=20)
    before = stores.journal.state()
    assert before is not None
    assert shadow_window(stores, before, early) == ("9 more days", "30 more settled predictions")
    samples = None  # nothing is compared while the window is open
    for key in ("b", "c", "d"):
        version = stores.registry.register(registration(key, early))
        compare_with_champion(stores, samples, version, early)  # type: ignore[arg-type]

    assert [(v.number, v.stage) for v in stores.registry.versions()] == [
        ("1", "champion"),
        ("2", "challenger"),
        ("3", "refused"),
        ("4", "challenger"),
    ]
    assert stores.registry.version("3").reasons == ("superseded by version 4 before its turn came",)
    assert stores.registry.misplaced() == []
    promote(stores, "4", early)
    assert stores.registry.misplaced() == []


# secrets


def test_no_secret_is_written_anywhere(
    pilot: Home,
    command: Command,
    conf: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Secrets set in every possible place appear in no database, file, log or output."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("STEELYARD_SEAL_KEY", "planted-seal-key")
    monkeypatch.setenv(
        "STEELYARD_ALERTS", "json://127.0.0.1:9/planted-token slack://planted/planted"
    )
    monkeypatch.setenv("LEDGER_PASSWORD", "planted-password")
    weight_file = (
        (conf / "weight.yaml")
        .read_text()
        .replace("ab_key: steelyard-pilot", "ab_key: planted-ab-key")
    )
    (conf / "weight.yaml").write_text(weight_file)
    lose_everything(pilot)
    late, said = (LAST + timedelta(days=28)).isoformat(), []
    assert (
        command("verify", "--home", pilot.folder, "--conf", conf)[0] == 1
    )  # sealed without the key until now
    for arguments in (
        ("verify", "--reseal"),
        ("guard", "--as-of", late),
        ("status",),
        ("rollback", "--reason", "r"),
    ):
        code, *printed = command(*arguments, "--home", pilot.folder, "--conf", conf)
        assert code == 0, printed
        said += printed
    services = (conf / "services.yaml").read_text()
    ledger = "ledger: postgresql+psycopg://user:${LEDGER_PASSWORD}@127.0.0.1:9/none #"
    (conf / "services.yaml").write_text(services.replace("ledger: ", ledger))
    said += command("settle", "--home", pilot.folder, "--conf", conf)[1:]
    files = [file for file in pilot.folder.rglob("*") if file.is_file()]

    assert any("mlflow.db" in file.name for file in files)
    assert [file for file in files if b"planted" in file.read_bytes()] == []
    assert "planted" not in caplog.text + "".join(said)
