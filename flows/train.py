"""Train: settled signals to a registered challenger, and the challenger against the champion."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.gateways.registry import Version
from steelyard.home import Home, open_home
from steelyard.learning.policy import Retraining
from steelyard.queries.records import version_record
from steelyard.tasks.bars import read_history
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.prefect_pages import documented, progress, publish
from steelyard.tasks.training import (
    AS_CONFIGURED,
    compare_with_champion,
    settled_samples,
    trained_version,
    waiting_challenger,
)
from steelyard.views import markdown


@flow(name="train", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def train(
    request: Retraining = AS_CONFIGURED,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
) -> dict[str, Any]:
    """Train on what had settled by ``as_of``; the same data and settings return the version they gave before.

    Args:
        request: What this training does otherwise than configured, and why.
        as_of: Moment to speak for; the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings.
    """
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    known = read_history(opened_home, at)
    with documented("train", opened_home.quality):
        samples = settled_samples(opened_home, known)
        learned = (
            settled_samples(opened_home, known, request.symbols) if request.symbols else samples
        )
    with progress("train"):
        version = trained_version(opened_home, known, learned, at, request)
    return _judged(opened_home, compare_with_champion(opened_home, samples, version, at), "train")


@flow(name="compare", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def compare(
    as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Hold the waiting challenger against the champion on what had settled by ``as_of``."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    with documented("compare", opened_home.quality):
        samples = settled_samples(opened_home, read_history(opened_home, at))
    return _judged(
        opened_home,
        compare_with_champion(opened_home, samples, waiting_challenger(opened_home), at),
        "compare",
    )


def _judged(opened_home: Home, version: Version, name: str) -> dict[str, Any]:
    document, pages = version_record(version), opened_home.training_pages(version)
    publish(name, markdown.trained(document, pages), next(iter(pages.values())))
    illustrate(opened_home)
    return document
