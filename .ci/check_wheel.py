"""Builds sdist and wheel, installs the wheel into a fresh environment.

Uses it in a folder that is not ours.

The folder holds packages named ``tasks`` and ``flows`` that end the process when they are imported:
a user's own project often has folders of these names. Run from the root of a checkout; needs the
network of pip.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
FOREIGN = 'raise SystemExit("a package of the user was imported in place of ours")\n'
STRATEGY = """
from steelyard.market.strategy import Candidate

from .levels import STEP


class Own:
    warmup = 20
    score_names = ()

    def propose(self, bars):
        return Candidate("buy", 80.0, {}) if bars.close[-1] > STEP * bars.close[-20] else None
"""
REPLAY = ("--start", "2020-06-01", "--end", "2020-07-15", "--trials", "2")
START_SECONDS, RUN_SECONDS = 180, 240


def main() -> None:
    """Check the wheel; every failure ends with the command and what it printed."""
    os.environ.pop("PYTHONPATH", None)  # only the wheel counts
    with tempfile.TemporaryDirectory(prefix="steelyard-wheel-") as name:
        folder = Path(name)
        python = _install(_build(folder / "dist"), folder / "venv")
        work = _foreign_folder(folder / "work")
        _use(python.with_name("steelyard"), work)
        _keep_up(python, work)
    print("the wheel is complete: version, replay, doctor, status, deploy, up")


def _build(folder: Path) -> Path:
    """Return the wheel that is built from the source distribution, which therefore is complete.

    Too.
    """
    _run([sys.executable, "-m", "build", "--outdir", folder, ROOT], ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


def _install(wheel: Path, folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--constraint", CONSTRAINTS, wheel], folder)
    return python


def _foreign_folder(folder: Path) -> Path:
    for name in ("tasks", "flows"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(FOREIGN)
    (folder / "own").mkdir()
    (folder / "own" / "__init__.py").write_text("")
    (folder / "own" / "levels.py").write_text("STEP = 1.01\n")
    (folder / "own" / "system.py").write_text(STRATEGY)
    return folder


def _use(steelyard: Path, work: Path) -> None:
    """Run the commands a newcomer types first."""
    assert _run([steelyard, "--version"], work).strip()
    market = ["replay", "--bars", "simulated:none", *REPLAY, "--json"]
    assert json.loads(_run([steelyard, *market, "--home", "market"], work))["signals"] > 0
    own = [*market, "--strategy", "own.system:Own", "--home", "own_home"]
    assert json.loads(_run([steelyard, *own], work))["signals"] > 0
    rows = json.loads(
        _run([steelyard, "doctor", "--home", "market", "--json"], work, allowed=(0, 1))
    )["rows"]
    standings = {row["name"]: row["standing"] for row in rows}
    assert {standings[name] for name in ("conf", "strategy", "ledger", "MLflow")} == {"ok"}, rows
    assert json.loads(_run([steelyard, "status", "--home", "market", "--json"], work))["state"]


def _keep_up(python: Path, work: Path) -> None:
    """Keep a home up, and let its worker run a deployment."""
    conf = work / "settings"
    shutil.copytree(
        next((python.parents[1] / "lib").glob("python*/site-packages")) / "steelyard" / "conf", conf
    )
    prefect, mlflow, page = _free_ports()
    ports = f"prefect_port: {prefect}\nmlflow_port: {mlflow}\npage_port: {page}\n"
    (conf / "up.yaml").write_text(ports)
    up = [python.with_name("steelyard"), "up", "--home", "kept_up", "--conf", conf]
    with (work / "up.log").open("w") as log:
        process = subprocess.Popen(up, cwd=work, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(work / "up.log", "Ctrl-C", process)
        environment = os.environ | {
            "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
            "PREFECT_API_AUTH_STRING": (work / "kept_up/.steelyard/login").read_text().strip(),
        }
        run = [python, "-P", "-m", "prefect", "deployment", "run", "collect/daily", "--watch"]
        printed = _run(run, work, environment=environment, seconds=RUN_SECONDS)
        assert "finished successfully" in printed, printed
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(log: Path, words: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while words not in log.read_text():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"steelyard up did not come up:\n{log.read_text()}")
        time.sleep(0.5)


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _run(
    command: "list[str | Path]",
    folder: Path,
    allowed: tuple[int, ...] = (0,),
    environment: "dict[str, str] | None" = None,
    seconds: float | None = None,
) -> str:
    """Return what a command prints on stdout.

    Args:
        command: Program and arguments.
        folder: Where it is typed.
        allowed: Exit codes that are no failure.
        environment: Of the process; None for this one's.
        seconds: Time it may take; None for any.
    """
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds
    )
    if ended.returncode not in allowed:
        words = " ".join(map(str, command))
        sys.exit(
            f"{words}: exit code {ended.returncode}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
        )
    return ended.stdout


if __name__ == "__main__":
    main()
