"""Queries only look: how the lineage stands, why a signal was decided, what the evidence is. Nothing is written."""
