"""A log as the existing system: taken in, settled by what it tells or by bars, never mixed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from factories.bars import FOUR_HOURS, small_history, small_market
from factories.registry import copy_mlflow
from steelyard.desk.service import LoggedSignalIn
from steelyard.errors import FixConfiguration
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.home import Home, open_home
from steelyard.market.features import FEATURES
from steelyard.ops.doctor import doctor
from steelyard.queries.history import known_history, signals_between
from steelyard.tasks.signal_log import FIRST_BARS, read_signal_log, take_in_log
from steelyard.trading import open_desk

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume")


def log_conf(folder: Path, bars: bool = False, **log: Any) -> Path:
    """Settings of a home whose existing system is a log."""
    conf = folder / "conf"
    conf.mkdir(parents=True)
    source = {"kind": "simulated", "bar_size": "4h", "calendar": "24/7"}
    (conf / "source.yaml").write_text(yaml.safe_dump(source if bars else {"kind": "none"}))
    strategy = {"system": "log", "log": {"path": str(folder / "log.csv"), **log}}
    (conf / "strategy.yaml").write_text(yaml.safe_dump(strategy))
    return conf


def write_log(folder: Path, rows: pd.DataFrame) -> None:
    """The log as a program would have written it so far."""
    stamped = rows.assign(timestamp=rows["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    stamped.to_csv(folder / "log.csv", index=False)


def at(moment: pd.Timestamp) -> datetime:
    return moment.to_pydatetime()


def signals_of_trend() -> pd.DataFrame:
    """The built-in system's signals as a log, decided 30 seconds after their bar's close."""
    history = small_history()
    columns = history[["symbol", "side"]].assign(
        timestamp=history["decided_at"] + pd.Timedelta("30s"),
        confidence=history["confidence_existing"].round(2),
        Funding=np.arange(len(history)) / 1000,
    )
    return columns[["symbol", "timestamp", "side", "confidence", "Funding"]]


@pytest.fixture(autouse=True)
def _migrated(home: Path, empty_mlflow: Path) -> None:
    copy_mlflow(empty_mlflow, home / "mlruns")


@pytest.fixture
def with_bars(tmp_path: Path, home: Path) -> Home:
    """A home with bars and a log of 50 signals, whose first outcome the log tells itself."""
    stores = open_home(home, log_conf(tmp_path, bars=True, orders=True))
    frames = [
        pd.DataFrame({name: getattr(bars, name) for name in COLUMNS[1:]}).assign(symbol=symbol)
        for symbol, bars in small_market().items()
    ]
    lake = pd.concat(frames).assign(timestamp=lambda rows: rows["timestamp"].dt.tz_localize("UTC"))
    stores.lake.append(lake[list(COLUMNS)], FOUR_HOURS)
    rows = signals_of_trend().head(50)
    stranger = rows.iloc[[0]].assign(symbol="NOBARS")
    told = rows["timestamp"].iloc[0] + pd.Timedelta("90min")
    ended = pd.DataFrame({"settled_at": [told], "net_return": [-0.03]}, index=rows.index[:1])
    write_log(tmp_path, pd.concat([rows.join(ended), stranger]))
    return stores


def take_in(stores: Home, moment: pd.Timestamp) -> Any:
    """Collect the log alone; the bars are there."""
    return take_in_log(stores, read_signal_log(stores), at(moment))


def test_signals_of_a_log_have_the_features_of_their_decision_bar(with_bars: Home) -> None:
    """The last bar known at the decision; what the log tells stands before what the kernel says."""
    expected = small_history().head(50).reset_index(drop=True)
    last = signals_of_trend()["timestamp"].iloc[49] + pd.Timedelta("60D")
    take_in(with_bars, last)
    known = known_history(with_bars, at(last))
    names = [feature.name for feature in FEATURES]

    assert with_bars.feature_names == (*names, "confidence_existing", "own_Funding")
    assert known["timestamp"].tolist() == expected["timestamp"].tolist()
    np.testing.assert_allclose(known[names], expected[names], rtol=0, atol=1e-12)
    assert known["own_Funding"].tolist() == (np.arange(50) / 1000).tolist()
    assert known["reported"].tolist() == [True] + [False] * 49
    assert known["net_return"].tolist()[1:] == expected["net_return"].tolist()[1:]
    assert known.loc[0, ["net_return", "exit_reason"]].tolist() == [-0.03, "log"]
    assert with_bars.ledger.log_signal_count() == 51
    assert not known["earns"].any()


def test_only_what_was_taken_in_before_its_outcome_is_judged(with_bars: Home) -> None:
    """The first signals came with their outcome or after it: they are history, not evidence."""
    rows, conf = signals_of_trend(), with_bars.conf
    seen = rows["timestamp"].iloc[40] + pd.Timedelta("1h")
    take_in(with_bars, seen)
    later = rows["timestamp"].iloc[49] + pd.Timedelta("60D")
    began = rows["timestamp"].iloc[0] - pd.Timedelta("1D")
    settle.fn(at(began), str(with_bars.folder), str(conf))
    take_in(with_bars, later)
    document = settle.fn(at(later), str(with_bars.folder), str(conf))
    judged = signals_between(with_bars, at(began), at(later))
    predictions = with_bars.ledger.predictions(at(began), at(later))
    settled_at = small_history().head(50)["settled_at"]
    open_then = (settled_at > seen) & (rows["timestamp"].head(50) <= seen)

    assert judged is not None
    assert 1 < open_then.sum() < 20
    assert document.predictions == document.outcomes == len(predictions) == open_then.sum()
    assert predictions["signal_id"].tolist() == judged["signal_id"].tolist()
    proof = with_bars.ledger.settled_for_proof()
    assert not proof["reported"].astype(bool).any()


def test_a_signal_by_request_is_decided_on_its_last_known_bar(with_bars: Home) -> None:
    """One whose bar was not received yet is decided by the existing system alone; both are kept."""
    last_close = max(bars.closes_at[-1] for bars in small_market().values())
    desk = open_desk(with_bars.folder, with_bars.conf)
    symbol = with_bars.lake.read()["symbol"].iloc[0]
    try:
        answers = [
            desk.take_in(
                LoggedSignalIn(
                    symbol=symbol,
                    side="buy",
                    timestamp=f"{pd.Timestamp(last_close) + late:%Y-%m-%dT%H:%M:%SZ}",
                    own={"Funding": 0.5},
                )
            )
            for late in (pd.Timedelta("1min"), pd.Timedelta("5h"))
        ]
    finally:
        desk.session.close()
    stored = with_bars.ledger.log_signals(datetime.now(UTC))

    assert [answer.fallback_reason for answer in answers] == ["no_model", "other_bar"]
    assert stored["signal_id"].tolist() == [answer.signal_id for answer in answers]
    assert stored["own"].tolist() == [{"Funding": 0.5}] * 2
    assert stored["confidence"].tolist() == [75.0, 75.0]


def test_the_signals_of_a_log_can_be_ordered_here(with_bars: Home) -> None:
    """With orders: true one of the newest bar is ordered or vetoed as a class's, and once."""
    row = signals_of_trend().iloc[40]
    for late in ("2min", "2h"):
        seen = row["timestamp"] + pd.Timedelta(late)
        take_in(with_bars, seen)
        document = trade.fn(at(seen), str(with_bars.folder), str(with_bars.conf))
        assert document.stale == 0
    signal_id = f"{row['symbol']}:{row['timestamp']:%Y-%m-%dT%H:%M:%SZ}:{row['side']}"
    evaluated = with_bars.ledger.signal(signal_id)

    assert with_bars.ledger.trades().set_index("signal_id").at[signal_id, "veto"] != "stale"
    assert evaluated is not None
    assert evaluated["confidence_existing"] == row["confidence"]


def test_a_traded_signal_waits_for_what_the_log_tells(with_bars: Home, tmp_path: Path) -> None:
    """The exit rule does not settle it; its entry is known all the same."""
    rows = signals_of_trend().head(2).assign(traded=["true", ""])
    write_log(tmp_path, rows)
    later = rows["timestamp"].iloc[1] + pd.Timedelta("60D")
    take_in(with_bars, later)
    known = known_history(with_bars, at(later))

    assert known["settled_at"].notna().tolist() == [False, True]
    assert known["won"].isna().tolist() == [True, False]
    assert known["entry_at"].notna().all()


def test_another_system_is_refused_with_the_way_out(home: Path, tmp_path: Path) -> None:
    """The brake is pulled until the former system is back, or another lineage begins."""
    conf = log_conf(tmp_path)
    rows = signals_of_trend().head(6)
    run = {"home": str(home), "conf": str(conf)}
    began, seen = (rows["timestamp"].iloc[row] + pd.Timedelta("1min") for row in (0, 5))
    write_log(tmp_path, rows)
    settle.fn(at(began), **run)
    collect.fn(at(seen), **run)
    settle.fn(at(seen), **run)
    stores = open_home(home, conf)
    strategy = (conf / "strategy.yaml").read_text()
    (conf / "strategy.yaml").write_text("system: trend\n")
    source = {"kind": "simulated", "bar_size": "4h", "calendar": "24/7"}
    (conf / "source.yaml").write_text(yaml.safe_dump(source))
    collect.fn(at(seen), **run)
    with pytest.raises(FixConfiguration, match=r"give this one a lineage of its own"):
        settle.fn(at(seen), **run)
    assert stores.brake.operator == "system check"
    [row] = [row for row in doctor(home, conf, at(seen)).rows if row.name == "system"]
    assert row.standing == "warning"
    assert "5 of the latest recorded signals are not those of" in row.found
    (conf / "services.yaml").write_text("lineage: trend\n")
    settle.fn(at(seen), **run)
    (conf / "services.yaml").unlink()
    (conf / "strategy.yaml").write_text(strategy)
    settle.fn(at(seen), **run)
    assert not stores.brake.pulled


def test_without_bars_the_log_is_all_there_is(tmp_path: Path, home: Path) -> None:
    """Time, side, confidence and own columns are the features; outcomes come from the log alone."""
    conf = log_conf(tmp_path)
    rows = signals_of_trend().head(3)
    write_log(tmp_path, rows)
    began, seen = (rows["timestamp"].iloc[row] + pd.Timedelta("1min") for row in (0, 2))
    run = {"home": str(home), "conf": str(conf)}
    settle.fn(at(began), **run)
    first, again = (collect.fn(at(seen), **run).log for _ in range(2))
    assert settle.fn(at(seen), **run).predictions == 2
    ended = rows.iloc[[1]].assign(settled_at=seen + pd.Timedelta("1h"), net_return=0.02)
    write_log(tmp_path, pd.concat([rows.assign(confidence=rows["confidence"] + 1.0), ended]))
    later = seen + pd.Timedelta("2h")
    told = collect.fn(at(later), **run).log
    stores = open_home(home, conf)

    assert first is not None
    assert again is not None
    assert told is not None
    assert (first.added, again.added) == (3, 0)
    assert (told.added, told.settled, told.differing) == (0, 1, 3)
    assert "was an earlier line changed?" in told.findings[0]
    assert settle.fn(at(later), **run).outcomes == 1
    assert guard.fn(at(later), **run).decision is None
    [settled] = stores.ledger.settled_predictions(at(began), at(later)).to_dict("records")
    assert (settled["net_return"], settled["stop_distance"]) == (0.02, 0.02)
    assert settled["confidence_existing"] == rows["confidence"].iloc[1]
    assert stores.feature_names[-3:] == ("direction", "confidence_existing", "own_Funding")
    assert stores.ledger.settled_for_proof()["reported"].tolist() == [True]
    hours = known_history(stores, at(later))["hour_sin"]
    expected = np.sin(2 * np.pi * rows["timestamp"].dt.hour / 24)
    assert hours.tolist() == pytest.approx(expected.tolist())


def test_bad_rows_are_kept_with_their_reason_and_told_once(tmp_path: Path, home: Path) -> None:
    """One alert for the same rows, a file in quarantine, and the rest is taken in."""
    conf = log_conf(tmp_path)
    (tmp_path / "log.csv").write_text(
        "symbol,timestamp,side,confidence\nX,2026-01-05T10:00Z,buy,80\nX,2026-01-05T11:00Z,up,80\n"
    )
    moment = at(pd.Timestamp("2026-01-06", tz="UTC"))
    for _ in range(2):
        taken = collect.fn(moment, str(home), str(conf)).log
    stores = open_home(home, conf)

    assert taken is not None
    assert (taken.quarantined, stores.ledger.log_signal_count()) == (1, 1)
    assert "log.csv:3,side is 'up'; write buy or sell" in Path(taken.quarantine).read_text()
    assert [alert.alert.title for alert in stores.alerts.open()] == [
        "quarantine: 1 rows of the log are no signals"
    ]


def test_stamps_of_opens_are_decided_at_the_close(with_bars: Home, tmp_path: Path) -> None:
    """The first bars are waited for; a home that never gets any is refused."""
    rows = signals_of_trend().head(3)
    closes = small_history().head(3)["decided_at"]
    write_log(tmp_path, rows.assign(timestamp=closes - FOUR_HOURS))
    log = {"path": str(tmp_path / "log.csv"), "stamps": "open"}
    conf = log_conf(tmp_path / "opens", bars=True, **log)
    later = closes.max() + pd.Timedelta("1min")
    first = take_in(open_home(tmp_path / "new", conf), later)
    take_in(open_home(with_bars.folder, conf), later)

    assert first.findings == (FIRST_BARS,)
    assert with_bars.ledger.log_signals(at(later))["decided_at"].tolist() == closes.tolist()
    with pytest.raises(FixConfiguration, match="open needs bars"):
        collect.fn(at(later), str(tmp_path / "new"), str(log_conf(tmp_path / "barless", **log)))
