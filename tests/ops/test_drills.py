"""Fire drills on the real stack: faults are noticed, and a drill that fails says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steelyard.environment import isolated_environment
from steelyard.errors import FixConfiguration
from steelyard.flows.drill import _run_flow, fire_drill
from steelyard.ops.drills.ground import claim, copy_home, prepare_home
from steelyard.ops.drills.scheduler import dead_scheduler

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drills with the home they copy."""
    folder = tmp_path_factory.mktemp("drills") / "home"
    claim(folder, None)
    with isolated_environment():
        prepare_home(folder, None, _run_flow)
    return folder


def drilled(folder: Path, scenario: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    [drill] = fire_drill([scenario], str(folder)).to_dict()["drills"]
    notices = {f"{notice['what']} ({notice['by']})": notice for notice in drill["notices"]}
    assert [what for what, notice in notices.items() if not notice["in_time"]] == []
    return drill, notices


def test_a_dead_scheduler_ends_the_weight_with_the_lease(drills: Path, command: Command) -> None:
    """Weight 0 from the end of the lease; trading process, status and guard report it."""
    code, out, _ = command("drill", "dead-scheduler", "--home", drills, "--json")
    [drill] = json.loads(out)["drills"]

    assert code == 0
    assert [notice["bound"] for notice in drill["notices"]] == [4.0, 4.0, 4.0, 14.0]
    assert 3.0 <= drill["notices"][0]["after"] < 4.0
    assert [change["weight"] for change in drill["weights"]] == [0.2, 0.0, 0.2]


def test_a_lease_that_is_too_long_fails_the_drill(drills: Path) -> None:
    """With a lease of a month nobody notices, and the drill reports never."""
    with isolated_environment():
        late_home = copy_home(drills / "ground", drills / "long-lease", _run_flow)
        (late_home.conf / "weight.yaml").write_text("lease_days: 30  # days")
        drill = dead_scheduler(late_home).to_dict()

    assert not drill["noticed"]
    assert [notice["after"] for notice in drill["notices"][:3]] == [None, None, None]
    assert {change["weight"] for change in drill["weights"]} == {0.2}


def test_stopped_databases_lose_nothing_and_end_with_the_lease(drills: Path) -> None:
    """The spool drains once and in order; a restarted process trades until the lease ends."""
    drill, notices = drilled(drills, "stopped-database")

    assert notices["all is in the ledger, once and in order (spool)"]["words"].endswith(
        "rows, 0 lost"
    )
    assert 3.0 <= notices["signals are decided without the model (lease)"]["after"] < 4.0
    assert [change["weight"] for change in drill["weights"]] == [0.2, 0.0, 0.2]


def test_an_inverted_model_loses_its_weight(drills: Path) -> None:
    """The weight is cut, then the model disabled, within a window; the report shows the books."""
    drill, notices = drilled(drills, "inverted-model")
    weights = [change["weight"] for change in drill["weights"]]

    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 0.0
    assert (
        0
        < notices["the weight is lowered (guard)"]["after"]
        <= notices["the weight is 0 (breakers)"]["after"]
        <= 45
    )
    assert notices["the weight is lowered (guard)"]["after"] <= 30
    assert "DISABLE" in notices["the weight is lowered (guard)"]["words"]
    assert "existing system" in drill["words"][0]
    assert "retrain" in drill["words"][1]


def test_a_stuck_feed_is_noticed(drills: Path) -> None:
    """Collect reports frozen prices within two days, the guard missing signals within a week."""
    _, notices = drilled(drills, "stuck-feed")

    assert notices["frozen prices: the last bars repeat (collect)"]["after"] <= 2.0
    assert notices["bars stop: no signals any more (guard)"]["words"] == "0 bars added"


def test_edits_by_hand_are_not_trusted(drills: Path) -> None:
    """Edits of state tag, decision, model or state on disk give weight 0; verify names them."""
    drill, notices = drilled(drills, "edited-state")

    assert [change["weight"] for change in drill["weights"]] == [0.2, 0.0, 0.2]
    assert all(notice["after"] == 0.0 for notice in notices.values())
    assert (
        notices["state tag: trading uses weight 0 (seal)"]["words"] == "20% → 0%, the tag says 70%"
    )
    assert notices["the model on disk: trading uses weight 0 (seal)"]["words"].endswith("no_model")
    assert notices["the state on disk: trading uses weight 0 (seal)"]["words"].endswith("no_state")


def test_drills_refuse_what_no_drill_made(
    tmp_path: Path, drills: Path, conf: Path, command: Command
) -> None:
    """A live home, other settings, an unknown scenario, and a scenario beside --all are refused."""
    (tmp_path / "mlruns").mkdir()
    with pytest.raises(FixConfiguration, match="holds what no drill made"):
        fire_drill([], str(tmp_path))
    (conf / "weight.yaml").write_text("lease_days: 30  # days")
    with pytest.raises(FixConfiguration, match="under other settings"):
        fire_drill([], str(drills), str(conf))
    with pytest.raises(FixConfiguration, match="is no scenario; known are dead-scheduler"):
        fire_drill(["flood"])
    code, _, err = command("drill", "flood", "--all")
    assert (code, "steelyard drill SCENARIO | --all" in err) == (1, True)


def test_a_drill_without_a_scenario_is_bad_usage(command: Command) -> None:
    """Exit code 2 and one line that names the scenarios and the command for simulated lives."""
    code, out, err = command("drill")
    [line] = err.splitlines()

    assert (code, out) == (2, "")
    assert "dead-scheduler, stopped-database" in line
    assert "steelyard simulate" in line
