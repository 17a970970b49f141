"""Fire drills: faults made on purpose, one per scenario, on the real stack in a separate home."""

from collections.abc import Callable, Mapping

from steelyard.ops.drills import database, feed, model, scheduler, state
from steelyard.ops.drills.ground import DrillHome
from steelyard.views.drills import DrillResult

SCENARIOS: Mapping[str, tuple[str, Callable[[DrillHome], DrillResult]]] = {
    "dead-scheduler": (scheduler.STORY, scheduler.dead_scheduler),
    "stopped-database": (database.STORY, database.stopped_database),
    "inverted-model": (model.STORY, model.inverted_model),
    "stuck-feed": (feed.STORY, feed.stuck_feed),
    "edited-state": (state.STORY, state.edited_state),
}
"""Name → description of the fault, and the function that runs the drill."""
