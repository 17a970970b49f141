"""Alerts, delivered to a real web server on this machine."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steelyard.gateways import alerts as module
from steelyard.gateways.alerts import Alert, Alerts

NOW = datetime.now(UTC)
CUT = Alert(
    key="signal-confidence/guard/1",
    at=NOW,
    kind="cut",
    title="weight cut from 20 % to 10 %",
    figure="accuracy 48.0 %, at least 50 % needed",
    advice="look at the run",
    link="http://127.0.0.1:5000/#/experiments/1/runs/abc",
)


class Server:
    """A web server that accepts notifications or refuses them."""

    def __init__(self) -> None:
        self.received: list[dict[str, str]] = []
        self.status = 200
        self.delay = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name http.server calls
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(outer.delay)
                if outer.status == 200:
                    outer.received.append(content)
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.http.server_port}/s3cr3t-token"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


DEAD = "json://127.0.0.1:9/s3cr3t-token"


def test_an_alert_says_what_happened_and_is_sent_once(server: Server, tmp_path: Path) -> None:
    """Title, figure and bound, advice, link.

    The same key again sends nothing, also from another process.
    """
    alerts = Alerts(tmp_path, (server.address,))
    alerts.post(CUT)
    alerts.post(CUT)
    Alerts(tmp_path, (server.address,)).post(CUT)

    assert len(server.received) == 1
    assert server.received[0]["title"] == "Steelyard: weight cut from 20 % to 10 %"
    assert server.received[0]["message"] == f"{CUT.figure}\n{CUT.advice}\n{CUT.link}"
    assert alerts.open() == []
    assert [stored.alert for stored in alerts.recent(5)] == [CUT]


def test_text_from_outside_is_only_text_in_an_alert(server: Server, tmp_path: Path) -> None:
    """A channel of HTML gets it escaped; no line break ends the title, no control is sent."""
    hostile = CUT.model_copy(
        update={"title": "<b>A</b>\n[x](http://stranger.example)\x1b[31m", "figure": "<img src=x>"}
    )
    Alerts(tmp_path, (f"{server.address}?format=html",)).post(hostile)
    [received] = server.received

    assert "<img" not in received["message"]
    assert "&lt;img" in received["message"]
    assert not set("\n\r\x1b") & set(received["title"])


@pytest.mark.parametrize("status", [500, 403])
def test_a_channel_that_does_not_take_it_is_tried_again(
    server: Server, tmp_path: Path, status: int
) -> None:
    """The alert stays open, with its number of attempts, until it is delivered."""
    alerts = Alerts(tmp_path, (server.address,))
    server.status = status
    alerts.post(CUT)
    assert alerts.deliver() == 1
    [waiting] = alerts.open()
    assert (waiting.attempts, waiting.trouble) == (2, "channel 1 did not accept it")

    server.status = 200
    assert alerts.deliver() == 0
    assert len(server.received) == 1


def test_a_dead_channel_neither_stops_the_others_nor_makes_them_repeat(
    server: Server, tmp_path: Path
) -> None:
    """Each channel gets the alert once, whatever the others do."""
    alerts = Alerts(tmp_path, (DEAD, server.address, "no address at all"))
    alerts.post(CUT)
    alerts.deliver()

    assert len(server.received) == 1
    [waiting] = alerts.open()
    assert waiting.trouble == (
        "channel 1 did not accept it; channel 3 has an address that apprise does not know"
    )


def test_a_slow_channel_costs_seconds_at_most(server: Server, tmp_path: Path) -> None:
    """The attempt ends with the timeout and is repeated later."""
    server.delay = 30
    started = time.monotonic()
    alerts = Alerts(tmp_path, (server.address,))
    alerts.post(CUT)

    assert time.monotonic() - started < 15
    assert len(alerts.open()) == 1


def test_without_a_channel_an_alert_waits_for_one(server: Server, tmp_path: Path) -> None:
    """The alert stays open without attempts and is sent once a channel exists."""
    Alerts(tmp_path, ()).post(CUT)
    [waiting] = Alerts(tmp_path, ()).open()
    assert (waiting.attempts, waiting.trouble) == (0, "no channel configured")

    assert Alerts(tmp_path, (server.address,)).deliver() == 0
    assert len(server.received) == 1


def test_what_nobody_takes_is_given_up(tmp_path: Path) -> None:
    """After twenty attempts, with a note; age alone is no reason."""
    alerts = Alerts(tmp_path, ("no address at all",))
    alerts.post(CUT.model_copy(update={"at": NOW - timedelta(days=400)}))
    assert len(alerts.open()) == 1
    for _ in range(module.MAX_ATTEMPTS):
        alerts.deliver()

    assert alerts.open() == []
    assert alerts.recent(1)[0].given_up


def test_a_token_is_written_nowhere(
    server: Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No file, debug log, output or repr contains it."""
    caplog.set_level(logging.DEBUG)
    for name in module.TALKATIVE:
        logging.getLogger(name).setLevel(logging.DEBUG)
    alerts = Alerts(tmp_path, (server.address, DEAD, "nonsense://s3cr3t-token"))
    alerts.post(CUT)
    written = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    out, err = capsys.readouterr()

    assert len(server.received) == 1
    assert "s3cr3t-token" not in written + caplog.text + out + err + repr(alerts)


def test_several_at_once_send_it_once(server: Server, tmp_path: Path) -> None:
    """Four threads post the same alert."""
    alerts = Alerts(tmp_path, (server.address,))
    threads = [threading.Thread(target=alerts.post, args=(CUT,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alerts.deliver()

    assert len(server.received) == 1


def test_a_damaged_file_stops_nothing(server: Server, tmp_path: Path) -> None:
    """The damaged alert is listed as such; the others are sent."""
    alerts = Alerts(tmp_path, (server.address,))
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "broken.json").write_text("{")
    alerts.post(CUT)

    assert len(server.received) == 1
    assert [stored.trouble for stored in alerts.open()] == ["cannot be read: broken.json"]
    assert alerts.recent(5)[0].alert.title in (CUT.title, "an alert cannot be read")


def test_where_nothing_can_be_kept_it_is_sent_at_once(server: Server, tmp_path: Path) -> None:
    """A file blocks the folder of the alerts."""
    (tmp_path / "alerts").write_text("")
    Alerts(tmp_path / "alerts", (server.address,)).post(CUT)

    assert len(server.received) == 1
