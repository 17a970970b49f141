"""The step that draws decisions, after everything else a run has to do: a picture that fails holds nothing up."""

from datetime import datetime
from typing import Any

from steelyard.evaluation.books import equity_curves
from steelyard.home import Home
from steelyard.tasks.step import step
from steelyard.views import plots
from steelyard.views.format import recorded_bands
from steelyard.weight.decision import Entry

WEIGHT = "weight.png"
LATEST = 5
"""Decisions that are looked through for missing pictures, among them those an operator or the trading side made."""


@step()
def illustrate(home: Home) -> None:
    """Draw those of the latest decisions that have no pictures yet, also where an earlier run failed to."""
    for entry in home.journal.entries(last=LATEST):
        if WEIGHT not in home.journal.files(entry):
            home.journal.attach(entry, _drawn(home, entry))


def _drawn(home: Home, entry: Entry) -> dict[str, bytes]:
    """Return the weight's path until this decision, and what it did above the books it rests on, where it rests on any."""
    bands, evidence = recorded_bands(entry.decision.policy), entry.decision.evidence
    drawn = {WEIGHT: plots.weight_path(_life(home, entry), bands)}
    if not evidence.get("settled"):
        return drawn
    start, end = (datetime.fromisoformat(str(evidence[name])) for name in ("start", "end"))
    settled = home.ledger.settled_predictions(start, end)
    equity = equity_curves(settled, start, end, home.settings.books)
    return drawn | {"decision.png": plots.decision(entry.decision, equity)}


def _life(home: Home, entry: Entry) -> dict[str, Any]:
    made = home.journal.weight_path(entry)
    return {
        "start": entry.state.began,
        "end": entry.decision.as_of,
        "decisions": [one for one in made if one["kind"] != "promotion"],
        "promotions": [one for one in made if one["kind"] == "promotion"],
    }
