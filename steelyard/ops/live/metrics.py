"""Metrics of a home for Prometheus: what is in force, what was recorded, and what runs."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steelyard.desk.state_watch import Clock, system_clock
from steelyard.errors import CollectMoreData, SteelyardError
from steelyard.home import Home
from steelyard.ops.live.flow_runs import FlowFigures
from steelyard.queries.figures import (
    FolderFigures,
    LedgerFigures,
    folder_figures,
    journal_figures,
    ledger_figures,
)
from steelyard.queries.status import weight_in_force
from steelyard.weight.policy import PHASES
from steelyard.weight.state import State

RunsReader = Callable[[], FlowFigures | None]
READ_SECONDS = 10.0
"""Time for which a scrape is answered with what was read before, seconds."""
DRIFT_VERDICTS = ("fine", "watch", "retrain")
_RUN = ("lineage", "deployment")
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "steelyard_store_up": ("Whether a store of the home can be read", ("lineage", "store")),
    "steelyard_state_trusted": ("Whether the state follows from the journal", ("lineage",)),
    "steelyard_weight": ("Weight in force, a share", ("lineage",)),
    "steelyard_weight_decided": ("Weight last decided, a share", ("lineage",)),
    "steelyard_phase": ("1 for the phase in force", ("lineage", "phase")),
    "steelyard_champion_version": ("Version that serves, 0 for none", ("lineage",)),
    "steelyard_held": ("Whether an operator holds the weight", ("lineage",)),
    "steelyard_brake": ("Whether the brake is pulled", ("lineage",)),
    "steelyard_retraining_required": ("Whether a new champion is needed", ("lineage",)),
    "steelyard_lease_seconds": (
        "Until the weight falls to 0 unless a guard renews it",
        ("lineage",),
    ),
    "steelyard_decisions_total": ("Decisions in the journal", ("lineage",)),
    "steelyard_last_decision_timestamp_seconds": ("When the last was made", ("lineage",)),
    "steelyard_signals_total": ("Recorded signals", ("lineage", "decision")),
    "steelyard_settled_total": ("Recorded signals with an outcome", ("lineage",)),
    "steelyard_pivotal_total": ("Signals on which the weight decided", ("lineage",)),
    "steelyard_recorded_fallbacks_total": (
        "Recorded signals the existing system decided alone",
        ("lineage", "reason"),
    ),
    "steelyard_last_signal_timestamp_seconds": ("Decision of the newest signal", ("lineage",)),
    "steelyard_last_outcome_timestamp_seconds": ("Time of the newest outcome", ("lineage",)),
    "steelyard_orders": ("Orders by status", ("lineage", "status")),
    "steelyard_drift_share": ("Importance of the features that drifted", ("lineage",)),
    "steelyard_drift_verdict": ("1 for the verdict of the last check", ("lineage", "verdict")),
    "steelyard_drift_check_timestamp_seconds": ("Time of the last check", ("lineage",)),
    "steelyard_alerts_open": ("Alerts that a channel has not accepted", ("lineage",)),
    "steelyard_spooled": ("Evaluations and outcomes not in the ledger yet", ("lineage",)),
    "steelyard_bar_timestamp_seconds": (
        "When the newest bar of a symbol was known",
        ("lineage", "symbol"),
    ),
    "steelyard_prefect_up": ("Whether Prefect's server answers", ()),
    "steelyard_flow_runs_total": ("Runs that ended", ("state",)),
    "steelyard_flow_last_success_timestamp_seconds": ("End of the last completed run", _RUN),
    "steelyard_flow_last_run_seconds": ("Duration of the last run that ended", _RUN),
    "steelyard_flow_last_run_failed": ("Whether that run failed or crashed", _RUN),
}
"""Name → description and labels. Times are seconds since 1970."""


class Metrics:
    """Metrics as text, read at most once in ``READ_SECONDS``.

    Args:
        homes: Opened home of every lineage, by name.
        read_runs: Returns the figures of Prefect's server; None if it gives none.
        clock: Returns the present time.
    """

    def __init__(
        self,
        homes: Mapping[str, Home],
        read_runs: RunsReader,
        clock: Clock = system_clock,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_HomeCollector(homes, read_runs, clock))
        self._lock = threading.Lock()
        self._text = b""
        self._read_at = -math.inf

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        with self._lock:
            if time.monotonic() - self._read_at >= READ_SECONDS:
                self._text = generate_latest(self._registry)
                self._read_at = time.monotonic()
            return self._text


class _Families:
    """The families of one scrape; each is there even without a value, so that its name exists."""

    def __init__(self) -> None:
        self._families = {name: _family(name) for name in METRICS}

    def add(self, name: str, value: float | datetime | None, **labels: str) -> None:
        """Add a value; None adds nothing."""
        if value is not None:
            number = value.timestamp() if isinstance(value, datetime) else float(value)
            self._families[name].add_metric(list(labels.values()), number)

    def all(self) -> Iterable[Metric]:
        """Return all families."""
        return self._families.values()


def _family(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    words, labels = METRICS[name]
    family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return family(name, words, labels=labels)


class _HomeCollector(Collector):
    def __init__(
        self,
        homes: Mapping[str, Home],
        read_runs: RunsReader,
        clock: Clock,
    ) -> None:
        self._homes = homes
        self._read_runs = read_runs
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Return the families without values; nothing is read when the collector is registered."""
        return _Families().all()

    def collect(self) -> Iterable[Metric]:
        """Return all families; a store that cannot be read keeps nothing else back."""
        families = _Families()
        for lineage, home in self._homes.items():
            _add_lineage(families, lineage, home, self._clock())
        runs = self._read_runs()
        families.add("steelyard_prefect_up", runs is not None)
        if runs is not None:
            only = next(iter(self._homes)) if len(self._homes) == 1 else ""
            _add_runs(families, runs, only)
        return families.all()


def _add_lineage(families: _Families, lineage: str, home: Home, now: datetime) -> None:
    state: State | None = None

    def add_journal() -> None:
        nonlocal state
        journal = journal_figures(home)
        state = journal.state
        families.add("steelyard_state_trusted", journal.fault is None, lineage=lineage)
        if state is not None:
            _add_state(families, state, now)

    def add_ledger() -> None:
        _add_records(families, lineage, ledger_figures(home, state))
        if state is not None:
            in_force = weight_in_force(home, state, now)
            families.add("steelyard_weight", in_force, lineage=lineage)

    def add_files() -> None:
        _add_files(families, lineage, home, folder_figures(home))

    for store, add in (("mlflow", add_journal), ("ledger", add_ledger), ("files", add_files)):
        try:
            home.require_stores()
            add()
        except SteelyardError:
            families.add("steelyard_store_up", 0, lineage=lineage, store=store)
        else:
            families.add("steelyard_store_up", 1, lineage=lineage, store=store)


def _add_state(families: _Families, state: State, now: datetime) -> None:
    lineage = state.lineage
    lease = (state.lease_until - now).total_seconds()
    champion = int(state.champion) if state.champion and state.champion.isdecimal() else 0
    families.add("steelyard_weight_decided", state.weight, lineage=lineage)
    families.add("steelyard_champion_version", champion, lineage=lineage)
    families.add("steelyard_held", state.held, lineage=lineage)
    families.add("steelyard_retraining_required", state.retrain_required, lineage=lineage)
    families.add("steelyard_lease_seconds", lease, lineage=lineage)
    families.add("steelyard_decisions_total", state.sequence, lineage=lineage)
    families.add("steelyard_last_decision_timestamp_seconds", state.as_of, lineage=lineage)
    for phase in PHASES:
        families.add("steelyard_phase", phase == state.phase, lineage=lineage, phase=phase)


def _add_records(families: _Families, lineage: str, figures: LedgerFigures) -> None:
    tally, drift = figures.tally, figures.drift
    for decision in (True, False):
        name = "trade" if decision else "leave"
        count = sum(part.recorded for part in tally.signals if part.decision == decision)
        families.add("steelyard_signals_total", count, lineage=lineage, decision=name)
    for reason, count in tally.fallbacks.items():
        families.add("steelyard_recorded_fallbacks_total", count, lineage=lineage, reason=reason)
    for status, count in tally.trades.items():
        families.add("steelyard_orders", count, lineage=lineage, status=status)
    families.add("steelyard_settled_total", tally.settled, lineage=lineage)
    families.add("steelyard_pivotal_total", tally.pivotal, lineage=lineage)
    newest = {
        "steelyard_last_signal_timestamp_seconds": tally.newest_decided,
        "steelyard_last_outcome_timestamp_seconds": tally.newest_settled,
    }
    for name, at in newest.items():
        families.add(name, at, lineage=lineage)
    families.add("steelyard_brake", figures.brake is not None, lineage=lineage)
    if drift is not None:
        families.add("steelyard_drift_share", drift.share, lineage=lineage)
        families.add("steelyard_drift_check_timestamp_seconds", drift.as_of, lineage=lineage)
        for verdict in DRIFT_VERDICTS:
            is_last = verdict == drift.verdict
            families.add("steelyard_drift_verdict", is_last, lineage=lineage, verdict=verdict)


def _add_files(families: _Families, lineage: str, home: Home, figures: FolderFigures) -> None:
    families.add("steelyard_alerts_open", figures.open_alerts, lineage=lineage)
    families.add("steelyard_spooled", figures.spooled, lineage=lineage)
    try:
        known_after = home.lake.known_after
    except CollectMoreData:
        return
    for symbol, opened in figures.newest_bars.items():
        known_at = opened + known_after
        families.add("steelyard_bar_timestamp_seconds", known_at, lineage=lineage, symbol=symbol)


def _add_runs(families: _Families, figures: FlowFigures, only: str) -> None:
    """Add what Prefect knows.

    Args:
        families: Families of the scrape.
        figures: Figures of Prefect's server.
        only: Lineage of the deployments that name none; empty if there are several.
    """
    for state, count in figures.runs.items():
        families.add("steelyard_flow_runs_total", count, state=state.lower())
    for run in figures.last:
        of = {"lineage": run.lineage or only, "deployment": run.deployment}
        success = "steelyard_flow_last_success_timestamp_seconds"
        families.add(success, run.succeeded_at, **of)
        families.add("steelyard_flow_last_run_seconds", run.seconds, **of)
        families.add("steelyard_flow_last_run_failed", run.failed, **of)
