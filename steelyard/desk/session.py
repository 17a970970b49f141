"""The trading side: one evaluation of a signal, in a fraction of a millisecond, that nothing on the ML side can stop.

Whatever fails there, the existing system decides, and the reason is counted (SPEC §8). What takes longer than the deadline
goes on in its own thread, and its answer is thrown away.
"""

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from steelyard.desk.blend import assign_arm
from steelyard.desk.deadline import DeadlineExceeded, DeadlineWorker
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.recorder import Recorder
from steelyard.desk.served_model import Bundle, ServedModel
from steelyard.desk.signals import Evaluation, Outcome, Signal
from steelyard.desk.state_watch import StateWatch
from steelyard.errors import FixData
from steelyard.market.bars import Bars, Floats
from steelyard.market.features import FEATURES
from steelyard.market.stream import FeatureStream
from steelyard.weight.state import State

NAN = float("nan")


_NONE = np.empty(0)


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What the ML side says: an opinion, or the reason there is none; the features where they are known."""

    reason: str | None
    features: Floats = field(default_factory=lambda: _NONE)
    p_win: float = NAN
    confidence_ml: float = NAN


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """How a trading process stands.

    Attributes:
        state: The last verified state; None before the first.
        weight: In force now; ``out_of_force`` says why it is not the state's, None where it is.
        version: Of the model that is served; empty without one.
        fallbacks: How often the existing system decided alone, by reason.
        lost: Evaluations neither disk nor memory could keep.
        set_aside: Outcomes that were refused.
        troubles: Why something is old or waits.
    """

    state: State | None
    weight: float
    out_of_force: str | None
    version: str
    fallbacks: Mapping[str, int]
    lost: int
    set_aside: int
    troubles: tuple[str, ...]


class Session:
    """Evaluates signals, one thread's, under the champion and the weight a ``StateWatch`` keeps at hand.

    Args:
        watch: The state, looked up in the background.
        champion: The model that serves, swapped in the background.
        score_names: The existing system's sub-scores, in order.
        threshold: A trade is taken above this confidence.
        ab_key: Key of the hash that assigns the pilot's signals.
        policy: Deadline.
        recorder: Takes every evaluation off the hot path; None keeps no record.

    Attributes:
        fallbacks: How often the existing system decided alone, by reason.
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
    ) -> None:
        self._watch = watch
        self._champion = champion
        self._score_names = score_names
        self._threshold = threshold
        self._ab_key = ab_key
        self._deadline = policy.deadline_ms / 1e3
        self._features: FeatureStream | None = None
        self._worker = DeadlineWorker[_Opinion]()
        self._recorder = recorder
        self.fallbacks: Counter[str] = Counter()

    def close(self) -> None:
        """Stop looking, and write what is not recorded yet."""
        self._watch.stop()
        self._worker.stop()
        if self._recorder is not None:
            self._recorder.stop()

    def warm(self, bars: Mapping[str, Bars]) -> None:
        """Take in the history and run every kernel once, so that no trade waits for a compilation.

        Raises:
            FixData: If the bars hold what is no price.
        """
        self._features = FeatureStream(bars)
        for symbol in list(bars)[:1]:
            self._features.at(symbol, -1)
        assign_arm("", "pilot", self._ab_key)

    def evaluate(self, signal: Signal, bars: Mapping[str, Bars]) -> Evaluation:
        """Return what to do about ``signal``; never raises for anything on the ML side, never waits past the deadline.

        Args:
            signal: Decided at the newest bar of its symbol; one of another bar is not the model's to judge.
            bars: The universe up to the decision bar, the same histories grown by the bars that came since the last call.
        """
        started = time.perf_counter()
        (state, weight, out_of_force), bundle = (
            self._watch.terms(signal.decided_at),
            self._champion.bundle,
        )
        opinion = self._opinion(signal, bars, bundle)
        reason = opinion.reason or out_of_force
        if reason is not None:
            weight = 0.0
        phase = state.phase if state is not None else "foundation"
        arm = assign_arm(signal.signal_id, phase, self._ab_key)
        existing = signal.confidence
        blended = (1 - weight) * existing + weight * opinion.confidence_ml if weight else existing
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
        if self._recorder is not None:
            self._recorder.record(evaluation)
        return evaluation

    def look(self) -> None:
        """Look at brake and state now, without waiting for the next turn; what goes wrong is among the troubles."""
        self._watch.refresh()

    def standing(self, at: datetime) -> SessionStatus:
        """Return how this process stands at ``at``; from memory, nothing is asked."""
        state, weight, out_of_force = self._watch.terms(at)
        bundle, recorder = self._champion.bundle, self._recorder
        troubles = (self._watch.trouble, recorder.trouble if recorder else None)
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
        """Tell how a signal ended; the streak breaker looks as soon as it is in the ledger, a tenth of a second later.

        Raises:
            FixData: If this session keeps no record.
        """
        if self._recorder is None:
            raise FixData(
                f"{outcome.signal_id}: this session keeps no record; open it with a recorder"
            )
        self._recorder.settle(outcome)

    def _opinion(self, signal: Signal, bars: Mapping[str, Bars], bundle: Bundle | None) -> _Opinion:
        try:
            return self._worker.ask(lambda: self._asked(signal, bars, bundle), self._deadline)
        except DeadlineExceeded:
            return _Opinion("deadline")
        except Exception:  # noqa: BLE001  # the border: whatever the ML side does, the trade goes on
            self._features = None
            return _Opinion("exception")

    def _asked(self, signal: Signal, bars: Mapping[str, Bars], bundle: Bundle | None) -> _Opinion:
        if self._features is None:
            self._features = FeatureStream(bars)
        else:
            self._features.follow(bars)
        if self._features.newest(signal.symbol) != _stamp(signal.timestamp):
            return _Opinion("other_bar")
        row = self._row(signal, self._features)
        if bundle is None:
            return _Opinion("no_model", row)
        if len(row) != len(bundle.scorer.feature_names):
            return _Opinion("other_features", row)
        if not bundle.scorer.usable(row):
            return _Opinion(
                "features_out_of_range" if np.isfinite(row).all() else "features_missing", row
            )
        p_win, confidence_ml = bundle.scorer.score(row)
        if not (math.isfinite(p_win) and 0.0 <= confidence_ml <= 100.0):
            return _Opinion("odd_opinion", row)
        return _Opinion(None, row, p_win, confidence_ml)

    def _row(self, signal: Signal, stream: FeatureStream) -> Floats:
        row = np.empty(len(FEATURES) + 1 + len(self._score_names))
        row[: len(FEATURES)] = stream.at(signal.symbol, 1 if signal.side == "buy" else -1)
        row[len(FEATURES)] = signal.confidence
        for number, name in enumerate(self._score_names, start=len(FEATURES) + 1):
            row[number] = signal.scores[name]
        return row


def _stamp(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "ns")
