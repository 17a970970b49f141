"""Bars, signals of the existing system, their outcomes and features: pure functions of bars."""
