"""One run per bar collects, trades and settles, at the times at which bars are known."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml

from steelyard.errors import SteelyardError
from steelyard.flows.bar import bar
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.gateways.sources import SourceSettings, read
from steelyard.home import Home, open_home
from steelyard.queries.schedules import planned_runs, plans
from steelyard.views.verdicts import verdict

FIRST, LAST = datetime(2012, 11, 13, tzinfo=UTC), datetime(2012, 11, 27, tzinfo=UTC)
THANKSGIVING, HALF_DAY = datetime(2012, 11, 22, tzinfo=UTC), datetime(2012, 11, 23, tzinfo=UTC)
STOCKS = ("AAPL", "AMZN", "FB", "GOOG", "IBM", "MSFT", "NVDA")


def stocks() -> pd.DataFrame:
    """Daily bars of the sample."""
    bars = read(SourceSettings()).frame
    return bars[bars["symbol"].isin(STOCKS).to_numpy(dtype=bool)]


@pytest.fixture
def new_york(home: Path, conf: Path, tmp_path: Path) -> Home:
    """Daily bars of three stocks in a file, and the delivered times."""
    bars = stocks()
    bars = bars[(bars["timestamp"] > pd.Timestamp("2012-03-01", tz="UTC")).to_numpy(dtype=bool)]
    bars.to_parquet(tmp_path / "bars.parquet")
    source = {"kind": "files", "path": str(tmp_path / "bars.parquet"), "bar_size": "1D"}
    (conf / "source.yaml").write_text(yaml.safe_dump({**source, "calendar": "XNYS"}))
    (conf / "desk.yaml").write_text("deadline_ms: 10000  # a busy machine")
    return open_home(home, conf)


def test_the_delivered_times_trade_daily_bars_of_stocks(new_york: Home) -> None:
    """Two weeks with a holiday and half a day: every bar is traded the evening it is known.

    A run without its source fails, after it has traded the bar that another collection stored.
    """
    folders = str(new_york.folder), str(new_york.conf)
    guard.fn(FIRST, *folders)
    times = planned_runs(plans(new_york)[0], FIRST, LAST)
    runs = {at: bar.fn(at, *folders) for at in times}
    trades = new_york.ledger.trades()
    added = {f"{at:%m-%d}": run.collected.added for at, run in runs.items()}

    assert {f"{at:%a %H:%M}" for at in runs} == {
        f"{day} 21:15" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")
    }
    assert [day for day, count in added.items() if not count] == [f"{THANKSGIVING:%m-%d}"]
    assert added[f"{HALF_DAY:%m-%d}"] == len(STOCKS)
    assert (trades["status"] != "vetoed").any()
    assert "stale" not in set(trades["veto"])
    assert trades["timestamp"].min() >= pd.Timestamp(FIRST)
    for run in runs.values():
        assert verdict(run, run.as_of).tag in ("ordered", "collected", "no new bar")

    Path(new_york.settings.source.path).unlink()
    new_york.lake.append(bars_after(times[-1]), pd.Timedelta("1D"), new_york.lake.known_after)
    with pytest.raises(SteelyardError, match=r"bars\.parquet: no such file"):
        bar.fn(times[-1] + timedelta(days=1), *folders)
    assert len(new_york.ledger.trades()) > len(trades)


def bars_after(at: datetime) -> pd.DataFrame:
    """Bars of the sample on the day after a time."""
    bars, day = stocks(), pd.Timestamp(at).normalize() + pd.Timedelta("1D")
    return bars[(bars["timestamp"] == day).to_numpy(dtype=bool)]


def test_a_first_run_without_bars_names_the_source(home: Path, conf: Path) -> None:
    """The source's fault comes first: that there are no bars follows from it."""
    (conf / "source.yaml").write_text("kind: files\npath: nowhere.csv\n")

    with pytest.raises(SteelyardError, match=r"^nowhere\.csv: no such file"):
        bar.fn(FIRST, str(home), str(conf))


def test_an_unexpected_fault_of_the_source_keeps_no_trade_waiting(
    home: Path, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source of one's own may raise anything; positions are protected all the same."""
    acted: list[str] = []
    monkeypatch.setattr(collect, "fn", lambda *_: 1 / 0)
    for flow in (trade, settle):
        monkeypatch.setattr(flow, "fn", lambda *_, name=flow.name: acted.append(name))

    with pytest.raises(ZeroDivisionError):
        bar.fn(FIRST, str(home), str(conf))
    assert acted == ["trade", "settle"]
