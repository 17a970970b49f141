"""The step that draws decisions; it runs last, so that a picture that fails stops nothing else."""

from datetime import datetime

from steelyard.evaluation.books import equity_curves
from steelyard.home import Home
from steelyard.tasks.step import step
from steelyard.views import plots
from steelyard.views.format import recorded_bands
from steelyard.views.history import WeightHistory
from steelyard.weight.decision import Entry

WEIGHT_PICTURE = "weight.png"
LATEST = 5
"""Latest decisions checked for missing pictures; operators and trading processes draw none."""


@step()
def illustrate(home: Home) -> None:
    """Draw the latest decisions that have no pictures yet."""
    for entry in home.journal.entries(last=LATEST):
        if WEIGHT_PICTURE not in home.journal.files(entry):
            home.journal.attach(entry, _pictures(home, entry))


def _pictures(home: Home, entry: Entry) -> dict[str, bytes]:
    """Return the weight's path up to the decision, and its books if it rests on settled signals."""
    bands, evidence = recorded_bands(entry.decision.policy), entry.decision.evidence
    points = home.journal.weight_path(entry)
    weights = WeightHistory.of(entry.state.began, entry.decision.as_of, points)
    pictures = {WEIGHT_PICTURE: plots.weight_path(weights, bands)}
    if not evidence.get("settled"):
        return pictures
    start, end = (datetime.fromisoformat(str(evidence[name])) for name in ("start", "end"))
    settled = home.ledger.settled_predictions(start, end)
    equity = equity_curves(settled, start, end, home.settings.books)
    return pictures | {"decision.png": plots.decision(entry.decision, equity)}
