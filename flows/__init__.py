"""Flows: sequences that read like their own summary. Each takes ``as_of`` and may be run twice."""
