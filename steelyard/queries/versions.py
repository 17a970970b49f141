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


def is_doubt(refusal: str) -> bool:
    """Return whether a version refused for this reason may be approved by an operator."""
    return refusal.startswith("canary disguised:")


def may_be_approved(version: Version) -> bool:
    """Return whether an approval would let a version be compared."""
    refused = version.stage == "refused" and bool(version.reasons)
    return version.waits_for_operator or (refused and all(map(is_doubt, version.reasons)))


def doubted_version(home: Home) -> Version | None:
    """Return the version that waits for an operator, or the latest if one may approve it.

    Nothing is asked about a version that a later one has followed.
    """
    versions = home.registry.versions()
    waiting = [version for version in versions if version.waits_for_operator]
    latest = [version for version in versions[-1:] if may_be_approved(version)]
    return next(iter(waiting or latest), None)
