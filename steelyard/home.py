"""A home opened: the settings of one lineage and the gateways to everything it keeps, each opened when first used."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import FixConfiguration
from steelyard.gateways.alerts import Alerts
from steelyard.gateways.brake import Brake
from steelyard.gateways.brokers import Broker, BrokerSettings, PaperBroker
from steelyard.gateways.lake import Lake
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.quality import Quality
from steelyard.gateways.registry import Journal, Registry, Version
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.strategy import Strategy
from steelyard.settings import (
    PACKAGE,
    ServiceSettings,
    Settings,
    alert_channels,
    alpaca_keys,
    load,
    seal_key,
)

if TYPE_CHECKING:
    from steelyard.learning.model import Model


def open_registry(services: ServiceSettings) -> Registry:
    """Return the registry; whoever changes it holds a lock where the ledger lies, which every process shares."""
    ledger = Ledger(services.ledger)

    return Registry(
        services.mlflow,
        services.artifacts,
        services.lineage,
        lambda: ledger.exclusive("journal"),
        seal_key(),
    )


def open_ledger(services: ServiceSettings) -> Ledger:
    """Return the ledger; it is migrated when it is first used through ``Home`` or the recorder."""
    return Ledger(services.ledger)


def page_of(services: ServiceSettings, journal: Journal, run_id: str | None) -> str:
    """Return the address of a decision's run among MLflow's pages; empty without one."""
    return f"{services.pages.rstrip('/')}{journal.page(run_id)}" if run_id else ""


def open_brake(services: ServiceSettings) -> Brake:
    """Return the brake of the home."""
    return Brake(Path(services.state))


def open_alerts(services: ServiceSettings) -> Alerts:
    """Return the alerts of the home and where they go."""
    return Alerts(Path(services.state) / "alerts", alert_channels())


def open_broker(settings: BrokerSettings, policy: BracketPolicy, ledger: Ledger) -> Broker:
    """Return the configured broker.

    Raises:
        FixConfiguration: If Alpaca's keys or its library are missing.
    """
    if settings.name == "paper":
        return PaperBroker(ledger, policy, settings.start_equity)
    try:
        from steelyard.gateways.alpaca import AlpacaBroker
    except ModuleNotFoundError as error:
        raise FixConfiguration(
            "conf/broker.yaml names alpaca; install it: pip install 'steelyard[alpaca]'"
        ) from error
    return AlpacaBroker(ledger, policy, settings, alpaca_keys())


@dataclass(frozen=True)
class Home:
    """Settings and gateways of one home."""

    settings: Settings
    folder: Path
    conf: Path | None = None

    @cached_property
    def lake(self) -> Lake:
        """Validated bars."""
        return Lake(self.state_folder / "lake")

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
        return Quality(PACKAGE / "expectations", self.state_folder, self.settings.quality)

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
    def state_folder(self) -> Path:
        """Folder of lake, quarantine and data docs."""
        return Path(self.settings.services.state)

    @cached_property
    def _models(self) -> "dict[str, Model]":
        return {}

    def model(self, version: str) -> "Model":
        """Return a registered version, loaded once."""
        from steelyard.learning.model import (
            Model,
        )  # brings both boosters, which most who open a home do not need

        if version not in self._models:
            self._models[version] = Model.from_files(self.registry.load(version))
        return self._models[version]


def open_home(folder: Path | str | None = None, conf: Path | str | None = None) -> Home:
    """Return the home in a folder.

    Args:
        folder: Folder of all state; None for the current one.
        conf: Folder of the settings; None for ``./conf`` or else the one that comes with the package.

    Raises:
        FixConfiguration: If the settings cannot be read.
    """
    settings_folder = Path(conf) if conf else None
    return home_under(load(settings_folder), folder, settings_folder)


def home_under(
    settings: Settings, folder: Path | str | None = None, conf: Path | None = None
) -> Home:
    """Return the home in a folder under settings that were read already.

    Args:
        settings: Settings; ``{home}`` in the addresses of services is filled in.
        folder: Folder of all state; None for the current one.
        conf: Where the settings were read; None for the default.
    """
    place = Path(folder or "").resolve()
    return Home(settings.model_copy(update={"services": settings.services.at(place)}), place, conf)
