"""The state as a trading process sees it: looked up in the background, read in nanoseconds, 0 wherever there is doubt."""

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from steelyard.gateways.brake import Brake
from steelyard.weight.state import State

Verified = Callable[[], tuple[State | None, str | None]]


class Watch:
    """Keeps the last verified state of a lineage at hand.

    A registry that cannot be reached leaves the state as it was, until its lease runs out. A state tag that does not follow
    from the journal leaves what the journal says. A pulled brake is weight 0, seen within ``refresh_seconds`` even while
    the registry does not answer.

    Args:
        read: Returns the verified state and what is wrong with the state tag (``Journal.verified``).
        brake: The brake of the home.
        refresh_seconds: How often both are looked at.

    Attributes:
        trouble: Why the last look brought nothing new; None when it did.
    """

    def __init__(self, read: Verified, brake: Brake, refresh_seconds: float) -> None:
        self._read = read
        self._brake = brake
        self._seconds = refresh_seconds
        self._state: State | None = None
        self._braked = brake.pulled
        self._stopped = threading.Event()
        self.trouble: str | None = "not looked yet"

    @property
    def state(self) -> State | None:
        """The last verified state; None before the first, and for a lineage nobody decided about."""
        return self._state

    def weight(self, at: datetime) -> float:
        """Return the weight in force at ``at``: 0 without a state, after the lease, and while the brake is pulled."""
        state = self._state
        return 0.0 if state is None or self._braked else state.weight_in_force(at)

    def reason(self, at: datetime) -> str | None:
        """Return why the weight is out of force at ``at``: brake, no_state or lease_expired; None where it is not."""
        if self._braked:
            return "brake"
        if self._state is None:
            return "no_state"
        return None if at <= self._state.lease_until else "lease_expired"

    def refresh(self) -> None:
        """Look once; what goes wrong is kept in ``trouble``."""
        self._braked = self._brake.pulled
        try:
            self._state, self.trouble = self._read()
        except Exception as error:  # noqa: BLE001  # the trading side's border: whatever happens, it goes on with what it has
            self.trouble = f"{type(error).__name__}: {error}"

    def start(self) -> "Watch":
        """Look once, and from then on in the background until ``stop``."""
        self.refresh()
        for look in (self.refresh, self._look_at_brake):
            threading.Thread(target=self._repeat, args=(look,), name="steelyard-watch", daemon=True).start()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _look_at_brake(self) -> None:
        self._braked = self._brake.pulled

    def _repeat(self, look: Callable[[], None]) -> None:
        while not self._stopped.wait(self._seconds):
            look()


def watch(home: Path, conf: Path | None = None) -> Watch:
    """Return the watch over a home under the settings in ``conf`` (default: the project's), not started yet."""
    from steelyard.services import open_brake, open_registry
    from steelyard.settings import load

    services = load(conf).services.at(home)
    return Watch(open_registry(services).journal.verified, open_brake(services), services.refresh_seconds)
