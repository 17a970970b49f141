"""Flows: sequences that read like their own summary; each takes ``as_of`` and may run twice."""
