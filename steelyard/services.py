"""Opens what ``conf/services.yaml`` names, for flows and trading processes alike."""

from pathlib import Path

from steelyard.errors import FixConfiguration
from steelyard.gateways.alerts import Alerts
from steelyard.gateways.brake import Brake
from steelyard.gateways.brokers import Broker, BrokerSettings, PaperBroker
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.registry import Journal, Registry
from steelyard.market.brackets import BracketPolicy
from steelyard.settings import ServiceSettings, alert_channels, alpaca_keys, seal_key


def open_registry(services: ServiceSettings) -> Registry:
    """Return the registry; whoever changes it holds a lock where the ledger lies, which every process shares."""
    ledger = Ledger(services.ledger)

    return Registry(services.mlflow, services.artifacts, services.lineage, lambda: ledger.alone("journal"), seal_key())


def open_ledger(services: ServiceSettings) -> Ledger:
    """Return the ledger; it is migrated when it is first used through ``Stores`` or the recorder."""
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
        raise FixConfiguration("conf/broker.yaml names alpaca; install it: pip install 'steelyard[alpaca]'") from error
    return AlpacaBroker(ledger, policy, settings, alpaca_keys())
