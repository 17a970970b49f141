"""A champion trained on inverted labels serves: the limits must take its weight away."""

from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from steelyard.errors import FixConfiguration
from steelyard.evaluation.books import Books, measure_books
from steelyard.ops.drills.desk import days
from steelyard.ops.drills.findings import changes, days_until
from steelyard.ops.drills.ground import DAY, STARTED_AT, TRAINING, DrillHome, market
from steelyard.queries.books import held_predictions
from steelyard.queries.history import known_history
from steelyard.tasks.training import compare_with_champion, settled_samples, trained_version
from steelyard.views.drills import DrillResult, Notice
from steelyard.weight.policy import WeightPolicy

STORY = (
    "After twenty good days a champion serves that was trained on inverted labels: "
    "it is wrong when it is sure."
)
INVERTED_AT = STARTED_AT + 20 * DAY
BOUND = float(WeightPolicy().window_days)
"""Days: one window of evidence under the default policy."""
ZERO_BOUND = 1.5 * BOUND
"""Days until the last of the weight is gone: a breaker waits until the evidence confirms it."""


def inverted_model(drill_home: DrillHome) -> DrillResult:
    """Run the daily flows until the weight is 0, at most two days longer than the bound."""
    drill_home.collect_all(market())
    drill_home.flow("guard", INVERTED_AT)  # renews the lease before settling
    drill_home.flow("settle", INVERTED_AT)
    weights = [
        (STARTED_AT, drill_home.weight(STARTED_AT)),
        (INVERTED_AT, drill_home.weight(INVERTED_AT)),
    ]
    _serve_inverted_model(drill_home)
    for day in days(INVERTED_AT, INVERTED_AT + (ZERO_BOUND + 2) * DAY):
        drill_home.flow("settle", day)
        drill_home.flow("guard", day)
        weights.append((day, drill_home.weight(day)))
        if not weights[-1][1]:
            break
    moved = changes(weights)
    lowered = [at for (_, before), (at, after) in pairwise(moved) if after < before]
    drifted = drill_home.flow("drift", day).check
    return DrillResult(
        (
            Notice(
                "the weight is lowered",
                "guard",
                BOUND,
                days_until(INVERTED_AT, lowered),
                words=_reasons(drill_home),
            ),
            Notice(
                "the weight is 0",
                "breakers",
                ZERO_BOUND,
                days_until(INVERTED_AT, (at for at, weight in moved if not weight)),
            ),
        ),
        moved,
        (
            _cost(drill_home, day),
            f"drift on {day:%Y-%m-%d}: {drifted.verdict}: {'; '.join(drifted.reasons[:2])}",
        ),
    )


def _serve_inverted_model(drill_home: DrillHome) -> None:
    """Train on inverted labels and compare on them too, as with an unnoticed fault in the data.

    Raises:
        FixConfiguration: If the comparison refuses the model.
    """
    home = drill_home.home()
    history = known_history(home, INVERTED_AT)
    samples = settled_samples(home, history)
    inverted = replace(samples, won=~samples.won)
    version = compare_with_champion(
        home, inverted, trained_version(home, history, inverted, INVERTED_AT, TRAINING), INVERTED_AT
    )
    if version.stage != "champion":
        raise FixConfiguration(
            f"the inverted model does not serve: {'; '.join(version.reasons)}; no drill is possible"
        )


def _reasons(drill_home: DrillHome) -> str:
    entries = drill_home.home().journal.entries()
    decisions = [
        entry.decision
        for entry in entries
        if entry.decision.kind == "guard" and entry.decision.as_of > INVERTED_AT
    ]
    return "; ".join(
        f"{decision.as_of:%Y-%m-%d} {decision.outcome}: {', '.join(decision.reasons)}"
        for decision in decisions
    )


def _cost(drill_home: DrillHome, end: datetime) -> str:
    home = drill_home.home()
    held = held_predictions(home, INVERTED_AT, end)
    books: Books = measure_books(held, INVERTED_AT, end)
    earned = {"existing system": books.baseline, "ml book": books.ml, "blended book": books.blended}
    words = ", ".join(f"{name} {book.total_return:+.2%}" for name, book in earned.items())
    days_passed = (end - INVERTED_AT).days
    span = f"{len(held)} signals settled in {days_passed} days up to {end:%Y-%m-%d}"
    return f"{span}: {words} of the account"
