"""The supervisor keeps processes running and leaves none behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.ops import reaper
from steelyard.ops import supervisor as supervisor_module
from steelyard.ops.supervisor import Port, Service, Supervisor, check, rotated


def service(code: str, name: str = "one") -> Service:
    return Service(name, (sys.executable, "-c", code), dict(os.environ))


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


@pytest.fixture
def interrupt() -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Send this process SIGINT when a condition holds, as a terminal would."""

    def later(holds: Callable[[], bool]) -> None:
        eventually(holds)
        os.kill(os.getpid(), signal.SIGINT)

    threads: list[threading.Thread] = []

    def start(holds: Callable[[], bool]) -> None:
        threads.append(threading.Thread(target=later, args=(holds,)))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()


def test_a_dead_process_restarts_after_longer_pauses(
    tmp_path: Path, interrupt: Callable[[Callable[[], bool]], None]
) -> None:
    """After one second, then two; a line says how it ended and its last output."""
    said: list[str] = []
    interrupt(lambda: len(said) == 3)
    with suppress(KeyboardInterrupt), Supervisor(tmp_path, said.append) as supervisor:
        supervisor.start(
            service("import time; print('out of luck', flush=True); time.sleep(0.3); exit(3)")
        )
        supervisor.watch()

    assert [line[-19:] for line in said] == [
        f"starts again in {seconds} s" for seconds in (1, 2, 4)
    ]
    assert said[0].startswith("one stopped with exit code 3; the last line of")
    assert "out of luck" in said[0]


def test_a_failed_start_is_one_line_and_stops_the_others(tmp_path: Path) -> None:
    """The line contains the last line of its log."""
    lives = f"import os, time; open('{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(99)"
    never = Service(
        "page",
        (sys.executable, "-c", "import time; time.sleep(1); exit('no such table')"),
        {},
        "http://127.0.0.1:1",
    )
    with (
        pytest.raises(RestoreService, match=r"page stopped with exit code 1; .* is: no such table"),
        Supervisor(tmp_path, print) as supervisor,
    ):
        supervisor.start(service(lives), never)

    assert not reaper.alive(int((tmp_path / "pid").read_text()))


def test_a_server_that_no_longer_answers_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[Callable[[], bool]], None]
) -> None:
    """A process that fails several health checks counts as dead and is restarted."""
    for name, seconds in (
        ("HEALTH_CHECK_SECONDS", 0.1),
        ("ANSWER_SECONDS", 0.3),
        ("MAX_UNANSWERED", 3),
    ):
        monkeypatch.setattr(supervisor_module, name, seconds)
    monkeypatch.setattr(reaper, "GRACE_SECONDS", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = "from http.server import HTTPServer, SimpleHTTPRequestHandler as Pages"
    server = f"HTTPServer(('127.0.0.1', {port}), Pages)"
    code = f"import os; {served}; print(os.getpid(), flush=True); {server}.serve_forever()"
    page = Service("page", (sys.executable, "-c", code), {}, f"http://127.0.0.1:{port}/")
    said: list[str] = []
    log = tmp_path / "page.log"
    interrupt(lambda: len(said) == 1 and log.read_text().count("200 -") > 3)
    with suppress(KeyboardInterrupt), Supervisor(tmp_path, said.append) as supervisor:
        supervisor.start(page)
        os.kill(int(log.read_text().split()[0]), signal.SIGSTOP)
        supervisor.watch()

    assert said == ["page did not answer for 0 s; starts again in 1 s"]
    assert log.read_text().rstrip().endswith("200 -")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_and_a_shutdown_stop_all_of_it(tmp_path: Path, number: int) -> None:
    """As Ctrl-C does: the services are ended, the handlers are back."""
    before = signal.signal(number, signal.SIG_DFL)  # under nohup it is ignored
    with suppress(KeyboardInterrupt), Supervisor(tmp_path, print) as supervisor:
        supervisor.start(service("import os, time; print(os.getpid(), flush=True); time.sleep(99)"))
        eventually(lambda: bool((tmp_path / "one.log").read_text()))
        os.kill(os.getpid(), number)
        supervisor.watch()

    assert not reaper.alive(int((tmp_path / "one.log").read_text()))
    assert signal.signal(number, before) == signal.SIG_DFL


def test_stopping_ends_the_last_process_first_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[Callable[[], bool]], None]
) -> None:
    """A process that ignores SIGTERM is killed, and so are children of one that has ended."""
    monkeypatch.setattr(reaper, "GRACE_SECONDS", 1.0)
    told = f"open('{tmp_path}/order', 'a').write"
    waits = "print(os.getpid(), flush=True); time.sleep(99)"
    codes = {
        "a": f"signal.signal(15, lambda *_: ({told}('a'), sys.exit())); {waits}",
        "b": f"signal.signal(15, lambda *_: ({told}('b'), sys.exit())); {waits}",
        "c": "subprocess.Popen(['sleep', '99']); print(os.getpid(), flush=True)",
        "d": "signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(99)",
    }
    logs = [tmp_path / f"{name}.log" for name in codes]
    with suppress(KeyboardInterrupt), Supervisor(tmp_path, print) as supervisor:
        supervisor.start(
            *[
                service(f"import os, signal, subprocess, sys, time; {code}", name)
                for name, code in codes.items()
            ]
        )
        assert eventually(lambda: all(log.read_text() for log in logs))
        interrupt(lambda: True)
        supervisor.watch()

    assert (tmp_path / "order").read_text() == "ba"
    assert eventually(
        lambda: not any(reaper.alive(int(log.read_text())) for log in logs)
    )  # until the system buries orphans


def test_a_supervisor_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    """Children of its services end too, and those of a reaper that was killed before."""
    shown = "print(os.getpid(), flush=True)"
    program = f"""
import os, signal
from pathlib import Path
from test_supervisor import service
from steelyard.ops.supervisor import Supervisor
with Supervisor(Path({str(tmp_path)!r}), Path({str(tmp_path)!r}, "said").write_text) as supervisor:
    supervisor.start(service("import os, subprocess; subprocess.Popen(['sleep', '99']); {shown}"))
    supervisor.start(service("import os, time; {shown}; time.sleep(99)", "two"))
    os.kill(supervisor._reaper._process.pid, signal.SIGKILL)
    supervisor.watch()
"""
    modules = [str(Path(__file__).parent), *sys.path]
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.pathsep.join(modules)}
    )
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    assert eventually(lambda: all(log.exists() and log.read_text() for log in logs))
    assert eventually((tmp_path / "said").exists)
    groups = [int(log.read_text().split()[0]) for log in logs]
    process.kill()
    process.wait()

    assert eventually(lambda: not any(map(reaper.alive, groups)))


def test_a_taken_port_is_named_with_its_setting() -> None:
    """A taken port is refused with the name of its setting, a free one passes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = Port("127.0.0.1", taken.getsockname()[1], "prefect_port in conf/up.yaml")
        with pytest.raises(
            FixConfiguration,
            match=rf"port {port.number} on 127.0.0.1 is taken; .* prefect_port in conf/up.yaml",
        ):
            check([port])
    check([port])


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    """The line gives the reason."""
    with pytest.raises(
        FixConfiguration, match=r"port 4200 on 192.0.2.1 cannot be used \(.+\); change host"
    ):
        check([Port("192.0.2.1", 4200, "host")])


def test_the_logs_of_the_last_three_times_are_kept(tmp_path: Path) -> None:
    """The newest log has no number."""
    for letter in "abcde":
        rotated(tmp_path / "one.log").write_text(letter)

    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "one.log": "e",
        "one.log.1": "d",
        "one.log.2": "c",
        "one.log.3": "b",
    }
