"""Background cache of the state; weight 0 if the state cannot be trusted."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from steelyard.desk.background import Alarm, Background
from steelyard.gateways.brake import Brake
from steelyard.weight.state import State

FIRST_REFRESH_SECONDS = 15.0
"""Longest wait for the first refresh; a hanging registry delays the start no longer than this."""
MAX_LEASE_DAYS = 3650

Clock = Callable[[], datetime]
StateReader = Callable[[], tuple[State | None, str | None]]
StateListener = Callable[[State, datetime], None]
FaultListener = Callable[[str, datetime], None]


def system_clock() -> datetime:
    """Return the current time, UTC."""
    return datetime.now(UTC)


class StateWatch:
    """Caches the last verified state of a lineage.

    While the registry is unreachable the state stays as it was, until its lease expires. If the
    state tag does not follow from the journal, the journal counts. A pulled brake means weight 0;
    it is noticed within ``refresh_seconds`` even while the registry does not answer.

    Args:
        read_state: Returns the verified state and what is wrong with the state tag, None if
            nothing is (``Journal.verified``).
        brake: Brake of the home.
        refresh_seconds: Time between two refreshes, seconds.
        listeners: Called in the background with state and time after every successful refresh, to
            load what the state names.
        initial: State until the first refresh succeeds; its lease applies.
        notify: Called with the cached state and the time at every refresh, successful or not, to
            alert an operator.
        clock: Returns the present time; a drill passes simulated time.
        lease_days: Length of a lease, days; a longer one is not believed.
        alarm: Called with one line if a background thread fails unexpectedly.
        second_brake: Returns whether the brake in the ledger is pulled; None if that is unknown.
        distrust: Called with what is wrong and the time whenever the state tag cannot be trusted.

    Attributes:
        trouble: Why the last refresh failed; None if it succeeded.
    """

    def __init__(
        self,
        read_state: StateReader,
        brake: Brake,
        refresh_seconds: float,
        listeners: Sequence[StateListener] = (),
        initial: State | None = None,
        notify: StateListener = lambda _state, _at: None,
        clock: Clock = system_clock,
        lease_days: int = MAX_LEASE_DAYS,
        alarm: Alarm = lambda _: None,
        second_brake: Callable[[], bool | None] = lambda: False,
        distrust: FaultListener = lambda _fault, _at: None,
    ) -> None:
        self._read_state = read_state
        self._distrust = distrust
        self._notify = notify
        self._clock = clock
        self._lease_days = lease_days
        self._listeners = listeners
        self._brake = brake
        self._state = initial
        self._second_brake = second_brake
        self._second_pulled = False
        self._braked = brake.pulled
        self._refreshed = threading.Event()
        self._threads = (
            Background("steelyard-brake", self.check_brake, refresh_seconds, alarm),
            Background("steelyard-watch", self._keep_fresh, refresh_seconds, alarm),
        )
        self.trouble: str | None = "state not read yet"

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why state or brake may be outdated, one line each; empty if they are not."""
        troubles = (self.trouble, *(thread.trouble for thread in self._threads))
        return tuple(trouble for trouble in troubles if trouble)

    @property
    def state(self) -> State | None:
        """Last verified state; None before the first and for a lineage without a decision."""
        return self._state

    def weight(self, at: datetime) -> float:
        """Return the weight in force; 0 without state or lease, or with the brake pulled."""
        return self.terms(at)[1]

    def terms(self, at: datetime | None = None) -> tuple[State | None, float, str | None]:
        """Return state, weight in force, and why the state's weight is not in force.

        The reason is ``brake``, ``no_state``, ``lease_expired``, ``lease_too_long`` (a clock was
        ahead) or None. All three come from one snapshot: a refresh in the meantime changes none.

        Args:
            at: Time the lease is held against (UTC); None for now.
        """
        at = at or self._clock()
        state, braked = self._state, self._braked
        if state is None:
            return None, 0.0, "brake" if braked else "no_state"
        if braked and state.weight:
            return state, 0.0, "brake"
        if not state.weight:
            return state, 0.0, None
        if state.lease_is_too_long(at, self._lease_days):
            return state, 0.0, "lease_too_long"
        weight = state.weight_in_force(at)
        return state, weight, None if weight else "lease_expired"

    def refresh(self) -> None:
        """Read brake and state once; a failure is kept in ``trouble``.

        A released brake counts as pulled until the state has been read after the release: the
        state holds the decision that replaces the brake.
        """
        self.check_brake()
        try:
            self._second_pulled = self._is_pulled_in_ledger()
            pulled = self._brake.pulled or self._second_pulled
            self._braked = self._braked or pulled
            try:
                self._state, self.trouble = self._read_state()
                self._braked = pulled or self._brake.pulled
                if self.trouble is not None:
                    self._distrust(self.trouble, self._clock())
            finally:
                if self._state is not None:
                    self._notify(self._state, self._clock())
            if self._state is not None:
                self._tell_listeners(self._state)
        except Exception as error:  # noqa: BLE001  # the trading side goes on with the last state
            self.trouble = f"{type(error).__name__}: {error}"

    def start(self) -> "StateWatch":
        """Refresh in the background until ``stop``.

        Returns after the first refresh, or after ``FIRST_REFRESH_SECONDS`` if it hangs.
        """
        for thread in self._threads:
            thread.start()
        self._refreshed.wait(FIRST_REFRESH_SECONDS)
        return self

    def stop(self) -> None:
        """Stop refreshing."""
        for thread in self._threads:
            thread.stop()

    def check_brake(self) -> None:
        """Read the brake now; a pulled one counts until the state is read after its release."""
        self._braked = self._braked or self._brake.pulled

    def _tell_listeners(self, state: State) -> None:
        """Tell every listener, then raise the first failure: a full disk stops no new model."""
        failures: list[Exception] = []
        for listener in self._listeners:
            try:
                listener(state, self._clock())
            except Exception as error:  # noqa: BLE001  # raised below
                failures.append(error)
        if failures:
            raise failures[0]

    def _is_pulled_in_ledger(self) -> bool:
        """Return whether the ledger's brake is pulled; the last answer if it cannot be read."""
        answer = self._second_brake()
        return self._second_pulled if answer is None else answer

    def _keep_fresh(self) -> None:
        try:
            self.refresh()
        finally:
            self._refreshed.set()
