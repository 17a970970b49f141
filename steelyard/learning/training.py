"""Training: from samples to a calibrated model and its results on rows it has never seen."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from steelyard.errors import CollectMoreData
from steelyard.learning.calibration import Calibration, fit_calibration, fit_scale
from steelyard.learning.families import fit_family
from steelyard.learning.folds import Fold, ScoredRows, split_holdout, walk_forward
from steelyard.learning.logistic import LogisticModel
from steelyard.learning.model import Model
from steelyard.learning.own_family import ClassLoader, installed_class, is_own
from steelyard.learning.policy import RECORDING, Family, LearningPolicy
from steelyard.learning.samples import Bools, Floats, Index, Samples
from steelyard.learning.search import STRENGTH, SearchResult, TrialRow, search
from steelyard.market.yes_or_no import TRADE_ABOVE
from steelyard.values import OrderedMap

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Result of a training.

    Attributes:
        model: None if the scores could not be calibrated.
        refusal: Why the scores could not be calibrated; empty with a model.
        comparison: The model against the yardstick in one sentence; empty without a model.
        holdout: Positions of the rows no search, fit or calibration used, shape (h,).
        p_win: Calibrated probabilities of the holdout, shape (h,); empty without a model.
        confidence_ml: The same on the existing system's scale, 0-100, shape (h,).
        metrics: Figures of out-of-fold and holdout rows, and of the yardstick on both.
        trials: One row a trial, see ``SearchResult.table``.
        importance: Feature → share of the gain, largest first; empty without a model.
        params: Family, rounds and parameters of the best trial.
        shap: Feature → share of the mean absolute Shapley values on the holdout, largest first;
            empty without a model.
    """

    model: Model | None
    refusal: str
    comparison: str
    holdout: Index
    p_win: Floats
    confidence_ml: Floats
    metrics: Metrics
    trials: pd.DataFrame
    importance: dict[str, float]
    params: dict[str, float | int | str]
    shap: dict[str, float] = field(default_factory=dict)


def training_key(data_hash: str, policy: LearningPolicy) -> str:
    """Return the key of a training: same data and same settings, same version.

    Args:
        data_hash: ``Samples.data_hash``.
        policy: Settings of the training.
    """
    settings = policy.model_dump_json(exclude=set(RECORDING))
    return hashlib.sha256(f"{data_hash}\n{settings}".encode()).hexdigest()


def train(
    samples: Samples,
    policy: LearningPolicy,
    on_trial: Callable[[TrialRow], None] | None = None,
    threshold: float = TRADE_ABOVE,
    load: ClassLoader = installed_class,
    workers: OrderedMap | None = None,
) -> Training:
    """Search, fit, calibrate and score a model.

    The search uses folds of the development rows; calibration and scale are fitted on their
    out-of-fold predictions; the holdout is scored once, at the end.

    Args:
        samples: Settled signals.
        policy: Settings of the training.
        on_trial: Called after each trial of the search, for logging.
        threshold: Confidence above which the existing system trades.
        load: Returns the class of a family of the user's own.
        workers: Map over the trials of a batch; None for threads of this process.

    Raises:
        CollectMoreData: If there are too few samples, or outcomes of one kind only.
        FixConfiguration: If a family of the user's own cannot be fitted or stored.
    """
    development, holdout = split_holdout(samples, policy)
    folds = walk_forward(samples, development, policy)
    _require_both_outcomes(samples, folds)
    weight = sample_weights(samples, policy)
    best = search(samples, weight, folds, policy, on_trial, load, workers)
    scored = ScoredRows.from_folds(samples, folds, weight)
    metrics = _yardstick_metrics(samples, weight, folds, development, holdout)
    metrics["trials"] = float(len(best.trials))
    metrics["imputed"] = float(np.isnan(samples.x[development]).sum())
    calibration = fit_calibration(best.out_of_fold, scored)
    if isinstance(calibration, str):
        return _uncalibrated(calibration, best, holdout, metrics)
    rows = samples.rows(development, weight)
    model = Model.from_learner(
        family=best.family,
        file=fit_family(best.family, best.params, best.rounds, rows, policy.seed, load),
        feature_names=samples.feature_names,
        calibration=calibration,
        scale=fit_scale(
            policy.scale,
            calibration.apply(best.out_of_fold),
            samples.confidence_existing[scored.index],
            threshold,
        ),
        trained_through=str(samples.settled_at[development].max()),
        x=samples.x[development],
        load=load,
    )
    p_win, confidence_ml = model.predict(samples.x[holdout])
    fitted = model.predict(samples.x[development])[0]
    metrics |= _score_metrics("oof", calibration.apply(best.out_of_fold), scored.won)
    metrics |= _score_metrics("train", fitted, samples.won[development])
    metrics |= _score_metrics("holdout", p_win, samples.won[holdout])
    metrics["holdout_losers"] = float((~samples.won[holdout]).sum())
    base = np.full(len(holdout), np.average(samples.won[development], weights=weight[development]))
    metrics["holdout_base_log_loss"] = float(log_loss(samples.won[holdout], base, labels=[0, 1]))
    metrics["holdout_independent"] = float(samples.uniqueness[holdout].sum())
    metrics["gap"] = metrics["train_accuracy"] - metrics["holdout_accuracy"]
    names = samples.feature_names
    return Training(
        model=model,
        refusal="",
        comparison=_compare_with_yardstick(best.family, metrics),
        holdout=holdout,
        p_win=p_win,
        confidence_ml=confidence_ml,
        metrics=metrics,
        trials=best.table(),
        importance=_rank_features(names, model.learner.gain(len(names))),
        params=_params(best),
        shap=_rank_features(names, _shapley_shares(model, samples.x[holdout])),
    )


def sample_weights(samples: Samples, policy: LearningPolicy) -> Floats:
    """Return the weight of each sample, shape (n,): its uniqueness, halved each half-life of age.

    Args:
        samples: Settled signals.
        policy: Half-life; None for no decay.
    """
    if policy.half_life_days is None:
        return samples.uniqueness
    age_days = (samples.decided_at[-1] - samples.decided_at) / np.timedelta64(1, "D")
    return np.asarray(samples.uniqueness * 0.5 ** (age_days / policy.half_life_days))


def _params(best: SearchResult) -> dict[str, float | int | str]:
    return {"family": best.family, "rounds": best.rounds, **best.params}


def _shapley_shares(model: Model, x: Floats) -> Floats:
    """Return each feature's share of the mean absolute Shapley values on ``x``, (n, k) → (k,)."""
    sizes = np.abs(model.contributions(x)[:, :-1]).mean(axis=0)
    return np.asarray(sizes / sizes.sum() if sizes.sum() > 0 else sizes)


def _rank_features(names: tuple[str, ...], shares: Floats) -> dict[str, float]:
    order = np.argsort(-shares, kind="stable")
    return {names[column]: float(shares[column]) for column in order}


def _require_both_outcomes(samples: Samples, folds: list[Fold]) -> None:
    if samples.won.all():
        raise CollectMoreData(
            f"not one of {len(samples)} signals lost, which is too good to be true and teaches "
            "nothing; find out how the system knows, or collect its losing signals, too"
        )
    for number, fold in enumerate(folds, start=1):
        for part in (fold.fit, fold.stop):
            if samples.won[part].all() or not samples.won[part].any():
                raise CollectMoreData(
                    f"fold {number} has only one outcome in {len(part)} signals; collect more bars"
                )


def _yardstick_metrics(
    samples: Samples, weight: Floats, folds: list[Fold], development: Index, holdout: Index
) -> Metrics:
    """Return the figures of the yardstick on the same folds and holdout."""

    def predict(train: Index, test: Index) -> Floats:
        model = LogisticModel.fit(samples.rows(train, weight), STRENGTH)
        return model.predict(samples.x[test])

    scored = ScoredRows.from_folds(samples, folds, weight)
    out_of_fold = np.concatenate([predict(fold.train, fold.test) for fold in folds])
    calibration = fit_calibration(out_of_fold, scored)
    held_out = predict(development, holdout)
    if isinstance(calibration, Calibration):
        out_of_fold, held_out = calibration.apply(out_of_fold), calibration.apply(held_out)
    return {
        **_score_metrics("yardstick_oof", out_of_fold, scored.won),
        **_score_metrics("yardstick_holdout", held_out, samples.won[holdout]),
    }


def _score_metrics(name: str, p_win: Floats, won: Bools) -> Metrics:
    """Return accuracy, log-loss, AUC, Brier score and no-information rate under ``name``.

    AUC is NaN if only one outcome occurred.
    """
    both = won.any() and not won.all()
    return {
        f"{name}_accuracy": float(((p_win > 0.5) == won).mean()),
        f"{name}_log_loss": float(log_loss(won, p_win, labels=[False, True])),
        f"{name}_auc": float(roc_auc_score(won, p_win)) if both else float("nan"),
        f"{name}_brier": float(brier_score_loss(won, p_win, pos_label=True)),
        f"{name}_no_information_rate": float(max(won.mean(), (~won).mean())),
        f"{name}_signals": float(len(won)),
    }


def _compare_with_yardstick(family: Family, metrics: Metrics) -> str:
    if family == "logistic":
        return "a logistic regression: no booster was clearly better out of fold"
    advantage = metrics["yardstick_oof_log_loss"] - metrics["oof_log_loss"]
    comparison = "beats" if advantage > 0 else "does not beat"
    kind = family if is_own(family) else "the booster"
    return f"{kind} {comparison} a logistic regression ({advantage:+.4f} nats out of fold)"


def _uncalibrated(reason: str, best: SearchResult, holdout: Index, metrics: Metrics) -> Training:
    return Training(
        model=None,
        refusal=reason,
        comparison="",
        holdout=holdout,
        p_win=np.empty(0),
        confidence_ml=np.empty(0),
        metrics=metrics,
        trials=best.table(),
        importance={},
        params=_params(best),
    )
