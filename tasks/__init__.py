"""Prefect steps: a retry, a lock or a visible box around a gateway call or a long fit."""
