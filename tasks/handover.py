"""Step that leaves state and model on disk for trading processes of the light installation."""

from steelyard import trading
from steelyard.errors import RestoreService
from steelyard.home import Home
from steelyard.tasks.step import step


@step()
def hand_over(home: Home) -> None:
    """Leave the state and its model in the state folder of the home; MLflow stays the source.

    Raises:
        RestoreService: If MLflow cannot be reached, or the disk not be written.
    """
    try:
        trading.hand_over(home)
    except OSError as error:
        raise RestoreService(f"{home.state_folder} cannot be written: {error}") from error
