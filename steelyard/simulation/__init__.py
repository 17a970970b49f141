"""The policy on simulated lives of known truth, compiled. Pure functions."""
