"""The places a home keeps its state in, opened when first used."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.gateways.alerts import Alerts
from steelyard.gateways.brake import Brake
from steelyard.gateways.lake import Lake
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.quality import Quality
from steelyard.gateways.registry import Journal, Registry, Version
from steelyard.market.features import feature_names
from steelyard.market.strategy import Strategy
from steelyard.services import open_alerts, open_brake, open_registry, page_of
from steelyard.settings import PACKAGE, Settings, load

if TYPE_CHECKING:
    from steelyard.learning.model import Model


@dataclass(frozen=True)
class Stores:
    """Settings and gateways of one home."""

    settings: Settings
    home: Path
    conf: Path | None = None

    @cached_property
    def lake(self) -> Lake:
        """Validated bars."""
        return Lake(self.state / "lake")

    @cached_property
    def ledger(self) -> Ledger:
        """Signals, predictions, outcomes; migrated to the current tables."""
        ledger = Ledger(self.settings.services.ledger)
        ledger.migrate()
        return ledger

    @cached_property
    def registry(self) -> Registry:
        """Models in MLflow, and the journal of what they may decide."""
        return open_registry(self.settings.services)

    @property
    def journal(self) -> Journal:
        """State and decisions of the lineage."""
        return self.registry.journal

    @cached_property
    def brake(self) -> Brake:
        """What takes the weight away from trading processes of this home, with or without MLflow."""
        return open_brake(self.settings.services)

    @cached_property
    def alerts(self) -> Alerts:
        """What an operator must be told."""
        return open_alerts(self.settings.services)

    @cached_property
    def quality(self) -> Quality:
        """Data contracts; quarantine and data docs lie under the state folder."""
        return Quality(PACKAGE / "expectations", self.state, self.settings.quality)

    @cached_property
    def strategy(self) -> Strategy:
        """The existing system."""
        return load_strategy(self.settings.strategy)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the model's inputs, in order."""
        return feature_names(self.strategy)

    def page(self, run_id: str | None) -> str:
        """Return the address of a decision's run among MLflow's pages; empty without one."""
        return page_of(self.settings.services, self.journal, run_id)

    def training_pages(self, version: Version) -> dict[str, str]:
        """Return where MLflow shows a version: words → address."""
        pages = self.settings.services.pages.rstrip("/")
        run = f"{pages}{self.registry.page(version.run_id)}"
        return {
            "The training in MLflow": run,
            f"Version {version.number}": f"{pages}/#/models/{self.settings.services.lineage}/versions/{version.number}",
            "Its data, as it was checked": f"{run}/artifacts/data_docs/features.html",
        }

    @property
    def state(self) -> Path:
        """Folder of lake, quarantine and data docs."""
        return Path(self.settings.services.state)

    @cached_property
    def _models(self) -> "dict[str, Model]":
        return {}

    def model(self, version: str) -> "Model":
        """Return a registered version, loaded once."""
        from steelyard.learning.model import Model  # brings both boosters, which most who open a home do not need

        if version not in self._models:
            self._models[version] = Model.from_files(self.registry.load(version))
        return self._models[version]


def open_stores(home: Path | None = None, conf: Path | None = None) -> Stores:
    """Return the stores of ``home`` (default: the current folder) under the settings in ``conf``."""
    return stores_of(load(conf), home, conf)


def stores_of(settings: Settings, home: Path | None = None, conf: Path | None = None) -> Stores:
    """Return the stores of ``home`` under ``settings``, addresses filled in."""
    place = (home or Path()).resolve()
    return Stores(settings.model_copy(update={"services": settings.services.at(place)}), place, conf)
