"""The state of the lineage as it is recorded; nothing is begun or completed here."""

from datetime import UTC, datetime

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.home import Home, open_ledger
from steelyard.settings import lineage_names
from steelyard.weight.state import CLOCK_TOLERANCE, State


def forgotten_lineages(home: Home) -> list[str]:
    """Return the lineages that the ledger knows and no settings name, sorted."""
    known = lineage_names(home.conf) or (home.settings.services.lineage,)
    begun = open_ledger(home.settings.services).lineages()
    return [name for name in begun if name not in known]


def current_state(home: Home, as_of: datetime) -> State:
    """Return the recorded state of the lineage.

    Args:
        home: Opened home.
        as_of: Evaluate as of this time (UTC); not before the last decision.

    Raises:
        CollectMoreData: If nothing was decided here yet.
        FixConfiguration: If ``as_of`` lies before the last decision.
    """
    state = home.journal.state()
    if state is None:
        raise CollectMoreData(f"{home.folder}: nothing was decided here yet; run steelyard guard")
    return require_not_before(state, as_of)


def require_not_before(state: State, as_of: datetime) -> State:
    """Return the state unchanged if ``as_of`` does not lie before its last decision.

    Args:
        state: Recorded state.
        as_of: Time to evaluate (UTC).

    Raises:
        FixConfiguration: If ``as_of`` is earlier; the past cannot be decided again.
    """
    now = datetime.now(UTC)
    if state.as_of > max(as_of, now) + CLOCK_TOLERANCE:
        raise FixConfiguration(
            f"the last decision was made on {state.as_of:%Y-%m-%d %H:%M}, ahead of this machine's "
            f"clock ({now:%Y-%m-%d %H:%M} UTC); correct the clock, or begin again from weight 0 "
            "with steelyard rollback"
        )
    if as_of < state.as_of:
        raise FixConfiguration(
            f"as of {as_of:%Y-%m-%d %H:%M} lies before the last decision of "
            f"{state.as_of:%Y-%m-%d %H:%M}; pass a later --as-of, "
            "or a home of its own to replay the past"
        )
    return state
