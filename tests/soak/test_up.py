"""``steelyard up`` with two lineages, where a bar arrives every few seconds of real time."""

import re
import threading
import time
from pathlib import Path

import pytest

from factories.running_up import Up, running_up, wait_until
from factories.ticking import tick, ticking_settings
from steelyard.home import Home, open_home

pytestmark = pytest.mark.soak
SECONDS = 90.0
ONE_ORDERED = re.compile(r"one: \d+ new signals, 1 ordered")


def ordered(home: Home) -> set[str]:
    """Symbols of which the paper broker took an order of this lineage."""
    trades = home.ledger.trades()
    return set(trades.loc[trades["status"] != "vetoed", "symbol"])


def verdicts(up: Up) -> list[str]:
    """Messages of the recorded rounds."""
    rounds = up.api("flow_runs/filter", {"flows": {"name": {"any_": ["bar"]}}})
    return [run["state"]["message"] or "" for run in rounds]


def test_two_lineages_trade_bars_that_arrive_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trades its own signals, and every bar is a run in Prefect that tells what it did."""
    monkeypatch.chdir(tmp_path)
    settings = ticking_settings(tmp_path)
    for name, system in {"one": "eager:OnX", "other": "eager:OnY"}.items():
        settings[f"lineages/{name}/strategy"] = {"system": system}
    bars = tmp_path / "bars" / "bars.parquet"
    threading.Thread(target=tick, args=(bars, time.monotonic() + 3 * SECONDS), daemon=True).start()

    with running_up(tmp_path, tmp_path / "home", settings) as up:
        assert up.err() == ""
        assert wait_until((tmp_path / "home" / ".steelyard" / "run.json").exists, SECONDS)
        one, other = (open_home(up.home, up.conf, name) for name in ("one", "other"))
        assert wait_until(lambda: ordered(one) and ordered(other), SECONDS)
        assert wait_until(lambda: any(map(ONE_ORDERED.search, verdicts(up))), SECONDS)

    assert (ordered(one), ordered(other)) == ({"X"}, {"Y"})
