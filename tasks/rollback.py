"""Steps of the operator: roll the weight back to 0, hold it, resume; each is in the journal."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.brake import Brake
from steelyard.gateways.files import private_folder, write_whole
from steelyard.gateways.ledger import Ledger
from steelyard.home import Home, open_brake, open_broker, open_ledger
from steelyard.queries.incident import incident_facts, recorded_evidence
from steelyard.queries.state import require_not_before
from steelyard.tasks.events import emit_decision
from steelyard.tasks.step import step
from steelyard.views.markdown import incident_report
from steelyard.views.records import LineageRollback, Way
from steelyard.weight.decision import Decision, Entry
from steelyard.weight.rollback import hold, resume, roll_back
from steelyard.weight.state import CLOCK_TOLERANCE


class NothingDecided(FixConfiguration):
    """A lineage has no state yet, and so no weight."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The journal entry of a rollback, and every way that was tried."""

    entry: Entry
    ways: tuple[Way, ...]


@step()
def roll_back_weight(
    home: Home, reason: str, operator: str, as_of: datetime, *, accept_loss: bool = False
) -> RolledBack:
    """Set the weight to 0 now by every way there is, none of which waits for another.

    First the brakes, on disk and in the ledger, then the journal with an incident report, then the
    broker: orders that only the model wanted and that have not entered are cancelled.

    Args:
        home: Opened home.
        reason: Why, in the operator's words.
        operator: Name of the operator.
        as_of: Time of the rollback (UTC), moved to the last decision if that is later and
            no clock was ahead then.
        accept_loss: Record decisions and settled rows that are lost as accepted, so that
            ``verify`` names them no longer.

    Raises:
        RestoreService: If it is not in the journal; the line says which way worked all the same.
        FixConfiguration: If there is no lineage to roll back.
    """
    entries: list[Entry] = []
    brake = _attempt("brake", lambda: _pull(home.brake, operator, reason))
    ledger = _attempt(
        "ledger", lambda: _pull_in_ledger(home, operator, reason, accept_loss=accept_loss)
    )
    journal = _attempt(
        "journal",
        lambda: _record(
            entries, _record_rollback(home, reason, operator, as_of, accept_loss=accept_loss)
        ),
    )
    ways = (brake, ledger, journal, _attempt("broker", lambda: _cancel_entries(home)))
    if not entries:
        raise RestoreService(_not_recorded(home, ways))
    _release(home)
    emit_decision(home, entries[0])
    return RolledBack(entries[0], ways)


def pull_brakes(
    shared: Home, lineages: Sequence[str], operator: str, reason: str
) -> tuple[Way, ...]:
    """Pull the brake of all lineages at once, then that of each, on disk and in the ledger.

    Nothing of a lineage's own settings is read, so that none can keep the others from being braked.

    Args:
        shared: What the lineages share.
        lineages: Their names.
        operator: Name of the operator.
        reason: Why, in the operator's words.
    """
    ways = [_attempt("brake of all", lambda: _pull(shared.brake, operator, reason))]
    for lineage in lineages:
        services = shared.settings.services.of_several(lineage)
        brake, ledger = open_brake(services), open_ledger(services)
        ways += [
            _attempt(f"brake of {lineage}", partial(_pull, brake, operator, reason)),
            _attempt(f"ledger's of {lineage}", partial(_pull_of, ledger, operator, reason)),
        ]
    return tuple(ways)


def attempt_rollback(lineage: str, roll_back: Callable[[], Entry]) -> LineageRollback:
    """Roll one lineage of several back; whatever fails there, the next is tried.

    Args:
        lineage: Name of the lineage.
        roll_back: Rolls it back and returns the entry.
    """
    try:
        entry = roll_back()
    except NothingDecided as error:
        return LineageRollback(lineage, str(error), worked=True)
    except Exception as error:  # noqa: BLE001  # no lineage may keep the others from being tried
        words = " ".join(f"{error or type(error).__name__}".split())[:300]
        return LineageRollback(lineage, f"{words}; its brake holds", worked=False)
    return LineageRollback(lineage, f"decision {entry.sequence}, weight 0", worked=True)


def release_brake_of_all(shared: Home, ways: Sequence[Way]) -> None:
    """Release the brake of all if that of each lineage was pulled: a failed one keeps its own.

    Args:
        shared: What the lineages share.
        ways: The brakes that were pulled.
    """
    if shared.settings.services.is_one_of_several and all(way.worked for way in ways):
        shared.brake.release()


def _attempt(name: str, act: Callable[[], str]) -> Way:
    try:
        return Way(name, act(), worked=True)
    except FixConfiguration:
        raise
    except Exception as error:  # noqa: BLE001  # no way may keep the others from being tried
        return Way(name, " ".join(f"{error or type(error).__name__}".split())[:300], worked=False)


def _not_recorded(home: Home, ways: Sequence[Way]) -> str:
    braked = any(way.worked for way in ways if way.name in ("brake", "ledger"))
    effect = (
        f"the brake is pulled, trading processes of {home.folder} use weight 0; run the rollback "
        "again when MLflow is back, to have it in the journal"
        if braked
        else f"NOTHING takes the weight away: stop the trading processes of {home.folder} by hand"
    )
    return f"{'; '.join(map(str, ways))}; {effect}"


def _pull(brake: Brake, operator: str, reason: str) -> str:
    brake.pull(operator, reason)
    return "pulled"


def _pull_of(ledger: Ledger, operator: str, reason: str) -> str:
    ledger.pull_brake(ledger.lineage, operator, reason)
    return "pulled"


def _pull_in_ledger(home: Home, operator: str, reason: str, *, accept_loss: bool) -> str:
    if accept_loss:
        open_ledger(home.settings.services).migrate()  # makes a new one if it is gone
    return _pull_of(home.ledger, operator, reason)


def _record(entries: list[Entry], entry: Entry) -> str:
    entries.append(entry)
    return f"decision {entry.sequence}"


def _cancel_entries(home: Home) -> str:
    """Cancel the orders that have not entered and that the existing system would not have sent."""
    waiting = home.ledger.trades(("submitted",))["signal_id"]
    evaluated = [(signal_id, home.ledger.signal(signal_id)) for signal_id in waiting]
    pivotal = [signal_id for signal_id, signal in evaluated if signal and signal["pivotal"]]
    if not pivotal:
        return "no order of the model waits"
    policy = home.settings.brackets
    broker = open_broker(home.settings.broker, policy, home.ledger)
    return f"{broker.cancel_entries(pivotal)} orders of the model cancelled"


def _record_rollback(
    home: Home, reason: str, operator: str, as_of: datetime, *, accept_loss: bool
) -> Entry:
    with home.journal.deciding(even_without_lock=True):
        state = home.journal.last_sealed()
        if state is None:
            _release(home)
            raise NothingDecided(
                f"{home.folder}: nothing was ever decided here, there is no weight to roll back"
            )
        ahead = state.as_of > datetime.now(UTC) + CLOCK_TOLERANCE  # a clock was
        at, policy = as_of if ahead else max(as_of, state.as_of), home.settings.weight
        facts = recorded_evidence(home, state, at)
        decision = roll_back(
            state,
            reason,
            operator,
            policy,
            at,
            evidence=facts.evidence,
            rules=facts.rules,
            accepted_missing=home.journal.lost() if accept_loss else None,
        )
        report = incident_report(incident_facts(home, decision, facts))
        entry = home.journal.append(decision, {"incident.md": report.encode()})
        if accept_loss:
            home.digests.reset()
    folder = home.state_folder / "incidents"  # for an operator without MLflow
    with suppress(OSError):  # the run has it, too
        private_folder(folder)
        write_whole(folder / f"{entry.decision.as_of:%Y-%m-%dT%H%M%S}.md", report)
    return entry


def _release(home: Home) -> None:
    home.brake.release()
    with suppress(RestoreService):  # a brake that stays pulled there means weight 0
        home.ledger.release_brake(home.settings.services.lineage)


@step(one_at_a_time=True)
def hold_weight(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    """Hold the weight; if it is held already, return the entry that holds it.

    Args:
        home: Opened home.
        reason: Why, in the operator's words.
        operator: Name of the operator.
        as_of: Time of the hold (UTC).

    Raises:
        FixConfiguration: If nothing was decided yet, or ``as_of`` lies before the last decision.
    """
    return _switch(home, reason, operator, as_of, hold, held=True)


@step(one_at_a_time=True)
def resume_weight(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    """Let the weight move again; if it moves already, return the entry that resumed it.

    Args:
        home: Opened home.
        reason: Why, in the operator's words.
        operator: Name of the operator.
        as_of: Time of the resume (UTC).

    Raises:
        FixConfiguration: If the weight was never held, or ``as_of`` lies before the last decision.
    """
    return _switch(home, reason, operator, as_of, resume, held=False)


def _switch(
    home: Home,
    reason: str,
    operator: str,
    as_of: datetime,
    decide: Callable[..., Decision],
    *,
    held: bool,
) -> Entry:
    kind = "hold" if held else "resume"
    with home.journal.deciding():
        state = home.journal.state()
        if state is None:
            raise NothingDecided(
                f"{home.folder}: nothing was ever decided here, there is no weight to {kind}; if "
                "this is the home, run steelyard guard first"
            )
        require_not_before(state, as_of)
        if state.held == held:
            return _last_switch(home, kind)
        return home.journal.append(decide(state, reason, operator, home.settings.weight, as_of))


def _last_switch(home: Home, kind: str) -> Entry:
    switch = home.journal.latest(kind)
    if switch is None:
        raise FixConfiguration("nobody holds the weight; there is nothing to resume")
    return switch
