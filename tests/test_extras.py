"""What each installation brings, and what a command says of packages that are missing."""

import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from steelyard import cli
from steelyard.errors import EXTRAS, InstallExtra, needing

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    """Names of what is required on this machine, extras aside."""
    wanted = [Requirement(text) for text in requirements]
    return {
        canonicalize_name(one.name)
        for one in wanted
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def test_every_module_that_may_be_missing_names_the_extra_that_brings_it() -> None:
    """Directly or as a requirement of what it lists."""
    distributions = packages_distributions()
    for module, extra in EXTRAS.items():
        listed = names(PROJECT["optional-dependencies"][extra])
        brought = listed.union(*(names(requires(name) or []) for name in listed - {"steelyard"}))
        assert brought & {canonicalize_name(name) for name in distributions[module]}, module


def test_all_and_dev_bring_every_extra_of_the_product() -> None:
    """Whoever installs all, or works on the project, meets no missing package."""
    extras = PROJECT["optional-dependencies"]
    brought = Requirement(*extras["all"]).extras
    brought |= {extra for text in extras["pipeline"] for extra in Requirement(text).extras}
    assert brought == set(extras) - {"all", "dev", "e2e", "store", "bench", "docs", "examples"}
    assert "steelyard[all]" in extras["dev"]


def test_a_command_says_in_one_line_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A module that no extra brings is an unexpected error, as any other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["steelyard", "collect"])
    monkeypatch.setattr(cli, "app", lambda: __import__("no_such_prefect"))
    with pytest.raises(SystemExit, match="unexpected ModuleNotFoundError"):
        cli.main()

    monkeypatch.setitem(sys.modules, "prefect", None)
    monkeypatch.setattr(cli, "app", lambda: __import__("prefect"))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert str(ended.value) == (
        "steelyard: steelyard collect needs prefect, which is not installed; run: "
        "pip install 'steelyard[pipeline]'"
    )


def test_a_missing_module_of_the_users_own_stays_as_it_is() -> None:
    """No extra brings it; one that is named brings all that its code imports."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needing("my_system:MySystem"):
        __import__("no_such_module")
    with pytest.raises(InstallExtra, match=r"'steelyard\[ccxt\]'"), needing("kind: ccxt", "ccxt"):
        __import__("no_such_module")
