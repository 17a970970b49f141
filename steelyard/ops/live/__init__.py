"""The live page of ``steelyard up``: the report as it is now, and the operator's actions."""
