"""A champion whose opinions are turned round comes to serve: the limits must take its weight away."""

from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from steelyard.errors import FixConfiguration
from steelyard.evaluation.books import Books, measure_books
from steelyard.ops.drills.desk import days
from steelyard.ops.drills.findings import Found, Notice, changes, days_until
from steelyard.ops.drills.ground import BEGAN, DAY, TRAINING, DrillHome, market
from steelyard.queries.history import known_history
from steelyard.tasks.training import compare_with_champion, settled_samples, trained_version
from steelyard.weight.policy import WeightPolicy

STORY = "After twenty good days a champion serves whose labels were turned round in training: it is wrong where it is sure."
TURNED = BEGAN + 20 * DAY
BOUND = float(WeightPolicy().window_days)
"""Days: one window of evidence as delivered."""


def inverted_model(place: DrillHome) -> Found:
    """Live until the weight is 0, a little longer than the bound at most."""
    place.collect_all(market())
    place.flow("guard", TURNED)  # first: what is settled now was decided under its lease
    place.flow("settle", TURNED)
    weights = [(BEGAN, place.weight(BEGAN)), (TURNED, place.weight(TURNED))]
    _turn_round(place)
    for day in days(TURNED, TURNED + (BOUND + 2) * DAY):
        _live(place, day)
        weights.append((day, place.weight(day)))
        if not weights[-1][1]:
            break
    moved = changes(weights)
    lowered = [at for (_, before), (at, after) in pairwise(moved) if after < before]
    drifted = place.flow("drift", day)
    return Found(
        (
            Notice(
                "the weight is lowered",
                "guard",
                BOUND,
                days_until(TURNED, lowered),
                words=_reasons(place),
            ),
            Notice(
                "the weight is 0",
                "breakers",
                BOUND,
                days_until(TURNED, (at for at, weight in moved if not weight)),
            ),
        ),
        moved,
        (
            _cost(place, day),
            f"drift on {day:%Y-%m-%d}: {drifted['verdict']}: {'; '.join(drifted['reasons'][:2])}",
        ),
    )


def _live(place: DrillHome, day: datetime) -> None:
    place.flow("settle", day)
    place.flow("guard", day)


def _turn_round(place: DrillHome) -> None:
    """Train on labels that are turned round, and let the comparison see the same: a fault in the data nobody knows of.

    Raises:
        FixConfiguration: If the comparison refuses it all the same.
    """
    home = place.home()
    known = known_history(home, TURNED)
    samples = settled_samples(home, known)
    turned = replace(samples, won=~samples.won)
    version = compare_with_champion(
        home, turned, trained_version(home, known, turned, TURNED, TRAINING), TURNED
    )
    if version.stage != "champion":
        raise FixConfiguration(
            f"the inverted model does not serve: {'; '.join(version.reasons)}; nothing can be drilled"
        )


def _reasons(place: DrillHome) -> str:
    entries = place.home().journal.entries()
    made = [
        entry.decision
        for entry in entries
        if entry.decision.kind == "guard" and entry.decision.as_of > TURNED
    ]
    return "; ".join(
        f"{one.as_of:%Y-%m-%d} {one.verdict}: {', '.join(one.reasons)}" for one in made
    )


def _cost(place: DrillHome, end: datetime) -> str:
    home = place.home()
    settled = home.ledger.settled_predictions(TURNED, end)
    books: Books = measure_books(settled, TURNED, end, home.settings.books)
    earned = {"existing system": books.baseline, "ml book": books.ml, "blended book": books.blended}
    words = ", ".join(f"{name} {book.total_return:+.2%}" for name, book in earned.items())
    span = f"{len(settled)} signals settled in {(end - TURNED).days} days from the turn to {end:%Y-%m-%d}"
    return f"{span}: {words} of the account"
