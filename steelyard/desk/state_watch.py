"""The state as a trading process sees it: looked up in the background, read in nanoseconds, 0 wherever there is doubt."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from steelyard.gateways.brake import Brake
from steelyard.weight.state import State

FIRST_LOOK_SECONDS = 15.0
"""How long a start waits for a registry that hangs: by then a trade may wait for it."""

Clock = Callable[[], datetime]
Verified = Callable[[], tuple[State | None, str | None]]
After = Callable[[State, datetime], None]


def now() -> datetime:
    """Return the moment it is, UTC."""
    return datetime.now(UTC)


class StateWatch:
    """Keeps the last verified state of a lineage at hand.

    A registry that cannot be reached leaves the state as it was, until its lease runs out. A state tag that does not follow
    from the journal leaves what the journal says. A pulled brake is weight 0, seen within ``refresh_seconds`` even while
    the registry does not answer.

    Args:
        read: Returns the verified state and what is wrong with the state tag (``Journal.verified``).
        brake: The brake of the home.
        refresh_seconds: How often both are looked at.
        after: Are called in the background with the state and the moment, at every look that brought one: to load what the
            state names.
        first: The state to begin with, until the first look brings one; its lease bounds it like any other.
        tell: Is called with the state at hand at every look, also at one that brought nothing: to tell an operator what it
            means.
        clock: Gives the moment a look speaks for; another one than the real one in a drill.

    Attributes:
        trouble: Why the last look brought nothing new; None when it did.
    """

    def __init__(
        self,
        read: Verified,
        brake: Brake,
        refresh_seconds: float,
        after: Sequence[After] = (),
        first: State | None = None,
        tell: After = lambda _state, _at: None,
        clock: Clock = now,
    ) -> None:
        self._read = read
        self._tell = tell
        self._clock = clock
        self._after = after
        self._brake = brake
        self._seconds = refresh_seconds
        self._state = first
        self._braked = brake.pulled
        self._stopped = threading.Event()
        self._looked = threading.Event()
        self.trouble: str | None = "not looked yet"

    @property
    def state(self) -> State | None:
        """The last verified state; None before the first, and for a lineage nobody decided about."""
        return self._state

    def weight(self, at: datetime) -> float:
        """Return the weight in force at ``at``: 0 without a state, after the lease, and while the brake is pulled."""
        state = self._state
        return 0.0 if state is None or self._braked else state.weight_in_force(at)

    def terms(self, at: datetime) -> tuple[State | None, float, str | None]:
        """Return state, weight in force at ``at``, and why it is out of force: brake, no_state, lease_expired, or None.

        All three are of one look: a state that changes meanwhile changes none of them.
        """
        state, braked = self._state, self._braked
        if state is None:
            return None, 0.0, "brake" if braked else "no_state"
        if braked and state.weight:
            return state, 0.0, "brake"
        weight = state.weight_in_force(at)
        return state, weight, "lease_expired" if state.weight and not weight else None

    def refresh(self) -> None:
        """Look once; what goes wrong is kept in ``trouble``.

        A brake that was let go counts as pulled until the state was read afterwards: what is let go for is in there.
        """
        self.look_at_brake()
        pulled = self._brake.pulled
        try:
            try:
                self._state, self.trouble = self._read()
                self._braked = pulled or self._brake.pulled
            finally:
                if self._state is not None:
                    self._tell(self._state, self._clock())
            if self._state is not None:
                for act in self._after:
                    act(self._state, self._clock())
        except Exception as error:  # noqa: BLE001  # the trading side's border: whatever happens, it goes on with what it has
            self.trouble = f"{type(error).__name__}: {error}"

    def start(self) -> "StateWatch":
        """Look from now on in the background, until ``stop``; returns after the first look, or without it where it hangs."""
        threading.Thread(
            target=self._repeat, args=(self.look_at_brake,), name="steelyard-brake", daemon=True
        ).start()
        threading.Thread(target=self._look_and_repeat, name="steelyard-watch", daemon=True).start()
        self._looked.wait(FIRST_LOOK_SECONDS)
        return self

    def _look_and_repeat(self) -> None:
        self.refresh()
        self._looked.set()
        self._repeat(self.refresh)

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look_at_brake(self) -> None:
        """Look at the brake now; a pulled one counts until a state was read after it was let go."""
        self._braked = self._braked or self._brake.pulled

    def _repeat(self, look: Callable[[], None]) -> None:
        while not self._stopped.wait(self._seconds):
            look()
