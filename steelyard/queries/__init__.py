"""Queries only read: status, report, evidence, and why a signal was traded; nothing is written."""
