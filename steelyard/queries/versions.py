"""Which version of the model serves, and which waits."""

from steelyard.errors import CollectMoreData, RestoreService
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.weight.state import State


def serving_version(home: Home, state: State) -> Version | None:
    """Return the version in service; None if there is none or it cannot be read.

    Args:
        home: Opened home.
        state: State that names the version.
    """
    try:
        return home.registry.version(state.champion) if state.champion else None
    except RestoreService:
        return None


def waiting_challenger(home: Home) -> Version:
    """Return the version that is compared next.

    Raises:
        CollectMoreData: If none waits.
    """
    waiting = home.registry.challenger()
    if waiting is None:
        raise CollectMoreData("no challenger waits; run steelyard train")
    return waiting
