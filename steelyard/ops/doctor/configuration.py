"""Checks of settings, environment and installed versions."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from urllib.parse import urlparse

import httpx
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from steelyard.environment import alert_channels, alpaca_keys, service_token, service_token_set
from steelyard.errors import FixConfiguration, needing
from steelyard.gateways.brokers import load_broker
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.sources import NO_SOURCE
from steelyard.home import filled_options, open_source
from steelyard.ops.up import OWN_STORES
from steelyard.queries.schedules import AUTO, Plan, next_runs
from steelyard.settings import LOOPBACK, Settings, former_keys, setting_files, with_variables
from steelyard.views.operations import Check

DISTRIBUTION = "steelyard"
ANSWER_SECONDS = 5.0


def configuration(folder: Path, wrong: dict[str, str]) -> Iterator[Check]:
    """Report files that cannot be read, and keys with a former name.

    Args:
        folder: Folder of settings.
        wrong: Subject of each unreadable file and the reason.
    """
    for subject, finding in wrong.items():
        yield Check(
            f"conf: {subject}",
            "wrong",
            finding,
            "correct the file; its defaults are used for the checks below",
        )
    former = former_keys(folder)
    if former:
        yield Check(
            "conf: names",
            "warning",
            "; ".join(former),
            "rename them; the former name is read for this version only",
        )
    if not wrong:
        yield Check("conf", "ok", f"{len(setting_files(folder))} files in {folder} can be read")


def pages(settings: Settings) -> Iterator[Check]:
    """Compare the configured address of MLflow's pages with that of ``steelyard up``."""
    services, up = settings.services, settings.up
    named = urlparse(services.pages)
    ours = services.mlflow.startswith(OWN_STORES) and named.hostname in LOOPBACK
    if ours and named.port != up.mlflow_port:
        advice = (
            "set the port of pages in conf/services.yaml to mlflow_port; "
            "links in alerts and reports use it"
        )
        finding = f"pages is {services.pages}, mlflow_port in conf/up.yaml is {up.mlflow_port}"
        yield Check("MLflow's pages", "warning", finding, advice)


def login(settings: Settings) -> Iterator[Check]:
    """Report whether an MLflow server of somebody else's asks for a login."""
    address = settings.services.mlflow
    if not address.startswith("http"):
        return
    named = urlparse(address)
    plain = named._replace(netloc=named.netloc.rpartition("@")[2]).geturl().rstrip("/")
    try:
        answer = httpx.post(
            f"{plain}/api/2.0/mlflow/experiments/search",
            json={"max_results": 1},
            timeout=ANSWER_SECONDS,
        )
    except httpx.HTTPError:
        return  # the row MLflow says that it cannot be reached
    if answer.is_success:
        finding = f"{plain} asks for no login: whoever reaches it can change runs and models"
        advice = 'put a login in front of it; see "Security" in docs/operating/running.md'
        yield Check("MLflow's login", "warning", finding, advice)
    else:
        found = f"the server refuses requests without login ({answer.status_code})"
        yield Check("MLflow's login", "ok", found)


def broker(settings: Settings) -> Iterator[Check]:
    """Report whether the broker is configured completely; it is not contacted."""
    if settings.broker.name == "paper":
        yield Check("broker", "ok", "paper, embedded")
        return
    if settings.broker.name == "ccxt":
        from steelyard.gateways.brokers.ccxt_account import open_account

        account = open_account(filled_options(settings.broker))
        kind = "live account: real money" if settings.broker.live else "sandbox"
        yield Check("broker", "ok", f"{account.id} through ccxt, {kind}, not contacted")
        return
    if settings.broker.name != "alpaca":
        load_broker(settings.broker.name)
        with_variables(settings.broker.options, "conf/broker.yaml")
        yield Check("broker", "ok", f"{settings.broker.name}, a plug-in, not contacted")
        return
    alpaca_keys()
    with needing("conf/broker.yaml: name: alpaca"):
        import_module("alpaca")
    yield Check(
        "broker",
        "ok",
        f"alpaca, {'live account: real money' if settings.broker.live else 'paper account'}",
    )


def strategy(settings: Settings) -> Iterator[Check]:
    """Report whether the existing system can be loaded."""
    log = settings.strategy.log
    if not settings.strategy.is_log:
        load_strategy(settings.strategy)
        yield Check("strategy", "ok", settings.strategy.system)
    elif log.path and not Path(log.path).expanduser().exists():
        finding = f"conf/strategy.yaml: log.path '{log.path}' does not exist"
        yield Check("strategy", "wrong", finding, "let the program write it, or correct the path")
    else:
        yield Check("strategy", "ok", f"log {log.path or log.table or 'by requests'}")


def source(settings: Settings) -> Iterator[Check]:
    """Report whether the source of bars exists; a venue is not contacted."""
    named = settings.source
    if named.kind == "none" and not settings.strategy.is_log:
        raise FixConfiguration(NO_SOURCE)
    if named.kind == "files" and not Path(named.path).expanduser().exists():
        finding = f"conf/source.yaml: path '{named.path}' does not exist"
        yield Check(
            "source",
            "wrong",
            finding,
            "set the file or folder of your bars, relative to where steelyard is started",
        )
        return
    if named.is_venue:
        open_source(named)
        finding = f"{named.kind}, {len(named.symbols)} symbols since {named.since}, not contacted"
        yield Check("source", "ok", finding)
        return
    yield Check("source", "ok", f"{named.kind} {named.path}".strip())


def times(settings: Settings) -> Iterator[Check]:
    """Report whether Prefect can schedule every time in conf/up.yaml."""
    up = settings.up
    crons = {name: cron for name, cron in up.schedules if cron not in (None, AUTO)}
    for name, cron in crons.items():
        next_runs(Plan(name, cron, up.timezone), datetime(2026, 1, 1, tzinfo=UTC))
    yield Check("times", "ok", f"{len(crons)} schedules in {up.timezone}")


def token() -> Iterator[Check]:
    """Check the token of the service, which is never printed."""
    if not service_token_set():
        yield Check("STEELYARD_TOKEN", "ok", "not set; only steelyard serve needs it")
        return
    service_token()
    yield Check("STEELYARD_TOKEN", "ok", "long enough")


def channels() -> Iterator[Check]:
    """Report whether alerts have a channel; the addresses are never printed."""
    channel_count = len(alert_channels())
    if channel_count:
        yield Check("STEELYARD_ALERTS", "ok", f"{channel_count} channels")
        return
    advice = "set a channel; see docs/operating/alerts.md"
    yield Check(
        "STEELYARD_ALERTS", "warning", "not set: alerts are stored but not delivered", advice
    )


def versions() -> Iterator[Check]:
    """Compare Python and every library with the requirements of the distribution."""
    try:
        requirements = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        yield Check(
            "versions",
            "warning",
            "steelyard is not installed, so its requirements are unknown",
            "make install",
        )
        return
    yield from _python()
    needed = [
        requirement
        for requirement in requirements
        if requirement.marker is None
        or requirement.marker.evaluate({"extra": ""})
        or _is_used(requirement)
    ]
    missed = [finding for requirement in needed if (finding := missing(requirement))]
    for finding in missed:
        yield Check("library", "wrong", finding, "pip install -c constraints.txt steelyard")
    if not missed:
        yield Check("libraries", "ok", f"{len(needed)} as required")


def _is_used(requirement: Requirement) -> bool:
    """Return whether a library that only an extra asks for is installed."""
    extras = metadata(DISTRIBUTION).get_all("Provides-Extra") or ()
    marker = requirement.marker
    if marker is None or not any(marker.evaluate({"extra": extra}) for extra in extras):
        return False
    return requirement.name != DISTRIBUTION and not missing(Requirement(requirement.name))


def _python() -> Iterator[Check]:
    wanted, installed = (
        SpecifierSet(metadata(DISTRIBUTION)["Requires-Python"]),
        platform.python_version(),
    )
    fits = wanted.contains(installed, prereleases=True)
    yield Check(
        "Python",
        "ok" if fits else "wrong",
        f"{installed}, {wanted} required",
        "" if fits else "install another Python",
    )


def missing(requirement: Requirement) -> str:
    """Return why the installed library does not meet a requirement; empty if it does."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed, {requirement.specifier} required"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} is {installed}, {requirement.specifier} required"
