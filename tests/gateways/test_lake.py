"""The lake: appending is safe to repeat, and reading never shows a bar that had not closed."""

from pathlib import Path

import pandas as pd
import pytest

from factories.bars import FOUR_HOURS
from factories.digests import lake_digest
from steelyard.errors import CollectMoreData, FixData, RestoreService
from steelyard.gateways.lake import Appended, Lake
from steelyard.market.simulated import SimulatedMarket, simulate

BARS = simulate(
    SimulatedMarket(symbols=2, end=pd.Timestamp("2020-02-01", tz="UTC").to_pydatetime())
)
EARLY = BARS[BARS["timestamp"] < pd.Timestamp("2020-01-15", tz="UTC")]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_collecting_twice_adds_nothing_and_later_bars_append(lake: Lake) -> None:
    """The files stay as they are, byte for byte; then the rest is added."""
    assert lake.append(EARLY, FOUR_HOURS) == Appended(len(EARLY), 0, 0)
    digest_before = lake_digest(lake._folder)
    assert lake.append(EARLY, FOUR_HOURS) == Appended(0, len(EARLY), 0)
    assert lake_digest(lake._folder) == digest_before
    assert lake.append(BARS, FOUR_HOURS) == Appended(len(BARS) - len(EARLY), len(EARLY), 0)
    pd.testing.assert_frame_equal(lake.read(), BARS, check_dtype=False)


def test_a_stored_bar_is_never_overwritten(lake: Lake) -> None:
    """A bar with another close is counted as conflicting and left out."""
    lake.append(EARLY, FOUR_HOURS)
    digest_before = lake_digest(lake._folder)
    changed = EARLY.assign(close=EARLY["close"].where(EARLY.index != 3, 1.0))

    assert lake.append(changed, FOUR_HOURS) == Appended(0, len(EARLY) - 1, 1)
    assert lake_digest(lake._folder) == digest_before


def test_bars_without_volume_are_recognised(lake: Lake) -> None:
    """NaN volume equals NaN volume."""
    without_volume = EARLY.assign(volume=float("nan"))
    lake.append(without_volume, FOUR_HOURS)

    assert lake.append(without_volume, FOUR_HOURS) == Appended(0, len(EARLY), 0)


def test_reading_stops_at_the_last_closed_bar(lake: Lake) -> None:
    """At 04:00 the bar of 00:00 is known, at 03:59 it is not."""
    lake.append(BARS, FOUR_HOURS)

    assert len(lake.read(until=pd.Timestamp("2020-01-01 04:00", tz="UTC"))) == 2
    assert len(lake.read(until=pd.Timestamp("2020-01-01 03:59", tz="UTC"))) == 0
    assert lake.read(symbols=["SIM01"])["symbol"].unique().tolist() == ["SIM01"]


def test_another_bar_size_is_refused(lake: Lake) -> None:
    """The message names both."""
    lake.append(EARLY, FOUR_HOURS)

    with pytest.raises(
        FixData, match="holds bars of 0 days 04:00:00, these are of 0 days 01:00:00"
    ):
        lake.append(EARLY, pd.Timedelta("1h"))


def test_an_empty_lake_says_what_to_run(lake: Lake) -> None:
    """Nothing collected yet."""
    with pytest.raises(CollectMoreData, match="steelyard collect"):
        lake.read()


def test_a_broken_file_is_one_clear_line(lake: Lake, tmp_path: Path) -> None:
    """The error names the file."""
    lake.append(EARLY, FOUR_HOURS)
    (tmp_path / "lake" / "symbol=SIM00" / "bars.parquet").write_bytes(b"gone")

    with pytest.raises(RestoreService, match=r"symbol=SIM00/bars\.parquet: cannot be read"):
        lake.read()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"bar_size": "long"}'])
def test_a_broken_description_is_one_clear_line(lake: Lake, tmp_path: Path, content: str) -> None:
    """The error names the file; nothing is appended to bars of unknown size."""
    lake.append(EARLY, FOUR_HOURS)
    (tmp_path / "lake" / "lake.json").write_text(content)
    digest_before = lake_digest(lake._folder)

    with pytest.raises(RestoreService, match=r"lake\.json: cannot be read"):
        lake.read()
    with pytest.raises(RestoreService, match=r"lake\.json: cannot be read"):
        lake.append(BARS, FOUR_HOURS)
    assert lake_digest(lake._folder) == digest_before


def test_a_lake_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """A file stands in place of the folder."""
    (tmp_path / "lake").write_text("")

    with pytest.raises(RestoreService, match=r"lake: the lake cannot be written .*writable folder"):
        Lake(tmp_path / "lake").append(EARLY, FOUR_HOURS)


def test_bars_from_before_a_split_are_not_continued_after_it(lake: Lake) -> None:
    """The symbol whose stored prices are four times too high is refused; the others are stored."""
    lake.append(EARLY, FOUR_HOURS)
    split = BARS.copy()
    split.loc[split["symbol"] == "SIM00", ["open", "high", "low", "close"]] /= 4

    with pytest.raises(
        FixData, match=r"SIM00: stored on another price scale.*delete .*symbol=SIM00/bars\.parquet"
    ):
        lake.append(split, FOUR_HOURS)
    stored = lake.read()
    pd.testing.assert_frame_equal(
        stored[stored["symbol"] == "SIM00"], EARLY[EARLY["symbol"] == "SIM00"], check_dtype=False
    )
    assert (stored["symbol"] == "SIM01").sum() == (BARS["symbol"] == "SIM01").sum()


def test_a_dividend_does_not_stop_a_symbol(lake: Lake) -> None:
    """Adjusted closes drop by a percent or two; the stored bars stay, the later ones are added."""
    lake.append(EARLY, FOUR_HOURS)
    after_dividend = BARS.assign(close=BARS["close"] * 0.98)

    counts = lake.append(after_dividend, FOUR_HOURS)

    assert (counts.added, counts.already_there, counts.conflicting) == (
        len(BARS) - len(EARLY),
        0,
        len(EARLY),
    )
    assert len(counts.findings) == 2
    assert "stored closes are +2.04% against it), a dividend since?" in counts.findings[0]


def renamed(*symbols: str) -> pd.DataFrame:
    """The bars of one simulated symbol, under each of these names."""
    first = EARLY[EARLY["symbol"] == EARLY["symbol"].iloc[0]]
    return pd.concat([first.assign(symbol=symbol) for symbol in symbols], ignore_index=True)


def test_two_symbols_never_share_a_file(lake: Lake) -> None:
    """However much their names look alike to a file system."""
    bars = renamed("A/B", "A_B", "A%2FB", "BTC/USDT:USDT", "ES 12-23", "..")
    lake.append(bars, FOUR_HOURS)

    assert len(list(lake._folder.glob("symbol=*/bars.parquet"))) == 6
    assert set(lake.read()["symbol"]) == set(bars["symbol"])
    assert set(lake.read(symbols=["A/B"])["symbol"]) == {"A/B"}


@pytest.mark.parametrize("collected", ["A/B", "A_B"])
def test_a_file_that_was_shared_is_separated(lake: Lake, collected: str) -> None:
    """As version 0.1 left it; nothing is lost, and nothing is there twice."""
    lake.append(renamed("X"), FOUR_HOURS)
    shared = lake._folder / "symbol=A_B" / "bars.parquet"
    shared.parent.mkdir()
    renamed("A/B", "A_B").to_parquet(shared, index=False)
    assert set(lake.read(symbols=["A/B"])["symbol"]) == {"A/B"}

    counts = lake.append(renamed(collected), FOUR_HOURS)

    assert counts == Appended(0, len(renamed("X")), 0)
    assert lake.read()["symbol"].value_counts().to_dict() == dict.fromkeys(
        ("A/B", "A_B", "X"), len(renamed("X"))
    )
    assert set(pd.read_parquet(shared, partitioning=None)["symbol"]) == {"A_B"}
