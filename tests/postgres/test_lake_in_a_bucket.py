"""The lake in an object store: what a folder gives, for every home that reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from factories.bars import FOUR_HOURS
from factories.object_store import object_store
from steelyard.errors import CollectMoreData, FixConfiguration, RestoreService
from steelyard.gateways.cluster import ScaleSettings
from steelyard.gateways.lake import Appended
from steelyard.home import Home, home_under
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.queries import history
from steelyard.queries.history import known_history
from steelyard.settings import ServiceSettings, Settings

pytestmark = pytest.mark.postgres
NAMES = {"SIM00": "BTC/USDT", "SIM01": "A_B"}
BARS = simulate(SimulatedMarket(symbols=5, end=datetime(2020, 3, 1, tzinfo=UTC))).replace(
    {"symbol": NAMES}
)
BARS = BARS.sort_values(["symbol", "timestamp"], ignore_index=True)
EARLY = BARS[BARS["timestamp"] < pd.Timestamp("2020-02-01", tz="UTC")]
PRICES = ["open", "high", "low", "close"]
LATER = datetime(2030, 1, 1, tzinfo=UTC)


@contextmanager
def empty_lake(monkeypatch: pytest.MonkeyPatch, folder: str) -> Iterator[str]:
    """Address of a lake that is not there yet, in a store that goes away afterwards."""
    with object_store("steelyard") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        host = environment["MLFLOW_S3_ENDPOINT_URL"].removeprefix("http://")
        yield f"s3://steelyard/{folder}/bars?endpoint_override={host}&scheme=http"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    with empty_lake(monkeypatch, tmp_path.name) as address:
        yield address


def opened(folder: Path, lake: str = "", scale: ScaleSettings | None = None) -> Home:
    services = ServiceSettings(lake=lake)
    return home_under(Settings(services=services, scale=scale or ScaleSettings()), folder)


def test_a_bucket_holds_what_a_folder_holds(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appended, put on another scale, and read by another home and its workers, bit for bit."""
    monkeypatch.setattr("steelyard.gateways.lake.PART_BARS", 100)
    monkeypatch.setattr(history, "LEAST_SYMBOLS", 2)
    restated = BARS.assign(**{name: BARS[name] * 0.25 for name in PRICES})
    alone, collector = opened(tmp_path / "alone"), opened(tmp_path / "collector", address)
    reader = opened(tmp_path / "reader", address, ScaleSettings(processes=2))
    with pytest.raises(CollectMoreData, match=r"s3://steelyard/.*/bars: no bars yet"):
        reader.lake.read()

    middle = BARS[BARS["timestamp"] < pd.Timestamp("2020-02-15", tz="UTC")]
    for rows, known in ((EARLY, 0), (middle, len(EARLY)), (BARS, len(middle))):
        counts = Appended(len(rows) - known, known, 0)
        assert collector.lake.append(rows, FOUR_HOURS) == counts
        assert alone.lake.append(rows, FOUR_HOURS) == counts
    assert reader.lake.newest() == alone.lake.newest()
    pd.testing.assert_frame_equal(reader.lake.read(), alone.lake.read(), check_exact=True)
    one = reader.lake.read(symbols=["BTC/USDT"])
    pd.testing.assert_frame_equal(one, alone.lake.read(symbols=["BTC/USDT"]), check_exact=True)
    whole = known_history(alone, LATER)
    assert len(whole) > 20
    pd.testing.assert_frame_equal(known_history(reader, LATER), whole, check_exact=True)

    assert collector.lake.append(restated, FOUR_HOURS) == alone.lake.append(restated, FOUR_HOURS)
    names = sorted(collector.lake._store.names(""))
    assert names == sorted(alone.lake._store.names(""))
    assert not [name for name in names if "part-" in name]
    pd.testing.assert_frame_equal(reader.lake.read(), alone.lake.read(), check_exact=True)


def test_one_home_collects(address: str, tmp_path: Path) -> None:
    """Any other is refused, until it is told to take over; a lost bucket is no empty lake."""
    first, second = (opened(tmp_path / name, address) for name in ("first", "second"))
    first.lake.append(EARLY, FOUR_HOURS)

    with pytest.raises(FixConfiguration, match=r"first/\.steelyard collects these bars"):
        second.lake.append(BARS, FOUR_HOURS)
    first.lake._store.delete("collector")
    assert second.lake.append(BARS, FOUR_HOURS).already_there == len(EARLY)
    lost = opened(tmp_path / "first", address.replace("s3://steelyard", "s3://elsewhere")).lake
    for act in (lost.read, lambda: lost.append(BARS, FOUR_HOURS)):
        with pytest.raises(FixConfiguration, match="there is no bucket elsewhere; make it"):
            act()


def test_a_lake_that_goes_away_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked of a lake that was there."""
    with empty_lake(monkeypatch, tmp_path.name) as address:
        lake = opened(tmp_path, address).lake
        lake.append(EARLY, FOUR_HOURS)
        damaged = "symbol=SIM02/bars.parquet"
        lake._store.write(damaged, b"gone")
        with pytest.raises(RestoreService, match=f"{damaged}: cannot be read"):
            lake.read()
    for act in (lake.read, lake.newest, lambda: lake.append(BARS, FOUR_HOURS)):
        with pytest.raises(
            RestoreService, match=r"s3://steelyard/.*/bars: the object store cannot"
        ):
            act()
