"""Every artefact of a home is changed in turn, without the key: who finds it, what trading does."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from factories.evidence import POLICY
from factories.pilot import BAR, BEGAN, END, bars_frame, conf_folder, market
from factories.registry import LINEAGE, copy_mlflow
from steelyard.environment import isolated_environment
from steelyard.errors import SteelyardError
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.rollback import hold, rollback
from steelyard.flows.settle import settle
from steelyard.gateways.registry.journal import STATE
from steelyard.home import Home, open_home
from steelyard.market.history import as_known
from steelyard.ops.doctor import doctor
from steelyard.ops.verify import verified
from steelyard.settings import PACKAGE
from steelyard.tasks.predictions import record_opinions
from steelyard.trading import open_watch
from steelyard.weight.decision import make_decision
from steelyard.weight.state import initial_state

NOW = END + timedelta(hours=1)


@dataclass(frozen=True)
class Lived:
    """A home in pilot that was lived in, and copies of it from before its last decision."""

    folder: Path
    whole: Path
    earlier_state: str

    @property
    def conf(self) -> str:
        return str(conf_folder(self.folder))

    @property
    def home(self) -> Home:
        """The home as a new process opens it."""
        return open_home(self.folder, self.conf)

    @property
    def mlflow(self) -> Path:
        return self.folder / "mlruns" / "mlflow.db"

    @property
    def ledger(self) -> Path:
        return self.folder / ".steelyard" / "ledger.db"

    def sql(self, *statements: str) -> None:
        """Change the ledger without Steelyard."""
        with sqlite3.connect(self.ledger) as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount, statement

    def put_back(self, name: str, file: Path) -> None:
        """Put an older copy of a database in its place."""
        for part in file.parent.glob(f"{file.name}*"):
            part.unlink()
        shutil.copy(self.whole.parent / name, file)

    def weight(self) -> float:
        """Weight that a trading process uses which starts now."""
        watch = open_watch(self.folder, Path(self.conf))
        watch.refresh()
        return watch.weight(NOW)


@pytest.fixture(scope="module", autouse=True)
def unpooled() -> Iterator[None]:
    """No connection outlives its use, as if every step were a process of its own."""
    with isolated_environment():
        yield


def pilot_at_15_percent(folder: Path, empty: Path) -> Home:
    """A home in pilot since ``BEGAN``; no model serves, which none of these tests needs."""
    copy_mlflow(empty, folder / "mlruns")
    shutil.copytree(PACKAGE / "conf", conf_folder(folder))
    stores = open_home(folder, conf_folder(folder))
    before = stores.journal.begin(initial_state(LINEAGE, BEGAN))
    pilot = before.model_copy(update={"phase": "pilot", "weight": 0.15, "base": 0.1, "bonus": 0.05})
    stores.journal.append(
        make_decision("gates", before, pilot, POLICY, BEGAN, verdict="RAISE", reasons=("made",))
    )
    return stores


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path, unpooled: None) -> Lived:
    """A home at 15 %: predictions, outcomes, a trade, a guard, a trading process, then a hold."""
    place = tmp_path_factory.mktemp("lived")
    lived = Lived(place / "home", place / "whole", "")
    stores = pilot_at_15_percent(lived.folder, empty_mlflow)
    stores.lake.append(bars_frame(), BAR)
    known = as_known(market()[1], pd.Timestamp(END))
    state = stores.journal.state()
    assert state is not None
    record_opinions(stores, known, state)
    stores.ledger.record_trades([closed_trade(known)])
    settle.fn(END, str(lived.folder), lived.conf)
    copy_database(lived.ledger, place / "ledger.db")
    guard.fn(END, str(lived.folder), lived.conf)
    earlier = stores.registry._tracking.client.get_registered_model(LINEAGE).tags[STATE]
    copy_database(lived.mlflow, place / "mlflow.db")
    hold.fn("earnings", "anna", END, str(lived.folder), lived.conf)
    assert lived.weight() == 0.15
    for file in (lived.ledger, lived.mlflow):
        copy_database(file, file.with_suffix(".copy"))
        for part in file.parent.glob(f"{file.name}*"):
            part.unlink()
        file.with_suffix(".copy").rename(file)
    shutil.copytree(lived.folder, lived.whole)
    return Lived(lived.folder, lived.whole, earlier)


@pytest.fixture
def lived(prepared: Lived) -> Lived:
    """The home, whole again."""
    shutil.rmtree(prepared.folder)
    shutil.copytree(prepared.whole, prepared.folder)
    return prepared


def copy_database(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as original, sqlite3.connect(target) as copy:
        original.backup(copy)


def closed_trade(history: pd.DataFrame) -> dict[str, object]:
    """A trade of a settled signal, filled a little worse than the bars say."""
    settled = history[(history["decided_at"] > END - timedelta(days=10)).to_numpy(dtype=bool)]
    row = settled[settled["won"].notna().to_numpy()].iloc[0]
    return {
        "signal_id": row["signal_id"],
        "sequence": 1,
        "broker": "paper",
        "symbol": row["symbol"],
        "side": row["side"],
        "quantity": 10.0,
        "stop_price": row["stop_price"],
        "target_price": row["target_price"],
        "status": "closed",
        "submitted_at": row["decided_at"].to_pydatetime(),
        "entry_at": row["entry_at"].to_pydatetime(),
        "entry_price": row["entry_price"] * 1.001,
        "exit_at": row["exit_at"].to_pydatetime(),
        "exit_price": row["exit_price"],
        "exit_reason": row["exit_reason"],
        "fees": 0.1,
    }


def edit_state(lived: Lived) -> None:
    client = lived.home.registry._tracking.client
    document = json.loads(client.get_registered_model(LINEAGE).tags[STATE])
    client.set_registered_model_tag(LINEAGE, STATE, json.dumps(document | {"weight": 0.7}))


def edit_decision(lived: Lived, which: int) -> None:
    run_id = lived.home.journal.entries()[which].run_id
    [file] = lived.folder.rglob(f"{run_id}/artifacts/decision.json")
    file.write_text(
        file.read_text().replace('"verdict": "', '"verdict":  "', 1).replace("0.15", "0.16")
    )


def edit_tag(lived: Lived) -> None:
    client = lived.home.registry._tracking.client
    client.set_tag(str(lived.home.journal.entries()[0].run_id), "reasons", "earned")


def undo_last_decision(lived: Lived) -> None:
    """Delete the newest decision and put back the state before it, truly sealed."""
    journal, client = lived.home.journal, lived.home.registry._tracking.client
    client.delete_run(str(journal.entries()[-1].run_id))
    client.set_registered_model_tag(LINEAGE, STATE, lived.earlier_state)


def forget_and_undo(lived: Lived) -> None:
    lived.sql("DELETE FROM ml_lineages")
    (lived.folder / ".steelyard" / "state.json").unlink()
    undo_last_decision(lived)


def lower_mark_and_undo(lived: Lived) -> None:
    earlier = json.loads(lived.earlier_state)["decision_hash"]
    with sqlite3.connect(lived.ledger) as connection:
        connection.execute("UPDATE ml_lineages SET sequence = 1, decision_hash = ?", (earlier,))
    undo_last_decision(lived)


def empty_registry(lived: Lived) -> None:
    client = lived.home.registry._tracking.client
    for entry in lived.home.journal.entries():
        client.delete_run(str(entry.run_id))
    client.delete_registered_model(LINEAGE)


def add_outcome(lived: Lived) -> None:
    """Settle, as the flow does, a prediction of which no guard has taken a digest; then edit it."""
    lived.sql(
        "UPDATE ml_predictions SET digest_number = NULL",
        "DELETE FROM ml_digests",
        "UPDATE ml_predictions SET net_return = 0.2 WHERE settled_at IS NOT NULL",
    )


def edit_bars(lived: Lived) -> None:
    for file in (lived.folder / ".steelyard" / "lake").glob("symbol=*/bars.parquet"):
        frame = pd.read_parquet(file, partitioning=None)
        late = (frame["timestamp"] > pd.Timestamp(END - timedelta(days=12))).to_numpy()
        frame.loc[late, ["high", "low"]] = frame.loc[late, ["high", "low"]] * [1.3, 0.7]
        frame.to_parquet(file, index=False)


def edit_state_file(lived: Lived) -> None:
    file = lived.folder / ".steelyard" / "state.json"
    file.write_text(file.read_text().replace("0.15", "0.65"))


CHANGE_OUTCOMES = """UPDATE ml_predictions SET net_return = 0.2, won = 1 WHERE signal_id IN
    (SELECT signal_id FROM ml_predictions WHERE settled_at IS NOT NULL LIMIT 3)"""
CHANGE_OPINIONS = """UPDATE ml_predictions SET p_win = 0.99 WHERE signal_id IN
    (SELECT signal_id FROM ml_predictions WHERE settled_at IS NOT NULL LIMIT 3)"""
DELETE_SETTLED = """DELETE FROM ml_predictions WHERE signal_id IN
    (SELECT signal_id FROM ml_predictions WHERE settled_at IS NOT NULL LIMIT 3)"""

# what is changed: how, what verify says (None: nothing), weight of a new trading process, what the
# guard says (None: it runs)
Tampering = tuple[Callable[[Lived], object], str | None, float, str | None]
TAMPERINGS: dict[str, Tampering] = {
    "state": (edit_state, "was changed by hand", 0.15, "was changed by hand"),
    "first decision": (lambda h: edit_decision(h, 0), "its content was changed", 0.15, None),
    "newest decision": (
        lambda h: edit_decision(h, -1),
        "its content was changed",
        0.0,
        "names decision 2",
    ),
    "tag of a decision": (edit_tag, "its tag reasons was changed", 0.15, None),
    "newest decision deleted, older state put back": (
        undo_last_decision,
        "the ledger has seen decision 2: a decision was deleted",
        0.0,
        "was put back",
    ),
    "the same, and the ledger's mark lowered": (
        lower_mark_and_undo,
        "the trading side has seen decision 2",
        0.0,
        "was put back",
    ),
    "the same, and both marks deleted": (
        forget_and_undo,
        "the ledger does not know this lineage",
        0.0,
        "emptied or replaced",
    ),
    "older MLflow put back": (
        lambda h: h.put_back("mlflow.db", h.mlflow),
        "an older copy of MLflow was put back",
        0.0,
        "was put back",
    ),
    "MLflow deleted": (lambda h: h.mlflow.unlink(), "is gone", 0.0, "is gone"),
    "lineage deleted in MLflow": (empty_registry, "is gone, although", 0.0, "is gone, although"),
    "outcomes": (
        lambda h: h.sql(CHANGE_OUTCOMES),
        "were changed after digest 1",
        0.0,
        "were changed after digest 1",
    ),
    "outcomes and their digests": (
        add_outcome,
        "in the ledger, bars and fills give",
        0.0,
        "has no digest 1",
    ),
    "predictions": (
        lambda h: h.sql(CHANGE_OPINIONS),
        "were changed after digest 1",
        0.0,
        "were changed after digest 1",
    ),
    "settled rows deleted": (
        lambda h: h.sql(DELETE_SETTLED),
        "3 settled predictions are missing",
        0.0,
        "3 settled predictions are missing",
    ),
    "fill": (
        lambda h: h.sql("UPDATE trades SET exit_price = exit_price * 1.1"),
        "in the ledger, bars and fills give",
        0.15,
        None,
    ),
    "ledger deleted": (lambda h: h.ledger.unlink(), "is gone", 0.0, "emptied or replaced"),
    "older ledger put back": (
        lambda h: h.put_back("ledger.db", h.ledger),
        "has no digest 1",
        0.0,
        "has no digest 1",
    ),
    "another seal key": (
        lambda h: (h.folder / ".steelyard" / "seal.key").write_text("00" * 32),
        "is sealed with another key",
        0.0,
        "is sealed with another key",
    ),
    "seal key deleted": (
        lambda h: (h.folder / ".steelyard" / "seal.key").unlink(),
        "that is not here",
        0.0,
        "that is not here",
    ),
    "bars of the lake": (edit_bars, "in the ledger, bars and fills give", 0.15, None),
    "state file of the trading side": (edit_state_file, None, 0.15, None),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_whatever_is_changed_is_found(lived: Lived, what: str) -> None:
    """Verify names it; where the state or its evidence is in doubt, weight 0 and no lease."""
    tamper, named, weight, refused = TAMPERINGS[what]
    tamper(lived)
    cause = ""
    try:
        guard.fn(NOW, str(lived.folder), lived.conf)
    except SteelyardError as error:
        cause = str(error)
    used = lived.weight()
    try:
        faults = verified(lived.home).faults
    except SteelyardError as error:
        faults = (str(error),)

    assert (named is None and not faults) or any(named in fault for fault in faults if named), (
        faults
    )
    assert used == weight
    assert (refused or "") in cause
    assert bool(refused) is bool(cause), cause


def test_a_whole_home_has_no_fault(lived: Lived) -> None:
    """Verify recomputes every outcome; the doctor says the same; the weight is in force."""
    document = verified(lived.home)

    assert (document.faults, document.notes) == ((), ())
    assert lived.weight() == 0.15
    rows = {row.name: row for row in doctor(lived.folder, Path(lived.conf), NOW).rows}
    assert rows["settled rows"].standing == rows["seal key"].standing == "ok"


@pytest.mark.parametrize("what", ["MLflow deleted", "ledger deleted"])
def test_a_store_that_vanished_is_not_begun_anew(lived: Lived, what: str) -> None:
    """Collect and settle refuse with what to do; the file is not made; doctor and alert say so."""
    file = lived.mlflow if what == "MLflow deleted" else lived.ledger
    file.unlink()
    for flow in (collect, settle):
        with pytest.raises(SteelyardError, match=r"restore|new lineage|accept-loss"):
            flow.fn(NOW, str(lived.folder), lived.conf)
    assert lived.weight() == 0.0
    rows = doctor(lived.folder, Path(lived.conf), NOW).rows

    assert not file.exists()
    assert any(row.standing == "wrong" and "gone" in row.found for row in rows), rows
    assert any(stored.alert.kind == "state" for stored in lived.home.alerts.open())


@pytest.mark.parametrize(
    "what", ["older MLflow put back", "ledger deleted", "older ledger put back", "outcomes"]
)
def test_an_operator_may_go_on_without_what_is_lost(lived: Lived, what: str) -> None:
    """At weight 0 in shadow, with evidence from now on; then nothing is wrong any more."""
    TAMPERINGS[what][0](lived)
    rollback.fn(
        "the backup of Monday",
        "anna",
        NOW,
        accept_loss=True,
        home=str(lived.folder),
        conf=lived.conf,
    )
    state = lived.home.journal.state()
    guard.fn(NOW + timedelta(days=1), str(lived.folder), lived.conf)
    remaining = [fault for fault in verified(lived.home).faults if "bars and fills" not in fault]

    assert state is not None
    assert (state.weight, state.phase, state.evidence_since) == (0.0, "shadow", NOW)
    assert lived.weight() == 0.0
    assert [fault for fault in remaining if "outcomes, fills or bars" not in fault] == []
    assert not lived.home.brake.pulled
