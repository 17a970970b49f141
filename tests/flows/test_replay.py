"""Whole lives in simulated markets, on the command line."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.flows.replay import replay
from steelyard.home import open_home
from steelyard.market.brackets import net_return
from steelyard.queries.account import NEWEST
from steelyard.queries.report import lineage_report
from steelyard.tasks.illustrations import LATEST
from steelyard.tasks.report import draw_replay
from steelyard.views import terminal
from steelyard.views.replay import DemoResult, DrawnReplay, ReplayResult

Command = Callable[..., tuple[int, str, str]]


def live(command: Command, home: Path, edge: str, start: str, end: str) -> dict[str, Any]:
    arguments = (
        "--start",
        start,
        "--end",
        end,
        "--trials",
        6,
        "--retrain-days",
        60,
        "--home",
        home,
        "--json",
    )
    code, out, err = command("replay", "--bars", f"simulated:{edge}", *arguments)
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def test_without_an_edge_the_weight_never_leaves_0(command: Command, home: Path) -> None:
    """In four months the model is refused; its home speaks of the last day that was replayed."""
    document = live(command, home, "none", "2020-09-01", "2021-01-01")

    assert all(decision["weight_after"] == 0 for decision in document["decisions"])
    assert document["final"]["weight"] == 0
    assert document["signals"] > 400

    code, out, err = command("status", "--home", home, "--json")
    shown = json.loads(out)
    gate = {rule["name"]: rule["fired"] for rule in shown["gate"]}
    assert code == 0, err
    assert shown["as_of"] == "2021-01-01T00:00:00+00:00"
    assert shown["warnings"] == ["this home holds a replay; its last day is 2021-01-01"]
    assert {version["stage"] for version in document["trainings"]} == {"refused"}
    assert (gate["features_validated"], gate["champion"]) == (True, False)


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReplayResult, Path]:
    """A replay of seven months around the end of an edge, with its home; run once for all tests."""
    home = tmp_path_factory.mktemp("dead")
    start, end = (
        datetime.fromisoformat(f"{day}T00:00:00+00:00") for day in ("2021-08-01", "2022-03-05")
    )
    return replay.fn("simulated:dying", start, end, trials=6, retrain_days=60, home=str(home)), home


@pytest.fixture
def death(dead: tuple[ReplayResult, Path]) -> ReplayResult:
    return dead[0]


def test_a_clear_edge_reaches_pilot_and_beyond(death: ReplayResult) -> None:
    """Champion, shadow, pilot, expansion; the ml book earns more; the document has all its keys."""
    document = json.loads(json.dumps(death.to_dict(), allow_nan=False))
    phases = [decision["phase"] for decision in document["decisions"]]
    books = document["books"]

    assert "pilot" in phases
    assert max(decision["weight_after"] for decision in document["decisions"]) >= 0.20
    assert books["ml"]["total_return"] > books["baseline"]["total_return"]
    assert set(document) >= {
        "signals",
        "trainings",
        "promotions",
        "decisions",
        "books",
        "final",
        "timing",
    }
    assert all(
        set(decision)
        >= {"as_of", "kind", "phase", "weight_before", "weight_after", "verdict", "rules"}
        for decision in document["decisions"]
    )
    assert set(books) >= {"baseline", "ml", "blended"}
    assert {decision["verdict"] for decision in document["decisions"]} <= {
        "RAISE",
        "HOLD",
        "CUT",
        "DISABLE",
    }


def test_after_the_edge_dies_the_weight_comes_down_within_two_evaluations(
    death: ReplayResult,
) -> None:
    """Above 0 on New Year 2022, lower 60 days later, every step among the decisions."""
    before, soon = (
        [record.weight_after for record in death.decisions if record.as_of < day][-1]
        for day in (datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 3, 2, tzinfo=UTC))
    )

    assert before >= 0.10
    assert soon <= before / 2
    weight = 0.0
    for decision in death.decisions:
        assert decision.weight_before == weight
        weight = decision.weight_after


def test_the_prices_of_a_trade_give_the_return_in_the_ledger(
    dead: tuple[ReplayResult, Path],
) -> None:
    """Entry and exit as drawn, after costs, are the settled return; the page stays under 2 MB."""
    death, folder = dead
    home = open_home(folder)
    account = lineage_report(home, death.end).account
    settled = home.ledger.settled_predictions(death.start, death.end).set_index("signal_id")
    drawn = [trade for trade in account.trades if trade.prices]

    assert len(drawn) == len(account.trades) == NEWEST < account.trade_count
    for trade in drawn:
        assert trade.prices
        entry, left = np.array([trade.prices.entry]), np.array([trade.prices.exit])
        side = np.array([1 if trade.side == "buy" else -1])
        told = net_return(entry, left, side, home.settings.brackets)[0]
        assert told == pytest.approx(settled.loc[trade.signal_id, "net_return"], abs=1e-12)
        first, last = (trade.prices.bars.timestamp[at] for at in (0, -1))
        assert first <= np.datetime64(trade.prices.entry_at.replace(tzinfo=None)) <= last
    assert Path(death.page).stat().st_size < 2_000_000


def test_a_replay_is_drawn_and_summarised(
    dead: tuple[ReplayResult, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Four pictures, a page of the last lived day, and the answer at the terminal."""
    death, home = dead
    answer, files = draw_replay("A market", death, str(home), None)
    demo = DemoResult({"A market": DrawnReplay(death, answer)}, tuple(files))
    terminal.print_demo(demo)
    terminal.print_where_to_look(demo)
    printed = capsys.readouterr().out

    registry = open_home(home).registry
    client, versions = registry._tracking.client, registry.versions()
    for version in versions:
        shown = version.serving_since is not None or version in versions[-LATEST:]
        artifacts = {file.path for file in client.list_artifacts(version.run_id)}
        assert {"holdout.csv", "data_docs"} <= artifacts
        assert shown == ("equity.png" in artifacts)

    assert {Path(file).name for file in files} == {
        "story.png",
        "weight.png",
        "equity.png",
        "reliability.png",
    }
    page = Path(death.page).read_text()
    assert death.page == str(home / "lineage.html")
    assert f"report: {death.page}" in " ".join(printed.split())
    assert f"open {death.page} now; the other replays follow" in " ".join(printed.split())
    assert f"The model decides {death.weight:.1%} of the confidence" in page
    assert f"last lived day {death.end:%Y-%m-%d}" in page
    assert "ran out" not in page
    assert answer in printed
    assert "CUT" in printed
    assert "The same signals, three books" in printed
