"""Step that leaves state and model on disk for trading processes of the light installation."""

import logging

from steelyard import trading
from steelyard.errors import SteelyardError
from steelyard.home import Home
from steelyard.tasks.step import step

_log = logging.getLogger(__name__)


@step()
def hand_over(home: Home) -> None:
    """Leave the state and its model in the state folder of the home; MLflow stays the source.

    A failure stops no decision: to a process that waits for them, a state older than the ledger
    knows is none.
    """
    try:
        trading.hand_over(home)
    except (SteelyardError, OSError) as error:
        _log.warning("state and model were not left in %s: %s", home.state_folder, error)
