"""Loads classes of others: the user's, named ``MODULE:CLASS``, and those of installed packages.

The current folder stays off ``sys.path``.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from steelyard.errors import FixConfiguration
from steelyard.market.strategy import Strategy, StrategySettings

REQUIRED_PARTS = ("warmup", "score_names", "propose")
NAME = r"\w{1,60}"
"""Name of a feature of the user's own."""


def load_strategy(settings: StrategySettings) -> Strategy:
    """Return an instance of the class named in the settings.

    Raises:
        FixConfiguration: If it cannot be loaded or lacks a part of the contract.
    """
    try:
        strategy = load_class(settings.system)()
    except (ImportError, AttributeError, TypeError) as error:
        raise FixConfiguration(
            f"strategy {settings.system}: {error}; set 'system' in conf/strategy.yaml to "
            "MODULE:CLASS, a class without arguments"
        ) from error
    missing = [name for name in REQUIRED_PARTS if not hasattr(strategy, name)]
    if missing:
        raise FixConfiguration(
            f"strategy {settings.system} lacks {', '.join(missing)}; add it (docs/extending.md)"
        )
    _require_named_features(settings, strategy)
    return cast(Strategy, strategy)


def _require_named_features(settings: StrategySettings, strategy: object) -> None:
    """Refuse a system whose own features have no method, or no usable names."""
    system, names = settings.system, getattr(strategy, "feature_names", ())
    unknown = sorted(set(settings.looked_up) - set(names))
    if unknown:
        raise FixConfiguration(
            f"conf/strategy.yaml: looked_up names {unknown[0]}, which is no feature of {system}; "
            "correct the name, or leave it out"
        )
    if hasattr(strategy, "features") != bool(names):
        raise FixConfiguration(
            f"strategy {system} has only one of features and feature_names; add the other "
            "(docs/guide/own-features.md)"
        )
    unusable = [
        name for name in names if not re.fullmatch(NAME, str(name)) or list(names).count(name) > 1
    ]
    if unusable:
        raise FixConfiguration(
            f"strategy {system}: feature_names holds {unusable[0]!r}; a name has 1 to 60 letters, "
            "digits and underscores, and stands there once"
        )


def load_class(system: str) -> Any:
    """Return the class that ``system`` names as ``MODULE:CLASS``.

    A module with a file in the current folder is loaded from that file, together with its package,
    so that its relative imports work; any other module is imported from what is installed.

    Raises:
        ImportError: If there is no such module.
        AttributeError: If the module has no such class.
    """
    module_name, _, class_name = system.partition(":")
    return getattr(_module(module_name), class_name)


def load_plugin(group: str, name: str, file: str) -> Any:
    """Return the class of a plug-in.

    Args:
        group: Group of entry points, such as ``steelyard.sources``.
        name: ``MODULE:CLASS``, or the name of an entry point of the group.
        file: File in ``conf/`` that names it, for messages.

    Raises:
        FixConfiguration: If it cannot be loaded.
    """
    try:
        if ":" in name:
            return load_class(name)
        return _installed(group)[name].load()
    except (ImportError, AttributeError, KeyError) as error:
        reason = "is not installed" if isinstance(error, KeyError) else str(error)
        raise FixConfiguration(
            f"{file} names {name}, which cannot be loaded: {reason}; correct MODULE:CLASS, or "
            "install what it needs"
        ) from error


def require_plugin(group: str, name: str, built_in: Iterable[str]) -> None:
    """Refuse a name that is neither built in, nor ``MODULE:CLASS``, nor an entry point.

    Args:
        group: Group of entry points.
        name: Name in a file of ``conf/``.
        built_in: Names that need no plug-in.

    Raises:
        ValueError: If nothing has this name.
    """
    if name in built_in or re.fullmatch(r"[\w.]+:\w+", name) or name in _installed(group):
        return
    known = ", ".join((*built_in, *sorted(_installed(group))))
    raise ValueError(f"use one of {known}, or MODULE:CLASS")


def _installed(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def _module(name: str) -> ModuleType:
    outermost = name.partition(".")[0]
    files = (Path(f"{outermost}.py"), Path(outermost) / "__init__.py")
    file = next((file.resolve() for file in files if file.is_file()), None)
    if outermost == "steelyard":
        file = None
    if file is not None:
        loaded = sys.modules.get(outermost)
        if loaded is None:
            _load(outermost, file)
        elif getattr(loaded, "__file__", None) != str(file):
            raise ImportError(
                f"{file} has the name of a module that is already loaded; rename the file"
            )
    return importlib.import_module(name)


def _load(name: str, file: Path) -> None:
    """Load the module or package ``name`` from ``file``; its submodules become importable."""
    folders = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
