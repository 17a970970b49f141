"""The step by which an operator lets a version serve that is too good to be true (SPEC §3)."""

from datetime import datetime

from steelyard.errors import FixConfiguration
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.learning.admission import too_good
from steelyard.queries.versions import may_be_approved
from steelyard.tasks.step import step
from steelyard.tasks.weight import ensure_lineage
from steelyard.weight.rollback import approve


@step(one_at_a_time=True)
def approve_version(
    home: Home, version_number: str, reason: str, operator: str, as_of: datetime
) -> Version:
    """Record that an operator approves a version, and return it as a challenger.

    It must be compared after that; an approval lifts nothing but the doubts it was given for.

    Args:
        home: Opened home.
        version_number: Version that waits for an operator, or that was refused because its
            system answers otherwise on disguised bars.
        reason: Why it is right, in the operator's words.
        operator: Name of the operator.
        as_of: Time of the approval (UTC).

    Raises:
        FixConfiguration: If there is no such version, it was approved already, or it needs no
            approval; or ``as_of`` lies before the last decision.
    """
    with home.journal.deciding():
        state = ensure_lineage(home, as_of)
        version = _waiting_version(home, version_number)
        doubts = too_good(version.metrics, home.settings.learning)
        if version.stage == "refused":
            doubts = (*version.reasons, *doubts)
        policy = home.settings.weight
        decision = approve(state, version_number, doubts, reason, operator, policy, as_of)
        entry = home.journal.append(decision)
        return home.registry.reopen(version_number, entry.decision.reasons[0])


def _waiting_version(home: Home, version_number: str) -> Version:
    versions = {version.number: version for version in home.registry.versions()}
    waiting = [version.number for version in versions.values() if may_be_approved(version)]
    available = f"waiting for an approval: {', '.join(waiting) or 'none'}"
    version = versions.get(version_number)
    if version is None:
        raise FixConfiguration(f"there is no version {version_number}; {available}")
    if version.approved:
        raise FixConfiguration(
            f"{version.approved}, which holds; it is {version.stage} now; {available}"
        )
    if not may_be_approved(version):
        reasons = f" ({'; '.join(version.reasons)})" if version.reasons else ""
        raise FixConfiguration(
            f"version {version_number} is {version.stage}{reasons}, which an approval does not "
            f"change; {available}"
        )
    return version
