"""Train: settled signals to a registered challenger, and the challenger against the champion."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard import summaries
from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.gateways.registry import Version
from steelyard.learning.policy import Retraining
from steelyard.tasks.bars import known_history
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.records import version_record
from steelyard.tasks.stores import Stores
from steelyard.tasks.summaries import documented, progress, publish
from steelyard.tasks.training import (
    AS_CONFIGURED,
    compare_with_champion,
    settled_samples,
    trained_version,
    waiting_challenger,
)


@flow(name="train", on_failure=[failed], on_crashed=[failed])
def train(
    request: Retraining = AS_CONFIGURED, as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Train on what had settled by ``as_of``; the same data and settings return the version they gave before.

    Args:
        request: What this training does otherwise than configured, and why.
        as_of: Moment to speak for; the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings.
    """
    stores, at = opened(home, conf), moment(as_of)
    known = known_history(stores, at)
    with documented("train", stores.quality):
        samples = settled_samples(stores, known)
        learned = settled_samples(stores, known, request.symbols) if request.symbols else samples
    with progress("train"):
        version = trained_version(stores, known, learned, at, request)
    return _judged(stores, compare_with_champion(stores, samples, version, at), "train")


@flow(name="compare", on_failure=[failed], on_crashed=[failed])
def compare(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Hold the waiting challenger against the champion on what had settled by ``as_of``."""
    stores, at = opened(home, conf), moment(as_of)
    with documented("compare", stores.quality):
        samples = settled_samples(stores, known_history(stores, at))
    return _judged(stores, compare_with_champion(stores, samples, waiting_challenger(stores), at), "compare")


def _judged(stores: Stores, version: Version, name: str) -> dict[str, Any]:
    document, pages = version_record(version), stores.training_pages(version)
    publish(name, summaries.trained(document, pages), next(iter(pages.values())))
    illustrate(stores)
    return document
