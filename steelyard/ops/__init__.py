"""Operation: up, worker, deployments, verify, doctor and fire drills."""
