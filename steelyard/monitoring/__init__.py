"""Whether the model is still well: drift, health, targets, false alarms. Pure functions."""
