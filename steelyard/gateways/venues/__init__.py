"""Venues: bars asked over a network, page by page, only those the lake does not have."""

from steelyard.gateways.venues.requests import Interrupted, persistently
from steelyard.gateways.venues.venue import BarSource, Stretch, open_venue, read_venue

__all__ = ["BarSource", "Interrupted", "Stretch", "open_venue", "persistently", "read_venue"]
