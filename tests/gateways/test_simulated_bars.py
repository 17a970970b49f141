"""The simulated market that goes on in real time."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from steelyard.errors import FixConfiguration
from steelyard.gateways.sources import SourceSettings
from steelyard.gateways.venues.simulated_bars import BARS_A_DAY, PAST_DAYS, SimulatedBars
from steelyard.ops.live_demo import open_market, past_days
from steelyard.settings import load

Command = Callable[..., tuple[int, str, str]]
LIVE_FROM = datetime(2026, 1, 31, 12, 0, 7, tzinfo=UTC)
SYMBOLS = ("SIM00", "SIM05")


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    """The source as the first ``demo --live`` in a folder writes it down."""
    return load(open_market(tmp_path, LIVE_FROM)).source


def read(source: SourceSettings, until: pd.Timestamp) -> pd.DataFrame:
    since = dict.fromkeys(SYMBOLS, source.first_open)
    pages = SimulatedBars(source).read(since, pd.Timedelta(source.bar_size), until)
    return pd.concat(pages, ignore_index=True)


def test_a_market_has_a_past_and_goes_on_every_ten_seconds(source: SourceSettings) -> None:
    """A bar is given once it has ended, and never changes."""
    begin = pd.Timestamp("2026-01-31 12:00:00", tz="UTC")
    before = read(source, begin)
    after = read(source, begin + pd.Timedelta("64s"))
    live = after[after["timestamp"] >= begin]

    assert set(before.groupby(before["timestamp"].dt.date).size()) == {BARS_A_DAY * len(SYMBOLS)}
    assert before["timestamp"].dt.date.nunique() == PAST_DAYS
    assert live["timestamp"].unique().tolist() == [
        begin + number * pd.Timedelta("10s") for number in range(6)
    ]
    known = after[after["timestamp"] < begin].reset_index(drop=True)
    pd.testing.assert_frame_equal(known, before)


def test_settings_of_a_market_that_goes_on_are_kept(tmp_path: Path, source: SourceSettings) -> None:
    """A second start changes neither when it went live nor what the operator wrote."""
    (tmp_path / "conf" / "up.yaml").write_text("run: true\npage_port: 9000\n")
    again = load(open_market(tmp_path, LIVE_FROM + pd.Timedelta("3h")))

    assert again.source == source
    assert again.up.page_port == 9000
    assert again.up.run
    assert past_days(again.source).end == datetime(2026, 1, 31, tzinfo=UTC)


def test_a_market_that_has_ended_is_one_line(tmp_path: Path, command: Command) -> None:
    """It says when it ended and what to do; nothing is started."""
    open_market(tmp_path / "live", LIVE_FROM)
    code, out, err = command("demo", "--live", "--home", tmp_path)

    assert (code, out) == (1, "")
    assert err == (
        f"steelyard: the market in {tmp_path / 'live'} ended at 2026-02-01 12:00; remove the "
        "folder, or pass another --home, for a new one"
    )
    assert [path.name for path in (tmp_path / "live").iterdir()] == ["conf"]


@pytest.mark.parametrize("option", ["--json", "--conf"])
def test_a_live_market_has_settings_of_its_own(
    option: str, tmp_path: Path, command: Command
) -> None:
    """Options that it cannot follow are refused, not ignored."""
    options = (option, tmp_path) if option == "--conf" else (option,)
    code, _, err = command("demo", "--live", "--home", tmp_path, *options)

    assert code == 2
    assert "its settings are in HOME/live/conf" in " ".join(err.replace("│", "").split())


@pytest.mark.parametrize("options", [{}, {"live_from": "soon"}], ids=["missing", "no time"])
def test_a_market_without_its_time_is_refused(options: dict[str, str]) -> None:
    """The line names the option and shows how it looks."""
    with pytest.raises(FixConfiguration, match=r"options needs live_from, a time such as 2026"):
        SimulatedBars(SourceSettings(options=options))
