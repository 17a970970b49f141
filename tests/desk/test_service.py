"""The service as a process: the same decisions as in-process, and unauthorised requests refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from factories.notified import listening
from factories.pilot import (
    BAR,
    BEGAN,
    END,
    STRATEGY,
    bars_frame,
    conf_folder,
    market,
    signal_of,
    trained_pilot_home,
)
from factories.running_up import wait_until
from factories.sizes import Size, sized
from steelyard.desk.service import SignalId, Symbol
from steelyard.home import Home
from steelyard.trading import open_session

TOKEN = "a-long-enough-token"  # noqa: S105  # opens nothing but this test's own process
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
SENDERS = 8
SERVE = [sys.executable, "-c", "from steelyard.cli import main; main()", "serve", "--port", "0"]


@dataclass(frozen=True)
class Served:
    """A running service and the home it trades from."""

    url: str
    home: Home
    process: subprocess.Popen[str]

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers=RIGHT if headers is None else headers)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=RIGHT)


def started(home: Home, **variables: str) -> Served:
    variables = {"STEELYARD_TOKEN": TOKEN} | variables
    command = [*SERVE, "--home", str(home.folder), "--conf", str(conf_folder(home.folder))]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | variables
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    matched = re.search(r"serving at (http://[^;]+);", line)
    assert matched, line
    return Served(matched[1], home, process)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Home:
    return open_service_home(tmp_path_factory.mktemp("served"), empty_mlflow)


def open_service_home(folder: Path, empty: Path) -> Home:
    """A home whose lake ends where its lineage begins."""
    home, bars = trained_pilot_home(folder, empty), bars_frame()
    home.journal.renew_lease(datetime.now(UTC) + timedelta(days=2))
    earlier = bars[(bars["timestamp"] + BAR <= pd.Timestamp(BEGAN)).to_numpy()]
    home.lake.append(earlier, BAR)
    return home


@pytest.fixture(scope="module")
def served(home: Home) -> Iterator[Served]:
    """A service that tells systemd that it is up, that it works, and that it stops."""
    socket = str(home.folder / "notify")
    with listening(socket) as heard:
        running = started(home, NOTIFY_SOCKET=socket)
        yield running
        assert wait_until(lambda: heard[:2] == ["READY=1", "WATCHDOG=1"])
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 0
    assert heard[-1] == "STOPPING=1"


def rows() -> list[dict[str, Any]]:
    """The signals after ``BEGAN``, oldest first."""
    signals = market()[1]
    inside = (signals["decided_at"] > pd.Timestamp(BEGAN)) & (
        signals["decided_at"] <= pd.Timestamp(END)
    )
    return signals[inside.to_numpy()].head(12).to_dict("records")  # type: ignore[return-value]


def stamp(moment: pd.Timestamp) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def request_for(row: dict[str, Any], since: pd.Timestamp) -> dict[str, Any]:
    """A signal with the bars of the universe that closed since ``since``."""
    bars = bars_frame()
    new = bars[
        ((bars["timestamp"] + BAR > since) & (bars["timestamp"] <= row["timestamp"])).to_numpy()
    ]
    sent = new.assign(timestamp=[stamp(opened_at) for opened_at in new["timestamp"]]).to_dict(
        "records"
    )
    return {
        "symbol": row["symbol"],
        "side": row["side"],
        "timestamp": stamp(row["timestamp"]),
        "confidence": float(row["confidence_existing"]),
        "scores": {name: float(row[f"score_{name}"]) for name in STRATEGY.score_names},
        "bars": sent,
    }


def until_settled(served: Served, signal_id: str) -> dict[str, Any] | None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        row = served.home.ledger.signal(signal_id)
        if row is not None and row["settled_at"] is not None:
            return row
        time.sleep(0.05)
    return None


def in_process(home: Home, row: dict[str, Any]) -> Any:
    bars = market()[0]
    stop = row["timestamp"].tz_localize(None).to_datetime64()
    bars = {
        symbol: history[: int((history.timestamp <= stop).sum())]
        for symbol, history in bars.items()
    }
    session = open_session(home.folder, conf_folder(home.folder), lambda: END)
    session.warm(bars)
    evaluation = session.evaluate(signal_of(row), bars)
    session.close()
    return evaluation


def test_the_same_decision_as_in_process_and_the_same_again(
    served: Served, tmp_path: Path, empty_mlflow: Path
) -> None:
    """HTTP bar by bar equals a session over the whole history; a repeat gets the same answer.

    Whether the bars come with the signal or before it.
    """
    since, twin = pd.Timestamp(BEGAN), trained_pilot_home(tmp_path, empty_mlflow)
    for number, row in enumerate(rows()):
        asked = request_for(row, since)
        if number % 2:
            assert served.post("/bars", {"bars": asked.pop("bars")}).json() == {"note": None}
        answer = served.post("/evaluate", asked).json()
        since = row["decided_at"]
        assert answer["fallback_reason"] is None, answer
        assert answer["signal_id"] == row["signal_id"]
        last = answer
    expected = in_process(twin, rows()[-1])

    assert last["p_win"] == pytest.approx(expected.p_win, abs=1e-9)
    assert last["blended"] == pytest.approx(expected.blended, abs=1e-9)
    assert (last["decision"], last["arm"], last["weight"]) == (
        expected.decision,
        expected.arm,
        expected.weight,
    )
    assert expected.weight == 0.15
    again = request_for(rows()[-1], since)
    assert served.post("/evaluate", again).json() == last
    refused = served.post("/evaluate", again | {"confidence": 1.0})
    assert refused.status_code == 409
    assert "a signal is decided once" in refused.json()["detail"]


def test_a_signal_of_another_system_is_answered_and_kept_out_of_the_books(served: Served) -> None:
    """The existing system decides alone, one line says why, and nothing is recorded."""
    row = rows()[-1]
    own = request_for(row, pd.Timestamp(BEGAN))
    served.post("/evaluate", own)
    other = own | {"side": "sell" if row["side"] == "buy" else "buy", "confidence": 74.0}
    answers = [served.post("/evaluate", other).json() for _ in range(2)]
    sent = {name: other[name] for name in ("symbol", "side", "timestamp", "confidence")}

    assert {answer["fallback_reason"] for answer in answers} == {"other_system"}
    assert [(answer["decision"], answer["weight"]) for answer in answers] == [(True, 0.0)] * 2
    assert "set system: log in conf/strategy.yaml and POST /signals" in answers[0]["note"]
    refused = served.post("/signals", sent)
    assert refused.status_code == 409
    assert "the existing system is not a log" in refused.json()["detail"]
    ended = {"signal_id": answers[0]["signal_id"], "settled_at": stamp(pd.Timestamp(END))}
    told = ended | {"net_return": 0.01, "stop_distance": 0.02}
    assert served.post("/outcome", told).status_code == 404
    assert served.home.ledger.signal(answers[0]["signal_id"]) is None


def test_an_outcome_is_taken_once_and_only_for_a_signal_that_was_evaluated(served: Served) -> None:
    """202 twice, 409 for another outcome, 404 for an unknown signal; then it is in the ledger."""
    row = rows()[0]
    served.post("/evaluate", request_for(row, pd.Timestamp(BEGAN)))
    report = {
        "signal_id": row["signal_id"],
        "settled_at": stamp(pd.Timestamp(BEGAN) + pd.Timedelta("2D")),
        "net_return": 0.01,
        "exit_reason": "target",
        "hold_minutes": 60,
        "stop_distance": 0.02,
    }
    assert served.post("/outcome", report).status_code == 202
    assert served.post("/outcome", report).json() == {"signal_id": row["signal_id"], "won": True}
    stored = until_settled(served, row["signal_id"])
    assert stored is not None
    assert (stored["net_return"], stored["exit_reason"]) == (0.01, "target")

    assert served.post("/outcome", report | {"net_return": -0.5}).status_code == 409
    nobody = report | {"signal_id": "ZZZ:2020-09-02T00:00:00Z:buy"}
    assert served.post("/outcome", nobody).status_code == 404


def test_bars_that_cannot_be_are_noted_and_the_existing_system_decides(served: Served) -> None:
    """With a low above the high the existing system decides, and the answer names the fault."""
    row = rows()[1]
    odd = request_for(row, pd.Timestamp(END))
    late = row["timestamp"] + pd.Timedelta("40D")
    bar = {
        "symbol": row["symbol"],
        "timestamp": stamp(late),
        "open": 1.0,
        "high": 1.0,
        "low": 2.0,
        "close": 1.0,
    }
    answer = served.post("/evaluate", odd | {"timestamp": stamp(late), "bars": [bar]}).json()

    assert answer["fallback_reason"] == "other_bar"
    assert answer["decision"] == (row["confidence_existing"] > 70)
    assert "do not lie between low 2 and high 1; not taken in" in answer["note"]


def test_state_health_and_metrics_say_how_it_stands(served: Served) -> None:
    """The weight in force, the phase and the version served."""
    served.post("/evaluate", request_for(rows()[0], pd.Timestamp(BEGAN)))
    state = served.get("/state").json()
    metrics = served.get("/metrics").text

    assert (state["phase"], state["decided_weight"], state["weight"]) == ("pilot", 0.15, 0.15)
    assert (state["out_of_force"], state["served_version"]) == (None, "1")
    assert httpx.get(served.url + "/healthz").json() == {"status": "ok"}
    assert 'steelyard_evaluation_seconds_bucket{decision="leave"' in metrics
    assert "steelyard_weight 0.15" in metrics


def test_records_that_wait_make_the_health_degraded(served: Served) -> None:
    """Decisions go on; the health is ok again once the disk is."""
    mark = served.home.state_folder / "spool" / "drained.new"
    mark.mkdir()
    row = rows()[2]
    unknown = {"timestamp": stamp(row["timestamp"] + pd.Timedelta("50D")), "bars": []}
    answer = served.post("/evaluate", request_for(row, pd.Timestamp(END)) | unknown)
    assert answer.status_code == 200
    assert health_becomes(served, "degraded")
    assert "free space on this disk" in served.get("/state").json()["troubles"][0]
    mark.rmdir()
    assert health_becomes(served, "ok")


def health_becomes(served: Served, status: str, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if httpx.get(served.url + "/healthz").json() == {"status": status}:
            return True
        time.sleep(0.2)
    return False


def test_nothing_gets_in_without_the_token(served: Served) -> None:
    """No token, a wrong one and a longer one are refused; only /health needs none."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}x"}):
        for method, path in (
            ("POST", "/bars"),
            ("POST", "/evaluate"),
            ("POST", "/outcome"),
            ("GET", "/state"),
            ("GET", "/metrics"),
        ):
            answer = httpx.request(method, served.url + path, headers=headers, json={})
            assert answer.status_code in (401, 429), path
    assert httpx.get(served.url + "/openapi.json").status_code in (401, 429)


def test_a_request_too_large_is_refused_before_it_is_read(served: Served) -> None:
    """By its declared length, or by its size if none is declared."""
    large = b'{"symbol":"' + b"x" * 1_100_000 + b'"}'
    said = httpx.post(served.url + "/evaluate", content=large, headers=RIGHT)
    unsaid = httpx.post(
        served.url + "/evaluate", content=iter([large[:600_000], large[600_000:]]), headers=RIGHT
    )

    assert (said.status_code, unsaid.status_code) == (413, 413)
    assert "larger than 1000000 bytes" in unsaid.json()["detail"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 101}, "confidence: input should be less than or equal to 100"),
        ({"own": {"funding": 1e31}}, "own.funding: input should be less than or equal to 1000"),
        ({"confidence": float("nan")}, "confidence: "),
        ({"confidence": 10**400}, "confidence: "),
        ({"side": "long"}, "side: input should be 'buy' or 'sell'"),
        ({"timestamp": "2023-02-29T00:00:00Z"}, "timestamp: string should match pattern"),
        ({"symbl": "A"}, "symbl: extra inputs are not permitted"),
        ({"bars": [{}]}, "bars.0.symbol: field required"),
    ],
)
def test_a_malformed_request_gets_one_line(
    served: Served, change: dict[str, Any], message: str
) -> None:
    """The line names the field and the fault."""
    body = json.dumps(request_for(rows()[0], pd.Timestamp(END)) | change)
    answer = httpx.post(
        served.url + "/evaluate", content=body, headers=RIGHT | {"content-type": "application/json"}
    )

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(message)


def test_openapi_and_service_agree(served: Served, tmp_path: Path) -> None:
    """Generated requests cause no crash and no undocumented answer; invalid ones are refused."""
    too_large = 413  # a refusal, too: of what was generated, some is larger than a request may be
    refusals = [400, 401, 403, 404, 405, 406, 409, too_large, 415, 422, 428, 429]
    (tmp_path / "schemathesis.toml").write_text(
        f"[checks]\nnegative_data_rejection.expected-statuses = {refusals}\n"
    )
    fuzz = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{served.url}/openapi.json",
        "-H",
        f"Authorization: Bearer {TOKEN}",
    ]
    options = [
        "--max-examples",
        "100",
        "--seed",
        "1",
        "--no-color",
        "--generation-database",
        "none",
    ]
    fuzzed = subprocess.run(
        [*fuzz, *options], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert fuzzed.returncode == 0, fuzzed.stdout[:6000]


@sized
def test_a_thousand_requests_a_second_leave_the_service_well(served: Served, size: Size) -> None:
    """Each is answered or told to come later; then everything is as it was."""
    row = rows()[-1]
    body = request_for(row, row["decided_at"])
    before = served.post("/evaluate", body).json()
    statuses = hammered(served, body, size.load_seconds)

    assert set(statuses) <= {200, 429}
    assert statuses.count(200) > 100 * size.load_seconds
    assert served.post("/evaluate", body).json() == before
    assert served.get("/healthz").json() == {"status": "ok"}


def hammered(served: Served, body: dict[str, Any], seconds: float) -> list[int]:
    """Statuses of 1,000 requests a second, as far as this machine sends them."""
    address, content = httpx.URL(served.url), json.dumps(body)
    headers = RIGHT | {"Content-Type": "application/json"}
    end = time.monotonic() + seconds

    def send(_: int) -> list[int]:
        connection, statuses = HTTPConnection(address.host, address.port, timeout=30), []
        due = time.monotonic()
        while due < end:
            time.sleep(max(due - time.monotonic(), 0))
            connection.request("POST", "/evaluate", content, headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            due = max(due + SENDERS / 1000, time.monotonic() - 1)
        connection.close()
        return statuses

    with ThreadPoolExecutor(SENDERS) as senders:
        return [status for one in senders.map(send, range(SENDERS)) for status in one]


def test_a_second_service_of_a_home_is_refused_in_one_line(served: Served) -> None:
    """One process at a time records in a home; the first one goes on."""
    folder = served.home.folder
    command = [*SERVE, "--home", str(folder), "--conf", str(conf_folder(folder))]
    second = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"STEELYARD_TOKEN": TOKEN},
        check=False,
        timeout=60,
    )

    assert second.returncode == 1
    assert second.stderr.startswith("steelyard: ")
    assert second.stderr.count("\n") == 1
    assert "another process" in second.stderr
    assert served.get("/healthz").status_code == 200


def test_a_restart_remembers_what_it_answered(tmp_path: Path, empty_mlflow: Path) -> None:
    """After a restart the same signal gets the earlier answer from the ledger."""
    home = open_service_home(tmp_path, empty_mlflow)
    recent = (pd.Timestamp.now("UTC") - timedelta(days=1)).floor("4h")
    row = rows()[0] | {"timestamp": recent}
    body = request_for(row, pd.Timestamp(END)) | {"bars": [], "symbol": "NEW"}
    first = started(home)
    before = first.post("/evaluate", body).json()
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(60) == 0
    second = started(home)
    again = second.post("/evaluate", body).json()
    second.process.send_signal(signal.SIGINT)
    second.process.wait(60)

    assert again == before | {"note": None}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"STEELYARD_TOKEN": ""}, "STEELYARD_TOKEN holds 0 characters"),
        ({"STEELYARD_TOKEN": "short"}, "holds 5 characters"),
    ],
)
def test_it_does_not_start_without_a_token(
    home: Home, variables: dict[str, str], message: str
) -> None:
    """One line, exit code 1."""
    command = [*SERVE, "--home", str(home.folder), "--conf", str(conf_folder(home.folder))]
    refused = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | variables, check=False
    )

    assert refused.returncode == 1
    assert message in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "symbol", ["AAPL", "BTC/USDT:USDT", "NASDAQ:AAPL", "ES 12-23", "BRK.A", "ÖKO", "7203"]
)
def test_a_symbol_the_lake_takes_is_a_symbol_here(symbol: str) -> None:
    """And its signals have ids; blanks around it and control characters are refused."""
    checked_symbol = TypeAdapter(Symbol)

    assert checked_symbol.validate_python(symbol) == symbol
    assert TypeAdapter(SignalId).validate_python(f"{symbol}:2026-01-02T00:00:00Z:buy")
    for wrong in (f" {symbol}", f"{symbol} ", f"{symbol}\n", ""):
        with pytest.raises(ValidationError):
            checked_symbol.validate_python(wrong)
