"""Steelyard adds an ML model to a rule-based trading system.

The model's influence is a weight: the share of its confidence in the blended confidence. It starts
at 0 %, rises on settled results, falls faster than it rises, and never exceeds 70 %.
"""
