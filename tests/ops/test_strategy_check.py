"""check-strategy: what is wrong with a system is found, and named with the bar."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steelyard.errors import FixConfiguration
from steelyard.gateways.plugins import load_strategy
from steelyard.gateways.sources import RawBars, from_argument, read
from steelyard.market.bars import Bars
from steelyard.market.strategy import (
    Candidate,
    Entry,
    Scan,
    Strategy,
    StrategySettings,
    TrendStrategy,
)
from steelyard.ops import strategy_check
from steelyard.ops.strategy_check import examine
from steelyard.settings import load
from steelyard.views.operations import Check

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def raw() -> RawBars:
    """Half a year of two simulated symbols."""
    simulated = read(from_argument("simulated:none", load().source))
    frame = simulated.frame
    symbols = sorted(frame["symbol"].unique())[:2]
    half_a_year = frame["timestamp"] < frame["timestamp"].min() + pd.Timedelta("180D")
    return replace(simulated, frame=frame[frame["symbol"].isin(symbols) & half_a_year])


class Graded:
    """Buys after a fall of three bars; every flaw below is this system with one thing changed."""

    warmup = 10
    score_names: tuple[str, ...] = ()

    def propose(self, bars: Bars) -> Candidate | None:
        """Return a candidate whose confidence grows with the fall."""
        fall = 1 - bars.close[-1] / bars.close[-4]
        if fall <= 0:
            return None
        return self.answer(bars, float(min(55 + 1500 * fall, 100.0)))

    def answer(self, bars: Bars, confidence: float) -> Candidate | None:
        return Candidate("buy", confidence, {})


class Peeking(Graded):
    """Reads the bars behind the view it is given."""

    def answer(self, bars: Bars, confidence: float) -> Candidate | None:
        behind = np.atleast_2d(bars.close if bars.close.base is None else bars.close.base)
        whole = next(row for row in behind if np.shares_memory(row, bars.close))
        rises = len(whole) > len(bars) + 3 and whole[len(bars) + 3] > bars.close[-1]
        return Candidate("buy", 90.0 if rises else 50.0, {})


class Remembering(Graded):
    """Trades every second time it is asked."""

    def __init__(self) -> None:
        self._asked = 0

    def answer(self, bars: Bars, confidence: float) -> Candidate | None:
        self._asked += 1
        return Candidate("buy", confidence, {}) if self._asked % 2 else None


class Knowing(Graded):
    """Knows a symbol by its name."""

    def answer(self, bars: Bars, confidence: float) -> Candidate | None:
        return Candidate("buy", confidence if bars.symbol == "SIM00" else 50.0, {})


class Shares(Graded):
    """Gives confidences of 0 to 1."""

    def answer(self, bars: Bars, confidence: float) -> Candidate | None:
        return Candidate("buy", confidence / 100, {})


class Certain(Graded):
    """Only says yes."""

    def answer(self, bars: Bars, confidence: float) -> Candidate | None:
        return Candidate("buy", 100.0, {})


class Failing(Graded):
    """Ends in an error now and then."""

    def answer(self, bars: Bars, confidence: float) -> Candidate | None:
        return Candidate("buy", confidence, {}) if confidence < 80 else {}["missing"]


class Centred(TrendStrategy):
    """Scans with a mean over later bars."""

    def scan(self, bars: Bars) -> Scan:
        found = super().scan(bars)
        return replace(found, side=np.where(bars.close > bars.close.mean(), found.side, 0))


class Undecided(Graded):
    """An exit rule that forgets to answer."""

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return None  # type: ignore[return-value]


class Staying(Graded):
    """An exit rule that never leaves."""

    def exit(self, bars: Bars, entry: Entry) -> bool:
        return False


def rows_of(raw: RawBars, make: Callable[[], Strategy]) -> dict[str, Check]:
    return {row.name: row for row in examine(make, raw, "System").rows}


def test_a_sound_system_has_nothing_wrong(raw: RawBars) -> None:
    """Each check says what it looked at."""
    rows = rows_of(raw, Graded)

    assert {row.standing for row in rows.values()} <= {"ok", "warning"}
    assert set(rows) == {
        *("bars", "answers", "look-ahead", "memory", "signals", "disguise"),
        *("confidences", "scores", "features", "exits", "speed"),
    }
    assert re.fullmatch(r"\d+% \w+, .* h on average, \d+% won after costs", rows["exits"].found)


@pytest.mark.parametrize(
    ("make", "check", "found", "advice"),
    [
        (Peeking, "look-ahead", "propose reads past the bars it is given at", "only the arrays"),
        (Remembering, "memory", "asked about other bars before", "keep nothing between calls"),
        (Knowing, "disguise", "knows bars by them", "by symbol, date or price"),
        (Shares, "signals", "lie within 0 to 1", "multiply"),
        (Failing, "answers", "KeyError: 'missing'", "return None"),
        (Centred, "scan", "scan sees past SIM00 2020-", "propose is enough"),
        (Undecided, "exits", "exit gave None for SIM0", "True (leave at the next open)"),
    ],
)
def test_what_is_wrong_is_named_with_the_bar(
    raw: RawBars, make: Callable[[], Strategy], check: str, found: str, advice: str
) -> None:
    """One line says what, where, and what to do."""
    row = rows_of(raw, make)[check]

    assert row.standing == "wrong"
    assert found in row.found
    assert advice in f"{row.found} {row.advice}"


def test_a_system_that_only_says_yes_is_told_from_which_weight_it_hears_the_model(
    raw: RawBars,
) -> None:
    """It works, so it is a warning."""
    row = rows_of(raw, Certain)["confidences"]

    assert (row.standing, row.advice) == ("warning", "let a yes be 75, and a no 65")


def test_an_exit_rule_that_never_leaves_is_told(raw: RawBars) -> None:
    """Stop and time limit end its trades."""
    row = rows_of(raw, Staying)["exits"]

    assert (row.standing, row.advice) == ("warning", "let exit return True at times")


def test_a_name_that_is_no_feature_is_one_clear_line() -> None:
    """Otherwise a misspelt name would leave the right one asked, or a wrong one unasked."""
    settings = StrategySettings(system="trend", looked_up=("fundign",))
    with pytest.raises(FixConfiguration, match="looked_up names fundign, which is no feature of"):
        load_strategy(settings)


def test_a_slow_system_is_told_to_scan(raw: RawBars, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time that all bars take at every run; the checks stop asking in time."""
    monkeypatch.setattr(strategy_check, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(strategy_check, "SECONDS", 0.1)
    row = rows_of(raw, Graded)["speed"]

    assert row.standing == "warning"
    assert "s for these bars at every run" in row.found


def test_from_an_empty_folder_to_a_checked_system(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that init prints lead to a checked system; nothing is overwritten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_system", raising=False)  # that of another folder
    monkeypatch.setattr(strategy_check, "SECONDS", 0.2)
    code, out, err = command("init")
    assert (code, err) == (0, "")
    assert {"my_system.py", ".env.example"} <= {file.name for file in tmp_path.iterdir()}
    assert load(tmp_path / "conf").strategy.system == "my_system:MySystem"
    assert (tmp_path / "conf/profiles/postgres/services.yaml").exists()
    assert "check-strategy my_system:MySystem --bars sample" in out

    code, out, err = command("check-strategy", "my_system:MySystem", "--bars", "sample")
    assert code == 0, out
    assert "0 wrong" in out

    code, out, err = command("new-strategy", "second_try")
    assert code == 0, err
    assert "class SecondTry" in (tmp_path / "second_try.py").read_text()

    for arguments in (("init",), ("new-strategy", "second_try")):
        code, out, err = command(*arguments)
        assert code == 1
        assert "is there already; nothing was written" in err
    code, out, err = command("new-strategy", "Not A Name")
    assert (code, "is no name of a module" in err) == (1, True)
