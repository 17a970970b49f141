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
    digest_before = lake_digest(Path(lake.place))
    assert lake.append(EARLY, FOUR_HOURS) == Appended(0, len(EARLY), 0)
    assert lake_digest(Path(lake.place)) == digest_before
    assert lake.append(BARS, FOUR_HOURS) == Appended(len(BARS) - len(EARLY), len(EARLY), 0)
    pd.testing.assert_frame_equal(lake.read(), BARS, check_dtype=False)


def test_a_stored_bar_is_never_overwritten(lake: Lake) -> None:
    """A bar with another close is counted as conflicting and left out."""
    lake.append(EARLY, FOUR_HOURS)
    digest_before = lake_digest(Path(lake.place))
    changed = EARLY.assign(close=EARLY["close"].where(EARLY.index != 3, 1.0))

    assert lake.append(changed, FOUR_HOURS) == Appended(0, len(EARLY) - 1, 1)
    assert lake_digest(Path(lake.place)) == digest_before


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


def test_daily_bars_of_an_exchange_are_read_from_their_close_on(lake: Lake) -> None:
    """With a close at 21:00 the bar of the day is known at 21:00, not at midnight."""
    day, close = pd.Timedelta("1D"), pd.Timedelta("21h")
    daily = EARLY[EARLY["timestamp"].dt.hour == 0]
    lake.append(daily, day)
    assert lake.known_after == day

    assert lake.append(daily, day, close).added == 0
    until = pd.Timestamp("2020-01-02 21:00", tz="UTC")
    assert len(lake.read(until=until)) == 4
    assert len(lake.read(until=until - pd.Timedelta("1min"))) == 2
    assert lake.bars(until)["SIM00"].closes_at[-1] == until.to_datetime64()


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
    digest_before = lake_digest(Path(lake.place))

    with pytest.raises(RestoreService, match=r"lake\.json: cannot be read"):
        lake.read()
    with pytest.raises(RestoreService, match=r"lake\.json: cannot be read"):
        lake.append(BARS, FOUR_HOURS)
    assert lake_digest(Path(lake.place)) == digest_before


def test_a_lake_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """A file stands in place of the folder."""
    (tmp_path / "lake").write_text("")

    with pytest.raises(RestoreService, match=r"lake: the lake cannot be written .*writable folder"):
        Lake(tmp_path / "lake").append(EARLY, FOUR_HOURS)


def scaled(bars: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same bars at other prices."""
    prices = ["open", "high", "low", "close"]
    return bars.assign(**{name: bars[name] * factor for name in prices})


@pytest.mark.parametrize("factor", [0.98, 0.25, 10.0], ids=["dividend", "split", "reverse split"])
def test_a_history_on_a_new_scale_is_read_again(lake: Lake, factor: float) -> None:
    """The lake has the source's prices at every bar, and keeps the file before beside them."""
    lake.append(EARLY, FOUR_HOURS)
    restated = scaled(BARS, factor)
    counts = lake.append(restated, FOUR_HOURS)

    assert (counts.added, counts.conflicting) == (len(BARS) - len(EARLY), 0)
    pd.testing.assert_frame_equal(lake.read(), restated, check_dtype=False)
    assert len(counts.findings) == 2
    assert "SIM00: the source has put its history on another scale" in counts.findings[0]
    kept = pd.read_parquet(next(Path(lake.place).glob("symbol=SIM00/bars-before-*.parquet")))
    assert len(kept) == len(EARLY[EARLY["symbol"] == "SIM00"])
    assert lake.append(restated, FOUR_HOURS) == Appended(0, len(BARS), 0)


def test_bars_older_than_the_source_follow_its_scale(lake: Lake) -> None:
    """The source gives its last bars only: the older ones are multiplied, volume too at a split."""
    lake.append(EARLY, FOUR_HOURS)
    recent = BARS[BARS["timestamp"] >= pd.Timestamp("2020-01-08", tz="UTC")]
    lake.append(scaled(recent, 0.25).assign(volume=recent["volume"] * 4), FOUR_HOURS)

    expected = scaled(BARS, 0.25).assign(volume=BARS["volume"] * 4)
    pd.testing.assert_frame_equal(lake.read(), expected, check_dtype=False)


def test_a_source_that_adjusts_a_day_late_is_read_again(lake: Lake) -> None:
    """The first bars at the new scale were stored beside a past at the old one."""
    late = pd.Timestamp("2020-01-13", tz="UTC")
    restated = BARS.where(BARS["timestamp"] >= late, scaled(BARS, 0.99))
    lake.append(EARLY, FOUR_HOURS)
    lake.append(restated, FOUR_HOURS)

    pd.testing.assert_frame_equal(lake.read(), restated, check_dtype=False)


def test_a_correction_of_some_bars_is_no_change_of_scale(lake: Lake) -> None:
    """Stored bars stay; the corrected ones are counted."""
    lake.append(EARLY, FOUR_HOURS)
    corrected = EARLY.where(EARLY["timestamp"] < EARLY["timestamp"].max(), scaled(EARLY, 1.001))

    assert lake.append(corrected, FOUR_HOURS) == Appended(0, len(EARLY) - 2, 2)


def test_bars_of_another_instrument_are_refused(lake: Lake) -> None:
    """Far away, and by no one factor; the other symbol is stored all the same."""
    lake.append(EARLY, FOUR_HOURS)
    other = BARS[BARS["symbol"] == "SIM01"].assign(symbol="SIM00")
    other = scaled(other, 3.0)

    with pytest.raises(FixData, match=r"SIM00: the stored bars and these differ by no one factor"):
        lake.append(pd.concat([other, BARS[BARS["symbol"] == "SIM01"]]), FOUR_HOURS)
    stored = lake.read()
    pd.testing.assert_frame_equal(
        stored[stored["symbol"] == "SIM00"], EARLY[EARLY["symbol"] == "SIM00"], check_dtype=False
    )
    assert (stored["symbol"] == "SIM01").sum() == (BARS["symbol"] == "SIM01").sum()


def renamed(*symbols: str) -> pd.DataFrame:
    """The bars of one simulated symbol, under each of these names."""
    first = EARLY[EARLY["symbol"] == EARLY["symbol"].iloc[0]]
    return pd.concat([first.assign(symbol=symbol) for symbol in symbols], ignore_index=True)


def test_two_symbols_never_share_a_file(lake: Lake) -> None:
    """However much their names look alike to a file system."""
    bars = renamed("A/B", "A_B", "A%2FB", "BTC/USDT:USDT", "ES 12-23", "..")
    lake.append(bars, FOUR_HOURS)

    assert len(list(Path(lake.place).glob("symbol=*/bars.parquet"))) == 6
    assert set(lake.read()["symbol"]) == set(bars["symbol"])
    assert set(lake.read(symbols=["A/B"])["symbol"]) == {"A/B"}


@pytest.mark.parametrize("collected", ["A/B", "A_B"])
def test_a_file_that_was_shared_is_separated(lake: Lake, collected: str) -> None:
    """As version 0.1 left it; nothing is lost, and nothing is there twice."""
    lake.append(renamed("X"), FOUR_HOURS)
    shared = Path(lake.place) / "symbol=A_B" / "bars.parquet"
    shared.parent.mkdir()
    renamed("A/B", "A_B").to_parquet(shared, index=False)
    assert set(lake.read(symbols=["A/B"])["symbol"]) == {"A/B"}

    counts = lake.append(renamed(collected), FOUR_HOURS)

    assert counts == Appended(0, len(renamed("X")), 0)
    assert lake.read()["symbol"].value_counts().to_dict() == dict.fromkeys(
        ("A/B", "A_B", "X"), len(renamed("X"))
    )
    assert set(pd.read_parquet(shared, partitioning=None)["symbol"]) == {"A_B"}


ONE = renamed("X")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is full at twenty bars."""
    monkeypatch.setattr("steelyard.gateways.lake.PART_BARS", 20)


def files_of(lake: Lake) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(lake.place).glob("symbol=X/*.parquet")}


@pytest.mark.usefixtures("small_parts")
def test_an_append_leaves_the_history_unwritten(lake: Lake) -> None:
    """A lake of version 0.2, one long file, is read on; later bars go to files of their own."""
    first, rest = ONE.iloc[:50], ONE.iloc[50:]
    lake.append(first, FOUR_HOURS)
    history = files_of(lake)["bars.parquet"]
    for number in range(len(rest)):
        assert lake.append(rest.iloc[[number]], FOUR_HOURS) == Appended(1, 0, 0)

    files = files_of(lake)
    assert len(files) == 1 + -(-len(rest) // 20)
    assert files["bars.parquet"] == history
    pd.testing.assert_frame_equal(lake.read(), ONE, check_dtype=False)
    assert lake.newest() == {"X": ONE["timestamp"].max()}
    assert lake.append(ONE, FOUR_HOURS) == Appended(0, len(ONE), 0)
    assert files_of(lake) == files


@pytest.mark.usefixtures("small_parts")
def test_a_late_bar_goes_to_the_file_of_its_time(lake: Lake) -> None:
    """Holes in any file are filled, and no other file is written."""
    late = ONE.iloc[[0, 10, 40]]
    for begin in range(0, len(ONE), 15):
        batch = ONE.iloc[begin : begin + 15]
        lake.append(batch[~batch.index.isin(late.index)], FOUR_HOURS)
    before = files_of(lake)

    assert lake.append(late, FOUR_HOURS) == Appended(len(late), 0, 0)
    pd.testing.assert_frame_equal(lake.read(), ONE, check_dtype=False)
    after = files_of(lake)
    assert after.keys() == before.keys()
    assert 0 < sum(after[name] != before[name] for name in before) < len(before)


@pytest.mark.usefixtures("small_parts")
def test_a_history_read_again_replaces_all_its_files(lake: Lake) -> None:
    """Files that a crash left beside it do not count, and go with the next append."""
    for begin in range(0, 80, 20):
        lake.append(ONE.iloc[begin : begin + 20], FOUR_HOURS)
    old = files_of(lake)
    parts = [name for name in old if name.startswith("part-")]
    restated = scaled(ONE.iloc[:80], 0.25)
    lake.append(restated, FOUR_HOURS)
    assert not [name for name in files_of(lake) if name.startswith("part-")]
    for name in parts:
        (Path(lake.place) / "symbol=X" / name).write_bytes(old[name])

    pd.testing.assert_frame_equal(lake.read(), restated, check_dtype=False)
    assert lake.newest() == {"X": restated["timestamp"].max()}
    lake.append(scaled(ONE, 0.25), FOUR_HOURS)
    pd.testing.assert_frame_equal(lake.read(), scaled(ONE, 0.25), check_dtype=False)
    assert not set(parts) & files_of(lake).keys()
