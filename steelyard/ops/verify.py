"""Compare MLflow with journal and witnesses, and the ledger with its digests and the bars."""

from steelyard.errors import RestoreService, SteelyardError, VerifyState
from steelyard.home import Home, open_ledger, require_ledger_file
from steelyard.ops.outcomes import Recomputed, recompute_outcomes
from steelyard.views.operations import Verification


def verified(home: Home, *, repair: bool = False, reseal: bool = False) -> Verification:
    """Return the faults of chain, runs, state, tags, aliases, the champion's files and the ledger.

    Args:
        home: The opened home.
        repair: Rewrite state, readable tags and aliases from the journal; chain and ledger cannot
            be repaired.
        reseal: First seal an intact chain with the present key; a home without a key gets one.
    """
    if home.journal.has_begun():
        home.journal.recover()
    faults, decisions = _faults(home)
    outcomes = _outcomes(home)
    repaired: list[str] = []
    if (repair and home.journal.has_begun()) or reseal:
        if reseal:
            _reseal(home, faults)
        home.journal.repair()
        home.registry.align()
        remaining, _ = _faults(home)
        repaired = [fault for fault in faults if fault not in remaining]
        faults = remaining
    return Verification(
        decisions,
        (*faults, *outcomes.faults),
        tuple(repaired),
        (*outcomes.notes, *(_key_note(home) if decisions else ())),
    )


def _reseal(home: Home, faults: list[str]) -> None:
    """Seal anew; a chain sealed with the public constant only if nothing is wrong with it."""
    if not home.seal.is_secret:
        if faults:
            raise VerifyState(
                f"{faults[0]}; a home that is sealed with the constant of earlier versions gets a "
                "key of its own only if nothing is wrong: repair that first"
            )
        home.seal.create()
    home.journal.reseal()


def _faults(home: Home) -> tuple[list[str], int]:
    """Return what is wrong, and the number of decisions; nothing is created."""
    if not home.journal.has_begun():
        return [], 0
    faults, decisions = home.journal.examine()
    return [*faults, *home.registry.misplaced(), *_damaged(home), *_ledger(home)], decisions


def _damaged(home: Home) -> list[str]:
    """Return the faults of the files of the champion."""
    state, _ = home.journal.verified()
    try:
        if state is not None and state.champion is not None:
            home.registry.load(state.champion)
    except RestoreService as error:
        return [str(error)]
    return []


def _ledger(home: Home) -> list[str]:
    """Return what does not fit the digests of settled predictions that the sealed state knows."""
    state, _ = home.journal.verified()
    if state is None:
        return []
    try:
        return home.digests.faults(state.digests, state.digest_head)
    except SteelyardError as error:
        return [str(error)]


def _outcomes(home: Home) -> Recomputed:
    services = home.settings.services
    try:
        require_ledger_file(services)
        return Recomputed() if open_ledger(services).is_missing else recompute_outcomes(home)
    except SteelyardError as error:
        return Recomputed((f"the outcomes in the ledger cannot be recomputed: {error}",))


def _key_note(home: Home) -> list[str]:
    if home.seal.is_secret:
        return []
    return [
        "state and decisions are sealed with a constant that everybody knows; steelyard verify "
        "--reseal makes a key of this home (.steelyard/seal.key) and seals them with it"
    ]
