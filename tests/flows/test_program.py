"""A program in any language: it logs or sends its signals and reads what is decided."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from sqlalchemy import create_engine

from factories.evidence import POLICY
from factories.living import SETTINGS
from factories.registry import copy_mlflow
from steelyard.flows.collect import collect
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.flows.train import train
from steelyard.home import Home, open_home
from steelyard.queries.history import known_history
from steelyard.tasks.predictions import record_outcomes
from steelyard.weight.decision import make_decision

TOKEN = "a-long-enough-token"  # noqa: S105  # opens nothing but this test's own process
SERVE = [sys.executable, "-c", "from steelyard.cli import main; main()", "serve", "--port", "0"]
NOW = datetime.now(UTC).replace(microsecond=0)

WRITE_LOG = """
# 400 trades, one a day; one in two wins, most of those with a high "mood"
i=0 dice=9
echo symbol,timestamp,side,confidence,mood,settled_at,net_return > log.csv
while [ $i -lt 400 ]; do
  opened=$(( NOW - 34646400 + i * 86400 - i % 5 * 3600 ))
  dice=$(( (dice * 1103515245 + 12345) % 2147483648 )); mood=$(( dice / 65536 % 100 ))
  dice=$(( (dice * 1103515245 + 12345) % 2147483648 )); luck=$(( dice / 65536 % 100 ))
  gain=-0.01
  if [ $mood -gt $luck ]; then gain=0.01; fi
  side=buy
  if [ $(( i % 3 )) -eq 0 ]; then side=sell; fi
  echo X,$opened,$side,$(( 55 + (i * 31) % 40 )),$mood,$(( opened + 7200 )),$gain
  i=$(( i + 1 ))
done >> log.csv
"""
ASK = """
curl -s -H "Authorization: Bearer $STEELYARD_TOKEN" -H "Content-Type: application/json" \\
  "$1/$2" -d "$3"
"""


def program_home(folder: Path, empty: Path, **log: Any) -> Home:
    """A home without bars whose existing system is a program."""
    conf = folder / "conf"
    conf.mkdir()
    settings: dict[str, dict[str, Any]] = {
        **SETTINGS,
        "source": {"kind": "none"},
        "strategy": {"system": "log", "log": log},
    }
    for name, values in settings.items():
        (conf / f"{name}.yaml").write_text(yaml.safe_dump(values))
    copy_mlflow(empty, folder / "home" / "mlruns")
    return open_home(folder / "home", conf)


def run(flow: Any, home: Home, as_of: datetime | None = None) -> Any:
    return flow.fn(as_of=as_of, home=str(home.folder), conf=str(home.conf))


def shell(script: str, folder: Path, *arguments: str) -> str:
    """What a shell script prints."""
    environment = os.environ | {"NOW": str(int(NOW.timestamp())), "STEELYARD_TOKEN": TOKEN}
    command = ["sh", "-euc", script, "program", *arguments]
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return ended.stdout


@pytest.mark.parametrize("place", ["file", "folder", "table"])
def test_from_an_empty_folder_to_an_answer(tmp_path: Path, empty_mlflow: Path, place: str) -> None:
    """A file, a folder and a table: what is logged is taken in, decided about and answered once."""
    decided = pd.Timestamp(NOW) - pd.Timedelta("1h")
    row = {"symbol": "X", "timestamp": [decided], "side": "buy", "confidence": 80.0, "mood": 0.5}
    url, logs = f"sqlite:///{tmp_path}/program.db", tmp_path / "logs"
    logs.mkdir()
    pd.DataFrame(row).to_csv(logs / "monday.csv", index=False)
    engine = create_engine(url)
    pd.DataFrame(row).to_sql("signals", engine, index=False)
    engine.dispose()
    log = {
        "file": {"path": str(logs / "monday.csv")},
        "folder": {"path": str(logs)},
        "table": {"url": url, "table": "signals"},
    }[place]
    home = program_home(tmp_path, empty_mlflow, **log, answers="{home}/answers.csv")
    run(settle, home, NOW - timedelta(hours=2))
    for _ in range(2):
        run(collect, home, NOW)
        answered = run(trade, home, NOW)
        run(settle, home, NOW)
    [answer] = pd.read_csv(home.folder / "answers.csv").to_dict("records")

    assert answered.signals == ()
    assert answer["signal_id"] == f"X:{decided:%Y-%m-%dT%H:%M:%SZ}:buy"
    assert (answer["decision"], answer["blended"], answer["weight"]) == ("trade", 80.0, 0.0)
    assert answer["fallback_reason"] == "no_model"
    assert home.ledger.trades().empty


@pytest.fixture
def taught(tmp_path: Path, empty_mlflow: Path) -> Home:
    """A home whose model learned from the log of a shell script, at a weight of 30 %."""
    shell(WRITE_LOG, tmp_path)
    home = program_home(tmp_path, empty_mlflow, path=str(tmp_path / "log.csv"))
    run(collect, home, NOW)
    run(settle, home, NOW)
    version = run(train, home, NOW)
    assert version.stage == "champion", version.reasons
    journal = home.journal
    before = journal.state()
    assert before is not None
    up = before.model_copy(update={"phase": "expansion", "weight": 0.3, "base": 0.2, "bonus": 0.1})
    journal.append(
        make_decision("gates", before, up, POLICY, NOW, verdict="RAISE", reasons=("made",))
    )
    journal.renew_lease(NOW + timedelta(days=2))
    return home


@pytest.fixture
def address(taught: Home) -> Iterator[str]:
    """Where the service of that home answers."""
    command = [*SERVE, "--home", str(taught.folder), "--conf", str(taught.conf)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"STEELYARD_TOKEN": TOKEN}
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    matched = re.search(r"serving at (http://[^;]+);", line)
    assert matched, line
    yield matched[1]
    process.terminate()
    process.wait(30)


def test_a_shell_script_gets_blended_answers_and_its_outcomes_train(
    taught: Home, address: str, tmp_path: Path
) -> None:
    """Its log taught the model; over HTTP it asks about a signal and tells how it ended."""
    stamp = f"{NOW - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
    signal = {"symbol": "X", "side": "buy", "timestamp": stamp, "confidence": 71}
    asked = [
        json.loads(shell(ASK, tmp_path, address, "signals", json.dumps(signal | changes)))
        for changes in ({"own": {"mood": 95}}, {"own": {"mood": 5}, "side": "sell"}, {"own": {}})
    ]
    liked, disliked, again = asked
    soon = datetime.now(UTC) + timedelta(seconds=2)
    for answer, settled_at in ((liked, soon), (disliked, NOW), (liked, soon)):
        ended = {
            "signal_id": answer["signal_id"],
            "settled_at": f"{settled_at:%Y-%m-%dT%H:%M:%SZ}",
            "net_return": 0.02,
        }
        assert json.loads(shell(ASK, tmp_path, address, "outcome", json.dumps(ended)))["won"]
    until = time.monotonic() + 20
    while taught.ledger.log_signals(soon)["settled_at"].notna().sum() < 402:
        assert time.monotonic() < until
        time.sleep(0.05)
    known = known_history(taught, soon).set_index("signal_id")
    known = known.loc[[answer["signal_id"] for answer in (liked, disliked)]]

    assert again == liked
    assert {answer["fallback_reason"] for answer in asked} == {None}
    assert liked["p_win"] > 0.6 > 0.4 > disliked["p_win"]
    assert liked["weight"] == disliked["weight"] == 0.3
    assert liked["blended"] > 71 > 70 > disliked["blended"]
    assert (liked["decision"], disliked["decision"]) == (True, False)
    assert known["net_return"].tolist() == [0.02, 0.02]
    assert known["own_mood"].tolist() == [95, 5]
    assert known["earns"].tolist() == [True, False], "one was over when it was sent"
    assert record_outcomes(taught, known.reset_index()) == 0
    settled = taught.ledger.settled_predictions(NOW - timedelta(days=1), soon)
    assert settled["signal_id"].tolist() == [liked["signal_id"]]
