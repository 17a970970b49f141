"""A training: from samples to a calibrated model and what it was worth on rows it has never seen."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steelyard.errors import CollectMoreData
from steelyard.learning.boosters import GROWING_BOOSTERS, BoosterData
from steelyard.learning.calibration import Calibration, fit_calibration, fit_scale
from steelyard.learning.folds import Fold, split_holdout, walk_forward
from steelyard.learning.model import Model
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Bools, Floats, Index, Samples
from steelyard.learning.search import SearchResult, TrialRow, search

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What a training gave.

    Attributes:
        model: None when the scores could not be calibrated.
        reasons: Why the model may not be a first champion; empty when it may.
        verdict: The result in one sentence.
        holdout: Rows of the samples that no search, fit or calibration saw.
        p_win: Calibrated probabilities of the holdout, shape (len(holdout),); empty without a model.
        confidence_ml: The same on the existing system's scale.
        metrics: Figures of out-of-fold and holdout rows, and of the yardstick on both.
        trials: Every trial, one row each.
        importance: Share of the gain by feature, largest first; empty without a model.
        shap: Share of the mean absolute Shapley values on the holdout by feature, largest first; empty without a model.
    """

    model: Model | None
    reasons: tuple[str, ...]
    verdict: str
    holdout: Index
    p_win: Floats
    confidence_ml: Floats
    metrics: Metrics
    trials: pd.DataFrame
    importance: dict[str, float]
    params: dict[str, float | int | str]
    shap: dict[str, float] = field(default_factory=dict)


def training_key(data_hash: str, policy: LearningPolicy) -> str:
    """Return the key of a training: same data and same settings, same version."""
    return hashlib.sha256(f"{data_hash}\n{policy.model_dump_json()}".encode()).hexdigest()


def train(
    samples: Samples, policy: LearningPolicy, on_trial: Callable[[TrialRow], None] | None = None
) -> Training:
    """Search, fit, calibrate and score a model on ``samples``.

    The search sees folds of the development rows; calibration and scale are fitted on their out-of-fold predictions; the
    holdout is scored once, at the end.

    Raises:
        CollectMoreData: If there are too few samples, or outcomes of one kind only.
    """
    development, holdout = split_holdout(samples, policy)
    folds = walk_forward(samples, development, policy)
    _require_both_outcomes(samples, folds)
    found = search(samples, folds, policy, on_trial)
    test = np.concatenate([fold.test for fold in folds])
    metrics = _yardstick(samples, folds, development, holdout) | {
        "trials": float(len(found.trials))
    }
    calibration = fit_calibration(found.out_of_fold, samples.won[test])
    if isinstance(calibration, str):
        return _refused(calibration, found, holdout, metrics)
    model = _fit(samples, development, test, found, calibration, policy)
    p_win, confidence_ml = model.predict(samples.x[holdout])
    metrics |= _figures("oof", calibration.apply(found.out_of_fold), samples.won[test])
    metrics |= _figures("train", model.predict(samples.x[development])[0], samples.won[development])
    metrics |= _figures("holdout", p_win, samples.won[holdout])
    metrics["gap"] = metrics["train_accuracy"] - metrics["holdout_accuracy"]
    reasons = refusal_reasons(metrics, policy)
    return Training(
        model=model,
        reasons=reasons,
        verdict=_verdict(metrics, policy),
        holdout=holdout,
        p_win=p_win,
        confidence_ml=confidence_ml,
        metrics=metrics,
        trials=found.table(),
        importance=_ranked(samples.feature_names, model.booster.gain(len(samples.feature_names))),
        params={"family": found.family, "rounds": found.rounds, **found.params},
        shap=_ranked(samples.feature_names, _shapley_shares(model, samples.x[holdout])),
    )


def _shapley_shares(model: Model, x: Floats) -> Floats:
    """Return each feature's share of the mean absolute Shapley values on ``x``, shape (k,); zeros where none counts."""
    sizes = np.abs(model.contributions(x)[:, :-1]).mean(axis=0)
    return np.asarray(sizes / sizes.sum() if sizes.sum() > 0 else sizes)


def _ranked(names: tuple[str, ...], shares: Floats) -> dict[str, float]:
    return {names[n]: float(shares[n]) for n in np.argsort(-shares, kind="stable")}


def refusal_reasons(metrics: Metrics, policy: LearningPolicy) -> tuple[str, ...]:
    """Return why a model with these holdout figures may not be a first champion; empty when it may (SPEC §3)."""
    accuracy, rate = metrics["holdout_accuracy"], metrics["holdout_no_information_rate"]
    reasons = []
    if not accuracy > policy.gate_accuracy:
        miss = (policy.gate_accuracy - accuracy) * 100
        reasons.append(
            f"holdout accuracy {accuracy:.1%} misses {policy.gate_accuracy:.1%} by {miss:.1f} points"
        )
    if not accuracy > rate:
        reasons.append(
            f"holdout accuracy {accuracy:.1%} is not above the no-information rate {rate:.1%}"
        )
    return tuple(reasons)


def _fit(
    samples: Samples,
    development: Index,
    test: Index,
    found: SearchResult,
    calibration: Calibration,
    policy: LearningPolicy,
) -> Model:
    booster = GROWING_BOOSTERS[found.family](
        found.params,
        BoosterData.from_rows(samples.x[development], samples.won[development]),
        policy.seed,
    )
    for _ in range(found.rounds):
        booster.grow()
    scale = fit_scale(
        policy.scale, calibration.apply(found.out_of_fold), samples.confidence_existing[test]
    )
    return Model.from_booster(
        found.family,
        booster.to_bytes(found.rounds),
        samples.feature_names,
        calibration,
        scale,
        str(samples.settled_at[development].max()),
        samples.x[development],
    )


def _require_both_outcomes(samples: Samples, folds: list[Fold]) -> None:
    for number, fold in enumerate(folds, start=1):
        for part in (fold.fit, fold.stop):
            if samples.won[part].all() or not samples.won[part].any():
                raise CollectMoreData(
                    f"fold {number} knows only one outcome in {len(part)} signals; collect more bars"
                )


def _yardstick(samples: Samples, folds: list[Fold], development: Index, holdout: Index) -> Metrics:
    """Return the figures of a regularised logistic regression on the same folds and holdout (scaled on its own rows)."""

    def fitted(train: Index, test: Index) -> Floats:
        line = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))
        line.fit(samples.x[train], samples.won[train])
        return np.asarray(line.predict_proba(samples.x[test])[:, 1])

    test = np.concatenate([fold.test for fold in folds])
    out_of_fold = np.concatenate([fitted(fold.train, fold.test) for fold in folds])
    return _figures("yardstick_oof", out_of_fold, samples.won[test]) | _figures(
        "yardstick_holdout", fitted(development, holdout), samples.won[holdout]
    )


def _figures(name: str, p_win: Floats, won: Bools) -> Metrics:
    """Return accuracy, log-loss, AUC, Brier score and no-information rate; AUC is NaN where only one outcome occurred."""
    both = won.any() and not won.all()
    return {
        f"{name}_accuracy": float(((p_win > 0.5) == won).mean()),
        f"{name}_log_loss": float(log_loss(won, p_win, labels=[False, True])),
        f"{name}_auc": float(roc_auc_score(won, p_win)) if both else float("nan"),
        f"{name}_brier": float(brier_score_loss(won, p_win, pos_label=True)),
        f"{name}_no_information_rate": float(max(won.mean(), 1 - won.mean())),
        f"{name}_signals": float(len(won)),
    }


def _verdict(metrics: Metrics, policy: LearningPolicy) -> str:
    accuracy, beaten = (
        metrics["holdout_accuracy"],
        metrics["yardstick_oof_log_loss"] - metrics["oof_log_loss"],
    )
    reasons = refusal_reasons(metrics, policy)
    first = (
        "; ".join(reasons)
        if reasons
        else f"holdout accuracy {accuracy:.1%} passes {policy.gate_accuracy:.1%}"
    )
    line = "beats" if beaten > 0 else "does not beat"
    return f"{first}; the booster {line} a logistic regression ({beaten:+.4f} nats out of fold)"


def _refused(reason: str, found: SearchResult, holdout: Index, metrics: Metrics) -> Training:
    none = np.empty(0)
    params: dict[str, float | int | str] = {
        "family": found.family,
        "rounds": found.rounds,
        **found.params,
    }
    return Training(
        None, (reason,), reason, holdout, none, none, metrics, found.table(), {}, params
    )
