"""The registry in MLflow: model versions, the lineage's state and its journal of decisions."""

from steelyard.gateways.registry.datasets import Dataset, Trial
from steelyard.gateways.registry.evaluation import MachineLoad, watched_machine
from steelyard.gateways.registry.journal import Journal
from steelyard.gateways.registry.models import Registration, Registry, Version
from steelyard.gateways.registry.tracking import RunFigures

__all__ = [
    "Dataset",
    "Journal",
    "MachineLoad",
    "Registration",
    "Registry",
    "RunFigures",
    "Trial",
    "Version",
    "watched_machine",
]
