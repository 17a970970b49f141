"""Evaluates signals in a fraction of a millisecond; no failure on the ML side can stop a trade.

If the ML side fails, the existing system decides and the reason is counted (SPEC §8). An opinion
that misses the deadline is computed to its end in its own thread and then discarded.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from steelyard.desk.blend import assign_arm
from steelyard.desk.deadline import DeadlineExceeded, DeadlineWorker
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.recorder import Recorder
from steelyard.desk.served_model import Bundle, ServedModel
from steelyard.desk.signals import Evaluation, LoggedSignal, Outcome, Signal
from steelyard.desk.state_watch import StateWatch
from steelyard.errors import FixData
from steelyard.market.bars import Bars, Floats
from steelyard.market.features import OWN, row_names
from steelyard.market.logged_history import timing_names, timing_of
from steelyard.market.strategy import Strategy
from steelyard.market.stream import FeatureStream
from steelyard.weight.rules import blend_confidence
from steelyard.weight.state import State

NAN = float("nan")
OTHER_SYSTEM = "other_system"
"""Why the existing system decides about a signal that is not its own: the model knows others."""
SAME_CONFIDENCE = 0.01
"""Difference of two confidences, 0 to 100, that other digits of the same bars explain."""
Proposes = Callable[[Signal, Bars], bool]
_NO_FEATURES = np.empty(0)
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Opinion:
    """The model's opinion, or the reason there is none; with the features if they are known."""

    reason: str | None
    features: Floats = field(default_factory=lambda: _NO_FEATURES)
    p_win: float = NAN
    confidence_ml: float = NAN


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """State of a trading process.

    Attributes:
        state: Last verified state; None before the first.
        weight: Weight in force now, 0 to 0.70.
        out_of_force: Why ``weight`` is 0 instead of the state's weight; None if it is in force.
        version: Version of the served model; empty without one.
        fallbacks: Number of evaluations the existing system decided alone, by reason.
        lost: Evaluations that neither disk nor memory could keep.
        set_aside: Outcomes that were refused.
        troubles: Current problems of state, registry and ledger, one line each.
    """

    state: State | None
    weight: float
    out_of_force: str | None
    version: str
    fallbacks: Mapping[str, int]
    lost: int
    set_aside: int
    troubles: tuple[str, ...]


def proposes(strategy: Strategy, signal: Signal, bars: Bars) -> bool:
    """Return whether a system proposes a signal at the last of its symbol's bars.

    Args:
        strategy: The existing system.
        signal: The signal, on the last bar.
        bars: Bars of its symbol.
    """
    candidate = strategy.propose(bars)
    return (
        candidate is not None
        and candidate.side == signal.side
        and abs(candidate.confidence - signal.confidence) <= SAME_CONFIDENCE
    )


class Session:
    """Evaluates signals under the champion and the weight in force; for one calling thread.

    Args:
        watch: Source of the state, refreshed in the background.
        champion: The served model, swapped in the background.
        score_names: Names of the existing system's sub-scores, in order.
        threshold: Trade if the confidence exceeds this, 0 to 100.
        ab_key: Key of the hash that assigns the pilot's signals to control or treatment.
        policy: Deadline of the ML side.
        recorder: Stores evaluations off the hot path; None for no record.
        own_names: Names of the user's own features, in order.
        proposes: Whether the existing system proposes a signal on the bars of its symbol; one that
            it does not is another system's, and is not recorded. None: signals are not checked.
        is_log: Whether the existing system is a log, whose signals bring the features their model
            knows.
        has_bars: Whether there are bars; without, the features are those of ``TIMING``.

    Attributes:
        fallbacks: Number of evaluations the existing system decided alone, by reason.
    """

    def __init__(
        self,
        watch: StateWatch,
        champion: ServedModel,
        score_names: tuple[str, ...],
        threshold: float,
        ab_key: str,
        policy: DeskPolicy,
        recorder: Recorder | None = None,
        own_names: tuple[str, ...] = (),
        proposes: Proposes | None = None,
        *,
        is_log: bool = False,
        has_bars: bool = True,
    ) -> None:
        self._watch = watch
        self._champion = champion
        self._score_names = score_names
        self._own_names = own_names
        self._proposes = proposes
        self._is_log = is_log
        self._has_bars = has_bars
        self._names = self._row_names(own_names)
        self._threshold = threshold
        self._ab_key = ab_key
        self._deadline = policy.deadline_ms / 1e3
        self._features: FeatureStream | None = None
        self._bars: dict[str, Bars] = {}
        self._arrived: dict[str, Bars] = {}
        self._arrival = threading.Lock()
        self._worker = DeadlineWorker[_Opinion]()
        self._recorder = recorder
        self.fallbacks: Counter[str] = Counter()

    def close(self) -> None:
        """Stop the background threads and write all evaluations that are not stored yet."""
        self._watch.stop()
        self._worker.stop()
        if self._recorder is not None:
            self._recorder.stop()

    def warm(self, bars: Mapping[str, Bars]) -> None:
        """Load the history and run every kernel once, so that no trade waits for a compilation.

        Raises:
            FixData: If a bar contains an invalid price.
        """
        if self._has_bars:
            self._bars, self._features = dict(bars), FeatureStream(bars)
            for symbol in list(bars)[:1]:
                self._features.at(symbol, -1)
        assign_arm("", "pilot", self._ab_key)

    def on_bars(self, bars: Mapping[str, Bars]) -> None:
        """Take in bars as they close, in the background, so that no signal waits for them.

        Args:
            bars: Histories up to the newest bar, of the symbols that have a new one.
        """
        self._keep(bars)
        self._worker.submit(self._take_in_arrived)

    def evaluate(
        self,
        signal: Signal,
        bars: Mapping[str, Bars] | None = None,
        news: Mapping[str, Bars] | None = None,
    ) -> Evaluation:
        """Return the decision about ``signal``; no failure of the ML side raises or delays it.

        Args:
            signal: A signal of its symbol's newest bar; on any other bar the existing system
                decides alone (``other_bar``).
            bars: Bars of the universe up to the decision bar, by symbol: the histories of the last
                call, extended by the bars that have closed since. None for those of ``warm`` and
                ``on_bars``.
            news: Bars that came with the signal, as for ``on_bars``.
        """
        started = time.perf_counter()
        state, weight, out_of_force = self._watch.terms()
        bundle = self._champion.bundle
        if news:  # apart from the evaluation: one that is late at once looks at no bars
            self._keep(news)
        opinion = self._opinion(lambda: self._form_opinion(signal, bars, bundle))
        reason = opinion.reason or out_of_force
        if reason is not None:
            weight = 0.0
        phase = state.phase if state is not None else "foundation"
        arm = assign_arm(signal.signal_id, phase, self._ab_key)
        existing = signal.confidence
        blended = blend_confidence(weight, existing, opinion.confidence_ml) if weight else existing
        baseline, treated = existing > self._threshold, blended > self._threshold
        if reason is not None:
            self.fallbacks[reason] += 1
        evaluation = Evaluation(
            signal_id=signal.signal_id,
            symbol=signal.symbol,
            side=signal.side,
            timestamp=signal.timestamp,
            decided_at=signal.decided_at,
            model_version=bundle.version if bundle is not None and opinion.reason is None else "",
            p_win=opinion.p_win,
            confidence_existing=existing,
            confidence_ml=opinion.confidence_ml,
            weight=weight,
            blended=blended,
            arm=arm,
            decision=baseline if arm == "control" else treated,
            pivotal=baseline != treated,
            latency_ms=(time.perf_counter() - started) * 1e3,
            fallback_reason=reason,
            features=opinion.features,
        )
        if self._recorder is not None and reason != OTHER_SYSTEM:
            self._recorder.record(evaluation)
        return evaluation

    def take_in(self, signal: LoggedSignal) -> None:
        """Record a signal that another program sent, beside its evaluation."""
        if self._recorder is not None:
            self._recorder.record(signal)

    def persist(self) -> None:
        """Return once every evaluation so far is on disk; call it before an order is sent.

        Raises:
            RestoreService: If the disk cannot be written: an order now would have no reason left
                after a crash.
        """
        if self._recorder is not None:
            self._recorder.persist()

    def refresh(self) -> None:
        """Read brake and state now; a failure is reported in ``troubles``."""
        self._watch.refresh()

    def status(self, at: datetime) -> SessionStatus:
        """Return the state of this process at ``at``, from memory alone."""
        state, weight, out_of_force = self._watch.terms(at)
        bundle, recorder = self._champion.bundle, self._recorder
        recording = recorder.trouble if recorder else None
        troubles = (*self._watch.troubles, self._worker.trouble, recording)
        return SessionStatus(
            state=state,
            weight=weight,
            out_of_force=out_of_force,
            version=bundle.version if bundle else "",
            fallbacks=dict(self.fallbacks),
            lost=recorder.lost if recorder else 0,
            set_aside=recorder.set_aside if recorder else 0,
            troubles=tuple(trouble for trouble in troubles if trouble),
        )

    def settle(self, outcome: Outcome) -> None:
        """Record the outcome of a signal; the streak breaker runs once it is in the ledger.

        Raises:
            FixData: If this session has no recorder.
        """
        if self._recorder is None:
            raise FixData(
                f"{outcome.signal_id}: this session has no recorder; open it with steelyard.trading"
            )
        self._recorder.settle(outcome)

    def _opinion(self, form: Callable[[], _Opinion]) -> _Opinion:
        try:
            return self._worker.run(form, self._deadline)
        except DeadlineExceeded:
            return _Opinion("deadline")
        except Exception:  # noqa: BLE001  # the trade goes on, whatever the ML side does
            return _Opinion("exception")

    def _form_opinion(
        self, signal: Signal, bars: Mapping[str, Bars] | None, bundle: Bundle | None
    ) -> _Opinion:
        if self._has_bars:
            self._take_in_arrived()
            stream = self._follow(bars)
            if stream.newest(signal.symbol) != (signal.timestamp - EPOCH) // MICROSECOND * 1000:
                return _Opinion("other_bar")
            if self._proposes is not None and not self._proposes(signal, self._bars[signal.symbol]):
                return _Opinion(OTHER_SYSTEM)
            market = stream.at(signal.symbol, 1 if signal.side == "buy" else -1)
        else:
            market = timing_of(signal.decided_at, signal.side)
        own_names = self._known_own_names(bundle)
        row = self._feature_row(signal, market, own_names)
        if bundle is None:
            return _Opinion("no_model", row)
        names = self._names if own_names == self._own_names else self._row_names(own_names)
        known = bundle.scorer.arrange(row, names)
        if known is None:
            return _Opinion("other_features", row)
        if not bundle.scorer.usable(known):
            return _Opinion(
                "features_missing" if bundle.scorer.lacks(known) else "features_out_of_range", row
            )
        p_win, confidence_ml = bundle.scorer.score(known)
        if not (math.isfinite(p_win) and 0.0 <= confidence_ml <= 100.0):
            return _Opinion("odd_opinion", row)
        return _Opinion(None, row, p_win, confidence_ml)

    def _keep(self, bars: Mapping[str, Bars]) -> None:
        with self._arrival:
            self._arrived.update(bars)

    def _take_in_arrived(self) -> None:
        with self._arrival:
            arrived, self._arrived = self._arrived, {}
        if arrived:
            self._take_in(arrived)

    def _take_in(self, bars: Mapping[str, Bars]) -> None:
        """Take in new bars; if one is refused, the next evaluation reads all histories anew."""
        self._bars.update(bars)
        if self._features is not None:
            stream, self._features = self._features, None
            stream.follow(bars)
            self._features = stream

    def _follow(self, universe: Mapping[str, Bars] | None) -> FeatureStream:
        """Return the features of a universe, or of the bars taken in so far, at its newest bars."""
        if self._features is not None:
            if universe is not None:
                self._take_in(universe)
            return self._features
        if universe is not None:
            self._bars = dict(universe)
        self._features = FeatureStream(self._bars)
        return self._features

    def _known_own_names(self, bundle: Bundle | None) -> tuple[str, ...]:
        """Return the own features of a row; of a log those the model was trained on."""
        if not self._is_log or bundle is None:
            return self._own_names
        names = bundle.scorer.feature_names
        return tuple(name.removeprefix(OWN) for name in names if name.startswith(OWN))

    def _row_names(self, own_names: tuple[str, ...]) -> tuple[str, ...]:
        if self._has_bars:
            return row_names(self._score_names, own_names)
        return timing_names(own_names)

    def _feature_row(self, signal: Signal, market: Floats, own_names: tuple[str, ...]) -> Floats:
        scores = [signal.scores.get(name, NAN) for name in self._score_names]
        own = [signal.own.get(name, NAN) for name in own_names]
        return np.concatenate((market, (signal.confidence, *scores, *own)))
