"""Steelyard: a machine-learned model earns its weight in a trading system that already works."""
