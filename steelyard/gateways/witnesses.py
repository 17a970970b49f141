"""Witnesses of the journal: the highest decision that ledger and trading side have seen.

MLflow alone cannot tell that its newest decisions were deleted, or that an older copy of it was put
back: what is left is sealed and whole. The ledger and the trading side's ``state.json`` each hold
the number and hash of the highest decision they have seen; they may lag behind the journal, because
a process can die between the two writes, but never run ahead of it.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from steelyard.errors import RestoreService
from steelyard.gateways.files import private_folder, write_whole
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.ledger.tables import Mark
from steelyard.gateways.seal import Seal, StateReading
from steelyard.weight.state import State

LOCK_SECONDS = 5


class StateFile:
    """The state that a home's trading processes last saw, sealed, on the local disk.

    Args:
        file: ``state.json`` in the state folder of the home.
        seal: Seal of the home.
    """

    def __init__(self, file: Path, seal: Seal) -> None:
        self.file = file
        self._seal = seal

    def read(self) -> State | None:
        """Return the state; None if there is none or it cannot be trusted."""
        return self.reading().state

    def reading(self) -> StateReading:
        """Return the state, or why it cannot be trusted; neither if there is no file."""
        try:
            return self._seal.unsealed(self.file.read_text(encoding="utf-8"))
        except (FileNotFoundError, RestoreService):  # without a key nothing is known about it
            return StateReading()
        except (OSError, ValueError) as error:
            return StateReading(fault=f"cannot be read ({error})")

    def store(self, state: State) -> None:
        """Replace the state, unless a later decision is stored already.

        Raises:
            OSError: If it cannot be written.
        """
        private_folder(self.file.parent)
        with FileLock(self.file.with_name(".state.lock"), timeout=LOCK_SECONDS):
            stored = self.read()
            if (
                stored is None
                or stored.lineage != state.lineage
                or (stored.sequence <= state.sequence)
            ):
                write_whole(self.file, self._seal.sealed(state))


@dataclass(frozen=True, slots=True)
class Testimony:
    """What the witnesses have seen at one moment.

    Attributes:
        key_id: Key that this process has.
        ledger: Mark in the ledger; None without one.
        trading_side: Mark of the trading side; None likewise.
        ledger_is_readable: Whether the ledger could be asked.
    """

    key_id: str = ""
    ledger: Mark | None = None
    trading_side: Mark | None = None
    ledger_is_readable: bool = False

    @property
    def highest(self) -> int:
        """Number of the highest decision seen; 0 without one."""
        marks = (self.ledger, self.trading_side)
        return max((mark.sequence for mark in marks if mark is not None), default=0)

    def fault(self, state: State | None, *, any_key: bool = False) -> str | None:
        """Return why a state is not the newest one, to follow "the state tag"; None if it may be.

        Args:
            state: State as MLflow has it afterwards, None if MLflow has none.
            any_key: Let the key differ from the one seen: it was changed on purpose.
        """
        marks = (("ledger", self.ledger), ("trading side", self.trading_side))
        contradictions = (_contradiction(state, mark, name) for name, mark in marks if mark)
        contradiction = next((words for words in contradictions if words), None)
        if state is None or contradiction:
            return contradiction
        if state.digests and self.ledger_is_readable and self.ledger is None:
            return (
                f"counts {state.digests} digests of the ledger, but the ledger does not know this "
                "lineage: it was emptied or replaced"
            )
        if any_key or self.ledger is None or self.ledger.key_id == self.key_id:
            return None
        return (
            f"is sealed with another key ({self.key_id}) than the ledger has seen "
            f"({self.ledger.key_id}); put that key back, or, if the change was meant, run "
            "steelyard verify --reseal"
        )


class Witnesses:
    """Ledger and trading side, which remember the highest decision of one lineage.

    Args:
        lineage: Name of the lineage.
        ledger: Holds one of the marks.
        state_file: Holds the other.
        seal: Seal of the home.
    """

    def __init__(self, lineage: str, ledger: Ledger, state_file: StateFile, seal: Seal) -> None:
        self._lineage = lineage
        self._ledger = ledger
        self._state_file = state_file
        self._seal = seal

    def testify(self) -> Testimony:
        """Return what they have seen; one that cannot be reached says nothing.

        Ask before MLflow is read: what is decided in between is then in MLflow, too.
        """
        is_readable, mark = True, None
        try:
            mark = self._ledger.mark(self._lineage)
        except RestoreService:
            is_readable = False
        return Testimony(self._seal.key_id, mark, self._file_mark(), is_readable)

    def note(self, state: State) -> None:
        """Let the ledger remember a state that MLflow has; a ledger that is away learns it later.

        Safe to repeat, by any number of processes: the mark never falls.
        """
        with suppress(RestoreService):
            mark = Mark(state.sequence, state.decision_hash, self._seal.key_id)
            if self._ledger.mark(self._lineage) != mark:
                self._ledger.raise_mark(self._lineage, mark)

    def _file_mark(self) -> Mark | None:
        state = self._state_file.read()
        if state is None or state.lineage != self._lineage:
            return None
        return Mark(state.sequence, state.decision_hash, self._seal.key_id)


def _contradiction(state: State | None, mark: Mark, witness: str) -> str | None:
    if state is None and not mark.sequence:  # nothing was decided, so nothing is lost
        return None
    if state is None:
        return f"is gone, although the {witness} has seen decision {mark.sequence}"
    if state.sequence < mark.sequence:
        return (
            f"is that of decision {state.sequence}, although the {witness} has seen decision "
            f"{mark.sequence}: a decision was deleted, or an older copy of MLflow was put back"
        )
    if state.sequence == mark.sequence and state.decision_hash != mark.decision_hash:
        return (
            f"names another decision {mark.sequence} than the one the {witness} has seen: "
            "a decision was replaced, or an older copy of MLflow was put back and went on"
        )
    return None
