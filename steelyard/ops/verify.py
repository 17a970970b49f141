"""Steps that hold MLflow against the journal, and put right what follows from it."""

from typing import Any

from steelyard.errors import RestoreService
from steelyard.home import Home


def verified(home: Home, *, repair: bool = False, reseal: bool = False) -> dict[str, Any]:
    """Return what is wrong with chain, runs, state, tags, aliases and the champion's files, the first broken link first.

    Args:
        home: The home.
        repair: Write state, readable tags and aliases anew from the journal; the chain itself cannot be mended.
        reseal: Seal a whole chain with the present key first.
    """
    home.journal.recover()
    found = _faults(home)
    if not found or not (repair or reseal):
        return _document(home, found, ())
    if reseal:
        home.journal.reseal()
    home.journal.repair()
    home.registry.align()
    left = _faults(home)
    return _document(home, left, [fault for fault in found if fault not in left])


def _faults(home: Home) -> list[str]:
    return [*home.journal.faults(), *home.registry.misplaced(), *_damaged(home)]


def _damaged(home: Home) -> list[str]:
    """Return what is wrong with the files of the version that serves."""
    state, _ = home.journal.verified()
    try:
        if state is not None and state.champion is not None:
            home.registry.load(state.champion)
    except RestoreService as error:
        return [str(error)]
    return []


def _document(home: Home, faults: Any, repaired: Any) -> dict[str, Any]:
    return {"decisions": home.journal.count(), "faults": list(faults), "repaired": list(repaired)}
