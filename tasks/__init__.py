"""Prefect steps: a retry, a cache or a visible box around one gateway call or one long fit."""
