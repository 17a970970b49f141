"""The command line: each refusal is one clear line and exit code 1; nothing is half-written."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from factories.digests import ledger_digest
from factories.registry import LINEAGE
from steelyard.gateways.ledger import Ledger

Command = Callable[..., tuple[int, str, str]]


def line(err: str) -> str:
    """The last line of stderr, after the progress bars."""
    return err.strip().splitlines()[-1]


def replay(command: Command, home: Path, bars: object, *more: object) -> tuple[int, str, str]:
    return command(
        "replay",
        "--bars",
        bars,
        "--start",
        "2020-05-01",
        "--end",
        "2020-06-01",
        "--home",
        home,
        *more,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file or folder", id="a missing file"),
        pytest.param("", "the file is empty", id="an empty file"),
        pytest.param(
            "date,open,high,low\n2026-01-01,1,2,1\n", "no column for close", id="a column too few"
        ),
        pytest.param(
            "date,open,high,low,close\n2026-01-01,1,2,1,1,9\n",
            "Expected 5 columns, got 6",
            id="header and rows",
        ),
    ],
)
def test_unusable_bars_are_one_clear_line(
    command: Command, home: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    """Exit 1, one line on stderr, nothing on stdout, no bar stored."""
    file = tmp_path / "bars.csv"
    if content is not None:
        file.write_text(content)
    code, out, err = replay(command, home, file, "--json")

    assert (code, out) == (1, "")
    assert message in line(err)
    assert line(err).startswith("steelyard: ")
    assert not home.exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("weight.yaml", "ceilling: 0.5", "unknown key ceilling", id="an unknown key"),
        pytest.param(
            "weight.yaml",
            "ceiling: 0.9",
            "ceiling: input should be less than or equal to 0.7, got 0.9",
            id="out of bounds",
        ),
        pytest.param(
            "weight.yaml",
            "bands:\n  pilot: {floor: 0.5, ceiling: 0.2}",
            "bands must rise",
            id="bands that overlap",
        ),
        pytest.param("weight.yaml", "ceiling: .nan", "finite number", id="NaN"),
        pytest.param("weight.yaml", "ceiling: [", "not YAML", id="not YAML"),
        pytest.param("wieght.yaml", "", "no such subject", id="an unknown file"),
        pytest.param(
            "services.yaml",
            "ledger: postgresql://u:${NO_SUCH_SECRET}@h/d",
            "NO_SUCH_SECRET is not set",
            id="a secret missing",
        ),
        pytest.param(
            "strategy.yaml",
            "system: nowhere:Found",
            "strategy nowhere:Found",
            id="a system that is not there",
        ),
    ],
)
def test_wrong_settings_are_one_clear_line(
    command: Command, home: Path, conf: Path, file: str, content: str, message: str
) -> None:
    """File, key, value and bound; exit 1; nothing stored."""
    (conf / file).write_text(content)
    code, _, err = replay(command, home, "simulated:none", "--conf", conf)

    assert code == 1
    assert message in line(err)


def test_too_few_trades_are_one_clear_line(command: Command, home: Path) -> None:
    """Four months of bars before the start hold fewer signals than a training needs."""
    code, _, err = command(
        "replay",
        "--bars",
        "simulated:none",
        "--start",
        "2020-02-01",
        "--end",
        "2020-02-10",
        "--home",
        home,
    )

    assert code == 1
    assert "settled signals, 250 needed for a training" in line(err)


def test_an_unreachable_ledger_is_one_clear_line(command: Command, home: Path, conf: Path) -> None:
    """The line does not contain the password."""
    (conf / "services.yaml").write_text("ledger: postgresql+psycopg://trader:secret@127.0.0.1:1/x")
    assert command("collect", "--home", home, "--conf", conf)[0] == 0
    code, _, err = command("settle", "--home", home, "--conf", conf)

    assert code == 1
    assert "ledger postgresql+psycopg://trader:***@127.0.0.1:1/x cannot be used" in line(err)


def test_a_locked_mlflow_is_one_clear_line(command: Command, home: Path) -> None:
    """Another process holds the database."""
    (home / "mlruns").mkdir(parents=True)
    other = sqlite3.connect(home / "mlruns" / "mlflow.db")
    other.execute("BEGIN EXCLUSIVE")
    code, _, err = command("guard", "--home", home)
    other.rollback()

    assert code == 1
    assert "database is locked" in line(err)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["collect", "--as-of", "yesterday"], 1),
        (["replay", "--bars", "sample", "--start", "2010-01-02", "--end", "2010-01-01"], 1),
        (["replay"], 2),
        (["nonsense"], 2),
        (["train", "--trials", "0"], 2),
    ],
    ids=[
        "not a date",
        "an end before the start",
        "a missing option",
        "no such command",
        "out of bounds",
    ],
)
def test_bad_usage_has_its_exit_code(
    command: Command, home: Path, arguments: list[str], code: int
) -> None:
    """2 for a malformed command, 1 for a value that is refused."""
    more = ["--home", str(home)] if arguments[0] != "nonsense" else []

    assert command(*arguments, *more)[0] == code


def test_the_version_is_printed(command: Command) -> None:
    """The version of the installed distribution, by the program and by the module."""
    printed = f"steelyard {version('steelyard')}\n"
    module = [sys.executable, "-m", "steelyard", "--version"]

    assert command("--version") == (0, printed, "")
    assert subprocess.run(module, capture_output=True, text=True, check=True).stdout == printed


def test_compare_and_train_say_what_is_missing(command: Command, home: Path) -> None:
    """Both commands say so before anything was collected."""
    code, _, err = command("train", "--home", home)

    assert code == 1
    assert "run steelyard collect" in line(err)


def test_collect_speaks_to_people_and_machines(command: Command, home: Path) -> None:
    """The first run adds every bar, the second none; crash and splits are reported."""
    code, out, _ = command("collect", "--home", home)
    repeated = json.loads(command("collect", "--home", home, "--json")[1])

    assert code == 0
    assert "18694 bars added" in out
    assert "AAPL 2000-09-29 -47.3% overnight: real move, kept" in out
    assert (repeated["added"], repeated["already_there"]) == (0, 18694)
    assert Path(repeated["docs"]).exists()


def test_each_command_speaks_to_people(command: Command, home: Path, conf: Path) -> None:
    """Every command from collect to weight prints sentences, the last line is its verdict."""
    (conf / "source.yaml").write_text("kind: simulated\nbar_size: auto\ncalendar: 24/7\n")

    def output_of(name: str, day: str, *more: object) -> str:
        code, out, err = command(name, "--as-of", day, "--home", home, "--conf", conf, *more)
        assert code == 0, err
        return out

    def verdict_of(name: str, day: str, *more: object) -> str:
        return output_of(name, day, *more).splitlines()[-1]

    assert verdict_of("collect", "2020-10-01").endswith(" new bars")
    assert verdict_of("settle", "2020-10-01") == "0 new predictions, 0 new outcomes"
    assert verdict_of("train", "2020-10-01", "--trials", 2).startswith("version 1 (")
    assert verdict_of("guard", "2020-10-01") == "nothing new; weight 0.0%, phase foundation"
    assert "new predictions" in verdict_of("settle", "2020-10-31")
    *details, verdict = output_of("weight", "2020-10-31").splitlines()
    assert any("weight for the period to 2020-10-12" in line for line in details)
    assert re.search(r"gates: (phase shadow entered|HOLD) at 0.0%", verdict)


def test_another_replay_cannot_be_mixed_into_a_home(command: Command, home: Path) -> None:
    """The message names the file that records the replay; the first ledger is unchanged."""
    arguments = (
        "replay",
        "--start",
        "2020-08-01",
        "--end",
        "2020-08-03",
        "--trials",
        1,
        "--home",
        home,
    )
    assert command(*arguments, "--bars", "simulated:hidden")[0] == 0
    ledger = Ledger(f"sqlite:///{home}/.steelyard/ledger.db", LINEAGE)
    before = ledger_digest(ledger)
    code, _, err = command(*arguments, "--bars", "simulated:none")

    assert code == 1
    assert "holds a different replay" in line(err)
    assert ledger_digest(ledger) == before
