"""Steps that look for leaks before a version may serve."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import cast

import numpy as np
import pandas as pd

from steelyard.errors import CollectMoreData, FixData
from steelyard.evaluation.books import finite
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.learning.canaries import Canary, listen
from steelyard.learning.policy import Family
from steelyard.learning.samples import Samples
from steelyard.market.bars import by_symbol, naive
from steelyard.tasks.step import step
from steelyard.weight.decision import Rule


@dataclass(frozen=True, slots=True)
class Heard:
    """What the canaries said: one rule for each, and why the version may not serve (empty when it may)."""

    rules: tuple[Rule, ...]
    refusals: tuple[str, ...]


@step()
def hear_canaries(home: Home, samples: Samples, version: Version, as_of: datetime) -> Heard:
    """Run the canaries on the rows a version was made from, and keep what they said with the version.

    Where they cannot run, that is the refusal.
    """
    try:
        found = _listened(home, samples, version, as_of)
    except (CollectMoreData, FixData) as error:
        home.registry.examined(version.number, f"cannot run: {error}", {}, {})
        return Heard((), (f"the canaries cannot run: {error}",))
    refusals = tuple(f"canary {one.name}: {one.reason}" for one in found if one.sang)
    figures = {f"canary_{one.name}": one.figure for one in found}
    content = json.dumps([asdict(one) | {"figure": finite(one.figure)} for one in found], indent=1).encode()
    words = "; ".join(refusals) or "silent"
    home.registry.examined(version.number, words, figures, {"canaries.json": content})
    return Heard(tuple(_rule(one) for one in found), refusals)


def _listened(home: Home, samples: Samples, version: Version, as_of: datetime) -> tuple[Canary, ...]:
    known = samples.settled_at <= naive(pd.Series([pd.Timestamp(version.as_of)]))[0]
    bars = by_symbol(home.lake.read(until=pd.Timestamp(as_of)), home.lake.bar_size)
    family, policy = cast(Family, version.family), home.settings.learning
    return listen(samples.take(np.flatnonzero(known)), bars, home.strategy, family, policy)


def _rule(canary: Canary) -> Rule:
    return Rule(
        name=f"canary {canary.name}",
        figure=finite(canary.figure),
        bound=canary.bound,
        fired=canary.sang,
        reason=canary.reason,
    )
