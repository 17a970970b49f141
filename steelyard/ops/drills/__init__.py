"""Fire drills: trouble made on purpose, one scenario each, on the real stack in a home of its own."""

from collections.abc import Callable, Mapping

from steelyard.ops.drills import database, feed, model, scheduler, state
from steelyard.ops.drills.findings import Found
from steelyard.ops.drills.ground import DrillHome

SCENARIOS: Mapping[str, tuple[str, Callable[[DrillHome], Found]]] = {
    "dead-scheduler": (scheduler.STORY, scheduler.dead_scheduler),
    "stopped-database": (database.STORY, database.stopped_database),
    "inverted-model": (model.STORY, model.inverted_model),
    "stuck-feed": (feed.STORY, feed.stuck_feed),
    "edited-state": (state.STORY, state.edited_state),
}
"""Name → what happens, and what does it."""
