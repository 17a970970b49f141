"""``steelyard why`` on seven weeks of a simulated market, from foundation past pilot."""

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from steelyard.errors import FixConfiguration
from steelyard.flows.replay import replay
from steelyard.home import Home, open_home
from steelyard.queries.why import explain_signal

Command = Callable[..., tuple[int, str, str]]
LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
FROM, TO = datetime(2020, 9, 1, tzinfo=UTC), datetime(2020, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Replayed once; the tests only read."""
    home = tmp_path_factory.mktemp("lived")
    replay.fn("simulated:hidden", FROM, TO, trials=3, retrain_days=10, home=str(home))
    return open_home(home)


@pytest.fixture(scope="module")
def rows(lived: Home) -> pd.DataFrame:
    return lived.ledger.predictions(LONG_AGO, FAR_AHEAD)


def first(rows: pd.DataFrame, condition: str) -> str:
    """Id of the first signal for which ``condition`` holds."""
    return str(rows.query(condition)["signal_id"].iloc[0])


def test_every_recorded_signal_can_be_explained(lived: Home, rows: pd.DataFrame) -> None:
    """Strict JSON; each stored model reproduces its prediction and the recorded blend."""
    documents = [explain_signal(lived, signal_id).to_dict() for signal_id in rows["signal_id"]]
    json.dumps(documents, allow_nan=False)

    assert {d["blend"]["arm"] for d in documents} == {"all", "control", "treatment"}
    assert {d["model"]["version"] for d in documents} == set(rows["model_version"])
    assert all(d["model"]["replayed"]["agrees"] for d in documents)
    assert all(len(d["model"]["top_features"]) == 8 for d in documents)
    assert [d["answer"].startswith("traded: ") for d in documents] == rows["decision"].tolist()


def test_the_document_keeps_its_contract(lived: Home, rows: pd.DataFrame) -> None:
    """Every signal has the same keys; contributions are sorted by size."""
    document = explain_signal(lived, first(rows, "settled_at.notna()")).to_dict()
    sizes = [abs(feature["log_odds"]) for feature in document["model"]["top_features"]]

    assert list(document) == ["signal", "answer", "existing", "model", "blend", "outcome"]
    assert list(document["existing"]["scores"]) == ["ema_spread", "rsi", "macd", "adx", "volume"]
    assert {"version", "family", "p_win", "confidence_ml", "latency_ms", "fallback_reason"} < set(
        document["model"]
    )
    assert sizes == sorted(sizes, reverse=True)
    assert set(document["outcome"]) == {
        "settled_at",
        "exit_reason",
        "net_return",
        "won",
        "hold_minutes",
        "slippage_bps",
    }


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        pytest.param(
            "arm == 'control' and pivotal",
            "control arm of the pilot, the existing system decided",
            id="control",
        ),
        pytest.param("arm == 'treatment'", "90% × ", id="treatment"),
        pytest.param(
            "pivotal and arm != 'control'",
            "pivotal: without the model it would have ended otherwise",
            id="pivotal",
        ),
        pytest.param("weight == 0", "100% × ", id="weight 0"),
        pytest.param("settled_at.isna()", "outcome: not settled yet", id="unsettled"),
        pytest.param("won == True", "outcome: won +", id="won"),
    ],
)
def test_the_terminal_answers_first(
    command: Command, lived: Home, rows: pd.DataFrame, condition: str, message: str
) -> None:
    """The signal, its answer, and the sentences of the case."""
    signal_id = first(rows, condition)
    code, out, err = command("why", signal_id, "--home", lived.folder)
    verdict = "traded: " if rows.set_index("signal_id").loc[signal_id, "decision"] else "left: "

    assert code == 0, err
    assert out.splitlines()[0].startswith(signal_id)
    assert out.splitlines()[1].startswith(verdict)
    assert message in out
    assert "What counted most" in out


def test_the_command_writes_what_the_step_returns(
    command: Command, lived: Home, rows: pd.DataFrame
) -> None:
    """One JSON document on stdout."""
    signal_id = first(rows, "settled_at.isna()")
    document: dict[str, Any] = json.loads(
        command("why", signal_id, "--home", lived.folder, "--json")[1]
    )

    assert document == explain_signal(lived, signal_id).to_dict()
    assert document["outcome"] is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param("sim01", "known are SIM01:2020-10", id="a symbol in small letters"),
        pytest.param("SIM01:2020-09-0", "known are SIM01:2020-09-0", id="the start of an id"),
        pytest.param(
            "SIM01:1999-01-01T00:00:00Z:buy", "known are SIM01:2020-10", id="another moment"
        ),
        pytest.param(
            "NOPE", "an id is SYMBOL:TIMESTAMP:side, the latest: SIM0", id="nothing like it"
        ),
        pytest.param("", "an id is SYMBOL:TIMESTAMP:side, the latest: SIM0", id="nothing"),
        pytest.param("%", "an id is SYMBOL:TIMESTAMP:side, the latest: SIM0", id="a wildcard"),
    ],
)
def test_an_unknown_signal_is_one_line_with_the_nearest_ids(
    lived: Home, asked: str, message: str
) -> None:
    """Ids with the same beginning, else the latest, and the format of an id."""
    with pytest.raises(FixConfiguration) as refused:
        explain_signal(lived, asked)

    assert f"no signal {asked} was predicted here; {message}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_features_than_the_versions_are_not_shown_to_it(
    lived: Home, rows: pd.DataFrame, tmp_path: Path
) -> None:
    """Without one of the version's features the explanation has no contributions, and says so."""
    signal_id = first(rows, "settled_at.notna()")
    copy = tmp_path / "ledger.db"
    with (
        sqlite3.connect(lived.state_folder / "ledger.db") as source,
        sqlite3.connect(copy) as other,
    ):
        source.backup(other)
        other.execute("UPDATE ml_trade_features SET features = json_remove(features, '$.rsi')")
    services = lived.settings.services.model_copy(update={"ledger": f"sqlite:///{copy}"})
    explanation = explain_signal(
        Home(lived.settings.model_copy(update={"services": services}), lived.folder), signal_id
    )

    assert (
        explanation.model.note
        == "the frozen features are not those of this version, so it cannot be asked again"
    )
    assert (explanation.model.top_features, explanation.model.replayed) == ((), None)
    assert explanation.answer == explain_signal(lived, signal_id).answer
