"""Supervise processes on one machine: start, restart after a failure, end in reverse order.

Every service leads a process group of its own, so that Ctrl-C at the terminal reaches the
supervisor only, and ending a service also ends its children. If the supervisor is killed,
``steelyard.ops.reaper`` ends the services.
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.files import private, private_folder
from steelyard.ops import reaper

START_SECONDS = 180.0
"""Longest time until a new service answers."""
POLL_SECONDS = 0.25
HEALTH_CHECK_SECONDS = 15.0
CONNECT_SECONDS, ANSWER_SECONDS = 1.0, 2.0
MAX_UNANSWERED = 8
"""Failed health checks in a row, two minutes, after which a running service is restarted."""
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
KEPT_LOGS = 3
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of a service, and the setting that names it."""

    host: str
    number: int
    setting: str


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep running.

    Attributes:
        name: Name of the service and of its log.
        command: Program and arguments.
        environment: Its whole environment.
        health: Address that answers 200 if the service is up; empty if running is enough.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health: str = ""


def check(ports: Iterable[Port]) -> None:
    """Refuse ports that cannot be used, before anything starts.

    Raises:
        FixConfiguration: If a port is taken or not allowed; it names the port and the setting.
    """
    for port in ports:
        try:
            _listen(port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                advice = f"is taken; stop its owner, or change {port.setting}"
            else:
                advice = f"cannot be used ({error.strerror}); change {port.setting}"
            raise FixConfiguration(f"port {port.number} on {port.host} {advice}") from error


def _listen(port: Port) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        port.host, port.number, type=socket.SOCK_STREAM
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # Connections that are closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def listens(address: str) -> bool:
    """Whether somebody accepts connections at an address; nobody at an empty one."""
    url = urlsplit(address)
    try:
        socket.create_connection((url.hostname or "", url.port or 80), CONNECT_SECONDS).close()
    except OSError:
        return False
    return bool(url.hostname)


class Supervisor:
    """Context in which services run; SIGINT, SIGTERM and SIGHUP end it with KeyboardInterrupt.

    Args:
        logs: Folder with one log per service; the previous logs are kept beside it.
        say: Receives one line about each service that failed and is restarted.
    """

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._supervised: list[_SupervisedService] = []
        self._signalled = False

    def __enter__(self) -> Self:
        private_folder(self._logs)
        self._handlers = {
            number: signal.signal(number, self._note_signal) for number in _stop_signals()
        }
        self._reaper = _ReaperProcess()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for service in reversed(self._supervised):
            service.end()
        self._reaper.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def start(self, *services: Service) -> None:
        """Start services in parallel, and return when all of them answer.

        Raises:
            RestoreService: If one stopped, or did not answer in time.
            KeyboardInterrupt: If a signal came.
        """
        starting = [self._supervise(service) for service in services]
        deadline = time.monotonic() + START_SECONDS
        while starting := [service for service in starting if not service.came_up(deadline)]:
            self._pause()

    def run(self, service: Service) -> str:
        """Run a process to its end, and return its standard output.

        Raises:
            RestoreService: If it failed.
            KeyboardInterrupt: If a signal came.
        """
        supervised = self._supervise(service, subprocess.PIPE)
        while supervised.running():
            self._pause()
        output = supervised.read_output()
        self._supervised.remove(supervised)
        return output

    def watch(self, alive: Callable[[], None] = lambda: None) -> None:
        """Restart services that stop or no longer answer, and the reaper, until a signal comes.

        Args:
            alive: Called several times a second while this process looks after them.

        Raises:
            KeyboardInterrupt: If a signal came.
        """
        while True:
            self._pause()
            self._reaper.tend(self._say)
            for service in self._supervised:
                service.tend(self._say)
            alive()

    def _supervise(self, service: Service, output: int | None = None) -> "_SupervisedService":
        log = rotated(self._logs / f"{service.name}.log")
        supervised = _SupervisedService(service, log, self._reaper, output)
        self._supervised.append(supervised)
        supervised.spawn()
        return supervised

    def _pause(self) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        time.sleep(POLL_SECONDS)

    def _note_signal(self, *_: object) -> None:
        # Raising here could lose a process between its start and its entry in the list.
        self._signalled = True


class _SupervisedService:
    """One service: its process while it runs, and the time of its next start."""

    def __init__(
        self, service: Service, log: Path, reaper_process: "_ReaperProcess", output: int | None
    ) -> None:
        self._service = service
        self._log = log
        self._reaper = reaper_process
        self._output = output
        self._process: subprocess.Popen[str] | None = None
        self._due = self._checked_at = self._started_at = 0.0
        self._delay = FIRST_DELAY_SECONDS
        self._unanswered = 0

    def spawn(self) -> None:
        """Start the process as leader of its own session."""
        with open(self._log, "a", encoding="utf-8", opener=private) as log:
            self._process = subprocess.Popen(
                self._service.command,
                env=self._service.environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output or log,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        self._reaper.add(self._process.pid)
        self._started_at = self._checked_at = time.monotonic()
        self._unanswered = 0

    def running(self) -> bool:
        """Return whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def came_up(self, deadline: float) -> bool:
        """Return whether the service answers.

        Raises:
            RestoreService: If it stopped, or the monotonic ``deadline`` has passed.
        """
        if not self.running():
            raise RestoreService(f"{self._service.name} {self._describe_end()}")
        if time.monotonic() > deadline:
            raise RestoreService(
                f"{self._service.name} does not answer after {START_SECONDS:.0f} s; see {self._log}"
            )
        return self._answers()

    def read_output(self) -> str:
        """Return the standard output of a process that has ended.

        Raises:
            RestoreService: If it failed.
        """
        assert self._process is not None  # noqa: S101  # it was spawned
        output, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise RestoreService(f"{self._service.name} {self._describe_end()}")
        self.end()
        return output

    def tend(self, say: Callable[[str], None]) -> None:
        """Restart the service, after a delay, if it stopped or no longer answers."""
        if self._process is None:
            if time.monotonic() >= self._due:
                self.spawn()
        elif not self.running():
            self._plan_restart(self._describe_end(), say)
        elif self._hangs():
            silence = MAX_UNANSWERED * HEALTH_CHECK_SECONDS
            self._plan_restart(f"did not answer for {silence:.0f} s", say)

    def end(self) -> None:
        """End the process and its children."""
        if self._process is None:
            return
        group = self._process.pid
        reaper.send([group], signal.SIGTERM)
        deadline = time.monotonic() + reaper.GRACE_SECONDS
        while (self.running() or reaper.alive(group)) and time.monotonic() < deadline:
            time.sleep(0.05)
        reaper.send([group], signal.SIGKILL)
        self._process.wait()
        self._reaper.remove(group)
        self._process = None

    def _plan_restart(self, reason: str, say: Callable[[str], None]) -> None:
        self.end()
        if time.monotonic() - self._started_at > LONGEST_DELAY_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        say(f"{self._service.name} {reason}; starts again in {self._delay:.0f} s")
        self._due = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY_SECONDS)

    def _describe_end(self) -> str:
        code = self._process.poll() if self._process is not None else None
        cause = f"stopped with exit code {code}"
        if code is not None and code < 0:
            cause = f"was ended by signal {-code}"
        lines = [line.strip() for line in _tail(self._log) if line.strip()]
        return f"{cause}; the last line of {self._log} is: {(lines or ['nothing'])[-1][:200]}"

    def _hangs(self) -> bool:
        if time.monotonic() - self._checked_at < HEALTH_CHECK_SECONDS:
            return False
        self._checked_at = time.monotonic()
        self._unanswered = 0 if self._answers() else self._unanswered + 1
        return self._unanswered >= MAX_UNANSWERED

    def _answers(self) -> bool:
        if not self._service.health:
            return True
        try:
            with _DIRECT.open(self._service.health, timeout=ANSWER_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class _ReaperProcess:
    """The process that ends the services if this one is killed."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._spawn()

    def _spawn(self) -> None:
        command = [sys.executable, "-I", "-S", reaper.__file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        for group in self._groups:
            self._write(f"+{group}\n")

    def tend(self, say: Callable[[str], None]) -> None:
        """Start it again if it has ended."""
        if self._process.poll() is not None:
            self._spawn()
            say("the reaper, which ends the services if this process is killed, started again")

    def add(self, group: int) -> None:
        """Let it end a process group if this process is killed."""
        self._groups.add(group)
        self._write(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Let it forget a process group that has ended."""
        self._groups.discard(group)
        self._write(f"-{group}\n")

    def close(self) -> None:
        """End it; it ends the groups it still knows."""
        self._process.communicate()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101  # opened as a pipe
        if self._process.poll() is None:  # else its successor gets all groups
            with suppress(BrokenPipeError):
                self._process.stdin.write(line)
                self._process.stdin.flush()


def rotated(log: Path) -> Path:
    """Rename the previous logs to one number higher, and return the path of the new log."""
    for number in range(KEPT_LOGS, 0, -1):
        older = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if older.exists():
            os.replace(older, log.with_name(f"{log.name}.{number}"))
    return log


def _stop_signals() -> Iterator[signal.Signals]:
    yield from (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        yield signal.SIGHUP


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - 4096, 0))
        return file.read().decode(errors="replace").splitlines()
