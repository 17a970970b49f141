"""Training of calibrated models on settled signals, and their comparison. Pure functions."""
