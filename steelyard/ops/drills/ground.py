"""The home of a drill: a champion that was really trained, a weight, and a known market."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from steelyard.errors import FixConfiguration, SteelyardError
from steelyard.home import Home, open_home
from steelyard.learning.policy import Retraining
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.history import history
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.settings import Settings, load
from steelyard.views.records import VersionRecord
from steelyard.weight.decision import make_decision
from steelyard.weight.transitions import promote

DAY = timedelta(days=1)
STARTED_AT = datetime(2020, 9, 1, tzinfo=UTC)
"""First day of every drill: the champion serves, the weight is raised."""
END = datetime(2020, 12, 15, tzinfo=UTC)
MARKET = SimulatedMarket(strength=0.3, end=END)
BAR = pd.Timedelta(hours=MARKET.bar_hours)
TRAINING = Retraining(trials=4, reason="fire drill")
USER_SUBJECTS = ("weight", "drift", "quality", "books")
"""Subjects of ``conf/`` taken from the user; the others are defaults: nothing live is touched."""
DRILL_SETTINGS = {
    "services": "refresh_seconds: 3600  # seconds: a drill looks itself, in simulated time",
    "desk": "deadline_ms: 10000  # milliseconds: no drill is about deadlines",
}


class Run(Protocol):
    """A function that runs a flow by its name, as the command line does."""

    def __call__(self, name: str, at: datetime, home: Path, conf: Path, **parameters: Any) -> Any:
        """Run the flow and return its result; an error raises an alert first.

        Args:
            name: Name of the flow.
            at: Evaluate as of this time (UTC).
            home: Folder of the home.
            conf: Folder of its settings.
            **parameters: Further arguments of the flow.
        """


@dataclass(frozen=True)
class DrillHome:
    """The home of one drill."""

    folder: Path
    run: Run

    @property
    def conf(self) -> Path:
        """Folder of its settings."""
        return self.folder / "conf"

    @property
    def feed(self) -> Path:
        """File that the source reads."""
        return self.folder / "feed.parquet"

    def home(self) -> Home:
        """Open the home anew, as every flow does."""
        return open_home(self.folder, self.conf)

    def flow(self, name: str, at: datetime, **parameters: Any) -> Any:
        """Run a flow on this home and return its result.

        Args:
            name: Name of the flow.
            at: Evaluate as of this time (UTC).
            **parameters: Further arguments of the flow.
        """
        return self.run(name, at, self.folder, self.conf, **parameters)

    def refused(self, name: str, at: datetime) -> str:
        """Run a flow on this home and return its error; empty if it succeeds.

        Args:
            name: Name of the flow.
            at: Evaluate as of this time (UTC).
        """
        try:
            self.flow(name, at)
        except SteelyardError as error:
            return str(error)
        return ""

    def collect_all(self, bars: pd.DataFrame) -> None:
        """Collect ``bars`` (columns of the lake) up to ``END``; no flow reads past its own time."""
        bars.to_parquet(self.feed)
        self.flow("collect", END)

    def weight(self, at: datetime) -> float:
        """Return the weight in force at ``at``; 0 if the state cannot be trusted."""
        state, _ = self.home().journal.verified()
        return state.weight_in_force(at) if state else 0.0

    def alerts(self, kind: str, words: str = "") -> list[datetime]:
        """Return the times of open alerts.

        Args:
            kind: Kind of the alerts.
            words: Text that the title must contain.
        """
        waiting = [stored.alert for stored in self.home().alerts.open()]
        return [alert.at for alert in waiting if alert.kind == kind and words in alert.title]


@dataclass(frozen=True, slots=True)
class Past:
    """A whole market, cut to what is known at a given time."""

    bars: Mapping[str, Bars]
    signals: pd.DataFrame

    def until(self, at: datetime) -> dict[str, Bars]:
        """Return the bars closed by ``at``."""
        moment = np.datetime64(at.replace(tzinfo=None), "ns")
        return {
            symbol: history[: int(np.searchsorted(history.closes_at, moment, side="right"))]
            for symbol, history in self.bars.items()
        }

    def decided(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return the signals decided in (since, until], oldest first.

        Args:
            since: Start (UTC), exclusive.
            until: End (UTC), inclusive.
        """
        moments = self.signals["decided_at"]
        return self.signals[
            ((moments > since) & (moments <= until)).to_numpy(dtype=bool)
        ].sort_values("decided_at")


@cache
def market() -> pd.DataFrame:
    """Return the bars of all drills: eight symbols with an edge that their candles show."""
    return simulate(MARKET)


@cache
def past() -> Past:
    """Return the market of all drills with its signals."""
    bars, settings = by_symbol(market(), BAR), Settings()
    return Past(bars, history(bars, open_home().strategy, settings.brackets))


def claim(folder: Path, conf: Path | None) -> None:
    """Reserve a folder for drills under given settings.

    Args:
        folder: Empty, missing, or used by drills under the same settings.
        conf: Folder of settings; None for the default.

    Raises:
        FixConfiguration: If the folder holds anything else, or drills under other settings.
    """
    note, wanted = folder / "drills.json", json.dumps(_user_settings(conf), sort_keys=True)
    if not note.exists():
        if folder.exists() and any(folder.iterdir()):
            raise FixConfiguration(f"{folder} holds what no drill made; pass an empty --home")
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(wanted, encoding="utf-8")
    elif note.read_text(encoding="utf-8") != wanted:
        raise FixConfiguration(
            f"{folder} holds drills under other settings ({note}); pass an empty --home"
        )


def _user_settings(conf: Path | None) -> dict[str, Any]:
    settings = load(conf)
    return {name: getattr(settings, name).model_dump(mode="json") for name in USER_SUBJECTS}


def prepare_home(folder: Path, conf: Path | None, run: Run) -> Path:
    """Return the home that every drill copies, and make it if it does not exist.

    Args:
        folder: Folder of all drills.
        conf: Folder of settings; None for the default.
        run: Runs the flows that make it.

    Raises:
        FixConfiguration: If no champion passes under these settings.
    """
    drill_home, completed = DrillHome(folder / "ground", run), folder / "ground" / "made"
    if not completed.exists():
        shutil.rmtree(drill_home.folder, ignore_errors=True)
        _settings(drill_home, conf)
        market().to_parquet(drill_home.feed)
        drill_home.flow("collect", STARTED_AT)
        _raise_weight(drill_home, drill_home.flow("train", STARTED_AT, request=TRAINING))
        drill_home.flow("guard", STARTED_AT)
        completed.touch()
    return drill_home.folder


def _settings(drill_home: DrillHome, conf: Path | None) -> None:
    drill_home.conf.mkdir(parents=True)
    source = f"kind: files\npath: {json.dumps(str(drill_home.feed))}\nbar_size: 4h\ncalendar: 24/7"
    for name, text in {**DRILL_SETTINGS, "source": source}.items():
        (drill_home.conf / f"{name}.yaml").write_text(text, encoding="utf-8")
    for name, values in _user_settings(conf).items():
        (drill_home.conf / f"{name}.yaml").write_text(json.dumps(values), encoding="utf-8")


def _raise_weight(drill_home: DrillHome, trained: VersionRecord) -> None:
    """Promote the champion to expansion; a drill has no months in which to earn it."""
    home = drill_home.home()
    before, policy = home.journal.state(), home.settings.weight
    if trained.stage != "champion" or before is None:
        raise FixConfiguration(
            f"the champion of the drills does not serve: {trained.verdict}; no drill is possible"
        )
    after = promote(before, "expansion", policy, STARTED_AT)
    reasons = ("fire drill: promoted to expansion without evidence",)
    home.journal.append(
        make_decision("gates", before, after, policy, STARTED_AT, verdict="RAISE", reasons=reasons)
    )


def copy_home(source: Path, home: Path, run: Run) -> DrillHome:
    """Return the home of a drill, a fresh copy of another home.

    Args:
        source: Home to copy.
        home: Folder of the copy; its former content is deleted.
        run: Runs flows on the copy.
    """
    shutil.rmtree(home, ignore_errors=True)
    for name in ("conf", ".steelyard", "mlruns"):
        shutil.copytree(
            source / name,
            home / name,
            ignore=shutil.ignore_patterns("*.lock", ".lock"),
        )
    drill_home = DrillHome(home, run)
    settings = (drill_home.conf / "source.yaml").read_text(encoding="utf-8")
    feed = DrillHome(source, run).feed
    (drill_home.conf / "source.yaml").write_text(
        settings.replace(str(feed), str(drill_home.feed)), encoding="utf-8"
    )
    market().to_parquet(drill_home.feed)
    return drill_home
