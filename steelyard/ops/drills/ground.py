"""Where drills take place: a home of their own with a champion that was really trained, a weight, and a market to come."""

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
from steelyard.settings import Settings, default_conf, load
from steelyard.weight.decision import make_decision
from steelyard.weight.transitions import promote

DAY = timedelta(days=1)
BEGAN = datetime(2020, 9, 1, tzinfo=UTC)
"""The first day of every drill: the champion serves, the weight is up."""
END = datetime(2020, 12, 15, tzinfo=UTC)
MARKET = SimulatedMarket(strength=0.3, end=END)
BAR = pd.Timedelta(hours=MARKET.bar_hours)
TRAINING = Retraining(trials=4, reason="fire drill")
KEPT = ("weight", "drift", "quality", "books")
"""Subjects of ``conf/`` a drill takes from the user; everything else is as delivered, so that it touches nothing live."""
OWN = {
    "services": "refresh_seconds: 3600  # seconds: a drill looks itself, in simulated time",
    "desk": "deadline_ms: 10000  # milliseconds: the machine may be busy, and no deadline is drilled",
}


class Run(Protocol):
    """Runs a flow by its name, as the command line does."""

    def __call__(self, name: str, at: datetime, home: Path, conf: Path, **parameters: Any) -> Any:
        """Return what the flow returns; what it raises has been told to the operator."""


@dataclass(frozen=True)
class DrillHome:
    """The home of one drill."""

    folder: Path
    run: Run

    @property
    def conf(self) -> Path:
        """Its settings."""
        return self.folder / "conf"

    @property
    def feed(self) -> Path:
        """The file the source reads."""
        return self.folder / "feed.parquet"

    def home(self) -> Home:
        """Return its home, opened anew as every flow opens them."""
        return open_home(self.folder, self.conf)

    def flow(self, name: str, at: datetime, **parameters: Any) -> Any:
        """Run a flow here."""
        return self.run(name, at, self.folder, self.conf, **parameters)

    def refused(self, name: str, at: datetime) -> str:
        """Return what a flow that is run here refuses with; empty where it goes through."""
        try:
            self.flow(name, at)
        except SteelyardError as error:
            return str(error)
        return ""

    def collect_all(self, bars: pd.DataFrame) -> None:
        """Let the lake have ``bars`` up to ``END`` at once; no flow reads past its own moment."""
        bars.to_parquet(self.feed)
        self.flow("collect", END)

    def weight(self, at: datetime) -> float:
        """Return the weight in force at ``at``; 0 without a state that can be believed."""
        state, _ = self.home().journal.verified()
        return state.weight_in_force(at) if state else 0.0

    def alerts(self, kind: str, words: str = "") -> list[datetime]:
        """Return the moments of the alerts of a kind whose title has ``words`` in it."""
        told = [stored.alert for stored in self.home().alerts.open()]
        return [alert.at for alert in told if alert.kind == kind and words in alert.title]


@dataclass(frozen=True, slots=True)
class Past:
    """A whole market, from which a drill takes what is known at its moment."""

    bars: Mapping[str, Bars]
    signals: pd.DataFrame

    def until(self, at: datetime) -> dict[str, Bars]:
        """Return the bars closed by ``at``."""
        moment = np.datetime64(at.replace(tzinfo=None), "ns")
        return {
            name: one[: int(np.searchsorted(one.closes_at, moment, side="right"))]
            for name, one in self.bars.items()
        }

    def decided(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return the signals decided in (since, until], oldest first."""
        moments = self.signals["decided_at"]
        return self.signals[
            ((moments > since) & (moments <= until)).to_numpy(dtype=bool)
        ].sort_values("decided_at")


@cache
def market() -> pd.DataFrame:
    """Return the drills' bars: eight symbols whose candles tell what comes."""
    return simulate(MARKET)


@cache
def past() -> Past:
    """Return the drills' market with its signals."""
    bars, settings = by_symbol(market(), BAR), Settings()
    return Past(bars, history(bars, open_home().strategy, settings.brackets))


def claim(folder: Path, conf: Path | None) -> None:
    """Take ``folder`` for drills under the settings in ``conf``.

    Raises:
        FixConfiguration: If something else lies there, or drills under other settings.
    """
    note, wanted = folder / "drills.json", json.dumps(_kept(conf), sort_keys=True)
    if not note.exists():
        if folder.exists() and any(folder.iterdir()):
            raise FixConfiguration(f"{folder} holds what no drill made; pass an empty --home")
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(wanted, encoding="utf-8")
    elif note.read_text(encoding="utf-8") != wanted:
        raise FixConfiguration(
            f"{folder} holds drills under other settings ({note}); pass an empty --home"
        )


def _kept(conf: Path | None) -> dict[str, Any]:
    settings = load(conf)
    return {name: getattr(settings, name).model_dump(mode="json") for name in KEPT}


def ground(folder: Path, conf: Path | None, run: Run) -> Path:
    """Return the home every drill begins as a copy of, made where there is none yet.

    Raises:
        FixConfiguration: If no champion passes under these settings.
    """
    place, made = DrillHome(folder / "ground", run), folder / "ground" / "made"
    if not made.exists():
        shutil.rmtree(place.folder, ignore_errors=True)
        _settings(place, conf)
        market().to_parquet(place.feed)
        place.flow("collect", BEGAN)
        _raise_weight(place, place.flow("train", BEGAN, request=TRAINING))
        place.flow("guard", BEGAN)
        made.touch()
    return place.folder


def _settings(place: DrillHome, conf: Path | None) -> None:
    place.conf.mkdir(parents=True)
    source = f"kind: files\npath: {json.dumps(str(place.feed))}\nbar_size: 4h\ncalendar: 24/7"
    for name, text in {**OWN, "source": source}.items():
        (place.conf / f"{name}.yaml").write_text(text, encoding="utf-8")
    for name in KEPT:
        file = (conf or default_conf()) / f"{name}.yaml"
        if file.exists():
            shutil.copy(file, place.conf)


def _raise_weight(place: DrillHome, trained: Mapping[str, Any]) -> None:
    """Put the champion into expansion; a drill has no months in which to earn it."""
    home = place.home()
    before, policy = home.journal.state(), home.settings.weight
    if trained["stage"] != "champion" or before is None:
        raise FixConfiguration(
            f"the drill's champion does not serve: {trained['verdict']}; nothing can be drilled"
        )
    after = promote(before, "expansion", policy, BEGAN)
    words = ("fire drill: put into expansion, nothing of it was earned",)
    home.journal.append(
        make_decision("gates", before, after, policy, BEGAN, verdict="RAISE", reasons=words)
    )


def copied(source: Path, home: Path, run: Run) -> DrillHome:
    """Return the place of a drill in ``home``, a copy of ``source``; what a drill left there before is gone.

    Artifacts of the copied runs stay where they are, and those of new runs go there too: MLflow keeps whole paths.
    """
    shutil.rmtree(home, ignore_errors=True)
    for name in ("conf", ".steelyard", "mlruns"):
        shutil.copytree(
            source / name,
            home / name,
            ignore=shutil.ignore_patterns("artifacts", "*.lock", ".lock"),
        )
    place = DrillHome(home, run)
    settings = (place.conf / "source.yaml").read_text(encoding="utf-8")
    feed = DrillHome(source, run).feed
    (place.conf / "source.yaml").write_text(
        settings.replace(str(feed), str(place.feed)), encoding="utf-8"
    )
    market().to_parquet(place.feed)
    return place
