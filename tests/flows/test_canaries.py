"""Leakage canaries before a promotion: one that fails refuses the version; results are recorded."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from factories.homes import registration
from factories.registry import copy_mlflow
from steelyard.flows.collect import collect
from steelyard.home import Home, open_home
from steelyard.learning.samples import Samples
from steelyard.queries.history import known_history
from steelyard.tasks.training import compare_with_champion, settled_samples

AT = datetime(2020, 7, 1, tzinfo=UTC)


@pytest.fixture
def stores(home: Path, conf: Path, empty_mlflow: Path) -> Home:
    """Half a year of a simulated market, no champion yet."""
    (conf / "source.yaml").write_text(
        "kind: simulated\nedge: hidden\nbar_size: auto\ncalendar: 24/7\n"
    )
    copy_mlflow(empty_mlflow, home / "mlruns")
    collect.fn(AT, str(home), str(conf))
    return open_home(home, conf)


def judged(stores: Home, samples: Samples, key: str) -> tuple[str, tuple[str, ...]]:
    version = stores.registry.register(registration(key, AT, feature_names=samples.feature_names))
    compared = compare_with_champion(stores, samples, version, AT)
    return compared.stage, compared.reasons


def test_a_failed_canary_keeps_a_version_from_serving(stores: Home) -> None:
    """A leak and missing bars refuse the version with one line each; honest rows pass."""
    samples = settled_samples(stores, known_history(stores, AT))
    leaking = replace(samples, x=np.column_stack([samples.won, samples.x[:, 1:]]))
    lake = stores.state_folder / "lake"
    leak = judged(stores, leaking, "leaking")
    shutil.move(lake, lake.with_name("away"))
    gone = judged(stores, samples, "gone")
    shutil.move(lake.with_name("away"), lake)
    honest = judged(stores, samples, "honest")
    [entry] = stores.journal.entries()

    assert leak[0] == "refused"
    assert leak[1][0].startswith(
        "canary prefix: 8 training rows recomputed from the bars up to their decision: "
        "ema_spread of"
    )
    assert leak[1][1].startswith(
        "canary future: advantage of the features over the next 2 bars themselves"
    )
    assert gone == (
        "refused",
        (f"the canaries cannot run: {lake}: no bars yet; run steelyard collect",),
    )
    assert honest[0] == "champion"
    assert [(rule.name, rule.fired) for rule in entry.decision.rules] == [
        (f"canary {name}", False)
        for name in ("planted", "prefix", "shuffled", "stale", "future", "disguised")
    ]
    assert _kept(stores, "1")["future"]["failed"]
    assert not _kept(stores, "3")["future"]["failed"]
    assert (
        stores.registry._tracking.client.get_model_version("signal-confidence", "3").tags[
            "canaries"
        ]
        == "silent"
    )


def _kept(stores: Home, number: str) -> dict[str, dict[str, object]]:
    text = stores.registry._tracking.read(stores.registry.version(number).run_id, "canaries.json")
    assert text is not None
    return {rule["name"]: rule for rule in json.loads(text)}
