"""What can go wrong, named for what the operator must do.

Every message is one line: what is wrong, where, and what to do about it.
"""


class SteelyardError(Exception):
    """Base of everything Steelyard refuses or fails at; the command line prints it as one line."""


class FixConfiguration(SteelyardError):
    """A file in ``conf/``, an expectation suite or a command-line value must be corrected."""


class FixData(SteelyardError):
    """The bars, signals or features handed in must be corrected before anything is stored."""


class CollectMoreData(SteelyardError):
    """There is too little history for what was asked; it becomes possible with more settled signals."""


class RestoreService(SteelyardError):
    """A database, registry or file store cannot be reached or is locked; nothing was changed."""


class ReconcileAccount(SteelyardError):
    """The broker's account and the ledger disagree; nothing is ordered until an operator has put that right."""


class VerifyState(SteelyardError):
    """What MLflow holds does not follow from the journal; ``steelyard verify`` names the place."""
