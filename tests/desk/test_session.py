"""The trading session: the batch's numbers, and the existing system's decisions under any fault."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories.pilot import signal_of
from factories.registry import LINEAGE
from steelyard.desk.blend import BlendTerms, blend_predictions
from steelyard.desk.policy import DeskPolicy
from steelyard.desk.recorder import Recorder
from steelyard.desk.served_model import Bundle, ServedModel
from steelyard.desk.session import Session
from steelyard.desk.signals import Evaluation, Signal
from steelyard.desk.state_watch import Clock, StateWatch
from steelyard.errors import RestoreService
from steelyard.gateways.brake import Brake
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.spool import Spool
from steelyard.learning.model import Model
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.scorer import TREES
from steelyard.learning.training import train
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy
from steelyard.tasks import trading
from steelyard.weight.policy import Phase
from steelyard.weight.state import State

NOW = datetime(2030, 1, 1, tzinfo=UTC)
STRATEGY = TrendStrategy()
NAMES = feature_names(STRATEGY)
BEFORE_THE_SIDE = tuple(name for name in NAMES if name != "direction")
"""Features of the models trained before the side became one."""
SCORES = dict.fromkeys(STRATEGY.score_names, 50.0)
THRESHOLD, KEY = 70.0, "steelyard-pilot"
MANY = 10_000


@cache
def market() -> tuple[Mapping[str, Bars], pd.DataFrame]:
    """A simulated market and every signal on it, with its batch features."""
    frame = simulate(SimulatedMarket(edge="hidden"))
    symbols = sorted(frame["symbol"].unique())[:4]
    bars = by_symbol(frame[frame["symbol"].isin(symbols)], pd.Timedelta("4h"))
    return bars, history(bars, STRATEGY, BracketPolicy())


@cache
def model(names: tuple[str, ...] = NAMES) -> Model:
    settled = market()[1]
    trained = train(
        Samples.from_history(settled[settled["won"].notna()], names),
        LearningPolicy(trials=2, rounds=60),
    ).model
    assert trained is not None
    return trained


def state(weight: float = 0.25, phase: Phase = "expansion", **changes: object) -> State:
    plain: dict[str, object] = {
        "lineage": "x",
        "weight": weight,
        "phase": phase,
        "began": NOW,
        "as_of": NOW,
        "phase_since": NOW,
        "evidence_since": NOW,
        "lease_until": NOW + timedelta(days=3),
        "champion": "1",
    }
    return State.model_validate(plain | changes)


PATIENT = DeskPolicy(deadline_ms=10_000)
"""For tests of anything but the deadline: the machine may be busy."""


def open_test_session(
    folder: Path,
    current: State | None,
    policy: DeskPolicy = PATIENT,
    recorder: Recorder | None = None,
    clock: Clock = lambda: NOW,
    names: tuple[str, ...] = NAMES,
) -> Session:
    watch = StateWatch(lambda: (current, None), Brake(folder), 5.0, clock=clock)
    watch.refresh()
    champion = ServedModel(lambda _: model(names).to_files(), folder / "bundle")
    if current is not None:
        champion.follow(current)
    return Session(watch, champion, STRATEGY.score_names, THRESHOLD, KEY, policy, recorder)


def evaluate_latest(session: Session, count: int) -> tuple[list[Evaluation], pd.DataFrame]:
    """Evaluate the latest signals in order, each with the bars closed by then."""
    bars, signals = market()
    rows = signals.tail(count).reset_index(drop=True)
    first = rows["decided_at"].iloc[0]
    session.warm(bars_until(bars, first - pd.Timedelta("4h")))
    return [
        session.evaluate(signal_of(row), bars_until(bars, row["decided_at"]))
        for _, row in rows.iterrows()
    ], rows


def bars_until(bars: Mapping[str, Bars], moment: pd.Timestamp) -> dict[str, Bars]:
    until = moment.tz_convert("UTC").tz_localize(None).to_datetime64()
    return {
        symbol: history[: int(np.searchsorted(history.closes_at, until, side="right"))]
        for symbol, history in bars.items()
    }


@pytest.mark.parametrize(
    ("weight", "phase", "names"),
    [
        pytest.param(0.25, "expansion", NAMES, id="expansion"),
        pytest.param(0.15, "pilot", BEFORE_THE_SIDE, id="pilot, a model of before the side"),
        pytest.param(0.0, "shadow", NAMES, id="shadow"),
    ],
)
def test_a_session_says_row_for_row_what_the_batch_says(
    tmp_path: Path, weight: float, phase: Phase, names: tuple[str, ...]
) -> None:
    """Features, kernel and blend bar by bar equal those over the whole history."""
    session = open_test_session(tmp_path, state(weight, phase), names=names)
    evaluations, rows = evaluate_latest(session, 250)
    features = model(names).arrange(rows[list(NAMES)].to_numpy(dtype=float), NAMES)
    p_win, confidence_ml = model(names).predict(features)
    terms = BlendTerms(
        weight=weight,
        phase=phase,
        threshold=THRESHOLD,
        ab_key=KEY,
        model_version="1",
        latency_ms=0.0,
    )
    batch = blend_predictions(rows, p_win, confidence_ml, terms)

    assert session.fallbacks == {}
    np.testing.assert_allclose([e.p_win for e in evaluations], batch["p_win"], atol=1e-6)
    np.testing.assert_allclose([e.blended for e in evaluations], batch["blended"], atol=1e-3)
    for name in (
        "signal_id",
        "arm",
        "decision",
        "pivotal",
        "weight",
        "model_version",
        "confidence_existing",
    ):
        assert [getattr(e, name) for e in evaluations] == batch[name].tolist(), name
    assert {e.arm for e in evaluations} == (
        {"control", "treatment"} if phase == "pilot" else {"all"}
    )


# faults


class Raising:
    """A model that raises."""

    feature_names = NAMES

    def arrange(self, row: object, names: object) -> object:
        return row

    def usable(self, row: object) -> bool:
        return True

    def score(self, row: object) -> tuple[float, float]:
        raise ZeroDivisionError


class Sleeping(Raising):
    """A model that does not return in time."""

    def score(self, row: object) -> tuple[float, float]:
        time.sleep(3600)
        return 0.5, 50.0


class Odd(Raising):
    """A model that returns invalid numbers."""

    def score(self, row: object) -> tuple[float, float]:
        return float("nan"), 900.0


def unreachable(_: str) -> Mapping[str, bytes]:
    raise RestoreService("MLflow cannot be used")


def with_scorer(session: Session, scorer: object) -> Session:
    session._champion.bundle = Bundle("1", scorer)  # type: ignore[arg-type]
    return session


def no_mlflow(folder: Path, weight: float) -> Session:
    watch = StateWatch(lambda: unreachable(""), Brake(folder), 5.0, clock=lambda: NOW)  # type: ignore[arg-type, return-value]
    watch.refresh()
    champion = ServedModel(unreachable, folder / "bundle")
    champion.restore()
    return Session(watch, champion, STRATEGY.score_names, THRESHOLD, KEY, PATIENT)


def corrupt(folder: Path, weight: float) -> Session:
    """A bundle with a missing byte, and no MLflow to replace it."""
    open_test_session(folder, state(weight))
    trees = folder / "bundle" / "1" / TREES
    trees.write_bytes(trees.read_bytes()[:-1])
    return no_mlflow(folder, weight)


def braked(folder: Path, weight: float) -> Session:
    Brake(folder).pull("anna", "now")
    return open_test_session(folder, state(weight))


FAULTS: dict[str, tuple[Callable[[Path, float], Session], set[str]]] = {
    "MLflow stopped": (no_mlflow, {"no_model"}),
    "corrupt bundle": (corrupt, {"no_model"}),
    "no champion": (lambda f, w: open_test_session(f, state(w, champion=None)), {"no_model"}),
    "lease expired": (
        lambda f, w: open_test_session(f, state(w, lease_until=NOW - timedelta(seconds=1))),
        {"lease_expired"},
    ),
    "brake pulled": (braked, {"brake"}),
    "model that raises": (
        lambda f, w: with_scorer(open_test_session(f, state(w)), Raising()),
        {"exception"},
    ),
    "model that sleeps": (
        lambda f, w: with_scorer(open_test_session(f, state(w), DeskPolicy()), Sleeping()),
        {"deadline"},
    ),
    "model that answers nonsense": (
        lambda f, w: with_scorer(open_test_session(f, state(w)), Odd()),
        {"odd_opinion"},
    ),
}


def evaluate_many(
    session: Session, bars: Mapping[str, Bars], decided_at: datetime = NOW, times: int = MANY
) -> list[Evaluation]:
    """Evaluate many signals at the same bar, with confidences over the whole scale."""
    stamp = pd.Timestamp(bars["SIM00"].timestamp[-1], tz="UTC").to_pydatetime()
    confidences = np.random.default_rng(0).uniform(0, 100, times)
    return [
        session.evaluate(
            Signal(f"S:{n}:buy", "SIM00", "buy", stamp, decided_at, float(confidence), SCORES), bars
        )
        for n, confidence in enumerate(confidences)
    ]


def decided_alone(evaluations: list[Evaluation]) -> bool:
    """Whether every decision and confidence equals the existing system's exactly."""
    return all(
        e.decision == (e.confidence_existing > THRESHOLD) and e.blended == e.confidence_existing
        for e in evaluations
    )


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_ten_thousand_evaluations_under_a_fault_are_the_existing_systems(
    tmp_path: Path, fault: str, weight: float
) -> None:
    """No exception, no wait, the reason counted; a weight of 25 % is not in force then."""
    open_faulty, reasons = FAULTS[fault]
    bars = {symbol: history[:400] for symbol, history in market()[0].items()}
    session = open_faulty(tmp_path, weight)
    session.warm(bars)
    started = time.monotonic()
    evaluations = evaluate_many(session, bars)

    assert time.monotonic() - started < 60
    assert decided_alone(evaluations)
    if weight or fault not in ("lease expired", "brake pulled"):
        assert set(session.fallbacks) == reasons
        assert session.fallbacks.total() == MANY
    assert {e.weight for e in evaluations} == {0.0}


@pytest.mark.parametrize("fault", ["database stopped", "full disk"])
def test_ten_thousand_evaluations_that_cannot_be_recorded_are_decided_all_the_same(
    tmp_path: Path, fault: str
) -> None:
    """Unrecorded evaluations are kept and counted; decisions do not change."""
    bars = {symbol: history[:400] for symbol, history in market()[0].items()}
    if fault == "database stopped":
        (tmp_path / "ledger.db").mkdir()
    recorder = Recorder(
        Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE),
        Spool(tmp_path / "spool"),
        STRATEGY.score_names,
    ).start()
    if fault == "full disk":
        (tmp_path / "spool" / "lines.jsonl").unlink()
        (tmp_path / "spool" / "lines.jsonl").symlink_to("/dev/full")
    session = open_test_session(tmp_path, state(0.0, "shadow"), recorder=recorder)
    session.warm(bars)

    assert decided_alone(evaluate_many(session, bars))
    session.close()
    assert recorder.trouble is not None
    assert recorder.lost == 0


def test_at_weight_0_a_healthy_model_changes_nothing(tmp_path: Path) -> None:
    """Ten thousand predictions are recorded and have no effect."""
    bars = {symbol: history[:400] for symbol, history in market()[0].items()}
    session = open_test_session(tmp_path, state(0.0, "shadow"))
    session.warm(bars)
    evaluations = evaluate_many(session, bars)

    assert decided_alone(evaluations)
    assert all(0 < e.p_win < 1 for e in evaluations)
    assert not any(e.pivotal for e in evaluations)


def test_a_clock_that_jumps_ahead_ends_the_lease_and_back_does_not_extend_it(
    tmp_path: Path,
) -> None:
    """The lease is held against the present time, whatever time a bar names."""
    bars = {symbol: history[:400] for symbol, history in market()[0].items()}
    now = [NOW]
    session = open_test_session(tmp_path, state(), clock=lambda: now[0])
    session.warm(bars)

    assert {e.weight for e in evaluate_many(session, bars, NOW, 10)} == {0.25}
    now[0] = NOW + timedelta(days=3650)
    late = evaluate_many(session, bars, NOW, 10)
    assert decided_alone(late)
    assert {e.fallback_reason for e in late} == {"lease_expired"}
    now[0] = NOW
    assert {e.weight for e in evaluate_many(session, bars, NOW + timedelta(days=99), 10)} == {0.25}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"close": np.nan}, "exception", id="NaN in the newest bar"),
        pytest.param({"volume": np.inf}, "exception", id="infinite volume"),
        pytest.param(
            {"close": 1e12, "high": 1e12}, "features_out_of_range", id="a price from nowhere"
        ),
    ],
)
def test_bars_that_cannot_be_believed(
    tmp_path: Path, change: dict[str, float], reason: str
) -> None:
    """The existing system decides until the next valid history; then the model is used again."""
    bars = dict(market()[0])
    good = {symbol: history[:400] for symbol, history in bars.items()}
    bad = {**good, "SIM00": _changed(bars["SIM00"][:401], change)}
    session = open_test_session(tmp_path, state())
    session.warm(good)
    assert decided_alone(evaluate_many(session, bad))
    assert set(session.fallbacks) == {reason}

    healed = evaluate_many(
        session, {symbol: history[:402] for symbol, history in bars.items()}, times=20
    )
    assert all(e.fallback_reason is None for e in healed)


def _changed(bars: Bars, change: dict[str, float]) -> Bars:
    columns = {name: getattr(bars, name).copy() for name in change}
    for name, value in change.items():
        columns[name][-1] = value
    return replace(bars, **columns)


def test_a_late_answer_is_thrown_away_and_the_next_question_waits_for_no_one(
    tmp_path: Path,
) -> None:
    """While the model hangs, evaluations return at once; afterwards it is used again."""
    bars = {symbol: history[:400] for symbol, history in market()[0].items()}
    session = open_test_session(tmp_path, state(), DeskPolicy(deadline_ms=500))
    session.warm(bars)
    stuck = threading.Event()
    healthy = session._champion.bundle

    class Stuck(Raising):
        def score(self, row: object) -> tuple[float, float]:
            stuck.wait(30)
            return 0.99, 99.0

    with_scorer(session, Stuck())
    [late] = evaluate_many(session, bars, times=1)
    session._champion.bundle = healthy
    started = time.monotonic()
    waiting = evaluate_many(session, bars, times=1000)
    assert time.monotonic() - started < 5
    stuck.set()
    time.sleep(0.5)
    back = evaluate_many(session, bars, times=10)

    assert late.fallback_reason == "deadline"
    assert 450 < late.latency_ms < 5000
    assert {e.fallback_reason for e in waiting} == {"deadline"}
    assert {e.fallback_reason for e in back} == {None}
    assert all(e.p_win != 0.99 for e in back)


@pytest.mark.parametrize("ahead", [-1, 1])
def test_bars_of_another_moment_are_not_looked_at(tmp_path: Path, ahead: int) -> None:
    """A signal needs the bars up to its own: later ones would be look-ahead, fewer outdated."""
    bars = {symbol: history[:400] for symbol, history in market()[0].items()}
    session = open_test_session(tmp_path, state())
    session.warm(bars)
    stamp = pd.Timestamp(market()[0]["SIM00"].timestamp[399 - ahead], tz="UTC").to_pydatetime()
    evaluation = session.evaluate(Signal("S:1:buy", "SIM00", "buy", stamp, NOW, 71.0, SCORES), bars)

    assert (evaluation.fallback_reason, evaluation.blended) == ("other_bar", 71.0)
    assert decided_alone([evaluation])


# the bundle


def test_a_swap_never_blocks_and_is_whole(tmp_path: Path) -> None:
    """While versions are swapped, every evaluation has the numbers of exactly one version."""
    bars = {symbol: history[:400] for symbol, history in market()[0].items()}
    session = open_test_session(tmp_path, state())
    session.warm(bars)
    champion, stop = session._champion, threading.Event()

    def swap() -> None:
        number = 1
        while not stop.is_set():
            number += 1
            champion.follow(state(champion=str(number)))

    swapping = threading.Thread(target=swap)
    swapping.start()
    evaluations = evaluate_many(session, bars, times=3000)
    deadline = time.monotonic() + 60  # each swap syncs its bundle to disk, however slow that is
    while len({e.model_version for e in evaluations}) < 3 and time.monotonic() < deadline:
        evaluations += evaluate_many(session, bars, times=1000)
    stop.set()
    swapping.join()

    assert {e.fallback_reason for e in evaluations} == {None}
    assert len({e.model_version for e in evaluations}) > 2


def test_the_last_good_bundle_starts_a_process_without_mlflow(tmp_path: Path) -> None:
    """The newest bundle is kept on disk; a version that cannot be loaded changes nothing."""
    champion = ServedModel(lambda _: model().to_files(), tmp_path)
    champion.follow(state(champion="1"))
    champion.follow(state(champion="2"))
    broken = ServedModel(unreachable, tmp_path)
    broken.restore()
    assert broken.bundle is not None
    assert broken.bundle.version == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "current"]
    with pytest.raises(RestoreService):
        broken.follow(state(champion="3"))
    assert broken.bundle.version == "2"


@pytest.mark.parametrize("damage", ["calibration", "current", "key"])
def test_a_bundle_that_was_changed_on_disk_is_not_served(tmp_path: Path, damage: str) -> None:
    """A changed calibration, a damaged pointer and another key's seal are each refused."""
    folder = tmp_path / "bundle"

    def sealed_by(key: str) -> ServedModel:
        return ServedModel(lambda _: model().to_files(), folder, lambda text: key + text)

    sealed_by("a").follow(state(champion="1"))
    untouched = sealed_by("a")
    untouched.restore()
    assert untouched.bundle is not None

    if damage == "calibration":
        file = folder / "1" / "model.json"
        file.write_text(file.read_text().replace('"intercept": ', '"intercept": 9'))
    elif damage == "current":
        (folder / "current").write_bytes(b"\xff\xfe")
    served = sealed_by("b" if damage == "key" else "a")
    served.restore()
    assert served.bundle is None


def test_own_features_reach_model_and_ledger_as_they_are(tmp_path: Path) -> None:
    """Any scale, missing ones as null; a session gives what the batch gives, bit for bit."""
    _, rows = market()
    funding = np.where(np.arange(len(rows)) % 3, rows["atr_ratio"] * 1e9, np.nan)
    rows, names = rows.assign(own_funding=funding), (*NAMES, "own_funding")
    samples = Samples.from_history(rows[rows["won"].notna()].tail(600), names)
    model = train(samples, LearningPolicy(trials=1, rounds=20, families=("lightgbm",))).model
    assert model is not None
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE)
    recorder = Recorder(
        ledger, Spool(tmp_path / "spool"), STRATEGY.score_names, own_names=("funding",)
    ).start()
    watch = StateWatch(lambda: (state(), None), Brake(tmp_path), 5.0, clock=lambda: NOW)
    watch.refresh()
    champion = ServedModel(lambda _: model.to_files(), tmp_path / "bundle")
    champion.follow(state())
    session = Session(
        watch, champion, STRATEGY.score_names, THRESHOLD, KEY, PATIENT, recorder, ("funding",)
    )
    asked = rows.tail(30)
    session.warm(bars_until(market()[0], asked["decided_at"].iloc[0] - pd.Timedelta("4h")))
    given = [
        session.evaluate(
            trading.signal_of(row.to_dict(), names), bars_until(market()[0], row["decided_at"])
        )
        for _, row in asked.iterrows()
    ]
    session.close()
    frozen = ledger.frozen_features(asked["decided_at"].min() - pd.Timedelta("1h"), NOW)
    p_win = model.predict(asked[list(names)].to_numpy(dtype=float))[0]

    assert session.fallbacks == {}
    np.testing.assert_array_equal([e.features[-1] for e in given], asked["own_funding"])
    np.testing.assert_allclose([e.p_win for e in given], p_win, atol=1e-6)
    stored = frozen["own_funding"].reindex(asked["signal_id"])
    np.testing.assert_array_equal(stored.to_numpy(), asked["own_funding"])


def test_bars_taken_in_as_they_close_change_no_bit_of_a_decision(tmp_path: Path) -> None:
    """Bar by bar, late, restated, missing, of a new symbol, or in a session begun in the middle.

    Every opinion is that of a session that gets the whole universe with each signal.
    """
    arrivals, whole = (open_test_session(tmp_path / name, state()) for name in ("a", "b"))
    bars = dict(market()[0])
    first, symbols = 400, list(bars)
    young = {name: bars[name][:first] for name in symbols}
    young[symbols[1]] = bars[symbols[1]][:300]
    del young[symbols[2]]  # joins later
    for session in (arrivals, whole):
        session.warm(young)
    so_far, opinions = dict(young), []
    for end in range(first + 1, first + 30):
        news = {name: bars[name][:end] for name in symbols if name != symbols[1]}
        if end % 7 == 0:
            del news[symbols[-1]]  # comes with the next bar
        if end == first + 10:
            news[symbols[1]] = bars[symbols[1]][:end]  # a hundred bars late
        if end == first + 15:
            restated = bars[symbols[3]][:end]
            news[symbols[3]] = replace(restated, close=restated.close * 0.999)
        so_far |= news
        for name in news:
            arrivals.on_bars({name: news[name]})
        if end == first + 20:
            for session in (arrivals, whole):
                session.warm(so_far)
        stamp = pd.Timestamp(so_far[symbols[0]].timestamp[-1], tz="UTC").to_pydatetime()
        asked = Signal(f"{end}", symbols[0], "buy", stamp, NOW, 71.0, SCORES)
        opinions += [arrivals.evaluate(asked), whole.evaluate(asked, so_far)]

    assert {opinion.fallback_reason for opinion in opinions} == {None}
    for one, other in zip(opinions[::2], opinions[1::2], strict=True):
        assert (one.p_win, one.blended) == (other.p_win, other.blended)
        np.testing.assert_array_equal(one.features, other.features)


def test_a_bar_refused_as_it_arrives_is_told_and_read_anew_once_it_is_corrected(
    tmp_path: Path,
) -> None:
    """The existing system decides meanwhile, and the trouble names symbol and bar."""
    bars = dict(market()[0])
    session = open_test_session(tmp_path, state())
    session.warm({symbol: history[:400] for symbol, history in bars.items()})
    good = {symbol: history[:401] for symbol, history in bars.items()}
    session.on_bars(good | {"SIM01": _changed(good["SIM01"], {"close": np.nan})})
    stamp = pd.Timestamp(good["SIM00"].timestamp[-1], tz="UTC").to_pydatetime()
    asked = Signal("S:1:buy", "SIM00", "buy", stamp, NOW, 71.0, SCORES)

    assert session.evaluate(asked).fallback_reason == "exception"
    session.on_bars({"SIM01": good["SIM01"]})
    assert session.evaluate(asked).fallback_reason is None


def test_bars_that_come_while_the_model_hangs_are_taken_in_afterwards(tmp_path: Path) -> None:
    """Nobody waits for them, and none is lost: later features compare the whole universe."""
    bars = dict(market()[0])
    hanging, whole = (
        open_test_session(tmp_path / name, state(), DeskPolicy(deadline_ms=500)) for name in "ab"
    )
    for session in (hanging, whole):
        session.warm({symbol: history[:400] for symbol, history in bars.items()})
    stuck, healthy = threading.Event(), hanging._champion.bundle

    class Stuck(Raising):
        def score(self, row: object) -> tuple[float, float]:
            stuck.wait(30)
            return 0.99, 99.0

    with_scorer(hanging, Stuck())
    reasons = []
    for end in (401, 402):
        so_far = {symbol: history[:end] for symbol, history in bars.items()}
        stamp = pd.Timestamp(so_far["SIM00"].timestamp[-1], tz="UTC").to_pydatetime()
        asked = Signal(f"S:{end}:buy", "SIM00", "buy", stamp, NOW, 71.0, SCORES)
        reasons.append(hanging.evaluate(asked, news=so_far).fallback_reason)
    hanging._champion.bundle = healthy
    stuck.set()
    time.sleep(0.5)
    late, expected = hanging.evaluate(asked), whole.evaluate(asked, so_far)

    assert reasons == ["deadline", "deadline"]
    assert (late.fallback_reason, expected.fallback_reason) == (None, None)
    np.testing.assert_allclose(late.features, expected.features, rtol=0, atol=1e-9)
