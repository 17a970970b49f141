"""Steps that draw decisions; they run last, so that a picture that fails stops nothing else."""

import io
from datetime import datetime
from itertools import takewhile

import pandas as pd

from steelyard.evaluation.books import equity_curves
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.queries.books import held_predictions
from steelyard.queries.records import decision_record
from steelyard.tasks.step import step
from steelyard.views.format import recorded_bands
from steelyard.views.history import WeightHistory
from steelyard.weight.decision import Entry

WEIGHT_PICTURE = "weight.png"
HOLDOUT_FILE = "holdout.csv"
"""Opinions and outcomes of a training's holdout, from which its pictures are drawn."""
LATEST = 5
"""Earlier decisions that may have no pictures: operators and trading processes draw none."""


@step()
def illustrate(home: Home, new: int = 1) -> None:
    """Draw the decisions since the last one that has pictures.

    Args:
        home: Opened home.
        new: Decisions made by the caller; a few earlier ones are looked at, too.
    """
    latest_first = reversed(home.journal.entries(last=new + LATEST))
    undrawn = list(takewhile(lambda entry: not _is_drawn(home, entry), latest_first))
    for entry in reversed(undrawn):
        home.journal.attach(entry, _pictures(home, entry))


@step()
def illustrate_life(home: Home) -> None:
    """Draw what changed something in a replay, and the latest; once, at its end.

    Of the decisions those that changed something, of the trainings those that served.

    Args:
        home: Home of the replay.
    """
    entries, versions = home.journal.entries(), home.registry.versions()
    shown = [entry for entry in entries[:-LATEST] if decision_record(entry).changed]
    for entry in shown + entries[-LATEST:]:
        if not _is_drawn(home, entry):
            home.journal.attach(entry, _pictures(home, entry))
    served = [version for version in versions[:-LATEST] if version.serving_since]
    for version in served + versions[-LATEST:]:
        _draw_training(home, version)


def _draw_training(home: Home, version: Version) -> None:
    """Draw a training from its files; one without a model has none."""
    from steelyard.views import plots  # imports matplotlib, which most runs need for nothing

    holdout = home.registry.read(version, HOLDOUT_FILE)
    if holdout is None:
        return
    rows = pd.read_csv(io.StringIO(holdout), parse_dates=["decided_at", "settled_at"])
    shares = home.registry.importance(version).get("gain", {})
    pictures = plots.training(rows, shares, home.settings.books.threshold)
    home.registry.attach(version, pictures)


def _is_drawn(home: Home, entry: Entry) -> bool:
    return WEIGHT_PICTURE in home.journal.files(entry)


def _pictures(home: Home, entry: Entry) -> dict[str, bytes]:
    """Return the weight's path up to the decision, and its books if it rests on settled signals."""
    from steelyard.views import plots  # imports matplotlib, which most runs need for nothing

    bands, evidence = recorded_bands(entry.decision.policy), entry.decision.evidence
    points = home.journal.weight_path(entry)
    weights = WeightHistory.of(entry.state.began, entry.decision.as_of, points)
    pictures = {WEIGHT_PICTURE: plots.weight_path(weights, bands)}
    if not evidence.get("settled"):
        return pictures
    start, end = (datetime.fromisoformat(str(evidence[name])) for name in ("start", "end"))
    equity = equity_curves(held_predictions(home, start, end), start, end)
    return pictures | {"decision.png": plots.decision(entry.decision, equity)}
