"""Compare MLflow with the journal, and repair what the journal determines."""

from steelyard.errors import RestoreService
from steelyard.home import Home
from steelyard.views.operations import Verification


def verified(home: Home, *, repair: bool = False, reseal: bool = False) -> Verification:
    """Return the faults of chain, runs, state, tags, aliases and the champion's files.

    Args:
        home: The opened home.
        repair: Rewrite state, readable tags and aliases from the journal; the chain itself cannot
            be repaired.
        reseal: First seal an intact chain with the present key.
    """
    home.journal.recover()
    faults = _faults(home)
    if not faults or not (repair or reseal):
        return Verification(home.journal.count(), tuple(faults))
    if reseal:
        home.journal.reseal()
    home.journal.repair()
    home.registry.align()
    remaining = _faults(home)
    repaired = tuple(fault for fault in faults if fault not in remaining)
    return Verification(home.journal.count(), tuple(remaining), repaired)


def _faults(home: Home) -> list[str]:
    return [*home.journal.faults(), *home.registry.misplaced(), *_damaged(home)]


def _damaged(home: Home) -> list[str]:
    """Return the faults of the files of the champion."""
    state, _ = home.journal.verified()
    try:
        if state is not None and state.champion is not None:
            home.registry.load(state.champion)
    except RestoreService as error:
        return [str(error)]
    return []
