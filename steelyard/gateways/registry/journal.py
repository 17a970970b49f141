"""State and journal of a lineage in MLflow: one finished run per decision (SPEC §7).

The runs are the record; the state tag, written last, is a copy that is quick to read. If a process
dies between the two, readers get the state that follows from the journal, and the next process that
decides completes the tag. State and decisions are sealed; nothing written by other means is
trusted, nor is a journal that lacks decisions which its witnesses have seen.
"""

import hmac
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from steelyard.errors import RestoreService, VerifyState
from steelyard.garbage import without_collector
from steelyard.gateways.registry import descriptions
from steelyard.gateways.registry.datasets import Dataset, inputs
from steelyard.gateways.registry.tracking import (
    DECISIONS,
    MAX_CHARACTERS,
    NOTE,
    POLICIES,
    KeyedRuns,
    RunFigures,
    Tracking,
    flat,
)
from steelyard.gateways.seal import Seal, StateReading
from steelyard.gateways.witnesses import Testimony, Witnesses
from steelyard.weight.decision import Decision, Entry, decision_key, first_break, follows, link
from steelyard.weight.policy import Phase
from steelyard.weight.state import State

if TYPE_CHECKING:
    from mlflow.entities import Run

STATE = "steelyard.state"
ENTRY = "decision.json"
PATH_TAGS = ("as_of", "kind", "verdict", "phase")
"""Tags of a decision's run that a point of the weight's path repeats."""
PATH_NAMES = (*PATH_TAGS, "sequence", "weight_after")
"""Tags and metrics of a decision's run that the weight's path is read from."""

POLICY_HASH = "policy_hash"
"""Tag of a decision's run; those of releases without it have the policy as parameters."""

SEARCH_DEPTH = 20
"""Latest decisions searched for one that is unchanged since it was recorded."""

ADVICE = (
    "steelyard verify says more; steelyard verify --repair rewrites what follows from the journal; "
    "if decisions or rows are lost, restore the newest backup, or go on without them at weight 0: "
    "steelyard rollback --accept-loss"
)
"""What an operator may do about a state that cannot be believed."""

Lock = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class WeightPoint:
    """A decision as tags and metrics of its run tell it, for a picture of the weight's path.

    Attributes:
        sequence: Position in the journal, from 1.
        as_of: When it was made (UTC).
        kind: Which review or operation decided.
        verdict: What was decided.
        phase: Phase it left.
        weight_after: Weight it left, as a share.
        run_id: MLflow run of the decision.
    """

    sequence: int
    as_of: datetime
    kind: str
    verdict: str
    phase: str
    weight_after: float
    run_id: str


@dataclass(slots=True)
class ModelPage:
    """What the journal writes on the lineage's page in the registry.

    Attributes:
        tags: Tags of the registered model, the state among them.
        reading: What the state tag says; None before it was read.
        description: Its description; None before the first decision.
        unwritten: Names of the tags that MLflow has yet to get.
    """

    tags: dict[str, str]
    description: str | None
    reading: StateReading | None = None
    unwritten: set[str] = field(default_factory=set)


class Journal:
    """State and decisions of one lineage.

    Args:
        tracking: MLflow runs and registered model of the lineage.
        lock: Returns a context in which no other process changes the lineage.
        seal: Seal of the home.
        install_champion: Makes the version of a promotion the champion; safe to repeat.
        witnesses: What ledger and trading side have seen of the lineage; None for none.
    """

    def __init__(
        self,
        tracking: Tracking,
        lock: Lock,
        seal: Seal,
        install_champion: Callable[[Entry], None],
        witnesses: Witnesses | None = None,
    ) -> None:
        self._tracking = tracking
        self._lock = lock
        self.seal = seal
        self._witnesses = witnesses
        self._install_champion = install_champion
        self._mutex = threading.RLock()
        self._depth = 0
        self._completed = False  # whether tag and ledger's mark were brought up to the journal
        self._alone = False
        self._page: ModelPage | None = None  # kept while alone
        self.remembered: dict[str, Any] | None = None  # versions read while alone, by number
        self._own_last: Entry | None = None  # made here while alone, so it is the last decision
        self._agreed: int | None = None  # last decision on which tag, journal, witnesses agreed
        self._weight_path: list[WeightPoint] = []
        self._policies = KeyedRuns(tracking, POLICIES)
        self._policy_runs: dict[str, str] = {}  # hash of a policy → its run

    @contextmanager
    def deciding(self, *, even_without_lock: bool = False) -> Iterator[None]:
        """Lock the lineage against decisions of other processes; may be nested.

        The first time, a decision that was cut short is completed, so that no decision starts from
        an outdated state.

        Args:
            even_without_lock: Continue if the lock cannot be reached; no other process can decide
                then either.

        Raises:
            RestoreService: If another process keeps the lock, or MLflow cannot be reached.
        """
        with self._mutex, ExitStack() as locks:
            if self._depth == 0:
                self._acquire(locks, even_without_lock)
            self._depth += 1
            try:
                if not self._completed:
                    with self._tracking.reached():
                        self._complete_last()
                yield
            finally:
                self._depth -= 1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the lineage of a home that no other process uses; its page is written at the end.

        For a replay, which renews the lease every day. If the process dies inside, the state
        follows from the journal, with the lease of its last decision. A home in operation is never
        alone: a rollback may come at any moment.
        """
        with self.deciding():
            self._alone, self.remembered = True, {}
            try:
                yield
            finally:
                page, last_entry = self._page, self._own_last
                self._page, self._own_last, self._alone = None, None, False
                self.remembered = None
                with self._tracking.reached():
                    if last_entry is not None:
                        self._describe(last_entry)
                    if page is not None:
                        self._write(page)

    def _acquire(self, locks: ExitStack, even_without_lock: bool) -> None:
        try:
            locks.enter_context(self._lock())
        except RestoreService:
            if not even_without_lock:
                raise

    def recover(self) -> None:
        """Complete the last decision if its process died before writing the state tag.

        Safe to repeat.
        """
        with self._tracking.reached():
            seen, state_tag, last_entry = self._read()
            if last_entry is not None and _cut_short(state_tag, last_entry, seen):
                with self.deciding(even_without_lock=True):
                    self._complete_last()

    def _complete_last(self) -> Entry | None:
        """Return the last decision, completed if it was cut short; call it under the lock."""
        seen, state_tag, last_entry = self._read()
        if last_entry is not None and _cut_short(state_tag, last_entry, seen):
            self._take_effect(last_entry)
            state_tag = self._stored_tag()
        checked = self._agree(_checked_tag(state_tag, last_entry, seen))
        if checked.state is not None:
            self._noted(checked.state)
            self._completed = True
        return last_entry

    def _read(self) -> tuple[Testimony, StateReading, Entry | None]:
        """Return what the witnesses have seen, the state tag and the last decision.

        They are read in this order: a decision made in between makes the tag look behind the
        journal, never ahead of it, nor behind a witness. A ledger that does not know a lineage
        whose state counts its digests is asked again: the lineage may have begun in between.
        """
        seen, state_tag = self._seen(), self._stored_tag()
        last_entry = self._last_entry(seen, state_tag.state)
        if seen.ledger is None and state_tag.state is not None and state_tag.state.digests:
            seen = self._seen()
        return seen, state_tag, last_entry

    def _seen(self) -> Testimony:
        return self._witnesses.testify() if self._witnesses else Testimony()

    def _agree(self, checked: StateReading) -> StateReading:
        """Return what was read, and remember the decision it is of if nothing is wrong with it."""
        if checked.fault is None and checked.state is not None:
            self._agreed = max(self._agreed or 0, checked.state.sequence)
        return checked

    def begin(self, state: State) -> State:
        """Write the first state of a lineage; a lineage that has a state keeps it."""
        with self._tracking.reached(), self.deciding():
            present = self.state()
            if present is not None:
                return present
            self.seal.create()
            return self._noted(self._write_tags(state, descriptions.FIRST_TAGS))

    def _noted(self, state: State) -> State:
        if self._witnesses is not None:
            self._witnesses.note(state)
        return state

    def has_begun(self) -> bool:
        """Whether there may be a decision to read; nothing is created.

        Raises:
            VerifyState: If the database is gone although it held the lineage.
        """
        return self._tracking.has_begun()

    def state(self) -> State | None:
        """Return the lineage's state, None if it has none yet; nothing is written.

        The tag is checked against journal and witnesses until all agree once; later reads take one
        call.

        Raises:
            VerifyState: If the state tag does not follow from the journal, or a witness has seen a
                later decision.
        """
        if not self.has_begun():
            return None
        with self._tracking.reached():
            state_tag = self._effective_tag() if self._agreed is None else self._agreed_tag()
            if state_tag.fault:
                raise VerifyState(
                    f"the state of {self._tracking.lineage} {state_tag.fault}; {ADVICE}"
                )
            return state_tag.state

    def _agreed_tag(self) -> StateReading:
        """Return the state tag, which may not be of an earlier decision than this process saw."""
        state_tag = self._stored_tag()
        seen = state_tag.state.sequence if state_tag.state else -1
        if state_tag.fault is None and seen < (self._agreed or 0):
            return StateReading(fault=f"is no longer that of decision {self._agreed}")
        return self._agree(state_tag)

    def _effective_tag(self) -> StateReading:
        """Return the state tag checked against the journal; a decision cut short counts."""
        seen, state_tag, last_entry = self._read()
        if last_entry is not None and _cut_short(state_tag, last_entry, seen):
            return StateReading(_state_after(last_entry, state_tag.state))
        return self._agree(_checked_tag(state_tag, last_entry, seen))

    def verified(self) -> tuple[State | None, str | None]:
        """Return the state that can be trusted, and the fault of the state tag (None: no fault).

        If the tag does not follow from the journal, the state is that of the last sealed decision;
        None if a witness has seen a later one.
        """
        if self._tracking.is_gone():
            return None, "is gone with MLflow's database"
        if not self.has_begun():
            return None, None
        with self._tracking.reached():
            state_tag = self._effective_tag()
            if state_tag.fault is None:
                return state_tag.state, None
            seen, last_state = self._seen(), self._last_state()
            return (None if seen.fault(last_state) else last_state), state_tag.fault

    def last_sealed(self) -> State | None:
        """Return the state after the last sealed decision, whatever the witnesses have seen.

        A rollback starts from it; None before the lineage begins.

        Raises:
            VerifyState: If none is left although decisions were seen.
        """
        with self._tracking.reached():
            state_tag = self._effective_tag()
            state = state_tag.state if state_tag.fault is None else self._last_state()
            if state is None and state_tag.fault:
                raise VerifyState(
                    f"the state of {self._tracking.lineage} {state_tag.fault}, and no decision is "
                    "left that can be believed; restore MLflow's newest backup or the seal key, or "
                    "begin a new lineage: another name as lineage in conf/services.yaml"
                )
            return state

    def _last_state(self) -> State | None:
        last_entry = self._first_trusted()
        return last_entry.state if last_entry else None

    def read_tag(self) -> StateReading:
        """Return the state tag checked against the journal; a decision cut short is a fault."""
        with self._tracking.reached():
            seen, state_tag, last_entry = self._read()
            return _checked_tag(state_tag, last_entry, seen)

    def append(
        self,
        decision: Decision,
        files: Mapping[str, bytes] | None = None,
        data: Sequence[Dataset] = (),
    ) -> Entry:
        """Record a decision and let it take effect; a key already recorded returns its entry.

        Args:
            decision: Decision made from the state in force.
            files: Reports and pictures, name → content.
            data: Rows the decision rests on.

        Raises:
            RestoreService: If another process decided in between.
        """
        with self._tracking.reached(), self.deciding(even_without_lock=decision.kind == "rollback"):
            recorded = self._recorded_entry(decision.key)
            if recorded is not None:
                return recorded
            last_entry, number = self._end_of_chain()
            if last_entry is not None and not follows(decision.before, last_entry.state):
                raise RestoreService(
                    "another decision was made meanwhile; run the same command again"
                )
            entry = self._record_run(link(decision, last_entry, number), files or {}, data)
            self._take_effect(entry)
            self._noted(entry.state)
            self._own_last = entry if self._alone else None
            return entry

    def _end_of_chain(self) -> tuple[Entry | None, int]:
        """Return the last decision, completed, and the next one's number; call it under the lock.

        Runs of processes that died are closed.
        """
        if self._own_last is not None:
            return self._own_last, self._own_last.sequence + 1
        last_entry = self._complete_last()
        for run in self._tracking.decision_runs(status="RUNNING"):
            self._tracking.client.set_terminated(run.info.run_id, status="KILLED")
        return last_entry, self._next_sequence(last_entry)

    def attach(self, entry: Entry, files: Mapping[str, bytes]) -> None:
        """Add files to the run of a recorded decision.

        Args:
            entry: Recorded decision.
            files: Name → content; a name may contain folders.
        """
        with self._tracking.reached():
            self._tracking.attach(str(entry.run_id), files)

    def files(self, entry: Entry) -> set[str]:
        """Return the names of the files in a decision's run."""
        with self._tracking.reached():
            return {file.path for file in self._tracking.client.list_artifacts(str(entry.run_id))}

    def weight_path(self, entry: Entry) -> "list[WeightPoint]":
        """Return the decisions up to ``entry`` in order, read from tags and metrics alone.

        The runs are read once; later calls only add the decision made here.
        """
        with self._tracking.reached():
            return self._path_to(entry)

    def _path_to(self, entry: Entry) -> "list[WeightPoint]":
        last_sequence = self._weight_path[-1].sequence if self._weight_path else 0
        if last_sequence == entry.sequence - 1:
            run = self._tracking.client.get_run(str(entry.run_id))
            self._weight_path.extend(_path_points([run]))
        elif last_sequence < entry.sequence:
            runs = self._tracking.all_decision_runs(PATH_NAMES)
            self._weight_path = _path_points(reversed(runs))
        return [point for point in self._weight_path if point.sequence <= entry.sequence]

    def _record_run(
        self, entry: Entry, files: Mapping[str, bytes], data: Sequence[Dataset]
    ) -> Entry:
        decision = entry.decision
        policy = self._tracking.page(POLICIES, self._policy_run(decision))
        name = f"{decision.kind} {decision.period_end:%Y-%m-%d} {decision.outcome}"
        tags = {
            "lineage": decision.lineage,
            "key": decision.key,
            NOTE: descriptions.describe_decision(decision, policy),
        }
        with self._tracking.run(DECISIONS, name, tags) as run_id:
            if data:
                self._tracking.client.log_inputs(run_id, inputs(data))
            entry = entry.model_copy(update={"run_id": run_id})
            figures = RunFigures(_entry_metrics(entry), tags=self._entry_tags(entry))
            content = json.dumps(entry.model_dump(mode="json"), indent=1).encode()
            self._tracking.fill(run_id, figures, {**files, ENTRY: content})
        return entry

    def _policy_run(self, decision: Decision) -> str:
        """Return the run of the policy a decision was made under; the first one records it."""
        digest = decision.policy_hash
        if digest not in self._policy_runs:
            self._policy_runs[digest] = self._policies.record(
                f"{decision.lineage}/{digest}",
                f"policy {digest[: descriptions.POLICY_LETTERS]}",
                f"Settings under which the weight was decided since {decision.as_of:%Y-%m-%d}.",
                RunFigures(params=flat(decision.policy), tags={POLICY_HASH: digest}),
                {},
            )
        return self._policy_runs[digest]

    def _entry_tags(self, entry: Entry) -> dict[str, str]:
        decision = entry.decision
        return {
            "kind": decision.kind,
            "sequence": str(entry.sequence),
            "verdict": decision.verdict,
            "reasons": "; ".join(decision.reasons),
            "operator": decision.operator or "",
            "phase": decision.after.phase,
            "as_of": decision.as_of.isoformat(),
            POLICY_HASH: decision.policy_hash,
            "previous_run_id": entry.previous_run_id or "",
            "previous_hash": entry.previous_hash,
            "hash": entry.hash,
            "seal": self.seal.of(entry.hash),
        }

    def _take_effect(self, entry: Entry) -> None:
        """Apply a recorded decision; safe to repeat, the state is written last."""
        if entry.decision.kind == "promotion":
            self._install_champion(entry)
        if not self._alone:
            self._describe(entry)
        words = descriptions.model_tags(entry.decision)
        self._write_tags(_state_after(entry, self._stored_tag().state), words)

    def _describe(self, entry: Entry) -> None:
        """Update the description on the model's page."""
        link, model_page = self._tracking.page(DECISIONS, str(entry.run_id)), self._model_page()
        description = descriptions.describe_lineage(entry, link)[:MAX_CHARACTERS]
        if model_page.description != description:
            self._tracking.client.update_registered_model(self._tracking.lineage, description)
            model_page.description = description

    def decided(self, kind: str, period_end: datetime) -> Entry | None:
        """Return the recorded decision about a period, None if there is none yet.

        Args:
            kind: Kind of decision, such as weight or guard.
            period_end: End of the period, UTC.
        """
        state = self.state()
        if state is None or state.as_of < period_end:
            return None  # nothing was decided at or after the period's end
        with self._tracking.reached():
            return self._recorded_entry(
                decision_key(self._tracking.lineage, kind, period_end.isoformat())
            )

    def approval(self, version: str) -> Entry | None:
        """Return the decision by which an operator approved a version, None without one."""
        with self._tracking.reached():
            return self._recorded_entry(decision_key(self._tracking.lineage, "approve", version))

    def entries(self, last: int | None = None) -> list[Entry]:
        """Return all decisions in order, or only the ``last`` ones.

        A decision whose file is gone is left out; ``faults`` names it.
        """
        with self._tracking.reached():
            if last and (linked := self._linked_entries(last)):
                return linked
            tracking = self._tracking
            runs = tracking.decision_runs(limit=last) if last else tracking.all_decision_runs()
            return [entry for entry in self._entries_or_none(runs[::-1]) if entry]

    def _linked_entries(self, count: int) -> list[Entry]:
        """Return the last decisions by the links between them; empty if one is not there."""
        entry = self._undoubted_entry(self._seen(), self._stored_tag().state)
        entries: list[Entry] = []
        while entry is not None:
            entries.append(entry)
            if len(entries) == count or entry.previous_run_id is None:
                return entries[::-1]
            run = self._tracking.decision_run(entry.previous_run_id)
            entry = self._entry_or_none(run) if run is not None else None
        return []

    def latest(self, kind: str) -> Entry | None:
        """Return the latest decision of a kind, such as weight or hold; None without one."""
        with self._tracking.reached():
            points = [point for point in self._whole_path() if point.kind == kind]
            return self._first_of(reversed(points))

    def entry_into(self, phase: Phase) -> Entry | None:
        """Return the first decision after which a phase was in force, None if none was."""
        with self._tracking.reached():
            return self._first_of(point for point in self._whole_path() if point.phase == phase)

    def _whole_path(self) -> "list[WeightPoint]":
        last_entry = self._read()[2]
        return self._path_to(last_entry) if last_entry is not None else []

    def _first_of(self, points: Iterable[WeightPoint]) -> Entry | None:
        """Return the first of these decisions that is as it was recorded."""
        runs = (self._tracking.decision_run(point.run_id) for point in points)
        return next((entry for run in runs if run and (entry := self._trusted_entry(run))), None)

    def page(self, run_id: str) -> str:
        """Return the path of a decision's run on MLflow's pages."""
        with self._tracking.reached():
            return f"/{self._tracking.page(DECISIONS, run_id)}"

    def renew_lease(self, until: datetime, digests: tuple[int, str] | None = None) -> State:
        """Keep the weight in force until ``until``, and no longer.

        Args:
            until: New end of the lease, UTC.
            digests: Number and head of the ledger's digests; None if they are as they were.

        Raises:
            RestoreService: If the lineage has no state.
        """
        with self._tracking.reached(), self.deciding():
            state = self.state()
            if state is None:
                raise RestoreService(
                    f"MLflow lost the state of {self._tracking.lineage}; restore the database"
                )
            number, head = digests or (state.digests, state.digest_head)
            return self._write_tags(
                state.model_copy(
                    update={"lease_until": until, "digests": number, "digest_head": head}
                )
            )

    def repair(self) -> None:
        """Overwrite the state tag with the state after the last sealed decision."""
        with self._tracking.reached(), self.deciding():
            last_entry = self._first_trusted()
            if last_entry is not None:
                self._take_effect(last_entry)

    def reseal(self) -> None:
        """Seal decisions and state with the present key, after it was set or changed.

        The lease goes back to that of the last decision.

        Raises:
            VerifyState: If the chain is broken; untrusted decisions are not sealed.
        """
        with self._tracking.reached(), self.deciding():
            runs = self._tracking.decision_runs()[::-1]
            texts = self._tracking.texts(runs, ENTRY)
            entries = [self._read_entry(run, text) for run, text in zip(runs, texts, strict=True)]
            broken = first_break(entries) or self._lost_by(entries)
            if broken:
                raise VerifyState(f"{broken}; only a whole chain is sealed anew")
            for run, entry in zip(runs, entries, strict=True):
                self._tracking.client.set_tag(run.info.run_id, "seal", self.seal.of(entry.hash))
            if entries:
                self._noted(self._write_tags(entries[-1].state))
            elif self._stored_tag().fault:
                self._tracking.client.delete_registered_model_tag(self._tracking.lineage, STATE)

    def _lost_by(self, entries: Sequence[Entry]) -> str | None:
        """Return the fault of a chain that lacks decisions a witness has seen."""
        fault = self._seen().fault(entries[-1].state if entries else None, any_key=True)
        return f"the state tag {fault}" if fault else None

    def lost(self) -> tuple[int, ...]:
        """Return the numbers of the decisions that are missing, up to the highest ever seen."""
        with self._tracking.reached():
            runs = self._tracking.all_decision_runs(("sequence", "hash", "seal"))
            present = {int(run.data.tags["sequence"]) for run in runs if self._is_sealed(run)}
            highest = max(self._highest_seen(), *map(_sequence, runs), 0)
            return tuple(sorted(set(range(1, highest + 1)) - present))

    def faults(self) -> list[str]:
        """Return the faults of chain, runs and state, the first broken or missing link first."""
        return self.examine()[0]

    def examine(self) -> tuple[list[str], int]:
        """Return the faults, and the number of decisions; every run is read once."""
        with self._tracking.reached(), without_collector():
            state_tag = self.read_tag()
            runs = self._tracking.all_decision_runs()[::-1]
            entries = self._entries_or_none(runs)
            missing = [
                f"{_run_label(run)}: its {ENTRY} is gone or cannot be read"
                for run, entry in zip(runs, entries, strict=True)
                if not entry
            ]
            readable = [(run, entry) for run, entry in zip(runs, entries, strict=True) if entry]
            broken = first_break([entry for _, entry in readable])
            last_entry = readable[-1][1] if readable else None
            faults = [
                *missing,
                *([broken] if broken else []),
                *(fault for run, entry in readable for fault in self._run_faults(run, entry)),
                *([f"the state tag {state_tag.fault}"] if state_tag.fault else []),
                *self._readable_faults(last_entry),
                *(
                    f"run {run.info.run_id}: begun, never finished"
                    for run in self._tracking.decision_runs(status="RUNNING")
                ),
            ]
            return faults, len(runs)

    def _run_faults(self, run: "Run", entry: Entry) -> Iterator[str]:
        tags = run.data.tags
        expected = self._entry_tags(entry)
        if POLICY_HASH not in tags:
            del expected[POLICY_HASH]
        for name, value in expected.items():
            if tags.get(name) != value[:MAX_CHARACTERS]:
                is_seal = name == "seal"
                fault = "is not sealed with this key" if is_seal else f"its tag {name} was changed"
                yield f"{_run_label(run)}: {fault}"
        for name, figure in _entry_metrics(entry).items():
            if run.data.metrics.get(name) != figure:
                yield f"{_run_label(run)}: its metric {name} was changed"

    def _readable_faults(self, last_entry: Entry | None) -> Iterator[str]:
        if last_entry is None:
            return
        tags = self._model_page().tags
        for name, value in _readable_tags(last_entry.state).items():
            if tags.get(name) != value:
                yield f"the tag {name} says {tags.get(name)}, the journal {value}"

    def _stored_tag(self) -> StateReading:
        page = self._model_page()
        if page.reading is None:
            text = page.tags.get(STATE)
            page.reading = self.seal.unsealed(text) if text else StateReading()
        return page.reading

    def _model_page(self) -> ModelPage:
        """Return the lineage's page in the registry, read once while alone."""
        page = self._page
        if page is None:
            model = self._tracking.client.get_registered_model(self._tracking.lineage)
            page = ModelPage(dict(model.tags), model.description)
            self._page = page if self._alone else None
        return page

    def _write_tags(self, state: State, words: Mapping[str, str] | None = None) -> State:
        """Write a state as tags, and words for readers, which nothing depends on."""
        page, tags = self._model_page(), _readable_tags(state) | dict(words or {})
        for name, value in (tags | {STATE: self.seal.sealed(state)}).items():
            if page.tags.get(name) != value:
                page.tags[name] = value
                page.unwritten.add(name)
        page.reading = None
        if not self._alone:
            self._write(page)
        return state

    def _write(self, page: ModelPage) -> None:
        """Write the changed tags of the page to MLflow, the state last."""
        set_tag, lineage = self._tracking.client.set_registered_model_tag, self._tracking.lineage
        for name in sorted(page.unwritten, key=lambda name: name == STATE):
            set_tag(lineage, name, page.tags[name])
            page.unwritten.remove(name)

    def _recorded_entry(self, key: str) -> Entry | None:
        """Return the decision recorded under ``key``, None if there is no trusted one."""
        return self._first_trusted(f" and tags.key = '{key}'")

    def _highest_seen(self) -> int:
        """Return the highest number that a witness or the state tag knows; 0 without one."""
        state = self._stored_tag().state
        return max(self._seen().highest, state.sequence if state else 0)

    def _next_sequence(self, last_entry: Entry | None) -> int:
        """Return an unused number, so that a removed decision leaves a gap."""
        number = 1 + max(self._highest_seen(), last_entry.sequence if last_entry else 0)
        while self._tracking.decision_runs(f" and tags.sequence = '{number}'", limit=1):
            number += 1
        return number

    def _last_entry(self, seen: Testimony, state: State | None) -> Entry | None:
        """Return the last decision whose content and seal are unchanged.

        It is the one that the state names, unless another follows it or a witness has seen a later
        one; only then all of them are searched.
        """
        return self._undoubted_entry(seen, state) or self._first_trusted()

    def _undoubted_entry(self, seen: Testimony, state: State | None) -> Entry | None:
        """Return the decision that a state names; None if it may not be the last one."""
        named = self._named_entry(state)
        if named is None or named.sequence < seen.highest or self._is_followed(named):
            return None
        return named

    def _named_entry(self, state: State | None) -> Entry | None:
        """Return the decision that a state names, None if it is not there as it was recorded."""
        if state is None or state.decision_run_id is None:
            return None
        run = self._tracking.decision_run(state.decision_run_id)
        entry = self._trusted_entry(run) if run is not None else None
        return entry if entry is not None and entry.hash == state.decision_hash else None

    def _is_followed(self, entry: Entry) -> bool:
        condition = f" and tags.previous_hash = '{entry.hash}'"
        return bool(self._tracking.decision_runs(condition, limit=1))

    def _first_trusted(self, condition: str = "") -> Entry | None:
        """Return the latest decision of a search that is as it was recorded."""
        for depth in (1, SEARCH_DEPTH):
            runs = self._tracking.decision_runs(condition, limit=depth)
            trusted = next((entry for run in runs if (entry := self._trusted_entry(run))), None)
            if trusted or len(runs) < depth:
                return trusted
        return None

    def _trusted_entry(self, run: "Run") -> Entry | None:
        """Return the decision of a run, None if content, hash or seal were changed."""
        if not self._is_sealed(run):
            return None
        entry, recorded = self._entry_or_none(run), run.data.tags["hash"]
        return entry if entry is not None and entry.intact and entry.hash == recorded else None

    def _is_sealed(self, run: "Run") -> bool:
        tags = run.data.tags
        return hmac.compare_digest(tags.get("seal", ""), self.seal.of(tags.get("hash", "")))

    def _entry_or_none(self, run: "Run") -> Entry | None:
        return self._entries_or_none([run])[0]

    def _entries_or_none(self, runs: Sequence["Run"]) -> list[Entry | None]:
        entries: list[Entry | None] = []
        for run, text in zip(runs, self._tracking.texts(runs, ENTRY), strict=True):
            try:
                entries.append(self._read_entry(run, text))
            except VerifyState:
                entries.append(None)
        return entries

    @staticmethod
    def _read_entry(run: "Run", text: str | None) -> Entry:
        if text is None:
            raise VerifyState(f"{_run_label(run)}: its {ENTRY} is gone; restore the artifact")
        try:
            return Entry.read(text)
        except (ValueError, KeyError) as error:
            raise VerifyState(
                f"{_run_label(run)}: its {ENTRY} cannot be read; restore the artifact"
            ) from error


def _cut_short(state_tag: StateReading, last_entry: Entry, seen: Testimony) -> bool:
    """Whether the process that recorded ``last_entry`` died before it wrote the state tag."""
    if state_tag.fault is not None or seen.fault(last_entry.state):
        return False
    return state_tag.state is None or state_tag.state.sequence < last_entry.sequence


def _checked_tag(
    state_tag: StateReading, last_entry: Entry | None, seen: Testimony
) -> StateReading:
    """Return the state tag, or its fault if it does not follow from the last decision."""
    fault = state_tag.fault or seen.fault(state_tag.state)
    if state_tag.state is None or fault:
        return StateReading(fault=fault)
    sequence = last_entry.sequence if last_entry else 0
    if state_tag.state.sequence > sequence:
        return StateReading(
            fault=f"names decision {state_tag.state.sequence} "
            f"(run {state_tag.state.decision_run_id}), which is missing"
        )
    if last_entry is not None and not follows(state_tag.state, last_entry.state):
        return StateReading(
            fault=f"is not what decision {last_entry.sequence} (run {last_entry.run_id}) left"
        )
    return state_tag


def _state_after(entry: Entry, present: State | None) -> State:
    """Return the state after a decision, with what a guard renewed since: lease and digests."""
    if present is None:
        return entry.state
    renewed: dict[str, Any] = {
        "lease_until": max(entry.state.lease_until, present.lease_until),
    }
    if present.sequence == entry.sequence:
        renewed |= {"digests": present.digests, "digest_head": present.digest_head}
    return entry.state.model_copy(update=renewed)


def _run_label(run: "Run") -> str:
    return f"decision {run.data.tags.get('sequence')} (run {run.info.run_id})"


def _sequence(run: "Run") -> int:
    """Return the number of a decision's run; 0 if somebody removed or changed the tag."""
    text = run.data.tags.get("sequence", "")
    return int(text) if text.isdecimal() else 0


def _path_points(runs: Iterable["Run"]) -> list[WeightPoint]:
    """Return the points of the weight's path; a run made by hand that lacks a tag is left out."""
    return [
        WeightPoint(
            sequence=int(run.data.metrics["sequence"]),
            as_of=datetime.fromisoformat(run.data.tags["as_of"]),
            kind=run.data.tags["kind"],
            verdict=run.data.tags["verdict"],
            phase=run.data.tags["phase"],
            weight_after=run.data.metrics["weight_after"],
            run_id=str(run.info.run_id),
        )
        for run in runs
        if run.data.tags.keys() >= set(PATH_TAGS)
        and run.data.metrics.keys() >= {"sequence", "weight_after"}
    ]


def _readable_tags(state: State) -> dict[str, str]:
    return {"ml_weight": f"{state.weight:.4f}", "phase": state.phase}


def _entry_metrics(entry: Entry) -> dict[str, float]:
    figures = {
        name: float(figure)
        for name, figure in entry.decision.evidence.items()
        if isinstance(figure, int | float)
    }
    weights = {
        "weight_before": entry.decision.before.weight,
        "weight_after": entry.decision.after.weight,
    }
    return {**figures, **weights, "sequence": float(entry.sequence)}
