"""State and journal on a real MLflow database: written once, sealed, completed, verified."""

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from factories.evidence import EARLIER, NOW, POLICY, evidence, state
from factories.registry import LINEAGE, open_registry
from steelyard.errors import RestoreService, VerifyState
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.ledger.tables import Mark
from steelyard.gateways.registry import Registry
from steelyard.gateways.registry.journal import PATH_NAMES, STATE
from steelyard.gateways.registry.tracking import POLICIES
from steelyard.gateways.witnesses import Testimony
from steelyard.weight.case import Case
from steelyard.weight.decision import Entry, first_break, make_decision
from steelyard.weight.ladder import evaluate
from steelyard.weight.rollback import roll_back
from steelyard.weight.state import initial_state


def decide(registry: Registry, month: int) -> Entry:
    """Append the evaluation of a healthy month; month 0 starts from pilot at 10 %."""
    at = NOW + timedelta(days=30 * month)
    state_before = registry.journal.state() if month else state()
    assert state_before is not None
    return registry.journal.append(evaluate(Case(state_before, evidence(), POLICY, at, at)))


def reopened(registry: Registry, seal_key: str = "") -> Registry:
    """Open the same database as another process would."""
    artifacts = Path(registry._tracking._artifacts)
    return open_registry(artifacts.parent, seal_key=seal_key)


def test_a_decision_is_recorded_once_and_the_journal_replays_to_the_state(
    registry: Registry,
) -> None:
    """Three months give three linked entries; a repeated month returns its entry."""
    journal = registry.journal
    journal.begin(initial_state(LINEAGE, EARLIER))
    entries = [decide(registry, month) for month in range(3)]
    repeated = journal.append(evaluate(Case(state(), evidence(accuracy=0.3), POLICY, NOW, NOW)))

    assert repeated == entries[0]
    assert journal.decided("weight", NOW) == entries[0]
    assert journal.decided("weight", NOW + timedelta(days=300)) is None
    assert journal.entries() == entries
    assert journal.entries(last=1) == entries[-1:]
    assert first_break(entries) is None
    assert journal.state() == entries[-1].state
    assert journal.faults() == []


def test_the_run_of_a_decision_says_everything_without_opening_a_file(registry: Registry) -> None:
    """Metrics: evidence; tags: verdict, reasons, policy, hashes; files: pictures."""
    first_entry = decide(registry, 0)
    at = NOW + timedelta(days=30)
    decision = evaluate(Case(first_entry.state, evidence(), POLICY, at, at))
    entry = registry.journal.append(decision, {"decision.png": b"picture"})
    client = registry._tracking.client
    run = client.get_run(str(entry.run_id))

    assert run.info.status == "FINISHED"
    assert run.data.params == {}
    assert run.data.metrics["accuracy"] == 0.58
    assert (run.data.metrics["weight_before"], run.data.metrics["weight_after"]) == (0.15, 0.20)
    assert run.data.tags["previous_run_id"] == first_entry.run_id
    assert run.data.tags["previous_hash"] == first_entry.hash
    assert run.data.tags["reasons"].startswith("step up")
    assert {file.path for file in client.list_artifacts(str(entry.run_id))} == {
        "decision.json",
        "decision.png",
    }


def test_a_policy_is_recorded_once_and_each_decision_names_it(registry: Registry) -> None:
    """Two decisions under one policy, in two processes, and one under another: two runs."""
    first = decide(registry, 0)
    second = decide(reopened(registry), 1)
    strict = POLICY.model_copy(update={"ceiling": 0.6})
    at = NOW + timedelta(days=60)
    third = registry.journal.append(
        make_decision("hold", second.state, second.state, strict, at, verdict="HOLD", reasons=("",))
    )
    client = registry._tracking.client
    tags = [client.get_run(str(entry.run_id)).data.tags for entry in (first, second, third)]
    policies = client.search_runs([registry._tracking.experiment_id(POLICIES)])
    recorded = {run.data.tags["policy_hash"]: run for run in policies}

    assert len(policies) == 2
    assert {run.data.params["ceiling"] for run in policies} == {str(POLICY.ceiling), "0.6"}
    assert recorded[first.decision.policy_hash].data.params["limits.breaker_accuracy"] == "0.45"
    for entry, named in zip((first, second, third), tags, strict=True):
        page = f"runs/{recorded[named['policy_hash']].info.run_id})"
        assert named["policy_hash"] == entry.decision.policy_hash
        assert page in named["mlflow.note.content"]


def test_decisions_that_have_their_policy_as_parameters_are_read_as_they_are(
    registry: Registry,
) -> None:
    """Two decisions as earlier releases recorded them: verified, read, and continued."""
    entries = [decide(registry, month) for month in range(2)]
    client = registry._tracking.client
    for entry in entries:
        client.delete_tag(str(entry.run_id), "policy_hash")
        client.log_param(str(entry.run_id), "limits.breaker_accuracy", 0.45)
    journal = reopened(registry).journal

    assert journal.faults() == []
    assert journal.entries() == entries
    assert len(journal.weight_path(decide(registry, 2))) == 3
    assert registry.journal.faults() == []


def test_the_state_is_readable_in_the_page(registry: Registry) -> None:
    """Weight, phase, last decision and next step are tags of their own."""
    registry.journal.begin(initial_state(LINEAGE, EARLIER))
    client = registry._tracking.client
    assert client.get_registered_model(LINEAGE).tags["last_decision"] == "none yet"
    entry = decide(registry, 0)
    tags = client.get_registered_model(LINEAGE).tags

    assert tags["phase"] == "pilot"
    assert tags["ml_weight"] == "0.1500"
    assert tags["last_decision"].endswith(f": {entry.decision.outcome}")
    assert tags["next_step"] == "a first champion must pass the first gate"
    at = NOW + timedelta(days=14)
    waiting = make_decision(
        "gates", entry.state, entry.state, POLICY, at, verdict="HOLD", reasons=("3 of 5 pivotal",)
    )
    registry.journal.append(waiting)
    assert client.get_registered_model(LINEAGE).tags["next_step"] == "3 of 5 pivotal"


def test_renewing_the_lease_changes_nothing_else(registry: Registry) -> None:
    """Same sequence, another lease, later or earlier."""
    entry = decide(registry, 0)
    renewed = registry.journal.renew_lease(NOW + timedelta(days=3))

    assert renewed == entry.state.model_copy(update={"lease_until": NOW + timedelta(days=3)})
    assert registry.journal.state() == renewed
    registry.journal.renew_lease(entry.state.lease_until)
    assert registry.journal.state() == entry.state
    assert registry.journal.faults() == []


def test_a_lineage_that_begins_while_it_is_read_is_believed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger was asked before the lineage began, the tag read after its first guard."""
    reader = reopened(registry).journal
    assert reader._witnesses is not None
    testify = reader._witnesses.testify

    def and_then_it_begins() -> Testimony:
        seen = testify()
        registry.journal.begin(initial_state(LINEAGE, EARLIER))
        registry.journal.renew_lease(NOW, (1, "head"))
        return seen

    monkeypatch.setattr(reader._witnesses, "testify", and_then_it_begins)
    begun = reader.state()

    assert begun is not None
    assert begun.digests == 1


def test_alone_the_state_is_written_once_at_the_end(registry: Registry) -> None:
    """Until then others get it from the journal, as they would if the process died there."""
    decide(registry, 0)
    client = registry._tracking.client
    written_before = client.get_registered_model(LINEAGE).tags
    with registry.journal.alone():
        entries = [decide(registry, month) for month in (1, 2)]
        registry.journal.renew_lease(NOW + timedelta(days=90))
        meanwhile = client.get_registered_model(LINEAGE).tags
        other_process = reopened(registry).journal
        died_here = (other_process.state(), other_process.verified())
    state_after = registry.journal.state()

    assert meanwhile == written_before
    assert died_here == (entries[-1].state, (entries[-1].state, None))
    assert state_after is not None
    assert state_after.lease_until == NOW + timedelta(days=90)
    assert [entry.sequence for entry in registry.journal.entries()] == [1, 2, 3]
    assert reopened(registry).journal.state() == state_after
    assert reopened(registry).journal.faults() == []


def test_a_decision_from_a_state_that_is_gone_is_refused(registry: Registry) -> None:
    """Another process decided in between: nothing is recorded; a repeat uses the new state."""
    decide(registry, 0)
    at = NOW + timedelta(days=30)
    with pytest.raises(RestoreService, match="another decision was made meanwhile"):
        registry.journal.append(evaluate(Case(state(), evidence(), POLICY, at, at)))
    assert len(registry.journal.entries()) == 1


def test_reading_a_decision_that_was_cut_short_writes_nothing(registry: Registry) -> None:
    """Readers get the state that follows from the journal; the next that decides writes it."""
    first_entry, last_entry = decide(registry, 0), decide(registry, 1)
    client = registry._tracking.client
    stale = registry.journal.seal.sealed(first_entry.state)
    client.set_registered_model_tag(LINEAGE, STATE, stale)
    other_process = reopened(registry)

    assert other_process.journal.state() == last_entry.state
    assert other_process.journal.verified() == (last_entry.state, None)
    assert other_process.journal.decided("weight", last_entry.decision.period_end) == last_entry
    assert client.get_registered_model(LINEAGE).tags[STATE] == stale
    with other_process.journal.deciding():
        assert client.get_registered_model(LINEAGE).tags[STATE] == registry.journal.seal.sealed(
            last_entry.state
        )


def test_a_decision_that_another_process_cut_short_is_completed_before_the_next(
    registry: Registry,
) -> None:
    """A journal opened before the crash completes it too, although its own reading lags behind."""
    first_entry = decide(registry, 0)
    other_process = reopened(registry)
    assert other_process.journal.state() == first_entry.state
    last_entry = decide(registry, 1)
    client = registry._tracking.client
    client.set_registered_model_tag(LINEAGE, STATE, registry.journal.seal.sealed(first_entry.state))

    at = NOW + timedelta(days=60)
    with pytest.raises(RestoreService, match="run the same command again"):
        other_process.journal.append(evaluate(Case(first_entry.state, evidence(), POLICY, at, at)))
    assert other_process.journal.state() == last_entry.state
    assert decide(other_process, 2).sequence == 3


def _edit_tag(registry: Registry, **changes: object) -> None:
    client = registry._tracking.client
    document = json.loads(client.get_registered_model(LINEAGE).tags[STATE])
    client.set_registered_model_tag(LINEAGE, STATE, json.dumps(document | changes))


def _delete_last_run(registry: Registry) -> None:
    client = registry._tracking.client
    client.delete_run(str(registry.journal.entries()[-1].run_id))


def _artifact(registry: Registry, sequence: int) -> Path:
    run_id = registry.journal.entries()[sequence - 1].run_id
    return next(Path(registry._tracking._artifacts).rglob(f"{run_id}/artifacts/decision.json"))


def _edit_artifact(registry: Registry, sequence: int) -> None:
    file = _artifact(registry, sequence)
    file.write_text(file.read_text().replace('"accuracy": 0.58', '"accuracy": 0.98'))


def _forge_run(registry: Registry) -> None:
    """Make a run by hand that equals a decision except for the seal."""
    client = registry._tracking.client
    template = registry._tracking.decision_runs(limit=1)[0]
    tags = {**template.data.tags, "sequence": "99", "seal": "0" * 64, "mlflow.runName": "forged"}
    run = client.create_run(template.info.experiment_id, tags=tags)
    client.log_metric(run.info.run_id, "sequence", 99)
    client.log_artifact(run.info.run_id, str(_artifact(registry, 3)))
    client.set_terminated(run.info.run_id)


DAMAGES: dict[str, tuple[Callable[[Registry], None], str, bool]] = {
    "weight edited": (
        lambda registry: _edit_tag(registry, weight=0.7),
        "the state tag was changed by hand",
        True,
    ),
    "lease edited": (
        lambda registry: _edit_tag(registry, lease_until="2099-01-01T00:00:00Z"),
        "the state tag was changed by hand",
        True,
    ),
    "weight over the limit": (
        lambda registry: _edit_tag(registry, weight=0.9),
        "the state tag is not a state",
        True,
    ),
    "not even JSON": (
        lambda registry: registry._tracking.client.set_registered_model_tag(LINEAGE, STATE, "{"),
        "the state tag is not a state",
        True,
    ),
    "last decision deleted": (_delete_last_run, "the state tag names decision 3", True),
    "middle decision deleted": (
        lambda registry: registry._tracking.client.delete_run(
            str(registry.journal.entries()[1].run_id)
        ),
        "decision 3 (run {2}): decision 2 (run {1}) before it is missing",
        False,
    ),
    "decision edited": (
        lambda registry: _edit_artifact(registry, 2),
        "decision 2 (run {1}): its content was changed",
        False,
    ),
    "last decision edited": (
        lambda registry: _edit_artifact(registry, 3),
        "decision 3 (run {2}): its content was changed",
        True,
    ),
    "decision's file gone": (
        lambda registry: _artifact(registry, 2).unlink(),
        "decision 2 (run {1}): its decision.json is gone or cannot be read",
        False,
    ),
    "verdict tag edited": (
        lambda registry: registry._tracking.client.set_tag(
            str(registry.journal.entries()[0].run_id), "verdict", "CUT"
        ),
        "decision 1 (run {0}): its tag verdict was changed",
        False,
    ),
    "metric edited": (
        lambda registry: registry._tracking.client.log_metric(
            str(registry.journal.entries()[0].run_id), "accuracy", 0.9
        ),
        "decision 1 (run {0}): its metric accuracy was changed",
        False,
    ),
    "readable tag edited": (
        lambda registry: registry._tracking.client.set_registered_model_tag(
            LINEAGE, "ml_weight", "0.7000"
        ),
        "the tag ml_weight says 0.7000, the journal 0.2000",
        False,
    ),
    "decision forged": (_forge_run, "is there twice", False),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_changed_by_hand_is_found_and_not_believed(
    registry: Registry, damage: str
) -> None:
    """Verify names the fault; if the state is in doubt, flows stop and traders use the journal."""
    entries = [decide(registry, month) for month in range(3)]
    inflict, expected_fault, is_state_in_doubt = DAMAGES[damage]
    inflict(registry)
    other_process = reopened(registry)
    faults = other_process.journal.faults()

    assert any(
        expected_fault.format(*(entry.run_id for entry in entries)) in fault for fault in faults
    ), faults
    trusted, fault = reopened(registry).journal.verified()
    if damage.startswith("last decision"):  # the ledger has seen it, so nothing older is believed
        assert trusted is None
    else:
        assert trusted is not None
        assert trusted.weight <= 0.20
        assert trusted.lease_until < NOW + timedelta(days=300)
    assert (fault is not None) is is_state_in_doubt
    if is_state_in_doubt:
        with pytest.raises(VerifyState, match="steelyard verify"):
            reopened(registry).journal.state()
    else:
        assert reopened(registry).journal.state() == trusted


def test_repair_writes_what_the_journal_says(registry: Registry) -> None:
    """A weight edited by hand goes back to the decided one; then nothing is wrong."""
    decide(registry, 0)
    _edit_tag(registry, weight=0.6, lease_until="2099-01-01T00:00:00Z")
    other_process = reopened(registry)
    other_process.journal.repair()

    assert other_process.journal.faults() == []
    repaired = other_process.journal.state()
    assert repaired is not None
    assert (repaired.weight, repaired.lease_until) == (0.15, NOW)


def test_a_rollback_works_on_a_state_that_is_in_doubt(registry: Registry) -> None:
    """An operator can always roll back: weight 0, from the last state that can be trusted."""
    decide(registry, 0)
    _edit_tag(registry, weight=0.7)
    other_process = reopened(registry)
    trusted, _ = other_process.journal.verified()
    assert trusted is not None
    entry = other_process.journal.append(roll_back(trusted, "tags look odd", "anna", POLICY, NOW))

    assert entry.decision.before.weight == 0.15
    assert entry.decision.operator == "anna"
    assert other_process.journal.state() == entry.state
    assert other_process.journal.faults() == []


def test_a_decision_that_was_removed_leaves_a_gap_for_ever(registry: Registry) -> None:
    """Its number is not given to the next one."""
    for month in range(2):
        decide(registry, month)
    _delete_last_run(registry)
    other_process = reopened(registry)
    trusted = other_process.journal.last_sealed()
    assert trusted is not None
    entry = other_process.journal.append(
        roll_back(trusted, "a decision is gone", "anna", POLICY, NOW)
    )

    assert entry.sequence == 3
    assert other_process.journal.faults()[0].startswith(
        f"decision 3 (run {entry.run_id}): decision 2"
    )
    accepting = roll_back(
        entry.state, "lost", "anna", POLICY, NOW, accepted_missing=other_process.journal.lost()
    ).model_copy(update={"period_end": NOW + timedelta(days=1)})
    assert other_process.journal.append(accepting).decision.accepted_missing == (2,)
    assert other_process.journal.faults() == []


def test_another_key_is_not_believed(registry: Registry) -> None:
    """With a secret, state and decisions sealed without it count as forged."""
    decide(registry, 0)
    other_process = reopened(registry, seal_key="secret")

    with pytest.raises(VerifyState, match="sealed with the public constant of earlier versions"):
        other_process.journal.state()
    assert other_process.journal.verified()[0] is None
    assert any("is not sealed with this key" in fault for fault in other_process.journal.faults())


def test_a_whole_chain_is_sealed_with_a_new_key_and_a_broken_one_is_not(registry: Registry) -> None:
    """With the new key everything is trusted again; an entry edited before is not sealed."""
    entries = [decide(registry, month) for month in range(3)]
    other_process = reopened(registry, seal_key="secret")
    other_process.journal.reseal()
    assert other_process.journal.faults() == []
    assert other_process.journal.state() == entries[-1].state

    _edit_artifact(registry, 2)
    with pytest.raises(VerifyState, match="only a whole chain is sealed anew"):
        reopened(registry, seal_key="changed").journal.reseal()


def test_a_new_key_before_any_decision_starts_afresh(registry: Registry) -> None:
    """A state without decisions is dropped."""
    registry.journal.begin(initial_state(LINEAGE, EARLIER))
    other_process = reopened(registry, seal_key="secret")
    other_process.journal.reseal()

    assert other_process.journal.state() is None


def test_a_run_made_by_hand_does_not_stand_for_a_decision(registry: Registry) -> None:
    """A run made by hand under next month's key does not keep next month from being decided."""
    first_entry = decide(registry, 0)
    at = NOW + timedelta(days=30)
    decision = evaluate(Case(first_entry.state, evidence(), POLICY, at, at))
    client, template = registry._tracking.client, registry._tracking.decision_runs(limit=1)[0]
    run = client.create_run(
        template.info.experiment_id,
        tags={**template.data.tags, "key": decision.key, "hash": "0" * 64},
    )
    client.set_terminated(run.info.run_id)

    assert registry.journal.append(decision).state.weight == decision.after.weight
    assert registry.journal.decided("weight", at) == registry.journal.append(decision)


def requests(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The requests to MLflow from now on, each with the number of runs it returned."""
    calls: list[tuple[str, int]] = []
    client = registry._tracking.client
    for name in dir(client):
        method = getattr(client, name)
        if name.startswith("_") or not callable(method):
            continue

        def counted(*args: Any, name: str = name, method: Any = method, **kw: Any) -> Any:
            answer = method(*args, **kw)
            calls.append((name, len(answer) if isinstance(answer, list) else 1))
            return answer

        monkeypatch.setattr(client, name, counted)
    return calls


def test_a_decision_costs_the_same_however_long_the_journal(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process decides, renews the lease, and looks up decisions: same requests, same rows.

    They are asked after two decisions and after eight.
    """
    costs = []
    for months in (range(2), range(3, 8)):
        for month in months:
            decide(registry, month)
        other = reopened(registry)
        calls = requests(other, monkeypatch)
        entry = decide(other, months.stop)
        other.journal.renew_lease(entry.state.lease_until)
        assert other.journal.latest("weight") == other.journal.decided(
            "weight", entry.decision.period_end
        )
        assert other.journal.latest("hold") is None
        assert other.journal.entry_into("pilot") == registry.journal.entries()[0]
        assert other.journal.entries(last=2)[-1] == entry
        costs.append(calls)

    assert costs[0] == costs[1]


def test_verifying_reads_all_decisions_at_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow is asked as often about six decisions as about three, and for no file."""
    calls = requests(registry, monkeypatch)
    counts = []
    for months in (range(3), range(3, 6)):
        for month in months:
            decide(registry, month)
        calls.clear()
        assert registry.journal.examine() == ([], months.stop)
        counts.append(calls.copy())

    assert counts[0] == counts[1]
    assert {name for name, _ in counts[0]} == {"search_runs", "get_run", "get_registered_model"}


def test_the_path_of_the_weight_is_read_without_figures_it_does_not_draw(
    registry: Registry,
) -> None:
    """The runs that are read have the tags and metrics of a point alone."""
    entry = [decide(registry, month) for month in range(3)][-1]
    run, *_ = registry._tracking.all_decision_runs(PATH_NAMES)

    assert run.data.tags.keys() | run.data.metrics.keys() == set(PATH_NAMES)
    points = reopened(registry).journal.weight_path(entry)
    assert [point.sequence for point in points] == [1, 2, 3]
    assert points[-1].weight_after == entry.decision.after.weight


def test_runs_read_at_once_are_those_that_the_client_returns(registry: Registry) -> None:
    """Same order, files, tags and metrics; a run that was deleted is in neither."""
    for month in range(3):
        decide(registry, month)
    registry._tracking.client.delete_run(str(registry.journal.entries()[1].run_id))
    runs = [registry._tracking.decision_runs(), registry._tracking.all_decision_runs()]
    one, other = (
        [(run.info.run_id, run.info.artifact_uri, run.data.tags, run.data.metrics) for run in read]
        for read in runs
    )

    assert one == other
    assert [tags["sequence"] for _, _, tags, _ in one] == ["3", "1"]


def test_marks_only_rise_and_never_pass_the_journal(registry: Registry, tmp_path: Path) -> None:
    """Late notes of eight threads leave the highest; a decision not recorded leaves none."""
    ledger = Ledger(f"sqlite:///{tmp_path}/mlruns/ledger.db", LINEAGE)
    with ThreadPoolExecutor(8) as threads:
        marks = [Mark(number, f"{number}", "constant") for number in (3, 1, 8, 2, 7, 4, 6, 5)]
        list(threads.map(lambda mark: ledger.raise_mark("other", mark), marks))
    assert ledger.mark("other") == Mark(8, "8", "constant")
    ledger.raise_mark("other", Mark(8, "another", "constant"))
    assert ledger.mark("other") == Mark(8, "8", "constant")

    registry.journal.begin(initial_state(LINEAGE, EARLIER))
    assert ledger.mark(LINEAGE) == Mark(0, None, "constant")
    entry = decide(registry, 0)
    assert ledger.mark(LINEAGE) == Mark(1, entry.hash, "constant")


def test_a_mark_behind_a_decision_that_was_cut_short_catches_up(
    registry: Registry, tmp_path: Path
) -> None:
    """The next process that decides raises it; readers believe the later decision at once."""
    entries = [decide(registry, month) for month in range(2)]
    ledger = tmp_path / "mlruns" / "ledger.db"
    with sqlite3.connect(ledger) as connection:
        connection.execute(
            "UPDATE ml_lineages SET sequence = 1, decision_hash = ?", (entries[0].hash,)
        )
    other_process = reopened(registry)

    assert other_process.journal.state() == entries[1].state
    with other_process.journal.deciding():
        mark = Ledger(f"sqlite:///{ledger}", LINEAGE).mark(LINEAGE)
        assert mark == Mark(2, entries[1].hash, "constant")


def test_the_same_number_with_another_hash_is_not_believed(
    registry: Registry, tmp_path: Path
) -> None:
    """An older copy that went on elsewhere is told apart from the one that was seen."""
    decide(registry, 0)
    with sqlite3.connect(tmp_path / "mlruns" / "ledger.db") as connection:
        connection.execute("UPDATE ml_lineages SET decision_hash = 'other'")

    state, fault = reopened(registry).journal.verified()
    assert state is None
    assert "names another decision 1 than the one the ledger has seen" in str(fault)
