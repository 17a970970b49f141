"""Observations: what was looked at and decided nothing, such as drift and reviews; one finished run each."""

from collections.abc import Mapping

from steelyard.gateways.registry.tracking import OBSERVATIONS, Figures, Tracking


class Observations:
    """Runs in the experiment ``steelyard/observations``, each under a key of its own."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def find(self, key: str) -> str | None:
        """Return the finished run of a key, None where there is none.

        Raises:
            RestoreService: If MLflow cannot be reached.
        """
        with self._tracking.reached():
            experiment = self._tracking.experiment(OBSERVATIONS)
            wanted = f"attributes.status = 'FINISHED' and tags.key = '{key}'"
            found = self._tracking.client.search_runs([experiment], wanted, max_results=1)
            return str(found[0].info.run_id) if found else None

    def record(self, key: str, name: str, figures: Figures, files: Mapping[str, bytes]) -> str:
        """Record an observation once for each key; returns its run, the one there was where it is recorded already."""
        with self._tracking.reached():
            found = self.find(key)
            if found is not None:
                return found
            with self._tracking.run(OBSERVATIONS, name, {"key": key, "lineage": self._tracking.lineage}) as run_id:
                self._tracking.fill(run_id, figures, files)
            return run_id

    def page(self, run_id: str) -> str:
        """Return where a run is among MLflow's pages."""
        return f"/{self._tracking.page(OBSERVATIONS, run_id)}"
