"""What is delivered for deployment is what the programs understand."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from steelyard.errors import FixConfiguration
from steelyard.ops.pages import page

PROJECT = Path(__file__).parents[1]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
UNITS = sorted((PROJECT / "deploy" / "systemd").glob("*.service"))
INSTALLED = "/opt/steelyard/bin/steelyard"
Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_command_that_tells_systemd(unit: Path, command: Command) -> None:
    """The command and its options are there; systemd waits for its signs of life."""
    text = unit.read_text()
    [line] = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, name, *options = shlex.split(line)
    _, shown, _ = command(name, "--help")

    assert program == INSTALLED
    assert f"steelyard-{name}" == unit.stem
    assert all(option in shown for option in options[::2])
    assert "\nType=notify\n" in text
    assert re.search(r"^WatchdogSec=\d+min$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """Nothing is unknown or ignored."""
    copies = [tmp_path / unit.name for unit in UNITS]
    for unit, copy in zip(UNITS, copies, strict=True):
        copy.write_text(unit.read_text().replace(INSTALLED, sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", *copies], capture_output=True, text=True
    )

    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_workflow_of_github_is_the_script_of_ci() -> None:
    """One script says what is checked; beside it a job only gets the source."""
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text())
    [job] = workflow["jobs"].values()
    steps = [step.get("run", step.get("uses", "").partition("@")[0]) for step in job["steps"]]

    assert steps == ["actions/checkout", ".ci/run"]


def test_the_images_are_built_from_what_there_is() -> None:
    """Stages that compose.yaml names, extras and files are there."""
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    extras = set(",".join(re.findall(r"\.\[([\w,]+)\]", DOCKERFILE)).split(","))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    services = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
    copied = re.findall(r"^!(\S+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE)

    built = {service["build"]["target"] for service in services.values() if "build" in service}
    assert built <= stages
    assert extras <= set(project["optional-dependencies"])
    assert {project["readme"], "steelyard", "pyproject.toml", "constraints.txt"} <= set(copied)
    links = [link for link in (PROJECT / "steelyard").iterdir() if link.is_symlink()]
    assert {link.resolve().name for link in links} <= set(copied)
    assert all((PROJECT / name).exists() for name in copied)


@pytest.mark.parametrize("name", ["prefect", "mlflow", "live"])
def test_no_page_starts_without_a_login(
    name: str, home: Path, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page started by itself would otherwise be open to every user of the machine."""
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    with pytest.raises(FixConfiguration, match=f"no login for the page of {name}"):
        page(name, str(home), str(conf))
