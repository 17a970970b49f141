"""Keeps it running: up, the worker, deployments, verify, the doctor, fire drills."""
