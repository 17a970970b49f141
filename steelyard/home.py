"""An opened home: settings of one lineage and its gateways, each opened at first use."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from steelyard.environment import alert_channels, alpaca_keys, seal_key
from steelyard.errors import FixConfiguration, VerifyState, needing
from steelyard.gateways.alerts import Alerts
from steelyard.gateways.brake import Brake
from steelyard.gateways.brokers import Broker, BrokerSettings, PaperBroker, load_broker
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.plugins import load_class, load_strategy
from steelyard.gateways.quality import Quality
from steelyard.gateways.registry import Journal, Registry, Version
from steelyard.gateways.seal import Seal
from steelyard.gateways.sources import SourceSettings
from steelyard.gateways.venues import BarSource, open_venue
from steelyard.gateways.witnesses import StateFile, Witnesses
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import feature_names
from steelyard.market.logged import LoggedSystem, own_name
from steelyard.market.logged_history import timing_names
from steelyard.market.strategy import Exiting, Strategy
from steelyard.settings import (
    LINEAGES,
    PACKAGE,
    SHARED,
    ServiceSettings,
    Settings,
    lineage_names,
    load,
    load_shared,
    with_variables,
)

if TYPE_CHECKING:
    from steelyard.gateways.lake import Lake
    from steelyard.gateways.ledger.digests import Digests
    from steelyard.learning.model import Model


def open_seal(services: ServiceSettings) -> Seal:
    """Return the seal of the home: its key is in the environment, else in the state folder."""
    return Seal(seal_key(), Path(services.state) / "seal.key")


def open_state_file(services: ServiceSettings) -> StateFile:
    """Return the file in which the lineage's trading processes keep the state they last saw."""
    return StateFile(services.own_state / "state.json", open_seal(services))


def open_witnesses(services: ServiceSettings) -> Witnesses:
    """Return what the home's ledger and trading processes have seen of the lineage."""
    ledger, state_file = open_ledger(services), open_state_file(services)
    return Witnesses(services.lineage, ledger, state_file, open_seal(services))


def open_registry(services: ServiceSettings) -> Registry:
    """Return the registry; changes take a lock in the ledger, which all processes share."""
    ledger = open_ledger(services)
    return Registry(
        services.mlflow,
        services.artifacts,
        services.lineage,
        lambda: ledger.exclusive(_lock_of(services)),
        open_seal(services),
        open_witnesses(services),
    )


def _lock_of(services: ServiceSettings) -> str:
    """Return the name of the lock of the lineage's journal; no lineage waits for another's."""
    is_first = services.lineage == services.first_lineage
    return "journal" if is_first else f"journal-{services.lineage}"


def open_ledger(services: ServiceSettings) -> Ledger:
    """Return the lineage's ledger; ``Home`` and the recorder migrate it at first use."""
    return Ledger(services.ledger, services.lineage, services.first_lineage)


def require_ledger_file(services: ServiceSettings) -> None:
    """Refuse to make a new ledger where a trading process of this home has seen one.

    Raises:
        VerifyState: If its file is gone.
    """
    ledger, state = open_ledger(services), open_state_file(services).read()
    if state is not None and state.digests and ledger.is_missing:
        raise VerifyState(
            f"the ledger {services.ledger} is gone, although this home has {state.digests} digests "
            "of it; restore it from the newest backup, or go on with an empty one at weight 0: "
            "steelyard rollback --accept-loss"
        )


def run_url(services: ServiceSettings, journal: Journal, run_id: str | None) -> str:
    """Return the URL of a decision's run in MLflow.

    Args:
        services: Base URL of MLflow's pages.
        journal: Journal that holds the decision.
        run_id: MLflow run of the decision; None gives an empty URL.
    """
    return f"{services.pages.rstrip('/')}{journal.page(run_id)}" if run_id else ""


def open_brake(services: ServiceSettings) -> Brake:
    """Return the brake of the lineage; one in the home's state folder holds for all."""
    shared = Path(services.state)
    if not services.is_one_of_several or services.lineage == SHARED:
        return Brake(shared)
    return Brake(shared / LINEAGES / services.lineage, shared)


def open_alerts(services: ServiceSettings) -> Alerts:
    """Return the alerts of the lineage, with the channels from ``STEELYARD_ALERTS``."""
    return Alerts(services.own_state / "alerts", alert_channels())


def open_broker(
    settings: BrokerSettings, policy: BracketPolicy, ledger: Ledger, rule: Exiting | None = None
) -> Broker:
    """Return the configured broker.

    Args:
        settings: Name of the broker and its options.
        policy: Exit rules of the orders.
        ledger: Records orders and fills.
        rule: The existing system's own exit rule; None without one.

    Raises:
        FixConfiguration: If keys or a library are missing, or a plug-in cannot be made.
    """
    if settings.name == "paper":
        return PaperBroker(ledger, policy, settings.start_equity, rule)
    if settings.name == "ccxt":
        with needing("conf/broker.yaml: name: ccxt", "ccxt"):
            from steelyard.gateways.brokers.ccxt_account import CcxtBroker

        return CcxtBroker(ledger, policy, filled_options(settings), rule)
    if settings.name != "alpaca":
        return _open_plugin(settings, policy, ledger, rule)
    with needing("conf/broker.yaml: name: alpaca", "alpaca"):
        from steelyard.gateways.brokers.alpaca import AlpacaBroker
    return AlpacaBroker(ledger, policy, settings, alpaca_keys(), rule)


def filled_options(settings: BrokerSettings) -> BrokerSettings:
    """Return the settings with every ``${NAME}`` of their options filled in.

    Raises:
        FixConfiguration: If a variable is not set.
    """
    options = with_variables(settings.options, "conf/broker.yaml")
    return settings.model_copy(update={"options": options})


def _open_plugin(
    settings: BrokerSettings, policy: BracketPolicy, ledger: Ledger, rule: Exiting | None
) -> Broker:
    made = load_broker(settings.name)
    try:
        return cast(Broker, made(ledger, policy, filled_options(settings), rule))
    except TypeError as error:
        raise FixConfiguration(
            f"conf/broker.yaml names {settings.name}: {error}; its class must take ledger, policy, "
            "settings and rule"
        ) from error


def open_source(settings: SourceSettings) -> BarSource:
    """Return the venue of a source; no request is made.

    Raises:
        FixConfiguration: If it cannot be loaded, or an environment variable it needs is not set.
    """
    file = "conf/source.yaml"
    keys = alpaca_keys(file) if settings.kind == "alpaca" else ()
    options = with_variables(settings.options, file)
    return open_venue(settings.model_copy(update={"options": options}), keys)


@dataclass(frozen=True)
class Home:
    """Settings and gateways of one lineage of a home.

    Attributes:
        settings: Everything configurable, with ``{home}`` filled in.
        folder: Folder of all state.
        conf: Folder of the settings; None for the default.
    """

    settings: Settings
    folder: Path
    conf: Path | None = None

    @cached_property
    def lake(self) -> "Lake":
        """Store of validated bars, of all lineages: in the state folder, or at an address.

        Raises:
            FixConfiguration: If the address is none of an object store.
        """
        from steelyard.gateways.lake import Lake
        from steelyard.gateways.lake_store import BucketStore

        address, state = self.settings.services.lake, self.shared_folder
        return Lake(BucketStore.at(address, state) if address else state / "lake")

    @cached_property
    def ledger(self) -> Ledger:
        """Ledger of signals, predictions and outcomes, migrated to the current tables.

        Raises:
            VerifyState: If it is gone although a trading process has seen it.
        """
        ledger = open_ledger(self.settings.services)
        require_ledger_file(self.settings.services)
        ledger.migrate()
        return ledger

    @cached_property
    def digests(self) -> "Digests":
        """Digests of the ledger's settled predictions."""
        from steelyard.gateways.ledger.digests import Digests

        return Digests(self.ledger)

    @cached_property
    def registry(self) -> Registry:
        """Models in MLflow and the journal of decisions."""
        return open_registry(self.settings.services)

    @property
    def journal(self) -> Journal:
        """Journal of the lineage: state and decisions."""
        return self.registry.journal

    @cached_property
    def seal(self) -> Seal:
        """Seal of state and decisions."""
        return open_seal(self.settings.services)

    @cached_property
    def brake(self) -> Brake:
        """Brake that sets the weight of this home's trading processes to 0, even without MLflow."""
        return open_brake(self.settings.services)

    @cached_property
    def alerts(self) -> Alerts:
        """Alerts to the operator."""
        return open_alerts(self.settings.services)

    @cached_property
    def quality(self) -> Quality:
        """Data contracts, with quarantine and data docs in the state folder."""
        return Quality(PACKAGE / "expectations", self.state_folder, self.settings.quality)

    @property
    def has_source(self) -> bool:
        """Whether bars are collected; only a log can do without."""
        return self.settings.has_source

    @property
    def program_trades(self) -> bool:
        """Whether the program that writes the log trades itself, and asks for opinions only."""
        return self.settings.strategy.is_log and not self.settings.strategy.log.orders

    @property
    def reads_log(self) -> bool:
        """Whether the existing system is a log that ``collect`` reads."""
        return self.settings.strategy.is_log and self.settings.strategy.log.is_read

    @cached_property
    def strategy(self) -> Strategy:
        """The existing system."""
        if self.settings.strategy.is_log:
            return LoggedSystem(self.own_names)
        return load_strategy(self.settings.strategy)

    @cached_property
    def own_names(self) -> tuple[str, ...]:
        """Names of the features that a log gives: those it is told to, or all it ever gave."""
        named = self.settings.strategy.log.features
        return tuple(own_name(column) for column in named) or self.ledger.own_names()

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the model's inputs, in order."""
        if not self.has_source:
            return timing_names(self.own_names)
        return feature_names(self.strategy)

    def run_url(self, run_id: str | None) -> str:
        """Return the URL of a decision's run in MLflow; empty without a run."""
        return run_url(self.settings.services, self.journal, run_id)

    def training_urls(self, version: Version) -> dict[str, str]:
        """Return MLflow's pages of a version, link text → URL."""
        services = self.settings.services
        pages = services.pages.rstrip("/")
        training = f"{pages}{self.registry.page(version.run_id)}"
        return {
            "Training run in MLflow": training,
            f"Version {version.number}": (
                f"{pages}/#/models/{services.lineage}/versions/{version.number}"
            ),
            "Data checks of the training": f"{training}/artifacts/data_docs/features.html",
        }

    def require_stores(self) -> None:
        """Refuse to go on if ledger or MLflow vanished; a look at the files, nothing is opened.

        Raises:
            VerifyState: If a file is gone that this home had.
        """
        require_ledger_file(self.settings.services)
        self.registry.require_database()

    @property
    def lineage(self) -> str | None:
        """Name by which the lineage is opened; None where it is the home's only one."""
        services = self.settings.services
        return services.lineage if services.is_one_of_several else None

    @property
    def shared_folder(self) -> Path:
        """Folder of what the lineages of a home share: lake, seal key, login."""
        return Path(self.settings.services.state)

    @property
    def state_folder(self) -> Path:
        """Folder of the lineage's own state: spool, bundle, reports, quarantine, data docs."""
        return self.settings.services.own_state

    @cached_property
    def _models(self) -> "dict[str, Model]":
        return {}

    def model(self, version: str) -> "Model":
        """Return a registered version, loaded once."""
        from steelyard.learning.model import Model  # imports both boosters, which few commands need

        if version not in self._models:
            self._models[version] = Model.from_files(self.registry.load(version), load_class)
        return self._models[version]


def open_home(
    folder: Path | str | None = None,
    conf: Path | str | None = None,
    lineage: str | None = None,
) -> Home:
    """Return one lineage of the home in a folder.

    Args:
        folder: Folder of all state; None for the current one.
        conf: Folder of the settings; None for ``./conf``, or the packaged one if there is none.
        lineage: Name of the lineage; None for the only one.

    Raises:
        FixConfiguration: If the settings cannot be read, or the home holds several lineages and
            none is named.
    """
    settings_folder = Path(conf) if conf else None
    return home_under(load(settings_folder, lineage), folder, settings_folder)


def open_shared(folder: Path | str | None = None, conf: Path | str | None = None) -> Home:
    """Return what the lineages of the home in a folder share; with a single one the home itself.

    Args:
        folder: Folder of all state; None for the current one.
        conf: Folder of the settings; None for ``./conf``, or the packaged one if there is none.

    Raises:
        FixConfiguration: If the common settings cannot be read.
    """
    settings_folder = Path(conf) if conf else None
    return home_under(load_shared(settings_folder), folder, settings_folder)


def open_lineages(
    folder: Path | str | None = None,
    conf: Path | str | None = None,
    lineage: str | None = None,
) -> list[Home]:
    """Return the lineages of the home in a folder: the named one, or all.

    Args:
        folder: Folder of all state; None for the current one.
        conf: Folder of the settings; None for ``./conf``, or the packaged one if there is none.
        lineage: Name of a lineage; None for all.

    Raises:
        FixConfiguration: If the settings cannot be read.
    """
    settings_folder = Path(conf) if conf else None
    names = (lineage,) if lineage else lineage_names(settings_folder) or (None,)
    return [open_home(folder, conf, name) for name in names]


def open_readable(
    folder: Path | str | None = None,
    conf: Path | str | None = None,
    lineage: str | None = None,
) -> tuple[list[Home], list[FixConfiguration]]:
    """Return the lineages whose settings can be read, and the error of every other.

    Args:
        folder: Folder of all state; None for the current one.
        conf: Folder of the settings; None for ``./conf``, or the packaged one if there is none.
        lineage: Name of a lineage; None for all.

    Raises:
        FixConfiguration: If none can be read.
    """
    settings_folder = Path(conf) if conf else None
    opened, faults = list[Home](), list[FixConfiguration]()
    for name in (lineage,) if lineage else lineage_names(settings_folder) or (None,):
        try:
            opened.append(open_home(folder, conf, name))
        except FixConfiguration as error:
            faults.append(error)
    if not opened:
        raise faults[0]
    return opened, faults


def home_under(
    settings: Settings, folder: Path | str | None = None, conf: Path | None = None
) -> Home:
    """Return the home in a folder, with settings that are already read.

    Args:
        settings: Settings; ``{home}`` is filled in here.
        folder: Folder of all state; None for the current one.
        conf: Folder the settings were read from; None for the default.
    """
    home = Path(folder or "").resolve()
    return Home(settings.at(home), home, conf)
