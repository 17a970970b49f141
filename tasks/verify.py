"""Steps that hold MLflow against the journal, and put right what follows from it."""

from typing import Any

from steelyard.errors import RestoreService
from steelyard.tasks.stores import Stores


def verified(stores: Stores, *, repair: bool = False, reseal: bool = False) -> dict[str, Any]:
    """Return what is wrong with chain, runs, state, tags, aliases and the champion's files, the first broken link first.

    Args:
        stores: The home.
        repair: Write state, readable tags and aliases anew from the journal; the chain itself cannot be mended.
        reseal: Seal a whole chain with the present key first.
    """
    found = _faults(stores)
    if not found or not (repair or reseal):
        return _document(stores, found, ())
    if reseal:
        stores.journal.reseal()
    stores.journal.repair()
    stores.registry.align()
    left = _faults(stores)
    return _document(stores, left, [fault for fault in found if fault not in left])


def _faults(stores: Stores) -> list[str]:
    return [*stores.journal.faults(), *stores.registry.misplaced(), *_damaged(stores)]


def _damaged(stores: Stores) -> list[str]:
    """Return what is wrong with the files of the version that serves."""
    state, _ = stores.journal.verified()
    try:
        if state is not None and state.champion is not None:
            stores.registry.load(state.champion)
    except RestoreService as error:
        return [str(error)]
    return []


def _document(stores: Stores, faults: Any, repaired: Any) -> dict[str, Any]:
    return {"decisions": stores.journal.count(), "faults": list(faults), "repaired": list(repaired)}
