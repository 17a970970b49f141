"""The home of ``steelyard demo --live``: its settings, and the past that comes first."""

from datetime import datetime, timedelta
from pathlib import Path

import yaml

from steelyard.errors import FixConfiguration
from steelyard.gateways.files import private_folder, write_whole
from steelyard.gateways.sources import SourceSettings
from steelyard.gateways.venues.simulated_bars import MARKET, PAST_DAYS, SimulatedBars
from steelyard.queries.replay import ReplayDays
from steelyard.settings import load

BAR_SECONDS = 10
"""A round takes a second or two; where six processes share slow processors, five times that."""
LIVED_DAYS, RETRAIN_DAYS = 150, 30
"""Days in which the weight is earned before the market goes live, and days between trainings."""


def open_market(folder: Path, now: datetime) -> Path:
    """Return the settings of a market that goes live; those that are there already are kept.

    Args:
        folder: Home of the market.
        now: Time at which a new market goes live (UTC).

    Raises:
        FixConfiguration: If the market in the folder has ended.
    """
    conf = folder / "conf"
    private_folder(conf)
    for name, values in _settings(now).items():
        file = conf / f"{name}.yaml"
        if not file.exists():
            write_whole(file, yaml.safe_dump(values, sort_keys=False))
    end = SimulatedBars(load(conf).source).end
    if now >= end:
        raise FixConfiguration(
            f"the market in {folder} ended at {end:%Y-%m-%d %H:%M}; remove the folder, or pass "
            "another --home, for a new one"
        )
    return conf


def past_days(source: SourceSettings) -> ReplayDays:
    """Return the days in which the model of the market earns its weight.

    Args:
        source: Settings that ``open_market`` wrote.
    """
    end = SimulatedBars(source).live_from.replace(hour=0, minute=0, second=0, microsecond=0)
    return ReplayDays(end - timedelta(days=LIVED_DAYS), end, RETRAIN_DAYS)


def _settings(now: datetime) -> dict[str, dict[str, object]]:
    """Return what differs from the delivered settings, by file of ``conf/``."""
    live_from = now.replace(second=now.second // BAR_SECONDS * BAR_SECONDS, microsecond=0)
    return {
        "source": {
            "kind": f"{SimulatedBars.__module__}:{SimulatedBars.__name__}",
            "options": {"live_from": live_from.isoformat()},
            "symbols": [f"SIM{number:02d}" for number in range(MARKET.symbols)],
            "since": live_from.date() - timedelta(days=PAST_DAYS),
            "bar_size": f"{BAR_SECONDS}s",
            "calendar": "",  # its long nights are no holes
            "delay": "200ms",
        },
        "learning": {"trials": 6},
        "desk": {"deadline_ms": 1000.0},  # two processors for six processes
        "risk": {"entry_delay": 1.0},
        "up": {"run": True},
    }
