"""Errors, named for what the operator must do.

Every message is one line: what is wrong, where, and how to fix it.
"""


class SteelyardError(Exception):
    """Base of all errors; the command line prints them as one line."""


class FixConfiguration(SteelyardError):
    """A file in ``conf/``, an expectation suite or a command-line value is invalid."""


class FixData(SteelyardError):
    """Bars, signals or features are invalid; nothing was stored."""


class CollectMoreData(SteelyardError):
    """There is too little history; more bars or settled signals are needed."""


class RestoreService(SteelyardError):
    """A database, registry or file store is unreachable or locked; nothing was changed."""


class ReconcileAccount(SteelyardError):
    """The broker's account and the ledger disagree; no orders until an operator has fixed that."""


class VerifyState(SteelyardError):
    """MLflow's state does not follow from the journal; ``steelyard verify`` reports the fault."""
