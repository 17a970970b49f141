"""Steps from the known history to a registered version, and from there to the champion's place or a reasoned refusal."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pandas as pd

from steelyard.desk.blend import BlendTerms, blend_predictions
from steelyard.errors import CollectMoreData, FixConfiguration, FixData
from steelyard.evaluation.books import (
    Books,
    SizingPolicy,
    equity_curves,
    finite_or_none,
    measure_books,
)
from steelyard.evaluation.sharpe import deflated_sharpe, deflated_sharpe_metrics
from steelyard.gateways.ledger import OUTCOME
from steelyard.gateways.registry import Dataset, Registration, Trial, Version
from steelyard.home import Home
from steelyard.learning.canaries import Canary, run_canaries
from steelyard.learning.comparison import ModelComparison, common_rows, compare_models
from steelyard.learning.folds import split_holdout
from steelyard.learning.policy import Family, LearningPolicy, Retraining
from steelyard.learning.samples import Index, Samples
from steelyard.learning.search import TrialRow
from steelyard.learning.training import Training, refusal_reasons, train, training_key
from steelyard.market.bars import by_symbol, naive
from steelyard.progress import report_progress
from steelyard.queries.evidence import shadow_window
from steelyard.queries.trials import trials_so_far
from steelyard.settings import override
from steelyard.tasks.step import step
from steelyard.tasks.trials import count_search
from steelyard.tasks.weight import ensure_lineage
from steelyard.views import plots
from steelyard.weight.decision import Rule
from steelyard.weight.transitions import install_champion, make_decision

AS_CONFIGURED = Retraining()
FEW = 20


@step()
def settled_samples(home: Home, known: pd.DataFrame, symbols: Sequence[str] = ()) -> Samples:
    """Return the settled signals to learn from, once signals and features passed their data contracts.

    Raises:
        FixConfiguration: If one of ``symbols`` has no signals; without any, all are taken.
        CollectMoreData: If there are no signals at all.
    """
    names = home.feature_names
    if symbols:
        known = known[known["symbol"].isin(_known_symbols(known, symbols)).to_numpy()]
    if known.empty:
        raise CollectMoreData("no signals at all in the bars known so far; collect more bars")
    home.quality.check_signals(known)
    home.quality.check_features(known[list(names)])
    return Samples.from_history(known, names)


def _known_symbols(known: pd.DataFrame, symbols: Sequence[str]) -> Sequence[str]:
    missing = sorted(set(symbols) - set(known["symbol"]))
    if missing:
        raise FixConfiguration(
            f"symbols: no signals of {', '.join(missing)}; collected are {_few(known['symbol'].unique())}"
        )
    return symbols


def _few(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:FEW])


@step()
def trained_version(
    home: Home,
    known: pd.DataFrame,
    samples: Samples,
    as_of: datetime,
    request: Retraining = AS_CONFIGURED,
) -> Version:
    """Return the version these samples and settings give: the registered one, or a new one after a search and a fit."""
    policy = home.settings.learning
    changes = {
        name: getattr(request, name) for name in ("trials", "families") if getattr(request, name)
    }
    if changes:
        policy = override(policy, "the training asked for", **changes)
    key = training_key(samples.data_hash, policy)
    found = home.registry.find(key)
    if found is not None:
        return found
    watched = TrialLog(policy.trials)
    training = train(samples, policy, on_trial=watched)
    params = policy.model_dump(mode="json") | {
        "reason": request.reason,
        "symbols": ", ".join(request.symbols),
    }
    asked = TrainingRequest(
        key, as_of, params, tuple(watched.trials), learned_from(home, samples, policy)
    )
    return _register(home, known, samples, training, asked)


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What a training was asked for under, and what goes into its run: settings, trials, the rows it saw."""

    key: str
    as_of: datetime
    params: Mapping[str, Any]
    trials: tuple[Trial, ...]
    data: tuple[Dataset, ...]


def _register(
    home: Home, known: pd.DataFrame, samples: Samples, training: Training, asked: TrainingRequest
) -> Version:
    """Store a training with its report; one whose scores could not be calibrated is refused at once."""
    count_search(home, asked.key, asked.as_of, asked.params, len(training.trials))
    held_out = _held_out(home, known, samples, training) if training.model else None
    report_of, equity = (
        (measure_books(*held_out), equity_curves(*held_out)) if held_out else (None, None)
    )
    left = None if equity is None else deflated_sharpe(equity, trials_so_far(home, asked.as_of))
    version = home.registry.register(
        Registration(
            key=asked.key,
            as_of=asked.as_of,
            family=str(training.params["family"]),
            trained_through=training.model.trained_through if training.model else "",
            files=training.model.to_files() if training.model else {},
            params={**training.params, **asked.params},
            metrics=training.metrics
            | (_improvements(report_of) if report_of else {})
            | deflated_sharpe_metrics(left, "holdout_"),
            artifacts=_artifacts(samples, training, report_of, left) | _figures(home, held_out),
            verdict=training.verdict,
            feature_names=samples.feature_names,
            data_hash=samples.data_hash,
            refused=() if training.model else training.reasons,
            trials=asked.trials,
            data=asked.data,
        )
    )
    _sync_model_row(home, version)
    return version


HeldOut = tuple[pd.DataFrame, datetime, datetime, SizingPolicy]


def _held_out(home: Home, known: pd.DataFrame, samples: Samples, training: Training) -> HeldOut:
    """Return the holdout as it is judged: opinions blended at the highest weight a model may ever have, outcomes, days."""
    held_out = (
        known.set_index("signal_id").loc[list(samples.signal_id[training.holdout])].reset_index()
    )
    terms = BlendTerms(
        weight=home.settings.weight.ceiling,
        phase="optimization",
        threshold=home.settings.books.threshold,
        ab_key=home.settings.weight.ab_key,
        model_version="",
        latency_ms=0.0,
    )
    rows = blend_predictions(held_out, training.p_win, training.confidence_ml, terms)
    settled = pd.concat([rows, held_out[list(OUTCOME)]], axis=1).sort_values(
        "settled_at", ignore_index=True
    )
    start, end = held_out["decided_at"].min(), settled["settled_at"].max()
    return settled, start.to_pydatetime(), end.to_pydatetime(), home.settings.books


def _figures(home: Home, held_out: HeldOut | None) -> dict[str, bytes]:
    """Return the pictures of the holdout, and the pages of the checks its data passed."""
    pages = {f"data_docs/{held.file.name}": held.html for held in home.quality.held.values()}
    if held_out is None:
        return pages
    settled = held_out[0]
    return pages | {
        "equity.png": plots.equity_curves(equity_curves(*held_out)),
        "confidence.png": plots.confidence(settled, home.settings.books.threshold),
    }


def _improvements(books: Books) -> dict[str, float]:
    return {
        "holdout_improvement_ml": books.improvement_ml,
        "holdout_improvement_blended": books.improvement_blended,
        **{
            f"holdout_{name}_sharpe": getattr(books, name).sharpe
            for name in ("baseline", "ml", "blended")
        },
        **{
            f"holdout_{name}_return": getattr(books, name).total_return
            for name in ("baseline", "ml", "blended")
        },
    }


def _artifacts(
    samples: Samples, training: Training, books: Books | None, left: Mapping[str, Any] | None
) -> dict[str, bytes]:
    artifacts = {"trials.csv": training.trials.to_csv(index=False).encode()}
    if books is not None:
        won = samples.won[training.holdout]
        artifacts |= {
            "backtest.json": json.dumps({**books.as_dict(), "worth": left}, indent=1).encode(),
            "importance.json": json.dumps(
                {"gain": training.importance, "shap": training.shap}, indent=1
            ).encode(),
            "importance.png": plots.importance(training.importance),
            "reliability.png": plots.reliability(training.p_win, won),
        }
    return artifacts


@step(one_at_a_time=True)
def compare_with_champion(
    home: Home, samples: Samples, version: Version, as_of: datetime
) -> Version:
    """Let the version that waits longest serve, or say why not, then the next; returns ``version`` as it stands then.

    The rule of the queue is in docs/decisions/0010: a champion in shadow keeps its place until its window is over, and
    behind the version that waits there is one seat, for the latest.
    """
    with home.journal.deciding():
        home.registry.recover()
        _supersede(home)
        while (challenger := home.registry.challenger()) is not None:
            if shadow_window(home, ensure_lineage(home, as_of), as_of):
                break
            wins, reasons = _judged(home, samples, challenger, as_of)
            heard = (
                run_leakage_checks(home, samples, challenger, as_of)
                if wins
                else CanaryReport((), reasons)
            )
            if wins and not heard.refusals:
                _promote(home, samples, challenger, reasons, heard.rules, as_of)
            else:
                home.registry.refuse(challenger.number, heard.refusals)
            _sync_model_row(home, home.registry.version(challenger.number))
        return home.registry.version(version.number)


def _supersede(home: Home) -> None:
    """Free the seat behind the version that waits for the latest one."""
    waiting = home.registry.waiting()
    for version in waiting[1:-1]:
        reason = f"superseded by version {waiting[-1].number} before its turn came"
        _sync_model_row(home, home.registry.refuse(version.number, (reason,)))


def _judged(
    home: Home, samples: Samples, version: Version, as_of: datetime
) -> tuple[bool, tuple[str, ...]]:
    """Return whether a challenger may serve, and why.

    The first champion, and one that follows a breaker, must pass the gate: better than a model that was taken out of
    service says nothing yet. Where there is a champion it must be beaten, too.
    """
    champion = home.registry.champion()
    requalifies = champion is None or ensure_lineage(home, as_of).retrain_required
    missed = refusal_reasons(dict(version.metrics), home.settings.learning) if requalifies else ()
    if missed:
        return False, missed
    if champion is None:
        return True, (f"first champion: {version.verdict}",)
    compared = _compare(home, samples, champion, version)
    return compared.wins, compared.reasons


def _compare(
    home: Home, samples: Samples, champion: Version, challenger: Version
) -> ModelComparison:
    """Score both on the rows decided after the last outcome either of them was trained on."""
    policy, rows = home.settings.learning, _common(home, samples, champion, challenger)
    scores = [
        home.model(version.number).predict(samples.x[rows])[0] for version in (champion, challenger)
    ]
    return compare_models(samples.won[rows], scores[0], scores[1], policy)


def _common(home: Home, samples: Samples, champion: Version, challenger: Version) -> Index:
    policy, rows = home.settings.learning, np.arange(len(samples))
    for version in (champion, challenger):
        rows = common_rows(samples, rows, np.datetime64(version.trained_through), policy)
    return rows[-policy.holdout_max :]


def _promote(
    home: Home,
    samples: Samples,
    version: Version,
    reasons: tuple[str, ...],
    rules: tuple[Rule, ...],
    as_of: datetime,
) -> None:
    """Enter the promotion in the journal, which lets the version serve and retires the one before."""
    state, policy = ensure_lineage(home, as_of), home.settings.weight
    after = install_champion(state, version.number, version.as_of, as_of)
    words = (f"version {version.number} serves", *reasons)
    decision = make_decision(
        "promotion", as_of, as_of, "HOLD", words, rules, state, after, None, policy
    )
    home.journal.append(decision, data=_compared_on(home, samples, version))
    if state.champion is not None:
        _sync_model_row(home, home.registry.version(state.champion))


def _compared_on(home: Home, samples: Samples, version: Version) -> tuple[Dataset, ...]:
    """Return the rows the champion was beaten on; a first champion was judged on its own holdout."""
    champion = home.registry.champion()
    if champion is None:
        return ()
    return (dataset(home, samples, _common(home, samples, champion, version), "comparison"),)


def _sync_model_row(home: Home, version: Version) -> None:
    """Keep the ledger's copy of a version up to date."""
    through = (
        pd.Timestamp(version.trained_through, tz="UTC").to_pydatetime(warn=False)
        if version.trained_through
        else None
    )
    home.ledger.record_model(
        {
            "version": version.number,
            "run_id": version.run_id,
            "family": version.family,
            "metrics": dict(version.metrics),
            "trained_through": through,
            "stage": version.stage,
        }
    )


def dataset(home: Home, samples: Samples, rows: Index, context: str) -> Dataset:
    """Return the rows of ``samples`` at ``rows``, used as ``context`` (training, holdout, comparison)."""
    part = samples.take(rows)
    return Dataset(
        name="settled signals",
        context=context,
        digest=part.data_hash,
        source=f"{home.state_folder / 'lake'}",
        columns=samples.feature_names,
        profile={
            "num_rows": len(part),
            "decided_from": str(part.decided_at.min())[:19],
            "decided_through": str(part.decided_at.max())[:19],
            "settled_through": str(part.settled_at.max())[:19],
            "share_won": round(float(part.won.mean()), 4),
        },
    )


def learned_from(home: Home, samples: Samples, policy: LearningPolicy) -> tuple[Dataset, Dataset]:
    """Return what a training's search, fit and calibration saw, and the rows it was scored on once at the end."""
    development, holdout = split_holdout(samples, policy)
    return dataset(home, samples, development, "training"), dataset(
        home, samples, holdout, "holdout"
    )


class TrialLog:
    """Notes every trial as it ends; they run one after the other, the first from now on.

    Args:
        total: Trials there will be.
    """

    def __init__(self, total: int) -> None:
        self.trials: list[Trial] = []
        self._total = total
        self._began = datetime.now(UTC)

    def __call__(self, row: TrialRow) -> None:
        """Note a trial that has just ended."""
        ended = datetime.now(UTC)
        self.trials.append(Trial(row, self._began, ended))
        self._began = ended
        report_progress("tuning", row.number + 1, self._total, row.family)


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What the canaries said: one rule for each, and why the version may not serve (empty when it may)."""

    rules: tuple[Rule, ...]
    refusals: tuple[str, ...]


@step()
def run_leakage_checks(
    home: Home, samples: Samples, version: Version, as_of: datetime
) -> CanaryReport:
    """Run the canaries on the rows a version was made from, and keep what they said with the version.

    Where they cannot run, that is the refusal.
    """
    try:
        found = _run_canaries(home, samples, version, as_of)
    except (CollectMoreData, FixData) as error:
        home.registry.record_canaries(version.number, f"cannot run: {error}", {}, {})
        return CanaryReport((), (f"the canaries cannot run: {error}",))
    refusals = tuple(f"canary {one.name}: {one.reason}" for one in found if one.failed)
    figures = {f"canary_{one.name}": one.figure for one in found}
    content = json.dumps(
        [asdict(one) | {"figure": finite_or_none(one.figure)} for one in found], indent=1
    ).encode()
    words = "; ".join(refusals) or "silent"
    home.registry.record_canaries(version.number, words, figures, {"canaries.json": content})
    return CanaryReport(tuple(_rule(one) for one in found), refusals)


def _run_canaries(
    home: Home, samples: Samples, version: Version, as_of: datetime
) -> tuple[Canary, ...]:
    known = samples.settled_at <= naive(pd.Series([pd.Timestamp(version.as_of)]))[0]
    bars = by_symbol(home.lake.read(until=pd.Timestamp(as_of)), home.lake.bar_size)
    family, policy = cast(Family, version.family), home.settings.learning
    return run_canaries(samples.take(np.flatnonzero(known)), bars, home.strategy, family, policy)


def _rule(canary: Canary) -> Rule:
    return Rule(
        name=f"canary {canary.name}",
        figure=finite_or_none(canary.figure),
        bound=canary.bound,
        fired=canary.failed,
        reason=canary.reason,
    )
