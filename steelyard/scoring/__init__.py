"""Scoring of a stored model, with NumPy and Numba alone.

Every registered version carries a copy of this package, under the name ``steelyard_scoring``, and
so answers where Steelyard is not installed. Nothing here imports the rest of Steelyard, and imports
within are relative.
"""
