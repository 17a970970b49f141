"""The registry in MLflow: versions of the model, the lineage's state, its journal, and whether they agree."""

from steelyard.gateways.registry.datasets import Data, Trial
from steelyard.gateways.registry.journal import Journal
from steelyard.gateways.registry.models import Registration, Registry, Version
from steelyard.gateways.registry.tracking import Figures

__all__ = ["Data", "Figures", "Journal", "Registration", "Registry", "Trial", "Version"]
