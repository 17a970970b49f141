"""Steps from the known history to a registered version, and from there to the champion's place or a reasoned refusal."""

import json
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from steelyard import report
from steelyard.desk.blend import Terms, opinions
from steelyard.errors import CollectMoreData
from steelyard.gateways.registry import Version
from steelyard.judging.books import Books, judge
from steelyard.learning.comparison import Comparison, common_holdout
from steelyard.learning.comparison import compare as compare_models
from steelyard.learning.folds import holdout_split
from steelyard.learning.samples import Samples
from steelyard.learning.training import LearningPolicy, Training, train, training_key
from steelyard.market.features import feature_set_hash
from steelyard.settings import override
from steelyard.weight.changes import conclude, with_champion
from tasks.progress import tell
from tasks.step import step
from tasks.stores import Stores
from tasks.weight import current_state


@step()
def settled_samples(stores: Stores, known: pd.DataFrame) -> Samples:
    """Return the settled signals to learn from, once signals and features passed their data contracts."""
    names = stores.feature_names
    if known.empty:
        raise CollectMoreData("no signals at all in the bars known so far; collect more bars")
    stores.quality.check_signals(known)
    stores.quality.check_features(known[list(names)])
    return Samples.from_history(known, names)


@step()
def trained_version(
    stores: Stores, known: pd.DataFrame, samples: Samples, as_of: datetime, trials: int | None
) -> Version:
    """Return the version these samples and settings give: the registered one, or a new one after a search and a fit."""
    policy = stores.settings.learning
    if trials:
        policy = override(policy, "trials", trials=trials)
    key = training_key(samples.data_hash, policy)
    found = stores.registry.find(key)
    if found is not None:
        return found
    training = train(samples, policy, on_trial=lambda row: tell("tuning", row.number + 1, policy.trials, row.family))
    return _register(stores, known, samples, training, key, as_of)
