"""Compiled functions follow their sources."""

import subprocess
import sys
from pathlib import Path

import pytest

from steelyard.settings import PACKAGE

KERNEL = """
from steelyard.compiled import compiled
from steelyard.rules.sizes import sized

@compiled
def run(weight):
    return sized(weight)
"""
RULE = """
from steelyard.compiled import shared
from steelyard.rules import (
    bounds,
)

CAP = bounds.CAP

@shared
def sized(weight):
    return min(weight, CAP)
"""
SAID = "from steelyard.kernel import run; print(run(1.0), sum(run.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of that name with one kernel, its rule, and the rule's bound."""
    package = tmp_path / "steelyard"
    (package / "rules").mkdir(parents=True)
    for name, source in {
        "__init__": "",
        "compiled": (PACKAGE / "compiled.py").read_text(),
        "kernel": KERNEL,
        "rules/__init__": "",
        "rules/sizes": RULE,
        "rules/bounds": "CAP = 0.7",
        "other": "",
    }.items():
        (package / f"{name}.py").write_text(source)
    return package


def said(package: Path) -> str:
    """Return the kernel's result in a new process, and how often it was there already."""
    return subprocess.run(
        [sys.executable, "-P", "-c", SAID],
        env={"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_a_kept_kernel_follows_the_sources_of_its_rules(package: Path) -> None:
    """A bound two imports away counts, a module it does not import does not."""
    assert said(package) == "0.7 0"
    assert said(package) == "0.7 1"

    (package / "other.py").write_text("CAP = 0.2")
    assert said(package) == "0.7 1"

    (package / "rules" / "bounds.py").write_text("CAP = 0.5")
    assert said(package) == "0.5 0"
    assert said(package) == "0.5 1"
