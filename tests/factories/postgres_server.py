"""A PostgreSQL server as a distribution installs it: on a port, with a login; it may be killed."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from factories.running_up import free_ports

OWNER = "postgres"
"""The server refuses to run as root: then it runs as the user that a distribution makes for it."""
NEEDED = "make postgres needs PostgreSQL with contrib and its programs: apt-get install postgresql"


def programs() -> Path:
    """Folder of the server's programs."""
    of_debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = shutil.which("pg_ctl")
    assert of_debian or on_path, NEEDED
    return of_debian[-1] if of_debian else Path(str(on_path)).parent


@dataclass(frozen=True)
class PostgresServer:
    """A server on this machine.

    Attributes:
        folder: Folder of its data, its log and its socket.
        port: TCP port on 127.0.0.1.
        password: Password of its administrator, who is called postgres.
    """

    folder: Path
    port: int
    password: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which its programs reach it as the administrator."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self.password,
            "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}",
        }

    def ask(self, statement: str) -> str:
        """Return what a statement of the administrator answers, unaligned."""
        asked = subprocess.run(
            ["psql", "--no-align", "--tuples-only", "--command", statement],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return asked.stdout.strip()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def kill(self) -> None:
        """Kill all its processes, as a machine does that loses power."""
        written = (self.folder / "data" / "postmaster.pid").read_text()
        postmaster = psutil.Process(int(written.split()[0]))
        everyone = [postmaster, *postmaster.children()]
        for process in everyone:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(everyone, 30)

    def stop(self) -> None:
        """Stop it at once."""
        self._run("pg_ctl", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [programs() / program, "-D", self.folder / "data", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            user=OWNER if os.geteuid() == 0 else None,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a new server while inside; its data lies where its own user may go."""
    folder = Path(tempfile.mkdtemp(prefix="steelyard-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, OWNER)
    server = PostgresServer(folder, free_ports()[0], secrets.token_hex())
    secret = folder / "password"
    secret.write_text(server.password)
    try:
        server._run("initdb", "--auth=scram-sha-256", "--username=postgres", f"--pwfile={secret}")
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
