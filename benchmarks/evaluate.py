"""Latency of one evaluation, from features to recording, beside the usual ways to run a model."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier

from steelyard.desk.policy import DeskPolicy
from steelyard.desk.recorder import Recorder
from steelyard.desk.risk import Account, Proposal, RiskPolicy, assess
from steelyard.desk.served_model import ServedModel
from steelyard.desk.session import Proposes, Session
from steelyard.desk.signals import Signal
from steelyard.desk.state_watch import StateWatch
from steelyard.environment import go_offline
from steelyard.evaluation.books import SizingPolicy
from steelyard.gateways.brake import Brake
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.pyfunc import save
from steelyard.gateways.spool import Spool
from steelyard.learning.boosters import GROWING_BOOSTERS, BoosterData
from steelyard.learning.calibration import Calibration, Scale
from steelyard.learning.families import FILES
from steelyard.learning.model import Model
from steelyard.learning.samples import WeightedRows
from steelyard.market.bars import Bars
from steelyard.market.features import FEATURES, features
from steelyard.market.strategy import TrendStrategy
from steelyard.weight.state import State

RNG = np.random.default_rng(1)
NAMES = (
    *(feature.name for feature in FEATURES),
    "confidence_existing",
    *(f"score_{n}" for n in TrendStrategy.score_names),
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BARS, FIRST, TREES = 3000, 800, 300
UNIVERSES = (1, 136, 1000)
ACCOUNT, RISK, SIZING = Account(100_000.0, {"Y": 0.5}), RiskPolicy(), SizingPolicy()
_VOLATILITY = NAMES.index("regime_volatility")


def main() -> None:
    """Print medians and 99th percentiles, and the ratio of each other way."""
    go_offline()
    bars = {"X": random_walk()}
    model = train_model(bars | {name: random_walk(name) for name in ("S0", "S1", "S2", "S3")})
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            Ledger(f"sqlite:///{folder}/ledger.db", "signal-confidence"),
            Spool(Path(folder, "spool")),
            TrendStrategy.score_names,
        )
        session = open_session(model, Path(folder), recorder.start())
        session.warm({"X": bars["X"][:FIRST]})
        fast = report(
            "evaluate, risk and record, hot", time_evaluations(session, bars), quiet=False
        )
        session.warm({"X": bars["X"][:FIRST]})
        report(
            "the same, 0.5 ms apart, 16 MB touched between",
            time_evaluations(session, bars, disturbed=True),
            quiet=False,
        )
        for symbols in UNIVERSES:
            names = f"{symbols:,} symbols" if symbols > 1 else "1 symbol"
            first, _ = time_universe(session, symbols, arrived=False)
            report(f"first signal of a bar, bars with it, {names}", first, quiet=False)
            first, second = time_universe(session, symbols, arrived=True)
            report(f"first signal of a bar, bars came before, {names}", first, quiet=False)
            report(f"every further one, {names}", second, quiet=False)
        print(f"{'fallbacks':52} {dict(session.fallbacks) or 'none'}")
        for name, call in other_ways(model, Path(folder)).items():
            median = report(name, [time_call(call) for _ in range(300)], quiet=True)
            print(f"{name:52} p50 {median:9.1f} µs   {median / fast:6.1f} × the whole evaluation")
        session.close()


def random_walk(symbol: str = "X", count: int = BARS) -> Bars:
    """Return hourly bars of a random walk."""
    close = 100 * np.exp(np.cumsum(RNG.normal(0, 0.01, count)))
    open_ = np.concatenate([close[:1], close[:-1]])
    stamps = np.datetime64("2024-01-01", "ns") + np.arange(count) * np.timedelta64(1, "h")
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    traded = RNG.uniform(1, 100, count)
    return Bars(symbol, pd.Timedelta("1h"), stamps, open_, high, low, close, traded)


def train_model(bars: dict[str, Bars]) -> Model:
    """Return a LightGBM model of 300 trees over the 44 features of ``X`` in its universe."""
    positions = np.arange(200, BARS)
    stamps = pd.to_datetime(bars["X"].timestamp[positions], utc=True)
    rows = features(
        bars, pd.DataFrame({"symbol": "X", "timestamp": stamps, "side": "buy"})
    ).to_numpy()
    x = np.column_stack([rows, RNG.uniform(0, 100, (len(rows), 6))])
    won = RNG.random(len(x)) < 1 / (1 + np.exp(-x[:, 0]))
    data = BoosterData.from_rows(WeightedRows(x, won, np.ones(len(x))))
    booster = GROWING_BOOSTERS["lightgbm"]({"learning_rate": 0.02, "num_leaves": 15}, data, 1)
    for _ in range(TREES):
        booster.grow()
    scale = Scale(
        kind="matched",
        p_win=tuple(np.linspace(0.2, 0.8, 501)),
        confidence=tuple(np.linspace(20, 95, 501)),
    )
    return Model.from_learner(
        "lightgbm",
        (FILES["lightgbm"], booster.to_bytes(TREES)),
        NAMES,
        Calibration(slope=1, intercept=0),
        scale,
        "2024-01-01",
        x,
    )


def open_session(
    model: Model, folder: Path, recorder: Recorder, proposes: Proposes | None = None
) -> Session:
    """Return a session in expansion at a weight of 25 %.

    Args:
        model: Champion.
        folder: Home of brake and bundle.
        recorder: Started recorder.
        proposes: Whether the existing system proposes a signal; None to believe it.
    """
    state = State(
        lineage="x", weight=0.25, phase="expansion", base=0.2, bonus=0.05, began=NOW, as_of=NOW,
        phase_since=NOW, evidence_since=NOW, lease_until=NOW + timedelta(days=3), champion="1",
    )  # fmt: skip
    watch = StateWatch(lambda: (state, None), Brake(folder), 5.0, clock=lambda: NOW)
    watch.refresh()
    champion = ServedModel(lambda _: model.to_files(), folder / "bundle")
    champion.follow(state)
    return Session(
        watch,
        champion,
        TrendStrategy.score_names,
        70.0,
        "steelyard-pilot",
        DeskPolicy(),
        recorder,
        proposes=proposes,
    )


def time_evaluations(
    session: Session, bars: dict[str, Bars], *, disturbed: bool = False
) -> list[float]:
    """Return the microseconds of one evaluation for each new bar.

    Args:
        session: Warmed session.
        bars: Symbol → bars.
        disturbed: Wait 0.5 ms and touch 16 MB between evaluations.
    """
    scores = dict.fromkeys(TrendStrategy.score_names, 50.0)
    memory = np.ones(2_000_000)
    durations = []
    for end in range(FIRST + 1, BARS):
        past = {"X": bars["X"][:end]}
        stamp = pd.Timestamp(bars["X"].timestamp[end - 1], tz="UTC").to_pydatetime()
        signal = Signal(f"X:{len(durations)}:{disturbed}", "X", "buy", stamp, NOW, 71.0, scores)
        if disturbed:
            time.sleep(0.0005)
            memory += 1.0
        started = time.perf_counter()
        evaluation = session.evaluate(signal, past)
        proposal = Proposal(
            "X",
            "buy",
            evaluation.decision,
            100.0,
            2.0,
            float(evaluation.features[_VOLATILITY]),
            0.0,
        )
        assess(proposal, ACCOUNT, RISK, SIZING)
        durations.append((time.perf_counter() - started) * 1e6)
    return durations[50:]


def time_universe(
    session: Session, symbols: int, *, arrived: bool
) -> tuple[list[float], list[float]]:
    """Return the microseconds of the first and the second signal of each of 120 bars.

    Args:
        session: Session; it is warmed here.
        symbols: Symbols that get a bar each time.
        arrived: Bars are taken in as they close, and their signals come 50 ms later.
    """
    names = [f"S{number}" for number in range(symbols)]
    bars = {name: random_walk(name) for name in names}
    session.warm({name: history[:FIRST] for name, history in bars.items()})
    scores = dict.fromkeys(TrendStrategy.score_names, 50.0)
    durations: tuple[list[float], list[float]] = ([], [])
    for end in range(FIRST + 1, FIRST + 121):
        past = {name: history[:end] for name, history in bars.items()}
        stamp = pd.Timestamp(past["S0"].timestamp[-1], tz="UTC").to_pydatetime()
        time.sleep(0.01)
        if arrived:
            session.on_bars(past)
            time.sleep(0.05)
        for number, taken in enumerate(durations):
            key, name = f"{symbols}:{number}:{end}:{arrived}", names[number % symbols]
            signal = Signal(key, name, "buy", stamp, NOW, 71.0, scores)
            started = time.perf_counter()
            session.evaluate(signal, None if arrived else past)
            taken.append((time.perf_counter() - started) * 1e6)
    return durations


def other_ways(model: Model, folder: Path) -> dict[str, Callable[[], object]]:
    """Return other ways to run the same model for one row of features, name → call.

    Args:
        model: The model.
        folder: Folder for the MLflow model.
    """
    import mlflow.pyfunc

    row = np.clip(RNG.normal(size=(1, len(NAMES))), -1, 1)
    frame = pd.DataFrame(row, columns=list(NAMES))
    save(folder / "pyfunc", model.to_files(), NAMES)
    served = mlflow.pyfunc.load_model(str(folder / "pyfunc"))
    wrapper = lgb.LGBMClassifier(n_estimators=TREES, num_leaves=15, verbose=-1, n_jobs=1)
    wrapper.fit(RNG.normal(size=(2000, len(NAMES))), RNG.integers(0, 2, 2000))
    booster = lgb.Booster(model_str=model.learner_bytes.decode())
    onnx = onnx_session(TREES)
    single = row.astype(np.float32)
    return {
        "the model alone: LightGBM Booster.predict": lambda: booster.predict(row, num_threads=1),
        "the model alone: scikit-learn wrapper predict_proba": lambda: wrapper.predict_proba(row),
        "as many trees in ONNX: onnxruntime, one thread": lambda: onnx.run(None, {"X": single}),
        "the model alone: MLflow pyfunc predict": lambda: served.predict(frame),
    }


def onnx_session(trees: int) -> onnxruntime.InferenceSession:
    """Return a session of scikit-learn's boosted trees of the same size.

    skl2onnx does not convert LightGBM's own.

    Args:
        trees: Number of trees.
    """
    x, won = RNG.normal(size=(2000, len(NAMES))), RNG.integers(0, 2, 2000)
    fitted = GradientBoostingClassifier(n_estimators=trees, max_leaf_nodes=15).fit(x, won)
    converted = to_onnx(fitted, x[:1].astype(np.float32), options={"zipmap": False})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(converted.SerializeToString(), options)


def time_call(call: Callable[[], object]) -> float:
    """Return the microseconds of one call."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e6


def report(name: str, durations: list[float], *, quiet: bool) -> float:
    """Return the median, microseconds, and print it with the 99th percentile.

    Args:
        name: Label of the line.
        durations: Microseconds of each call.
        quiet: Print nothing.
    """
    if not quiet:
        p50, p99 = statistics.median(durations), statistics.quantiles(durations, n=100)[98]
        print(f"{name:52} p50 {p50:9.1f} µs   p99 {p99:9.1f} µs   ({len(durations)} calls)")
    return statistics.median(durations)


if __name__ == "__main__":
    sys.exit(main())
