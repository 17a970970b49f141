"""What needs the operator: each thing once, the most urgent first, with what to do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from factories.homes import LAST, pilot_home
from steelyard.queries.report import lineage_report
from steelyard.views.attention import attention
from steelyard.views.lineage import LineageReport, LineageStatus, PostedAlert, ScheduleStatus
from steelyard.weight.decision import Rule
from steelyard.weight.limits import NOT_CONFIRMED

Change = Callable[[LineageReport], LineageReport]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> LineageReport:
    """A lineage in pilot that needs nothing but schedules, which no server runs."""
    lived = lineage_report(pilot_home(tmp_path_factory.mktemp("pilot"), empty_mlflow), LAST)
    quiet = replace(lived.current, schedules=(), limits=())
    status = replace(lived.status, warnings=())
    health = replace(lived.health, figures=())
    return replace(lived, status=status, current=quiet, health=health)


def _current(change: Callable[[LineageStatus], LineageStatus]) -> Change:
    return lambda report: replace(report, current=change(report.current))


def _state(**values: object) -> Change:
    return _current(lambda current: replace(current, state=current.state.model_copy(update=values)))


def _limit(*, fired: bool, reason: str) -> Change:
    rule = Rule(name="cut_sharpe", figure=0.1, bound=0.2, fired=fired, reason=reason)
    return _current(lambda current: replace(current, limits=(rule,)))


def _status(**values: object) -> Change:
    return lambda report: replace(report, status=replace(report.status, **values))  # type: ignore[arg-type]


ALERT = PostedAlert(LAST, "cut", "a cut", 1, "no channel")
DEAD = ScheduleStatus("guard", "0 22 * * *", None, None, LAST)


@pytest.mark.parametrize(
    ("change", "words", "advice"),
    [
        pytest.param(_status(fault="tag changed"), "tag changed", "steelyard verify", id="fault"),
        pytest.param(_status(brake="anna: odd"), "anna: odd", "steelyard rollback", id="brake"),
        pytest.param(_status(warnings=("stale",)), "stale", "steelyard doctor", id="warning"),
        pytest.param(_status(alerts=(ALERT,)), "a cut (no channel)", "STEELYARD_ALERTS", id="mail"),
        pytest.param(_state(retrain_required=True), "retraining", "steelyard train", id="retrain"),
        pytest.param(_state(held=True), "holds the weight", "steelyard resume", id="held"),
        pytest.param(_limit(fired=True, reason="too low"), "too low", "next guard", id="limit"),
        pytest.param(
            _limit(fired=False, reason=f"low ({NOT_CONFIRMED})"), "low", "No action", id="doubt"
        ),
        pytest.param(
            _current(lambda now: replace(now, schedules=(DEAD,))), "guard has not", "up", id="dead"
        ),
        pytest.param(
            _current(lambda now: replace(now, lease=replace(now.lease, days_left=-2.0))),
            "The lease",
            "daily guard",
            id="lease",
        ),
    ],
)
def test_each_thing_stands_there_once_with_what_to_do(
    report: LineageReport, change: Change, words: str, advice: str
) -> None:
    """What happened and the command or the place that helps."""
    [thing] = attention(change(report))

    assert words in thing.words
    assert advice in thing.advice


def test_nothing_to_do_is_nothing(report: LineageReport) -> None:
    """An empty list is good news; schedules of a replay are no news at all."""
    replayed = _status(replay="this home holds a replay")(report)
    dead = _current(lambda now: replace(now, schedules=(DEAD,)))

    assert attention(report) == ()
    assert attention(dead(replayed)) == ()


def test_what_takes_the_weight_out_of_force_comes_first(report: LineageReport) -> None:
    """A fault of the state before an alert that nobody got."""
    things = attention(_status(alerts=(ALERT,), fault="tag changed")(report))

    assert [thing.words[:3] for thing in things] == ["tag", "An "]
