"""Steps from the known history to a registered version, and on to its promotion or refusal."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from steelyard.desk.blend import BlendTerms, blend_predictions
from steelyard.errors import CollectMoreData, FixConfiguration, FixData
from steelyard.evaluation.books import Books, equity_curves, finite_or_none, measure_books
from steelyard.evaluation.positions import take_positions
from steelyard.evaluation.sharpe import BookSharpes, deflated_sharpe
from steelyard.evaluation.skill import MAX_BET_DAYS, Origin, head_start, measure_skill
from steelyard.gateways.cluster import ScaleSettings, open_workers
from steelyard.gateways.ledger import OUTCOME
from steelyard.gateways.outside import in_sheet
from steelyard.gateways.plugins import load_class
from steelyard.gateways.registry import (
    Dataset,
    MachineLoad,
    Registration,
    Trial,
    Version,
    watched_machine,
)
from steelyard.home import Home
from steelyard.learning.admission import Admission, ProofRule, first_gate, too_good
from steelyard.learning.canaries import Canary, run_canaries
from steelyard.learning.comparison import ModelComparison, common_rows, compare_models
from steelyard.learning.folds import split_holdout
from steelyard.learning.policy import RECORDING, LearningPolicy, Retraining
from steelyard.learning.samples import Index, Samples
from steelyard.learning.search import TrialRow
from steelyard.learning.training import Training, train, training_key
from steelyard.market.bars import naive
from steelyard.market.own_features import idle_features
from steelyard.market.yes_or_no import recognise
from steelyard.progress import report_progress
from steelyard.queries.evidence import shadow_window
from steelyard.queries.history import known_bars
from steelyard.queries.trials import trials_so_far
from steelyard.queries.versions import is_doubt
from steelyard.settings import override
from steelyard.tasks.events import emit_decision, emit_refusal
from steelyard.tasks.illustrations import HOLDOUT_FILE
from steelyard.tasks.step import step
from steelyard.tasks.trials import count_search
from steelyard.tasks.weight import ensure_lineage
from steelyard.views import plots
from steelyard.weight.decision import Rule, make_decision
from steelyard.weight.state import State
from steelyard.weight.transitions import install_champion

AS_CONFIGURED = Retraining()
LEAST_SHARED = 20_000
"""Signals from which workers share a search: of fewer it is over before they have begun."""
SYMBOLS_NAMED = 20
"""Symbols an error message lists at most."""
HOLDOUT_COLUMNS = (
    "signal_id",
    "decided_at",
    "settled_at",
    "confidence_existing",
    "confidence_ml",
    "p_win",
    "won",
    "baseline_return",
    "ml_return",
    "blended_return",
)


@step()
def settled_samples(home: Home, history: pd.DataFrame, symbols: Sequence[str] = ()) -> Samples:
    """Return the settled signals as training samples, after their data contracts hold.

    Args:
        home: Opened home.
        history: One row per signal with features and outcome, as known at the time of the run.
        symbols: Symbols to learn from; empty for all.

    Raises:
        FixConfiguration: If one of ``symbols`` has no signals.
        CollectMoreData: If there are no signals at all.
        FixData: If signals or features break their contract.
    """
    if symbols:
        _require_signals(history, symbols)
        history = history[history["symbol"].isin(symbols).to_numpy()]
    if history.empty:
        raise CollectMoreData("no signals at all in the bars known so far; collect more bars")
    home.quality.check_signals(history)
    try:
        home.quality.check_features(history[list(home.feature_names)])
    except FixData:
        home.registry.record_features(valid=False)
        raise
    home.registry.record_features(valid=True)
    return Samples.from_history(history, home.feature_names)


def _require_signals(history: pd.DataFrame, symbols: Sequence[str]) -> None:
    collected = sorted(history["symbol"].unique())
    missing = sorted(set(symbols) - set(collected))
    if missing:
        raise FixConfiguration(
            f"symbols: no signals of {', '.join(missing)}; "
            f"collected are {', '.join(collected[:SYMBOLS_NAMED])}"
        )


@step()
def trained_version(
    home: Home,
    history: pd.DataFrame,
    samples: Samples,
    as_of: datetime,
    request: Retraining = AS_CONFIGURED,
    *,
    in_full: bool = False,
) -> Version:
    """Return the version these samples and settings give; train it if it is not registered yet.

    Args:
        home: Opened home.
        history: The rows the samples were taken from, for the backtest on the holdout.
        samples: Settled signals to learn from.
        as_of: Time of the training (UTC).
        request: How this training differs from the configured one, and why.
        in_full: Whether its run also gets MLflow's evaluation of the holdout, and the load of the
            machine; a replay, with hundreds of trainings, leaves both out.

    Raises:
        CollectMoreData: If there are too few samples, or outcomes of one kind only.
        FixConfiguration: If a requested setting is out of bounds.
    """
    requested = {"trials": request.trials, "families": request.families}
    changes = {name: value for name, value in requested.items() if value}
    policy = home.settings.learning
    if changes:
        policy = override(policy, "the training asked for", **changes)
    key = training_key(samples.data_hash, policy)
    registered = home.registry.find(key)
    if registered is not None:
        return registered
    trial_log = TrialLog(policy.trials)
    threshold = home.settings.books.threshold
    large = len(samples) >= LEAST_SHARED
    scale = home.settings.scale if large else ScaleSettings()
    with watched_machine() if in_full else nullcontext() as load, open_workers(scale) as workers:
        training = train(samples, policy, trial_log, threshold, load_class, workers)
    params = policy.model_dump(mode="json", exclude=set(RECORDING)) | {
        "reason": request.reason,
        "symbols": ", ".join(request.symbols),
    }
    data = training_data(home, samples, policy)
    record = TrainingRecord(key, as_of, params, tuple(trial_log.trials), data, load)
    return _register(home, history, samples, training, record)


class TrialLog:
    """A log of the trials of one search, which run one after the other.

    Args:
        total: Number of trials there will be.

    Attributes:
        trials: Finished trials with begin and end; the first begins with this log.
    """

    def __init__(self, total: int) -> None:
        self.trials: list[Trial] = []
        self._total = total
        self._began = datetime.now(UTC)

    def __call__(self, row: TrialRow) -> None:
        """Log a trial that has just ended."""
        ended = datetime.now(UTC)
        self.trials.append(Trial(row, self._began, ended))
        self._began = ended
        report_progress("tuning", row.number + 1, self._total, row.family)


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What the run of a training records besides its results.

    Attributes:
        key: Hash of data and settings.
        as_of: Time of the training (UTC).
        params: Settings, reason and symbols.
        trials: Every trial of the search, in order.
        data: Rows it learned from, and rows it was scored on.
        load: Load of the machine meanwhile; None if the run is not recorded in full.
    """

    key: str
    as_of: datetime
    params: Mapping[str, Any]
    trials: tuple[Trial, ...]
    data: tuple[Dataset, ...]
    load: MachineLoad | None


def _register(
    home: Home, history: pd.DataFrame, samples: Samples, training: Training, record: TrainingRecord
) -> Version:
    """Register a training with its backtest; refuse it if its scores could not be calibrated."""
    count_search(home, record.key, record.as_of, record.params, len(training.trials))
    model = training.model
    backtest = _backtest(home, history, samples, training, record.as_of) if model else None
    metrics = training.metrics | (backtest.metrics() if backtest else {})
    verdict = training.refusal
    if not verdict:
        verdict = f"{_first_gate(home, metrics).verdict}; {training.comparison}"
    version = home.registry.register(
        Registration(
            key=record.key,
            as_of=record.as_of,
            family=str(training.params["family"]),
            trained_through=model.trained_through if model else "",
            files=model.to_files() if model else {},
            params={**training.params, **record.params},
            metrics=metrics,
            artifacts=_artifacts(home, training, record, backtest),
            verdict="; ".join((verdict, *_warnings(home, history))),
            feature_names=samples.feature_names,
            data_hash=samples.data_hash,
            refused=() if model else (training.refusal,),
            trials=record.trials,
            every_trial=home.settings.learning.log_trials == "all",
            data=record.data,
            holdout=_holdout(samples, training) if model and record.load else None,
            load=record.load,
        )
    )
    _record_version(home, version)
    if version.stage == "refused":
        emit_refusal(home, version)
    return version


def _holdout(samples: Samples, training: Training) -> pd.DataFrame:
    """Return outcome and opinion of each holdout signal."""
    return pd.DataFrame({"won": samples.won[training.holdout], "p_win": training.p_win})


def _first_gate(home: Home, metrics: Mapping[str, float]) -> Admission:
    """Return the answer of the first gate to a version with these metrics."""
    weight = home.settings.weight
    proof = ProofRule(weight.sequential.rise, admits=weight.evidence == "sequential")
    return first_gate(metrics, home.settings.learning, proof)


def _warnings(home: Home, history: pd.DataFrame) -> tuple[str, ...]:
    """Return what keeps the model from learning or from changing decisions, one phrase each."""
    yes_or_no = recognise(history["confidence_existing"], home.settings.books.threshold)
    idle = idle_features(history[list(home.feature_names)])
    return (*([yes_or_no.words] if yes_or_no else []), *idle)


@dataclass(frozen=True, slots=True)
class Backtest:
    """The three books on the holdout, blended at the highest weight a model may have.

    Attributes:
        settled: One row per holdout signal, with prediction and outcome, by settlement.
        books: Measures of the three books.
        equity: Equity curves, one column per book.
        worth: Sharpe ratios after all trials so far.
        skill: e-value of the holdout, by the bets of a life, against no skill.
    """

    settled: pd.DataFrame
    books: Books
    equity: pd.DataFrame
    worth: BookSharpes
    skill: float

    @property
    def table(self) -> pd.DataFrame:
        """What the pictures show, one row per holdout signal."""
        return self.settled[list(HOLDOUT_COLUMNS)]

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the training's run; unknown ones are left out."""
        names = ("baseline", "ml", "blended")
        return {
            "holdout_improvement_ml": self.books.improvement_ml,
            "holdout_improvement_blended": self.books.improvement_blended,
            **{f"holdout_{name}_sharpe": getattr(self.books, name).sharpe for name in names},
            **{f"holdout_{name}_return": getattr(self.books, name).total_return for name in names},
            **self.worth.metrics("holdout_"),
            "holdout_skill": self.skill,
        }


def _backtest(
    home: Home, history: pd.DataFrame, samples: Samples, training: Training, as_of: datetime
) -> Backtest:
    signal_ids = list(samples.signal_id[training.holdout])
    held_out = history.set_index("signal_id").loc[signal_ids].reset_index()
    terms = BlendTerms(
        weight=home.settings.weight.ceiling,
        phase="optimization",
        threshold=home.settings.books.threshold,
        ab_key=home.settings.weight.ab_key,
        model_version="",
        latency_ms=0.0,
    )
    predictions = blend_predictions(held_out, training.p_win, training.confidence_ml, terms)
    joined = pd.concat([predictions, held_out[list(OUTCOME)]], axis=1)
    settled = take_positions(
        joined.sort_values("settled_at", ignore_index=True),
        home.settings.books,
        home.settings.risk,
    )
    bets = home.settings.weight.sequential.bets
    start = held_out["decided_at"].min().to_pydatetime()
    end = settled["settled_at"].max().to_pydatetime()
    equity = equity_curves(settled, start, end)
    return Backtest(
        settled=settled,
        books=measure_books(settled, start, end),
        equity=equity,
        worth=deflated_sharpe(equity, trials_so_far(home, as_of)),
        skill=measure_skill(settled, end, Origin(start, hold_days=_hold_days(samples)), bets).skill,
    )


def _artifacts(
    home: Home, training: Training, record: TrainingRecord, backtest: Backtest | None
) -> dict[str, bytes]:
    """Return the files of a training's run: trials, data checks, the backtest and its pictures.

    Without pictures, ``tasks.illustrations`` can draw them later from the other files.
    """
    seconds = {trial.row.number: trial.seconds for trial in record.trials}
    trials = training.trials.assign(seconds=training.trials["number"].map(seconds))
    checks = {f"data_docs/{suite.file.name}": suite.html for suite in home.quality.held.values()}
    files = {"trials.csv": in_sheet(trials), **checks}
    if backtest is None:
        return files
    report = {**backtest.books.as_dict(), "worth": backtest.worth.to_dict()}
    importance = {"gain": training.importance, "shap": training.shap}
    files |= {
        "backtest.json": json.dumps(report, indent=1).encode(),
        "importance.json": json.dumps(importance, indent=1).encode(),
        HOLDOUT_FILE: in_sheet(backtest.table),
    }
    if record.load is None:
        return files
    threshold = home.settings.books.threshold
    return files | plots.training(backtest.table, training.importance, threshold)


@step(one_at_a_time=True)
def compare_with_champion(
    home: Home, samples: Samples, version: Version, as_of: datetime
) -> Version:
    """Promote or refuse the waiting challengers, oldest first; return ``version`` as it is then.

    A champion in shadow stays until its window is over, and behind the challenger that is compared
    next there is one place, for the latest (docs/decisions/0010). A version that is too good to be
    true waits for an operator, at the latest until the next version is trained.

    Args:
        home: Opened home.
        samples: Settled signals known at ``as_of``.
        version: Version of interest, not necessarily the one compared next.
        as_of: Time of the comparison (UTC).

    Raises:
        FixConfiguration: If ``as_of`` lies before the last decision.
    """
    with home.journal.deciding():
        home.registry.recover()
        _supersede_waiting(home)
        while (challenger := home.registry.challenger()) is not None:
            if shadow_window(home, ensure_lineage(home, as_of), as_of):
                break
            _promote_or_refuse(home, samples, challenger, as_of)
            judged = home.registry.version(challenger.number)
            _record_version(home, judged)
            if judged.stage == "refused":
                emit_refusal(home, judged)
            if judged.stage == "challenger":
                break  # it waits for an operator
        return home.registry.version(version.number)


def _supersede_waiting(home: Home) -> None:
    """Refuse every waiting version between the one compared next and the latest.

    One that waits for an operator makes room, too.
    """
    waiting = home.registry.waiting()
    for version in waiting[:-1]:
        if version is waiting[0] and not version.waits_for_operator:
            continue
        missed = "an operator approved it" if version.waits_for_operator else "its turn came"
        reason = f"superseded by version {waiting[-1].number} before {missed}"
        refused = home.registry.refuse(version.number, (reason,))
        _record_version(home, refused)
        emit_refusal(home, refused)


def _promote_or_refuse(home: Home, samples: Samples, challenger: Version, as_of: datetime) -> None:
    """Promote or refuse a challenger, or let it wait for an operator."""
    wins, reasons = _compare(home, samples, challenger, as_of)
    if not wins:
        home.registry.refuse(challenger.number, reasons)
        return
    report = run_leakage_checks(home, samples, challenger, as_of)
    approval = home.journal.approval(challenger.number)
    refusals = report.refusals
    if approval:
        refusals = tuple(reason for reason in refusals if not is_doubt(reason))
        reasons = (*reasons, *approval.decision.reasons)
    doubts = () if approval else too_good(challenger.metrics, home.settings.learning)
    if refusals:
        home.registry.refuse(challenger.number, refusals)
    elif doubts:
        home.registry.let_wait(challenger.number, doubts)
    else:
        _promote(home, samples, challenger, reasons, report.rules, as_of)


def _compare(
    home: Home, samples: Samples, challenger: Version, as_of: datetime
) -> tuple[bool, tuple[str, ...]]:
    """Return whether a challenger may serve, and why.

    The first champion, and one that follows a breaker, must pass the first gate instead of beating
    a champion: being better than a disabled model proves nothing (docs/decisions/0009).
    """
    champion = home.registry.champion()
    requalifies = ensure_lineage(home, as_of).retrain_required
    if champion is None or requalifies:
        kind = "first champion" if champion is None else "champion after a breaker"
        missed = _first_gate(home, challenger.metrics).reasons
        return not missed, missed or (f"{kind}: {challenger.verdict}",)
    comparison = _compare_scores(home, samples, champion, challenger)
    return comparison.wins, comparison.reasons


def _compare_scores(
    home: Home, samples: Samples, champion: Version, challenger: Version
) -> ModelComparison:
    rows = _unseen_rows(home, samples, champion, challenger)
    models = (home.model(version.number) for version in (champion, challenger))
    p_champion, p_challenger = (
        model.predict(model.arrange(samples.x[rows], samples.feature_names))[0] for model in models
    )
    won, settled_at = samples.won[rows], samples.settled_at[rows]
    return compare_models(won, p_champion, p_challenger, settled_at, home.settings.learning)


def _unseen_rows(home: Home, samples: Samples, champion: Version, challenger: Version) -> Index:
    """Return the latest rows decided after the last outcome either version was trained on."""
    policy, rows = home.settings.learning, np.arange(len(samples))
    for version in (champion, challenger):
        rows = common_rows(samples, rows, np.datetime64(version.trained_through), policy)
    return rows


def _promote(
    home: Home,
    samples: Samples,
    version: Version,
    reasons: tuple[str, ...],
    rules: tuple[Rule, ...],
    as_of: datetime,
) -> None:
    """Record the promotion in the journal, which puts the version into service."""
    state, policy = ensure_lineage(home, as_of), home.settings.weight
    fresh = _fresh_origin(home, samples, version, state, as_of)
    after = install_champion(state, version.number, version.as_of, as_of, fresh)
    reasons = (f"version {version.number} serves", *reasons)
    decision = make_decision(
        "promotion", state, after, policy, as_of, verdict="HOLD", reasons=reasons, rules=rules
    )
    entry = home.journal.append(decision, data=_comparison_data(home, samples, version))
    emit_decision(home, entry)
    if state.champion is not None:
        _record_version(home, home.registry.version(state.champion))


def _fresh_origin(
    home: Home, samples: Samples, version: Version, state: State, as_of: datetime
) -> Origin:
    """Return where the evidence of skill begins if it begins with this version (SPEC §6).

    Its holdout gives a head start, the smaller the more trainings there were since the evidence
    ended; the mean hold of what it learned from is the length of a bet.
    """
    since = state.evidence_since if state.retrain_required else state.began
    trainings = sum(other.as_of >= since for other in home.registry.versions())
    skill = version.metrics.get("holdout_skill")
    capital = 1.0 if skill is None else head_start(skill, max(trainings, 1))
    return Origin(as_of, capital, _hold_days(samples))


def _hold_days(samples: Samples) -> int:
    """Return the mean time from decision to exit, days, rounded up."""
    mean = (samples.settled_at - samples.decided_at).mean() / np.timedelta64(1, "D")
    return int(min(max(math.ceil(mean), 1), MAX_BET_DAYS))


def _comparison_data(home: Home, samples: Samples, version: Version) -> tuple[Dataset, ...]:
    """Return the rows the champion was beaten on; empty for a first champion."""
    champion = home.registry.champion()
    if champion is None:
        return ()
    rows = _unseen_rows(home, samples, champion, version)
    return (describe_rows(home, samples, rows, "comparison"),)


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """Result of the leakage canaries.

    Attributes:
        rules: One rule per canary; empty if they did not run.
        refusals: Why the version may not serve; empty if it may.
    """

    rules: tuple[Rule, ...]
    refusals: tuple[str, ...]


@step()
def run_leakage_checks(
    home: Home, samples: Samples, version: Version, as_of: datetime
) -> CanaryReport:
    """Run the leakage canaries on the rows of a version, and record the result with the version.

    Args:
        home: Opened home.
        samples: Settled signals known at ``as_of``.
        version: Version to check.
        as_of: Time up to which bars are read (UTC).

    Returns:
        Rules and refusals; canaries that cannot run are a refusal.
    """
    try:
        canaries = _run_canaries(home, samples, version, as_of)
    except (CollectMoreData, FixData) as error:
        home.registry.record_canaries(version.number, f"cannot run: {error}", {}, {})
        return CanaryReport((), (f"the canaries cannot run: {error}",))
    advice = {"disguised": f"; if it may, steelyard approve {version.number} --reason TEXT"}
    refusals = tuple(
        f"canary {canary.name}: {canary.reason}{advice.get(canary.name, '')}"
        for canary in canaries
        if canary.failed
    )
    figures = {f"canary_{canary.name}": canary.figure for canary in canaries}
    records = [asdict(canary) | {"figure": finite_or_none(canary.figure)} for canary in canaries]
    content = json.dumps(records, indent=1).encode()
    summary = "; ".join(refusals) or "silent"
    home.registry.record_canaries(version.number, summary, figures, {"canaries.json": content})
    return CanaryReport(tuple(_canary_rule(canary) for canary in canaries), refusals)


def _run_canaries(
    home: Home, samples: Samples, version: Version, as_of: datetime
) -> tuple[Canary, ...]:
    trained_at = naive(pd.Series([pd.Timestamp(version.as_of)]))[0]
    rows = np.flatnonzero(samples.settled_at <= trained_at)
    bars = known_bars(home, as_of)
    asked = None if home.settings.strategy.is_log else home.strategy
    family, policy = version.family, home.settings.learning
    looked_up = home.settings.strategy.looked_up
    return run_canaries(samples.take(rows), bars, asked, family, policy, looked_up)


def _canary_rule(canary: Canary) -> Rule:
    return Rule(
        name=f"canary {canary.name}",
        figure=finite_or_none(canary.figure),
        bound=canary.bound,
        fired=canary.failed,
        reason=canary.reason,
    )


def training_data(home: Home, samples: Samples, policy: LearningPolicy) -> tuple[Dataset, Dataset]:
    """Return the rows of search, fit and calibration, and the rows of the final score.

    Args:
        home: Opened home.
        samples: Settled signals of the training.
        policy: Policy that splits off the holdout.
    """
    development, holdout = split_holdout(samples, policy)
    return (
        describe_rows(home, samples, development, "training"),
        describe_rows(home, samples, holdout, "holdout"),
    )


def describe_rows(home: Home, samples: Samples, rows: Index, context: str) -> Dataset:
    """Return a description of some rows, for the inputs of an MLflow run.

    Args:
        home: Opened home.
        samples: Settled signals.
        rows: Positions in ``samples``, shape (n_rows,).
        context: What the rows are for (``training``, ``holdout``, ``comparison``).
    """
    part = samples.take(rows)
    return Dataset(
        name="settled signals",
        context=context,
        digest=part.data_hash,
        source=str(home.lake.place),
        columns=samples.feature_names,
        profile={
            "num_rows": len(part),
            "decided_from": str(part.decided_at.min())[:19],
            "decided_through": str(part.decided_at.max())[:19],
            "settled_through": str(part.settled_at.max())[:19],
            "share_won": round(float(part.won.mean()), 4),
        },
    )


def _record_version(home: Home, version: Version) -> None:
    """Update the ledger's copy of a version."""
    trained_through = None
    if version.trained_through:
        stamp = pd.Timestamp(version.trained_through, tz="UTC")
        trained_through = stamp.to_pydatetime(warn=False)
    home.ledger.record_model(
        {
            "version": version.number,
            "run_id": version.run_id,
            "family": version.family,
            "metrics": dict(version.metrics),
            "trained_through": trained_through,
            "stage": version.stage,
        }
    )
