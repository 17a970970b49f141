"""What child processes run in the tests of crashes and of simultaneous decisions."""

import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from factories.evidence import NOW, POLICY, evidence
from factories.registry import open_registry
from steelyard.flows.trade import trade
from steelyard.gateways.brokers import Order, PaperBroker
from steelyard.gateways.registry import Dataset, Registration, Registry, Trial
from steelyard.home import open_home
from steelyard.learning.search import TrialRow
from steelyard.tasks.weight import evaluate_weight
from steelyard.weight.case import Case
from steelyard.weight.decision import Decision, make_decision
from steelyard.weight.ladder import evaluate
from steelyard.weight.transitions import install_champion

WRITES = (
    "create_run",
    "log_batch",
    "log_inputs",
    "log_artifacts",
    "set_terminated",
    "create_model_version",
    "update_model_version",
    "set_model_version_tag",
    "update_registered_model",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)
"""Every method of MLflow's client that writes."""


def training(key: str) -> Registration:
    """A training without model files; only the order of the writes matters here."""
    return Registration(
        key=key,
        as_of=NOW,
        family="xgboost",
        trained_through="2026-02-01",
        files={},
        params={},
        metrics={},
        artifacts={"trials.csv": b"number"},
        verdict="passes",
        feature_names=("a",),
        data_hash="d",
        trials=(Trial(TrialRow(0, "xgboost", "complete", 0.69, 20, {}), NOW, NOW),),
        data=(Dataset("settled signals", "training", "d", "lake", ("a",), {"num_rows": 1}),),
    )


def month(registry: Registry, number: int = 1) -> Decision:
    """The evaluation of a month, not recorded yet."""
    at = NOW + timedelta(days=30 * number)
    before = registry.journal.state()
    assert before is not None
    return evaluate(Case(before, evidence(), POLICY, at, at))


def promotion(registry: Registry, number: str) -> Decision:
    """The promotion of a version, not recorded yet."""
    before = registry.journal.state()
    assert before is not None
    after = install_champion(before, number, NOW, NOW)
    return make_decision(
        "promotion", before, after, POLICY, NOW, verdict="HOLD", reasons=("better",)
    )


ACTIONS: dict[str, Callable[[Registry], object]] = {
    "decide": lambda registry: registry.journal.append(
        month(registry), {"decision.png": b"picture"}
    ),
    "promote": lambda registry: registry.journal.append(promotion(registry, "2")),
    "register": lambda registry: registry.register(training("c")),
    "refuse": lambda registry: registry.refuse("2", ("worse",)),
    "renew": lambda registry: registry.journal.renew_lease(NOW + timedelta(days=400)),
}


def killed_at(folder: str, action: str, write: int) -> None:
    """Run ``action`` in this process and kill it just before the given write."""
    registry = open_registry(Path(folder))
    registry.journal.state()
    client, count = registry._tracking.client, iter(range(1, 1000))

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def write_or_die(*args: Any, **kwargs: Any) -> Any:
            if next(count) == write:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return write_or_die

    for name in WRITES:
        setattr(client, name, dying(getattr(client, name)))
    ACTIONS[action](registry)


def evaluate_at_once(home: str, conf: str, as_of: datetime, start: Any, answers: Any) -> None:
    """Evaluate the month when ``start`` is set, and report the run that recorded it."""
    stores = open_home(Path(home), Path(conf))
    start.wait(60)
    entry = evaluate_weight(stores, as_of)
    answers.put(entry.run_id if entry else None)


def killed_after_its_first_order(home: str, conf: str, first_day: datetime) -> None:
    """Trade day by day, and kill this process right after the broker took the first order."""
    submit = PaperBroker.submit

    def submit_and_die(broker: PaperBroker, order: Order) -> None:
        submit(broker, order)
        os.kill(os.getpid(), signal.SIGKILL)

    PaperBroker.submit = submit_and_die  # type: ignore[method-assign]
    for number in range(30):
        trade.fn(first_day + timedelta(days=number), home, conf)
