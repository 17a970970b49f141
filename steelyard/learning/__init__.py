"""From settled signals to a calibrated model, and from two models to one champion. Pure functions of arrays."""
