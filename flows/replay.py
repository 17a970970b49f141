"""Replay: the whole loop over past bars, day by day, in a home of its own."""

from datetime import datetime
from pathlib import Path

from prefect import flow

from steelyard.flows.common import resolve_as_of
from steelyard.flows.prefect_pages import documented
from steelyard.home import open_home
from steelyard.queries.replay import (
    LOG_OF,
    ReplayDays,
    days_of_log,
    open_log_replay,
    open_replay_home,
    replay_result,
)
from steelyard.tasks.bars import read_history, read_source, store_bars, validate_bars
from steelyard.tasks.pages import write_replay_page
from steelyard.tasks.replay import claim_home, live_through, read_log_history, share_bars
from steelyard.views.replay import ReplayResult


@flow(name="replay", flow_run_name="replay {bars} {start:%Y-%m-%d} to {end:%Y-%m-%d}")
def replay(
    bars: str,
    start: datetime,
    end: datetime,
    strategy: str | None = None,
    trials: int | None = None,
    retrain_days: int = 7,
    evidence: str | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> ReplayResult:
    """Collect ``bars``, replay every day from ``start`` to ``end``, and write the report.

    Args:
        bars: Source of the bars: ``sample``, ``simulated:EDGE`` or a path.
        start: First day (ISO 8601, UTC).
        end: Last day (ISO 8601, UTC).
        strategy: ``trend``, ``reversion`` or ``MODULE:CLASS``; None as configured.
        trials: Trials per search; None as configured.
        retrain_days: Days between two trainings.
        evidence: Rule of evidence; None as configured.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage that is replayed; None for the only one.
    """
    days = ReplayDays(resolve_as_of(start), resolve_as_of(end), retrain_days)
    opened_home = open_replay_home(bars, strategy, trials, evidence, Path(home), conf, lineage)
    with documented("replay", opened_home.quality):
        checked = validate_bars(opened_home, read_source(opened_home), days.end)
    claim_home(opened_home, days, bars, strategy, trials, evidence)
    store_bars(opened_home, checked)
    history = read_history(opened_home, days.end)
    seconds = live_through(opened_home, history, days)
    page = write_replay_page(opened_home, days.end, f"replay of {bars}")
    return replay_result(opened_home, days, seconds, page)


@flow(name="replay-log", flow_run_name="replay-log {log}")
def replay_log(
    log: str,
    start: datetime | None = None,
    end: datetime | None = None,
    trials: int | None = None,
    retrain_days: int = 7,
    evidence: str | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> ReplayResult:
    """Replay the signals of a log as if they had come live, and write the report.

    Args:
        log: Home whose ledger has the signals; nothing in it is changed.
        start: First day (ISO 8601, UTC); None for that of the first signal.
        end: Last day (ISO 8601, UTC); None for the day after the last outcome.
        trials: Trials per search; None as configured.
        retrain_days: Days between two trainings.
        evidence: Rule of evidence; None as configured.
        home: Folder of all state of the replay.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage that is replayed; None for the only one.
    """
    recorded = open_home(log, conf, lineage)
    opened_home = open_log_replay(recorded, trials, evidence, Path(home), conf, lineage)
    history = read_log_history(recorded)
    days = days_of_log(history, start, end, retrain_days)
    claim_home(opened_home, days, f"{LOG_OF}{recorded.folder}", None, trials, evidence)
    share_bars(opened_home, recorded)
    seconds = live_through(opened_home, history, days)
    page = write_replay_page(opened_home, days.end, f"replay of the log of {recorded.folder.name}")
    return replay_result(opened_home, days, seconds, page)
