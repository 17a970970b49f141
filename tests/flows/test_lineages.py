"""An older home gets more lineages: each goes on by itself, and an operator stops all at once."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factories.homes import LAST, pilot_home
from factories.registry import LINEAGE
from steelyard.cli import app
from steelyard.errors import FixConfiguration
from steelyard.flows.guard import guard
from steelyard.flows.rollback import hold, rollback_all
from steelyard.home import Home, open_home, open_shared
from steelyard.ops.doctor import doctor
from steelyard.weight.state import initial_state


@pytest.fixture
def home(tmp_path: Path, empty_mlflow: Path) -> Path:
    """A home in pilot that holds a second lineage now, which has just begun."""
    conf = tmp_path / "conf"
    conf.mkdir()
    pilot_home(tmp_path, empty_mlflow, conf)
    for name in (LINEAGE, "reversion"):
        (conf / "lineages" / name).mkdir(parents=True)
    (conf / "lineages" / "reversion" / "strategy.yaml").write_text("system: reversion\n")
    opened(tmp_path, "reversion").journal.begin(initial_state("reversion", LAST))
    return tmp_path


def opened(home: Path, name: str) -> Home:
    return open_home(home, home / "conf", name)


def command(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--home", str(home), "--conf", f"{home}/conf"])
    assert result.exception is None, result.exception
    return result.stdout


def test_an_older_home_goes_on_beside_a_new_lineage(home: Path) -> None:
    """Weight, champion, journal and settled rows are those it had; the new one begins at nothing.

    Both have a guard of their own, and holding one does not hold the other.
    """
    first, second = opened(home, LINEAGE), opened(home, "reversion")
    state, other = first.journal.state(), second.journal.state()
    assert state is not None
    assert other is not None
    assert (state.weight, state.champion, other.weight, other.champion) == (0.15, "1", 0, None)
    assert len(first.ledger.predictions(datetime(2000, 1, 1, tzinfo=UTC), LAST)) > 50
    assert second.ledger.unsettled().empty
    assert not first.journal.examine()[0]
    with pytest.raises(FixConfiguration, match="holds reversion, signal-confidence; name one"):
        guard.fn(LAST, str(home), f"{home}/conf")

    hold.fn("wait", "anna", LAST, str(home), f"{home}/conf", "reversion")

    assert opened(home, LINEAGE).journal.state() == state
    held = opened(home, "reversion").journal.state()
    assert held is not None
    assert held.held
    assert [entry.decision.kind for entry in second.journal.entries()] == ["hold"]


def test_all_lineages_are_shown_then_each(home: Path) -> None:
    """Without a name, status and verify tell of every lineage; with one, of that alone."""
    listed = json.loads(command(home, "status", "--json", "--as-of", LAST.isoformat()))
    assert [one["lineage"] for one in listed] == ["reversion", LINEAGE]
    shown = command(home, "status", "--as-of", LAST.isoformat())
    assert shown.index("Lineages") < shown.index("reversion")
    named = command(home, "status", "--json", "--lineage", LINEAGE, "--as-of", LAST.isoformat())
    assert json.loads(named)["state"]["weight"] == 0.15
    assert [one["faults"] for one in json.loads(command(home, "verify", "--json"))] == [[], []]


def test_a_lineage_that_no_settings_name_is_told(home: Path) -> None:
    """Status and doctor say that its rows are still there; the others are checked as usual."""
    shutil.rmtree(home / "conf" / "lineages" / LINEAGE)
    told = f"the ledger also holds {LINEAGE}, which no settings name"
    assert told in command(home, "status", "--as-of", LAST.isoformat()).replace("\n", " ")
    rows = {row.name: row for row in doctor(home, home / "conf", LAST).rows}
    assert told in rows["reversion: lineages"].found
    assert rows["reversion: ledger"].standing == "ok"
    assert rows["reversion: strategy"].standing == "ok"


def test_a_rollback_of_all_passes_over_a_broken_lineage(home: Path) -> None:
    """One cannot even be opened: all are braked first, the others are in the journal at weight 0.

    The broken one keeps its brake, on disk and in the ledger; the others have theirs released.
    """
    broken = home / "conf" / "lineages" / "broken"
    broken.mkdir()
    (broken / "weight.yaml").write_text("nonsense: 1\n")

    result = rollback_all.fn("too much", "anna", LAST, str(home), f"{home}/conf")

    assert [(one.lineage, one.worked) for one in result.lineages] == [
        ("broken", False),
        ("reversion", True),
        (LINEAGE, True),
    ]
    assert "unknown key nonsense" in result.lineages[0].words
    assert all(way.worked for way in result.ways)
    state = opened(home, LINEAGE).journal.state()
    assert state is not None
    assert (state.weight, state.phase) == (0.0, "shadow")
    assert not opened(home, LINEAGE).brake.pulled
    assert not opened(home, "reversion").brake.pulled
    assert not open_shared(home, home / "conf").brake.pulled
    (broken / "weight.yaml").unlink()
    repaired = opened(home, "broken")
    assert repaired.brake.words == "anna: too much"
    assert repaired.ledger.brake("broken") == "anna: too much"
