"""Outcomes of the ledger, recomputed from the bars: exits of one's own are not a difference."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from factories.bars import FOUR_HOURS, small_market
from steelyard.desk.blend import BlendTerms, blend_predictions
from steelyard.gateways.ledger.tables import LOG_SIGNAL
from steelyard.home import Home, open_home
from steelyard.market.bars import Bars
from steelyard.market.brackets import decision_bars
from steelyard.market.indicators import atr
from steelyard.market.strategy import Entry, Scan, TrendStrategy, signals
from steelyard.ops.outcomes import Recomputed, recompute_outcomes
from steelyard.queries.history import known_history
from steelyard.settings import PACKAGE
from steelyard.tasks.predictions import record_outcomes

BARS = small_market()["SIM00"][:400]
LATER = pd.Timestamp("2030-01-01", tz="UTC").to_pydatetime()
TERMS = BlendTerms(0.0, "shadow", 70.0, "key", "", 0.0, "no_model")


class Trailing(TrendStrategy):
    """A trailing stop and a rule of its own."""

    def scan(self, bars: Bars) -> Scan:
        plain = super().scan(bars)
        levels = {"trail_atr": np.full(len(bars), 2.0)}
        return Scan(plain.side, plain.confidence, plain.scores, levels)

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return len(bars) - entry.position == 20


def home_of(folder: Path, system: str) -> Home:
    """A home with bars and without MLflow."""
    shutil.copytree(PACKAGE / "conf", folder / "conf")
    (folder / "conf" / "strategy.yaml").write_text(yaml.safe_dump({"system": system}))
    home = open_home(folder, folder / "conf")
    columns = {name: getattr(BARS, name) for name in ("open", "high", "low", "close", "volume")}
    stamps = pd.to_datetime(BARS.timestamp, utc=True)
    frame = pd.DataFrame({"symbol": "SIM00", "timestamp": stamps, **columns})
    home.lake.append(frame, FOUR_HOURS, FOUR_HOURS)
    return home


def log_trend(home: Home) -> None:
    """Log the signals of the trend system with a trail of two ATRs, without outcomes."""
    proposed = signals({"SIM00": BARS}, TrendStrategy())
    trails = 2.0 * atr(BARS)[decision_bars(BARS, proposed)]
    rows = proposed.assign(
        confidence=proposed["confidence_existing"],
        taken_in_at=proposed["decided_at"],
        levels=[{"trail": trail} for trail in trails],
        traded=False,
        source="log.csv",
    )
    home.ledger.record_log_signals(rows[[name for name in rows if name in LOG_SIGNAL]])


@pytest.mark.parametrize(
    ("system", "reasons"),
    [(f"{__name__}:Trailing", {"trail", "exit"}), ("log", {"trail"})],
    ids=["a class", "a log"],
)
def test_outcomes_of_own_exits_are_what_the_bars_give(
    tmp_path: Path, system: str, reasons: set[str]
) -> None:
    """Recorded as ``settle`` does, recomputed as ``verify`` does."""
    home = home_of(tmp_path, system)
    if system == "log":
        log_trend(home)
    known = known_history(home, LATER)
    opinions = np.full(len(known), np.nan)
    home.ledger.record_features(known, home.feature_names, "hash")
    home.ledger.record_predictions(blend_predictions(known, opinions, opinions, TERMS))

    assert record_outcomes(home, known) > 20
    assert reasons <= set(known["exit_reason"])
    assert recompute_outcomes(home) == Recomputed()
