"""The trading side: one evaluation of a signal, in a fraction of a millisecond, that nothing on the ML side can stop.

Whatever fails there, the existing system decides, and the reason is counted (SPEC §8). What takes longer than the deadline
goes on in its own thread, and its answer is thrown away.
"""

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import numpy as np
from pydantic import Field

from steelyard.desk.blend import Arm, assign_arm
from steelyard.desk.bundle import Bundle, Champion
from steelyard.desk.watch import Watch
from steelyard.frozen import Frozen
from steelyard.market.bars import Bars, Floats
from steelyard.market.features import FEATURES
from steelyard.market.strategy import Side
from steelyard.market.stream import FeatureStream

NAN = float("nan")


class SessionPolicy(Frozen):
    """How a trading process decides (``conf/desk.yaml``)."""

    deadline_ms: Annotated[float, Field(gt=0, le=10_000)] = 50.0


@dataclass(frozen=True, slots=True)
class Signal:
    """A trade the existing system proposes at a bar's close.

    Attributes:
        decided_at: The close of the decision bar, aware.
        confidence: The existing system's, 0 to 100.
        scores: Its sub-scores, 0 to 100.
    """

    signal_id: str
    symbol: str
    side: Side
    decided_at: datetime
    confidence: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was decided about a signal, and from what.

    Attributes:
        blended: Confidence after blending; the existing system's, bit for bit, at weight 0 and without an opinion.
        decision: Whether to trade.
        p_win: The model's calibrated probability; NaN without an opinion, and so ``confidence_ml``.
        weight: Weight in force for this signal.
        pivotal: Baseline and blended disagree.
        fallback_reason: Why the existing system decided alone; None where it did not.
        latency_ms: What the whole evaluation took.
        features: The row the model was asked about, in its order; empty without one.
    """

    signal_id: str
    symbol: str
    side: Side
    decided_at: datetime
    model_version: str
    p_win: float
    confidence_existing: float
    confidence_ml: float
    weight: float
    blended: float
    arm: Arm
    decision: bool
    pivotal: bool
    latency_ms: float
    fallback_reason: str | None
    features: Floats


@dataclass(frozen=True, slots=True)
class _Opinion:
    p_win: float
    confidence_ml: float
    features: Floats


class _Unusable(Exception):  # a reason to fall back, no error anyone sees
    """The model may not be asked about this row."""


class Session:
    """Evaluates signals under the champion and the weight a ``Watch`` keeps at hand.

    Args:
        watch: The state, looked up in the background.
        champion: The model that serves, swapped in the background.
        score_names: The existing system's sub-scores, in order.
        threshold: A trade is taken above this confidence.
        ab_key: Key of the hash that assigns the pilot's signals.
        policy: Deadline.

    Attributes:
        fallbacks: How often the existing system decided alone, by reason.
    """

    def __init__(
        self,
        watch: Watch,
        champion: Champion,
        score_names: tuple[str, ...],
        threshold: float,
        ab_key: str,
        policy: SessionPolicy,
    ) -> None:
        self._watch = watch
        self._champion = champion
        self._score_names = score_names
        self._threshold = threshold
        self._ab_key = ab_key
        self._deadline = policy.deadline_ms / 1e3
        self._features: FeatureStream | None = None
        self._worker = _Worker()
        self.fallbacks: Counter[str] = Counter()

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
            signal: Decided at the newest bar of its symbol.
            bars: The universe up to the decision bar, the same histories grown by the bars that came since the last call.
        """
        started = time.perf_counter()
        state, bundle = self._watch.state, self._champion.bundle
        opinion, reason = self._opinion(signal, bars, bundle)
        weight = 0.0
        if reason is None:
            reason = self._watch.reason(signal.decided_at) if state is not None and state.weight else None
            weight = self._watch.weight(signal.decided_at)
        phase = state.phase if state is not None else "foundation"
        arm = assign_arm(signal.signal_id, phase, self._ab_key)
        existing = signal.confidence
        blended = existing
        if weight and opinion is not None:
            blended = (1 - weight) * existing + weight * opinion.confidence_ml
        baseline, treated = existing > self._threshold, blended > self._threshold
        if reason is not None:
            self.fallbacks[reason] += 1
        return Evaluation(
            signal_id=signal.signal_id,
            symbol=signal.symbol,
            side=signal.side,
            decided_at=signal.decided_at,
            model_version=bundle.version if bundle is not None and opinion is not None else "",
            p_win=opinion.p_win if opinion else NAN,
            confidence_existing=existing,
            confidence_ml=opinion.confidence_ml if opinion else NAN,
            weight=weight,
            blended=blended,
            arm=arm,
            decision=baseline if arm == "control" else treated,
            pivotal=baseline != treated,
            latency_ms=(time.perf_counter() - started) * 1e3,
            fallback_reason=reason,
            features=opinion.features if opinion else _NONE,
        )

    def _opinion(
        self, signal: Signal, bars: Mapping[str, Bars], bundle: Bundle | None
    ) -> tuple[_Opinion | None, str | None]:
        """Return the model's opinion, or why there is none."""
        try:
            found = self._worker.ask(lambda: self._asked(signal, bars, bundle), self._deadline)
        except _Late:
            return None, "deadline"
        except _Unusable as error:
            return None, str(error)
        except Exception:  # noqa: BLE001  # the border: whatever the ML side does, the trade goes on
            self._features = None
            return None, "exception"
        return (found, None) if found is not None else (None, "no_model")

    def _asked(self, signal: Signal, bars: Mapping[str, Bars], bundle: Bundle | None) -> _Opinion | None:
        if self._features is None:
            self._features = FeatureStream(bars)
        else:
            self._features.follow(bars)
        if bundle is None:
            return None
        row = self._row(signal, self._features, bundle)
        if not bundle.scorer.usable(row):
            raise _Unusable("features_missing" if not np.isfinite(row).all() else "features_out_of_range")
        p_win, confidence_ml = bundle.scorer.score(row)
        if not (math.isfinite(p_win) and 0.0 <= confidence_ml <= 100.0):
            raise _Unusable("odd_opinion")
        return _Opinion(p_win, confidence_ml, row)

    def _row(self, signal: Signal, stream: FeatureStream, bundle: Bundle) -> Floats:
        row = np.empty(len(FEATURES) + 1 + len(self._score_names))
        if len(row) != len(bundle.scorer.feature_names):
            raise _Unusable("other_features")
        row[: len(FEATURES)] = stream.at(signal.symbol, 1 if signal.side == "buy" else -1)
        row[len(FEATURES)] = signal.confidence
        for number, name in enumerate(self._score_names, start=len(FEATURES) + 1):
            row[number] = signal.scores[name]
        return row


_NONE = np.empty(0)


class _Late(Exception):  # a reason to fall back, no error anyone sees
    """No answer within the deadline."""


class _Worker:
    """One thread that does one job at a time; who asks waits no longer than told.

    While a late job is still running nobody waits for it: every further question is late at once.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[int, Callable[[], _Opinion | None]]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, _Opinion | None, Exception | None]] = queue.SimpleQueue()
        self._asked = self._answered = 0
        threading.Thread(target=self._work, name="steelyard-opinion", daemon=True).start()

    def ask(self, job: Callable[[], _Opinion | None], seconds: float) -> _Opinion | None:
        """Return what ``job`` returns, raise what it raises.

        Raises:
            _Late: If it takes longer than ``seconds``, or a job before it still runs.
        """
        while self._answered < self._asked and not self._answers.empty():
            self._answered = self._answers.get()[0]
        if self._answered < self._asked:
            raise _Late
        self._asked += 1
        self._jobs.put((self._asked, job))
        try:
            self._answered, answer, error = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise _Late from None
        if error is not None:
            raise error
        return answer

    def _work(self) -> None:
        while True:
            number, job = self._jobs.get()
            try:
                self._answers.put((number, job(), None))
            except Exception as error:  # noqa: BLE001  # handed to who asked
                self._answers.put((number, None, error))
