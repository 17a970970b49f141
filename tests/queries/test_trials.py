"""Trials are counted, and Sharpe ratios are deflated by their number."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from factories.homes import LAST, pilot_home
from steelyard.home import Home
from steelyard.queries.report import lineage_report
from steelyard.queries.trials import life_worth, trials_so_far
from steelyard.tasks.trials import count_search, count_settings
from steelyard.tasks.weight import evaluate_weight
from steelyard.views.report import lineage_page

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    return pilot_home(tmp_path, empty_mlflow)


def test_settings_count_when_they_are_new(pilot: Home) -> None:
    """Each new policy is one trial; returning to an earlier one is none."""
    evaluate_weight(pilot, LAST)
    evaluate_weight(pilot, LAST + timedelta(days=30))
    assert trials_so_far(pilot, LAST + timedelta(days=30)) == 1
    count_settings(pilot, "weight", {"step": 0.1}, LAST)
    count_settings(
        pilot, "weight", pilot.settings.weight.model_dump(mode="json", exclude={"ab_key"}), LAST
    )

    assert trials_so_far(pilot, LAST) == 2


def test_a_search_counts_its_trials_and_its_settings_once(pilot: Home) -> None:
    """The same key counts once; the reason for a training is not a setting."""
    for reason in ("drift", "by hand"):
        count_search(pilot, "key", LAST, {"folds": 5, "reason": reason}, 30)
    assert pilot.ledger.trial_counts(LAST) == {"search": 30, "settings": 1}
    count_search(pilot, "other", LAST, {"folds": 4, "reason": ""}, 10)

    assert pilot.ledger.trial_counts(LAST) == {"search": 40, "settings": 2}


def test_luck_is_stated_wherever_the_lineage_is_shown(pilot: Home, command: Command) -> None:
    """Status, its JSON and the page say so, from the first settled prediction on."""
    count_search(pilot, "key", LAST, {}, 611)
    arguments = ("status", "--home", pilot.folder, "--as-of", LAST.isoformat())
    worth = json.loads(command(*arguments, "--json")[1])["worth"]
    told = command(*arguments)[1]
    page = lineage_page(lineage_report(pilot, LAST))
    settled = pilot.ledger.settled_predictions(LAST - timedelta(days=400), LAST)

    assert worth["trials"] == 612
    assert worth["books"]["ml"]["luck"] > 1 - worth["books"]["ml"]["positive"]
    ml = next(sentence for sentence in worth["words"] if sentence.startswith("ml: "))
    assert "; after 612 trials a Sharpe this high would come from luck with" in ml
    assert ml[:16] in told
    assert ml in page
    assert "tried so far: 611 of search, 1 of settings" in page
    assert life_worth(pilot, settled.assign(p_win=float("nan")), LAST) is None
