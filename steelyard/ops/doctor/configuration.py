"""Checks of the settings, of what they and the environment say against each other, and of the installed versions."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from steelyard.errors import FixConfiguration
from steelyard.gateways.plugins import load_strategy
from steelyard.ops.doctor.rows import Row
from steelyard.ops.up import OWN_STORES
from steelyard.queries.schedules import TRACES, next_runs
from steelyard.settings import (
    Settings,
    alert_channels,
    alpaca_keys,
    former_keys,
    service_token,
    service_token_set,
)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DISTRIBUTION = "steelyard"


def configuration(folder: Path, wrong: dict[str, str]) -> Iterator[Row]:
    """Say which files of ``folder`` cannot be read, and why."""
    for subject, words in wrong.items():
        yield Row(
            f"conf: {subject}",
            "wrong",
            words,
            "correct the file; its defaults are used for the checks below",
        )
    former = former_keys(folder)
    if former:
        yield Row(
            "conf: names",
            "warning",
            "; ".join(former),
            "rename them; the former name is read for this version only",
        )
    if not wrong:
        yield Row("conf", "ok", f"{len(list(folder.glob('*.y*ml')))} files in {folder} can be read")


def pages(settings: Settings) -> Iterator[Row]:
    """Hold where MLflow's pages are said to be against where ``steelyard up`` opens them."""
    services, up = settings.services, settings.up
    named = urlparse(services.pages)
    ours = services.mlflow.startswith(OWN_STORES) and named.hostname in LOOPBACK
    if ours and named.port != up.mlflow_port:
        advice = "set pages in conf/services.yaml to the port of mlflow_port; links in alerts and reports lead nowhere else"
        found = f"pages is {services.pages}, mlflow_port in conf/up.yaml is {up.mlflow_port}"
        yield Row("MLflow's pages", "warning", found, advice)


def broker(settings: Settings) -> Iterator[Row]:
    """Say whether the configured broker can be asked; Alpaca itself is not."""
    if settings.broker.name == "paper":
        yield Row("broker", "ok", "paper, embedded")
        return
    alpaca_keys()
    if find_spec("alpaca") is None:
        raise FixConfiguration(
            "conf/broker.yaml names alpaca; install it: pip install 'steelyard[alpaca]'"
        )
    yield Row(
        "broker",
        "ok",
        f"alpaca, {'live account: real money' if settings.broker.live else 'paper account'}",
    )


def strategy(settings: Settings) -> Iterator[Row]:
    """Say whether the existing system can be loaded."""
    load_strategy(settings.strategy)
    yield Row("strategy", "ok", settings.strategy.system)


def source(settings: Settings) -> Iterator[Row]:
    """Say whether the source of bars is there."""
    named = settings.source
    if named.kind == "files" and not Path(named.path).expanduser().exists():
        words = f"conf/source.yaml: path '{named.path}' is not there"
        yield Row(
            "source",
            "wrong",
            words,
            "name the file or folder of your bars, from where steelyard is started",
        )
        return
    yield Row("source", "ok", f"{named.kind} {named.path}".strip())


def times(settings: Settings) -> Iterator[Row]:
    """Say whether every time in conf/up.yaml is one Prefect can plan by."""
    for name in TRACES:
        next_runs(settings.up, name, datetime(2026, 1, 1, tzinfo=UTC))
    yield Row("times", "ok", f"{len(TRACES)} schedules in {settings.up.timezone}")


def token() -> Iterator[Row]:
    """Look at the token of the service, which is never printed."""
    if not service_token_set():
        yield Row("STEELYARD_TOKEN", "ok", "not set; only steelyard serve needs it")
        return
    service_token()
    yield Row("STEELYARD_TOKEN", "ok", "long enough")


def channels() -> Iterator[Row]:
    """Say whether alerts reach anybody; the addresses are never printed."""
    found = len(alert_channels())
    if found:
        yield Row("STEELYARD_ALERTS", "ok", f"{found} channels")
        return
    advice = "name a channel; docs/operating/alerts.md"
    yield Row("STEELYARD_ALERTS", "warning", "not set: alerts are kept and reach nobody", advice)


def versions() -> Iterator[Row]:
    """Hold Python and every library against what the installed distribution requires."""
    try:
        wanted = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        yield Row(
            "versions",
            "warning",
            "steelyard is not installed, so nothing says what it requires",
            "make install",
        )
        return
    yield from _python()
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    missed = [words for one in needed if (words := missing(one))]
    for words in missed:
        yield Row("library", "wrong", words, "pip install -c constraints.txt steelyard")
    if not missed:
        yield Row("libraries", "ok", f"{len(needed)} as required")


def _python() -> Iterator[Row]:
    wanted, found = (
        SpecifierSet(metadata(DISTRIBUTION)["Requires-Python"]),
        platform.python_version(),
    )
    fits = wanted.contains(found, prereleases=True)
    yield Row(
        "Python",
        "ok" if fits else "wrong",
        f"{found}, {wanted} required",
        "" if fits else "install another Python",
    )


def missing(requirement: Requirement) -> str:
    """Return why the installed library does not meet a requirement; empty where it does."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed, {requirement.specifier} required"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, {requirement.specifier} required"
