"""Steps of the operator: roll the weight back to 0, hold it, resume; each is in the journal."""

from collections.abc import Callable
from datetime import UTC, datetime

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.home import Home
from steelyard.queries.incident import incident_facts, recorded_evidence
from steelyard.tasks.step import step
from steelyard.tasks.weight import ensure_lineage
from steelyard.views.markdown import incident_report
from steelyard.weight.decision import Decision, Entry
from steelyard.weight.rollback import hold, resume, roll_back
from steelyard.weight.state import CLOCK_TOLERANCE


@step()
def roll_back_weight(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    """Set the weight to 0 now: first by the brake, then in the journal, with an incident report.

    Args:
        home: Opened home.
        reason: Why, in the operator's words.
        operator: Name of the operator.
        as_of: Time of the rollback (UTC), moved to the last decision if that is later and
            no clock was ahead then.

    Raises:
        RestoreService: If MLflow cannot be reached; the brake stays pulled then.
        FixConfiguration: If there is no lineage to roll back.
    """
    home.brake.pull(operator, reason)
    try:
        entry = _record_rollback(home, reason, operator, as_of)
    except RestoreService as error:
        raise RestoreService(
            f"{error}; the brake is pulled, trading processes of {home.folder} use weight 0; "
            "run the rollback again when MLflow is back, to have it in the journal"
        ) from error
    home.brake.release()
    return entry


def _record_rollback(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    with home.journal.deciding(even_without_lock=True):
        state, _ = home.journal.verified()
        if state is None:
            home.brake.release()
            raise FixConfiguration(
                f"{home.folder}: nothing was ever decided here, there is no weight to roll back"
            )
        ahead = state.as_of > datetime.now(UTC) + CLOCK_TOLERANCE  # a clock was
        at, policy = as_of if ahead else max(as_of, state.as_of), home.settings.weight
        facts = recorded_evidence(home, state, at)
        decision = roll_back(
            state, reason, operator, policy, at, evidence=facts.evidence, rules=facts.rules
        )
        report = incident_report(incident_facts(home, decision, facts))
        entry = home.journal.append(decision, {"incident.md": report.encode()})
    folder = home.state_folder / "incidents"  # for an operator without MLflow
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{entry.decision.as_of:%Y-%m-%dT%H%M%S}.md"
    file.write_text(report, encoding="utf-8")
    return entry


@step(one_at_a_time=True)
def hold_weight(home: Home, reason: str, operator: str, as_of: datetime) -> Entry:
    """Hold the weight; if it is held already, return the entry that holds it.

    Args:
        home: Opened home.
        reason: Why, in the operator's words.
        operator: Name of the operator.
        as_of: Time of the hold (UTC).

    Raises:
        FixConfiguration: If ``as_of`` lies before the last decision.
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
    with home.journal.deciding():
        state = ensure_lineage(home, as_of)
        if state.held == held:
            return _last_switch(home, "hold" if held else "resume")
        return home.journal.append(decide(state, reason, operator, home.settings.weight, as_of))


def _last_switch(home: Home, kind: str) -> Entry:
    switches = [entry for entry in home.journal.entries() if entry.decision.kind == kind]
    if not switches:
        raise FixConfiguration("nobody holds the weight; there is nothing to resume")
    return switches[-1]
