"""A source in which a new bar arrives every few seconds of real time."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

SIZE = pd.Timedelta("5s")
HISTORY = 300
EAGER = '''"""Systems that buy on every bar, of all symbols or of one."""

from steelyard.market.strategy import Candidate


class Eager:
    warmup = 120
    score_names = ()

    def propose(self, bars):
        return Candidate("buy", 80.0, {})


class OnX(Eager):
    def propose(self, bars):
        return super().propose(bars) if bars.symbol == "X" else None


class OnY(Eager):
    def propose(self, bars):
        return super().propose(bars) if bars.symbol == "Y" else None
'''


def bars_until(end: pd.Timestamp) -> pd.DataFrame:
    """Bars of two symbols whose last one has closed by ``end``; a bar never changes."""
    last = end.floor(SIZE) - SIZE
    stamps = pd.date_range(end=last, periods=HISTORY, freq=SIZE, tz="UTC", unit="ns")
    phase = (stamps.astype("int64") // SIZE.value).to_numpy() % 10_000
    close = 100 + np.sin(phase / 7) + 0.5 * np.cos(phase)
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 5.0}
    frames = [pd.DataFrame({"symbol": name, "timestamp": stamps, **prices}) for name in ("X", "Y")]
    return pd.concat(frames, ignore_index=True)


def write_bars(file: Path) -> None:
    """Write the bars that have closed by now, whole."""
    new = file.with_suffix(".new")
    bars_until(pd.Timestamp(datetime.now(UTC))).to_parquet(new)
    new.replace(file)


def ticking_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """Make systems and first bars in ``folder``; return settings, by file, that trade them."""
    (folder / "bars").mkdir()
    (folder / "eager.py").write_text(EAGER)
    write_bars(folder / "bars" / "bars.parquet")
    source = {"kind": "files", "path": str(folder / "bars" / "bars.parquet")}
    return {
        "source": {**source, "bar_size": "5s", "calendar": "24/7", "delay": "200ms"},
        "strategy": {"system": "eager:Eager"},
        "desk": {"deadline_ms": 10_000},
        "brackets": {"time_limit_bars": 2},
        "risk": {"entry_delay": 1.0},
        "up": {"run": True},
    }


def ticking_conf(conf: Path, folder: Path) -> None:
    """Write these settings over those of ``conf``."""
    for name, values in ticking_settings(folder).items():
        (conf / f"{name}.yaml").write_text(yaml.safe_dump(values))


def tick(file: Path, until: float) -> None:
    """Write every new bar as it closes, until a monotonic time."""
    while time.monotonic() < until:
        write_bars(file)
        now = pd.Timestamp(datetime.now(UTC))
        time.sleep((now.ceil(SIZE) - now) / pd.Timedelta("1s") + 0.05)
