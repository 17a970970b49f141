"""Keeps processes running on one machine: starts them in order, restarts what dies, ends them in reverse order.

Every service leads a process group of its own, so that a Ctrl-C at the terminal reaches the
supervisor alone, and ending a service ends whatever it started. Should the supervisor itself be
killed, ``steelyard.ops.reaper`` ends them.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.ops import reaper

START_SECONDS = 180.0
"""A service that does not answer by then does not start."""
LOOK_SECONDS = 0.25
ASK_SECONDS = 15.0
ANSWER_SECONDS = 2.0
UNANSWERED = 8
"""So many questions in a row, two minutes of them, and a service that lives counts as dead."""
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
KEPT_LOGS = 3
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port a service will listen on, and the setting it comes from."""

    host: str
    number: int
    setting: str


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep running.

    Attributes:
        health: Address that answers 200 when the service is up; empty: it is up while it runs.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health: str = ""


def check(ports: Iterable[Port]) -> None:
    """Refuse ports that cannot be listened on, before anything starts.

    Raises:
        FixConfiguration: It names the port and the setting.
    """
    for port in ports:
        try:
            _listen(port)
        except OSError as error:
            raise FixConfiguration(_words(port, error)) from error


def _listen(port: Port) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        port.host, port.number, type=socket.SOCK_STREAM
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # connections that are closing do not count
        probe.bind(address)


def _words(port: Port, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port.number} on {port.host} is taken; stop what listens there, or change {port.setting}"
    return f"port {port.number} on {port.host} cannot be used ({error.strerror}); change {port.setting}"


class Supervisor:
    """Runs services until it is left, or until SIGINT, SIGTERM or SIGHUP, which raises KeyboardInterrupt at the next look.

    Args:
        logs: Folder of one log for each service; the last ones of before are kept beside it.
        say: Takes one line about whatever died and was started again.
    """

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._kept: list[_Kept] = []
        self._signalled = False

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._handlers = {number: signal.signal(number, self._take) for number in _signals()}
        self._reaper = _ReaperProcess()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for kept in reversed(self._kept):
            kept.end()
        self._reaper.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def start(self, *services: Service) -> None:
        """Start services side by side, and return when all of them answer.

        Raises:
            RestoreService: One stopped, or did not answer in time.
            KeyboardInterrupt: A signal came.
        """
        waiting = [self._keep(service) for service in services]
        until = time.monotonic() + START_SECONDS
        while waiting := [kept for kept in waiting if not kept.came_up(until)]:
            self._pause()

    def run(self, service: Service) -> str:
        """Run a process to its end, and return what it wrote to stdout.

        Raises:
            RestoreService: It failed.
            KeyboardInterrupt: A signal came.
        """
        kept = self._keep(service, subprocess.PIPE)
        while kept.running():
            self._pause()
        written = kept.written()
        self._kept.remove(kept)
        return written

    def watch(self) -> None:
        """Restart what dies or no longer answers, for ever.

        Raises:
            KeyboardInterrupt: A signal came.
        """
        while True:
            self._pause()
            for kept in self._kept:
                kept.tend(self._say)

    def _keep(self, service: Service, output: int | None = None) -> "_Kept":
        kept = _Kept(service, rotated(self._logs / f"{service.name}.log"), self._reaper, output)
        self._kept.append(kept)
        kept.spawn()
        return kept

    def _pause(self) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        time.sleep(LOOK_SECONDS)

    def _take(self, *_: object) -> None:
        self._signalled = (
            True  # raising here could lose a process between its start and its entry in the list
        )


class _Kept:
    """One service: its process while it lives, and when it may start again."""

    def __init__(
        self, service: Service, log: Path, reaper_process: "_ReaperProcess", output: int | None
    ) -> None:
        self._service = service
        self._log = log
        self._reaper = reaper_process
        self._output = output
        self._process: subprocess.Popen[str] | None = None
        self._due = self._asked = self._since = 0.0
        self._delay = FIRST_DELAY_SECONDS
        self._unanswered = 0

    def spawn(self) -> None:
        """Start the process, leader of its own session."""
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(  # our own arguments
                self._service.command,
                env=self._service.environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output or log,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        self._reaper.hold(self._process.pid)
        self._since = self._asked = time.monotonic()
        self._unanswered = 0

    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def came_up(self, until: float) -> bool:
        """Whether it answers by now; refuse to wait for what stopped, or for longer than ``until``."""
        if not self.running():
            raise RestoreService(f"{self._service.name} {self._ended()}")
        if time.monotonic() > until:
            raise RestoreService(
                f"{self._service.name} does not answer after {START_SECONDS:.0f} s; see {self._log}"
            )
        return self._answers()

    def written(self) -> str:
        """Return what a process that ended wrote, and refuse one that failed."""
        assert self._process is not None  # noqa: S101  # it was spawned
        written, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise RestoreService(f"{self._service.name} {self._ended()}")
        self.end()
        return written

    def tend(self, say: Callable[[str], None]) -> None:
        """Start again what died, after a delay; end what no longer answers, so that it can start again."""
        if self._process is None:
            if time.monotonic() >= self._due:
                self.spawn()
        elif not self.running():
            self._again(self._ended(), say)
        elif self._hangs():
            self._again(f"did not answer for {UNANSWERED * ASK_SECONDS:.0f} s", say)

    def end(self) -> None:
        """End the process and whatever it started."""
        if self._process is None:
            return
        group = self._process.pid
        reaper.send([group], signal.SIGTERM)
        _wait(self._process, group)
        reaper.send([group], signal.SIGKILL)
        self._process.wait()
        self._reaper.let_go(group)
        self._process = None

    def _again(self, why: str, say: Callable[[str], None]) -> None:
        self.end()
        if time.monotonic() - self._since > LONGEST_DELAY_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        say(f"{self._service.name} {why}; starts again in {self._delay:.0f} s")
        self._due = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY_SECONDS)

    def _ended(self) -> str:
        code = self._process.poll() if self._process is not None else None
        how = (
            f"was ended by signal {-code}"
            if code is not None and code < 0
            else f"stopped with exit code {code}"
        )
        last = next(
            (line.strip() for line in reversed(_tail(self._log)) if line.strip()), "nothing"
        )
        return f"{how}; the last line of {self._log} is: {last[:200]}"

    def _hangs(self) -> bool:
        if time.monotonic() - self._asked < ASK_SECONDS:
            return False
        self._asked = time.monotonic()
        self._unanswered = 0 if self._answers() else self._unanswered + 1
        return self._unanswered >= UNANSWERED

    def _answers(self) -> bool:
        if not self._service.health:
            return True
        try:
            with _DIRECT.open(self._service.health, timeout=ANSWER_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class _ReaperProcess:
    """The process that ends the others should this one be killed."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", reaper.__file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, start_new_session=True, text=True
        )

    def hold(self, group: int) -> None:
        """End ``group`` with this process."""
        self._write(f"+{group}\n")

    def let_go(self, group: int) -> None:
        """``group`` is gone."""
        self._write(f"-{group}\n")

    def close(self) -> None:
        """End it; it ends what it still holds."""
        self._process.communicate()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101  # it was asked for
        if self._process.poll() is None:
            self._process.stdin.write(line)
            self._process.stdin.flush()


def rotated(log: Path) -> Path:
    """Move the logs of before one number up, and return the path of the new one."""
    for number in range(KEPT_LOGS, 0, -1):
        older = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if older.exists():
            os.replace(older, log.with_name(f"{log.name}.{number}"))
    return log


def _signals() -> Iterator[signal.Signals]:
    yield from (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        yield signal.SIGHUP


def _wait(process: "subprocess.Popen[str]", group: int) -> None:
    until = time.monotonic() + reaper.GRACE_SECONDS
    while (process.poll() is None or reaper.alive(group)) and time.monotonic() < until:
        time.sleep(0.05)


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - 4096, 0))
        return file.read().decode(errors="replace").splitlines()
