"""The step that draws decisions, after everything else a run has to do: a picture that fails holds nothing up."""

from datetime import datetime
from typing import Any

from steelyard import pictures
from steelyard.judging.books import equity_curves
from steelyard.tasks.step import step
from steelyard.tasks.stores import Stores
from steelyard.weight.journal import Entry

WEIGHT = "weight.png"
LATEST = 5
"""Decisions that are looked through for missing pictures, among them those an operator or the trading side made."""


@step()
def illustrate(stores: Stores) -> None:
    """Draw those of the latest decisions that have no pictures yet, also where an earlier run failed to."""
    for entry in stores.journal.entries(last=LATEST):
        if WEIGHT not in stores.journal.files(entry):
            stores.journal.attach(entry, _drawn(stores, entry))


def _drawn(stores: Stores, entry: Entry) -> dict[str, bytes]:
    """Return the weight's path until this decision, and what it did above the books it rests on, where it rests on any."""
    drawn, evidence = {WEIGHT: pictures.weight_path(_life(stores, entry))}, entry.decision.evidence
    if not evidence.get("settled"):
        return drawn
    start, end = (datetime.fromisoformat(str(evidence[name])) for name in ("start", "end"))
    settled = stores.ledger.settled_predictions(start, end)
    equity = equity_curves(settled, start, end, stores.settings.books)
    return drawn | {"decision.png": pictures.decision(entry.decision, equity)}


def _life(stores: Stores, entry: Entry) -> dict[str, Any]:
    made = stores.journal.path(entry)
    return {
        "start": entry.state.began,
        "end": entry.decision.as_of,
        "decisions": [one for one in made if one["kind"] != "promotion"],
        "promotions": [one for one in made if one["kind"] == "promotion"],
    }
