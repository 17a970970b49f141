"""A grid of settings: one replay for each combination, each in a home of its own."""

import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from steelyard.home import open_home

Command = Callable[..., tuple[int, str, str]]
DAYS = ("--start", "2021-06-01", "--end", "2021-06-20", "--retrain-days", 12, "--trials", 1)
LAST = datetime(2021, 6, 20, tzinfo=UTC)
LEARNING = "{families: [logistic], min_settled: 200, holdout_min: 20, holdout_days: 3, folds: 2}"


def replay_grid(
    command: Command, home: Path, conf: Path, axes: dict[str, Any], *more: object
) -> tuple[int, str, str]:
    (conf / "learning.yaml").write_text(LEARNING)
    grid = home.parent / "grid.yaml"
    grid.write_text(yaml.safe_dump(axes, sort_keys=False))
    arguments = ("--bars", "simulated:dying", *DAYS, "--home", home, "--conf", conf)
    return command("replay", *arguments, "--grid", grid, *more)


def decided(document: dict[str, Any]) -> list[Any]:
    """What a replay decided, without its own latency and what only its own stores know."""
    names = ("as_of", "kind", "phase", "weight_before", "weight_after", "verdict")
    return [
        (
            [entry[name] for name in names],
            [rule for rule in entry["rules"] if rule["name"] != "latency_p99"],
        )
        for entry in document["decisions"]
    ]


def predicted(home: Path) -> list[Any]:
    """What a replay predicted, without times of the clock."""
    statement = "SELECT signal_id, p_win, confidence_ml, blended, arm FROM ml_predictions"
    with sqlite3.connect(home / ".steelyard" / "ledger.db") as ledger:
        return sorted(ledger.execute(statement).fetchall(), key=str)


def test_a_combination_that_cannot_be_replayed_is_named(
    command: Command, home: Path, conf: Path
) -> None:
    """It keeps its row, exit code 1; its settings are kept in its home."""
    axes = {"learning.min_settled": [90_000]}
    code, out, err = replay_grid(command, home, conf, axes, "--end", "2021-06-02")
    replayed = home / "learning.min_settled=90000"

    assert code == 1, err
    assert "90000 needed" in out
    assert yaml.safe_load((replayed / "conf" / "learning.yaml").read_text()) == {
        **yaml.safe_load(LEARNING),
        "min_settled": 90_000,
    }


@pytest.mark.soak
def test_a_grid_on_two_processes_decides_what_one_replay_alone_would(
    command: Command, home: Path, conf: Path
) -> None:
    """The same rows and decisions, whoever lived them; the same grid again continues and agrees."""
    (conf / "scale.yaml").write_text("processes: 2\n")
    axes = {"weight.evidence": ["sequential", "ladder"]}
    code, out, err = replay_grid(command, home, conf, axes, "--json")
    assert code == 0, err
    again = replay_grid(command, home, conf, axes, "--json")
    assert again[0] == 0, again[2]

    replays = json.loads(out)["replays"]
    assert json.loads(again[1])["replays"][0]["replay"]["final"] == replays[0]["replay"]["final"]
    assert [replay["settings"]["weight.evidence"] for replay in replays] == axes["weight.evidence"]
    for replay in replays:
        alone = home / f"alone-{replay['settings']['weight.evidence']}"
        arguments = ("--bars", "simulated:dying", *DAYS, "--home", alone, "--conf", replay["conf"])
        code, out, err = command("replay", *arguments, "--json")
        assert code == 0, err
        assert decided(replay["replay"]) == decided(json.loads(out))
        assert predicted(Path(replay["home"])) == predicted(alone)
        tried = [
            open_home(folder, replay["conf"]).ledger.trial_counts(LAST)["settings"]
            for folder in (replay["home"], alone)
        ]
        assert tried[0] == tried[1] + 1, "the other setting counts as a trial"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("weight.evidence: ladder", "weight.evidence needs a list of values"),
        ("evidence: [ladder]", "evidence is no setting; write SUBJECT.KEY"),
        ("weight.nothing: [1]", "weight.nothing=1: conf/weight.yaml: unknown key nothing"),
        ("brackets.stop_atr: [-1]", "brackets.stop_atr=-1: .*greater than 0"),
        ("lineage: [other]", "lineage=other: this home holds no lineage other"),
        ("[1, 2]", "name settings, such as brackets.stop_atr"),
        ("a: b: c", "no grid can be read"),
        ("strategy.system: ['a b', a-b]", "two replays would be named strategy.system=a-b"),
    ],
)
def test_a_grid_that_is_wrong_is_refused_before_any_replay(
    command: Command, home: Path, conf: Path, text: str, complaint: str
) -> None:
    """One line with the file or the combination; no replay begins."""
    home.mkdir()
    grid = home / "grid.yaml"
    grid.write_text(text)
    arguments = ("--bars", "sample", *DAYS, "--home", home, "--conf", conf)
    code, _, err = command("replay", *arguments, "--grid", grid)

    assert code == 1
    assert re.search(complaint, err), err
    assert not list(home.rglob("ledger.db"))
