"""Builds sdist and wheel, installs the wheel into a fresh environment: first alone, then with all.

Alone it is the light installation, whose packages and size are held, and which trades, simulates
and checks a strategy. Then all of it is used in a folder that is not ours, and the model that was
trained there is served from a third environment, which has what the model asks for and no
Steelyard.

The folder holds packages named ``tasks`` and ``flows`` that end the process when they are imported:
a user's own project often has folders of these names. Run from the root of a checkout; needs the
network of pip.
"""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from datetime import UTC, datetime, timedelta
from importlib.metadata import distributions
from pathlib import Path
from urllib.request import Request, urlopen

from packaging.requirements import Requirement

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
FEWEST_PACKAGES, LARGEST_SIZE = 30, 350 * 2**20
"""Bounds of the light installation: packages, and bytes in site-packages as ``du`` counts them."""
INSTALLERS = ("pip", "setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence")
SESSION = """
import time

began = time.process_time()
from steelyard import open_session

imported = time.process_time() - began
from datetime import timedelta
from pathlib import Path

import pandas as pd

from steelyard.desk.signals import Signal
from steelyard.market.bars import by_symbol

frame = pd.read_csv("bars/S.csv", parse_dates=["timestamp"]).assign(symbol="S")
bars = by_symbol(frame, pd.Timedelta("1h"))
opened = frame["timestamp"].iloc[-1].to_pydatetime()
session = open_session(Path("light"))
session.warm(bars)
decisions = []
for confidence in (65.0, 75.0):
    name = f"S:{confidence}:buy"
    signal = Signal(name, "S", "buy", opened, opened + timedelta(hours=1), confidence, {})
    evaluation = session.evaluate(signal, bars)
    decisions.append((evaluation.decision, evaluation.blended, evaluation.fallback_reason))
session.close()
assert decisions == [(False, 65.0, "no_model"), (True, 75.0, "no_model")], decisions
print(f"import steelyard and its trading side: {imported:.2f} s of a processor")
"""


def main() -> None:
    """Check the wheel; every failure ends with the command and what it printed."""
    os.environ.pop("PYTHONPATH", None)  # only the wheel counts
    with tempfile.TemporaryDirectory(prefix="steelyard-wheel-") as name:
        folder = Path(name)
        wheel = _build(folder / "dist")
        python = _install(wheel, folder / "venv")
        work = _foreign_folder(folder / "work")
        said = _use_light(python, work)
        _install(wheel, folder / "venv", "[all]")
        _use(python.with_name("steelyard"), work)
        _keep_up(python, work)
        _serve(work / "market/mlruns", python, folder / "served")
    print(said)
    print(
        "the wheel is complete: light session, simulate, check-strategy; version, replay, doctor, "
        "status, deploy, up, mlflow models serve"
    )


def _build(folder: Path) -> Path:
    """Return the wheel that is built from the source distribution, which therefore is complete.

    Too.
    """
    _run([sys.executable, "-m", "build", "--outdir", folder, ROOT], ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


def _install(wheel: Path, folder: Path, extras: str = "") -> Path:
    """Return the Python of an environment with the wheel, made if it is not there.

    Args:
        wheel: The wheel.
        folder: Folder of the environment.
        extras: In brackets; empty for the light installation.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-compile"]  # most modules are never imported
    _run([*pip, "--constraint", CONSTRAINTS, f"{wheel}{extras}"], folder)
    return python


def _use_light(python: Path, work: Path) -> str:
    """Hold packages and size of the light installation, and use it; return what was measured."""
    [site] = python.parents[1].glob("lib/python*/site-packages")
    own = [entry for entry in site.iterdir() if not entry.name.startswith(INSTALLERS)]
    packages = [entry.name for entry in own if entry.suffix == ".dist-info"]
    files = [file for entry in own for file in (entry, *entry.rglob("*")) if file.is_file()]
    size = sum(file.stat().st_size for file in files if "__pycache__" not in file.parts)
    assert len(packages) < FEWEST_PACKAGES, sorted(packages)
    assert size < LARGEST_SIZE, f"{size / 2**20:.0f} MB"
    _share_kernels(site / "steelyard")

    _write_bars(work / "bars" / "S.csv")
    _run([python, "-P", "-c", "from steelyard import open_session"], work)  # compiles the modules
    said = _run([python, "-P", "-c", SESSION], work)
    steelyard = python.with_name("steelyard")
    checked = ["check-strategy", "own.system:Own", "--bars", "bars", "--json"]
    assert json.loads(_run([steelyard, *checked], work))["rows"][0]["standing"] == "ok"
    lives = ["simulate", "--lives", "10", "--months", "6", "--signals", "10", "--home", "light"]
    assert json.loads(_run([steelyard, *lives, "--json"], work))["cells"]
    refused = subprocess.run([steelyard, "train"], cwd=work, capture_output=True, text=True)
    assert refused.returncode == 1, refused.stderr
    assert refused.stderr == (
        "steelyard: steelyard train needs prefect, which is not installed; run: "
        "pip install 'steelyard[pipeline]'\n"
    )
    return f"light: {len(packages)} packages, {size / 2**20:.0f} MB; {said.strip()}"


def _share_kernels(package: Path) -> None:
    """Give an installed package what the checkout has compiled of the same files: it takes minutes.

    Numba knows a file by its size and time.
    """
    for compiled in (ROOT / "steelyard").rglob("*.nb[ci]"):
        subject = compiled.parents[1].relative_to(ROOT / "steelyard")
        module = compiled.parents[1] / f"{compiled.name.partition('.')[0]}.py"
        installed = package / subject / module.name
        if installed.read_bytes() != module.read_bytes():
            continue
        shutil.copystat(module, installed)
        (installed.parent / "__pycache__").mkdir(exist_ok=True)
        shutil.copy2(compiled, installed.parent / "__pycache__" / compiled.name)


def _write_bars(file: Path) -> None:
    """Write made-up hourly bars, whose price swings."""
    file.parent.mkdir()
    price, rows = 100.0, ["timestamp,open,high,low,close,volume"]
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    for hour in range(1500):
        close = 100 + 8 * math.sin(hour / 40) + 2 * math.sin(hour / 3)
        high, low = max(price, close) * 1.002, min(price, close) * 0.998
        stamp = (begin + timedelta(hours=hour)).isoformat()
        rows.append(f"{stamp},{price:.4f},{high:.4f},{low:.4f},{close:.4f},1000")
        price = close
    file.write_text("\n".join(rows) + "\n")


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
    market = ["replay", "--bars", "simulated:hidden", *REPLAY, "--json"]
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
    assert (conf / "profiles" / "postgres" / "services.yaml").exists()
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
        run = [
            python,
            "-P",
            "-m",
            "prefect",
            "deployment",
            "run",
            "collect/collect-only",
            "--watch",
        ]
        printed = _run(run, work, environment=environment, seconds=RUN_SECONDS)
        assert "finished successfully" in printed, printed
    finally:
        process.terminate()
        process.wait(60)


def _serve(mlruns: Path, python: Path, folder: Path) -> None:
    """Serve the champion of a home with ``mlflow models serve``, and ask it."""
    store = f"sqlite:///{mlruns}/mlflow.db"
    model = next(mlruns.glob("artifacts/training/*/artifacts/model"))
    served = _environment(model / "requirements.txt", python, folder)
    missing = [served, "-P", "-c", "import steelyard"]
    assert subprocess.run(missing, capture_output=True).returncode, "Steelyard is there"
    port = _free_ports()[0]
    command = [served, "-P", "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", "models:/signal-confidence@champion", "--port", str(port)]
    variables = {"PATH": f"{served.parent}:{os.environ['PATH']}", "MLFLOW_TRACKING_URI": store}
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(folder / "serve.log", "startup complete", process)
        body = (model / "serving_input_example.json").read_bytes()
        header = {"Content-Type": "application/json"}
        request = Request(f"http://127.0.0.1:{port}/invocations", body, header)
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            predictions = json.load(answer)["predictions"]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)  # the server is a process of its own
            process.wait(60)
    assert len(predictions) == len(json.loads(body)["dataframe_split"]["data"])
    assert all(0 < row["p_win"] < 1 and 0 <= row["confidence_ml"] <= 100 for row in predictions)


def _environment(requirements: Path, python: Path, folder: Path) -> Path:
    """Return the Python of a new environment with some packages of another one, and no others.

    They are linked: it would take two minutes to load them a second time.

    Args:
        requirements: File that names the packages; what these need is there, too.
        python: Python of the environment that has them.
        folder: New folder.
    """
    [site] = python.parents[1].glob("lib/python*/site-packages")
    venv.create(folder)
    [own] = folder.glob("lib/python*/site-packages")
    waiting = [Requirement(line) for line in requirements.read_text().split()]
    done = set[str]()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in done:
            continue
        done.add(str(requirement))
        [package] = distributions(name=requirement.name, path=[str(site)])
        assert package.version in requirement.specifier, requirement
        files = package.files or []
        for name in {file.parts[0] for file in files} - {".."}:
            if not (own / name).exists():
                (own / name).symlink_to(site / name)
        for script in [file for file in files if file.parent.name == "bin"]:
            _, _, code = script.read_text().partition("\n")
            program = folder / "bin" / script.name
            program.write_text(f"#!{folder}/bin/python\n{code}")
            program.chmod(0o755)
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        waiting += [
            needed
            for needed in map(Requirement, package.requires or ())
            if needed.marker is None or any(map(needed.marker.evaluate, extras))
        ]
    return folder / "bin" / "python"


def _wait_for(log: Path, words: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while words not in log.read_text():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"{' '.join(map(str, process.args))} did not come up:\n{log.read_text()}")
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
