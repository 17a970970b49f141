"""What ``import steelyard`` offers: documented, tried, and lazily loaded."""

import doctest
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import steelyard
from steelyard import State, blend, decide, judge, simulate, skill
from steelyard.errors import FixData

PUBLIC = [
    *("Evidence", "Policy", "State", "blend", "decide", "judge", "open_session", "simulate"),
    "skill",
]
DOCS = Path(__file__).parents[1] / "docs"


def table(rows: int = 300, **columns: object) -> pd.DataFrame:
    """Signals every eight hours, each opinion right."""
    won = np.arange(rows) % 2 == 1
    return pd.DataFrame(
        {
            "time": pd.date_range("2026-01-01", periods=rows, freq="8h", tz="UTC"),
            "won": won,
            "return": np.where(won, 0.005, -0.005),
            "p_win": np.where(won, 0.6, 0.4),
            "confidence": np.resize([75.0, 70.0, 60.0], rows),
        }
    ).assign(**columns)


def with_value(column: str, value: object, row: int = 4) -> pd.DataFrame:
    values = table()[column].astype(object)
    values[row] = value
    return table(**{column: values if isinstance(value, str) else values.infer_objects()})


def test_the_list_of_what_is_public() -> None:
    """What a release promises; a name more or less is a decision."""
    assert steelyard.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(steelyard))
    with pytest.raises(AttributeError, match="no attribute 'settle'"):
        _ = steelyard.settle


def test_importing_the_package_imports_nothing_else() -> None:
    """Each name is loaded at its first use."""
    code = "import steelyard, sys; sys.exit('numpy' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example_that_runs(name: str) -> None:
    """The compiled lives of ``simulate`` are tried beside the other simulations."""
    public = getattr(steelyard, name)
    scope = dict(vars(sys.modules[public.__module__]))
    [example, *_] = doctest.DocTestFinder(recurse=False).find(public, name, globs=scope)
    assert example.examples
    if name != "simulate":
        assert doctest.DocTestRunner().run(example).failed == 0


def test_the_ten_lines_of_the_reference_run() -> None:
    """As they stand there, in a fresh process."""
    page = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.startswith("RAISE: weight 20% → 25%\n")


def test_a_good_model_rises_and_one_that_is_wrong_is_disabled() -> None:
    """With the reasons of the monthly evaluation; a few signals decide nothing."""
    wrong = table(p_win=np.where(table()["won"], 0.4, 0.6))
    state = State.holding(0.20, wrong["time"].iloc[0])

    assert decide(state, judge(wrong, state)).weight == 0.0
    assert decide(state, judge(table(), state)).weight == 0.25
    held = decide(state, judge(table(10), state))
    assert (held.verdict, held.weight) == ("HOLD", 0.20)
    assert "10 more settled predictions needed" in held.reasons[0]


def test_signals_that_overlap_count_as_less() -> None:
    """With ``settled``, signals of one symbol share luck; those of several do not."""
    start = table()["time"]
    alone = judge(table(settled=start + pd.Timedelta("4h")))
    overlapping = judge(table(settled=start + pd.Timedelta("3D")))
    apart = judge(table(settled=start + pd.Timedelta("3D"), symbol=np.arange(300).astype(str)))

    assert alone.independent == alone.settled
    assert overlapping.independent < 0.2 * overlapping.settled
    assert apart.independent == apart.settled
    assert skill(table()).skill > 1e3


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        pytest.param([1, 2], "give a pandas.DataFrame", id="no table"),
        pytest.param(table().drop(columns="p_win"), "lacks the column p_win", id="missing"),
        pytest.param(table(0), "no row", id="empty"),
        pytest.param(
            table(time=pd.date_range("2026", periods=300)), r"tz_localize\('UTC'\)", id="naive"
        ),
        pytest.param(table(time="2026-01-01"), "holds no times", id="texts"),
        pytest.param(table(time=table()["time"].mask(table().index == 4)), "row 4: time", id="NaT"),
        pytest.param(table()[::-1], r"row 1 .*sort by time", id="newest first"),
        pytest.param(
            pd.concat([table(5), table(5)]).sort_values("time"), "stands twice", id="twice"
        ),
        pytest.param(table(settled=pd.Timestamp("2020", tz="UTC")), "before time", id="too early"),
        pytest.param(with_value("won", 0.5), "row 4: won must be", id="half won"),
        pytest.param(with_value("return", np.nan), "row 4: return is missing", id="no return"),
        pytest.param(table(**{"return": 1.2}), r"0\.012 for 1\.2 %", id="percent"),
        pytest.param(table(won=True), "won and return disagree", id="won at a loss"),
        pytest.param(with_value("p_win", 55.0), r"row 4: p_win .*0\.55", id="p_win in percent"),
        pytest.param(with_value("p_win", "high"), "p_win holds something", id="words"),
        pytest.param(with_value("confidence", np.nan), "row 4: confidence", id="no confidence"),
        pytest.param(table(confidence=0.7), "multiply it by 100", id="confidence of 0 to 1"),
        pytest.param(table(confidence_ml=-1.0), "confidence_ml must lie", id="negative"),
    ],
)
def test_a_table_that_could_mean_two_things_is_refused(signals: Any, message: str) -> None:
    """One line: the row, what is wrong with it, and what to do."""
    with pytest.raises(FixData, match=message) as refused:
        judge(signals)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 72.0, 50.0), r"weight 5 must lie in \[0, 0\.70\]"),
        ((np.nan, 72.0, 50.0), "weight nan"),
        ((0.2, 172.0, 50.0), "existing holds"),
        ((0.2, np.nan, 50.0), "existing holds"),
        ((0.2, 72.0, -1.0), "ml holds"),
        ((0.2, [72.0, 60.0], [50.0]), r"shape \(2,\), ml \(1,\)"),
    ],
)
def test_a_blend_refuses_what_is_no_confidence(arguments: Any, message: str) -> None:
    """Instead of a number that looks like one."""
    with pytest.raises(ValueError, match=message):
        blend(*arguments)


def test_a_blend_takes_numbers_and_arrays() -> None:
    """At weight 0 the result is the existing system's; an array of its own."""
    existing = np.array([72.0, 68.0])

    assert blend(0.0, 72.0, 50.0) == 72.0
    assert isinstance(blend(0.5, 72.0, 50.0), float)
    assert blend(0.0, existing, existing + 1).tobytes() == existing.tobytes()
    assert np.shape(blend(0.2, [], [])) == (0,)


def test_a_state_needs_a_weight_and_a_zone() -> None:
    """And the phase is the one that holds the weight."""
    since = datetime(2026, 1, 1, tzinfo=UTC)

    assert [State.holding(weight, since).phase for weight in (0.0, 0.05, 0.2, 0.7)] == [
        *("shadow", "pilot", "expansion", "optimization")
    ]
    with pytest.raises(ValueError, match=r"weight 0\.8 must lie"):
        State.holding(0.8, since)
    with pytest.raises(ValueError, match="no zone"):
        State.holding(0.2, datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="lives=1"):
        simulate(lives=1)


def test_what_comes_later_changes_no_earlier_evidence() -> None:
    """Not even the scale on which opinions are compared with the existing system's."""
    random = np.random.default_rng(3)
    full = table(p_win=random.uniform(0.3, 0.7, 300), confidence=random.uniform(40, 100, 300))
    full.loc[200:, "p_win"] = 0.9
    full.loc[200:, "confidence"] = 95.0
    end = full["time"][199].to_pydatetime() + pd.Timedelta("1min")

    assert judge(full, end=end).figures() == judge(full[:200], end=end).figures()
