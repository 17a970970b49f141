"""Steps of a grid: settings for one replay each, in homes of their own."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from steelyard.errors import FixConfiguration
from steelyard.gateways.files import private_folder
from steelyard.home import Home
from steelyard.settings import LINEAGES, SHARED_SUBJECTS, Settings, default_conf, load
from steelyard.tasks.step import step
from steelyard.tasks.trials import count_settings
from steelyard.views.replay import GridPoint

LONGEST_NAME = 200
"""Characters of a folder's name that every file system takes."""


def read_grid(file: Path) -> list[dict[str, Any]]:
    """Return every combination of the values in a grid's file, the last key changing fastest.

    Args:
        file: YAML, ``SUBJECT.KEY`` or ``lineage`` → list of values.

    Raises:
        FixConfiguration: If it cannot be read or is no grid.
    """
    try:
        axes = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise FixConfiguration(f"{file}: no grid can be read ({reason})") from error
    if not isinstance(axes, dict) or not axes:
        raise FixConfiguration(f"{file}: name settings, such as brackets.stop_atr: [1, 2]")
    for key, values in axes.items():
        subject, _, name = str(key).partition(".")
        if key != "lineage" and not (subject in Settings.model_fields and name):
            raise FixConfiguration(
                f"{file}: {key} is no setting; write SUBJECT.KEY, where SUBJECT is a file of conf/ "
                "such as weight, or lineage"
            )
        if not isinstance(values, list) or not values:
            raise FixConfiguration(f"{file}: {key} needs a list of values, such as [1, 2]")
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


@step()
def lay_out(
    grid: Sequence[Mapping[str, Any]], home: Path, conf: Path | None, lineage: str | None
) -> list[GridPoint]:
    """Write the settings of every replay of a grid into its home.

    Args:
        grid: The settings that differ, one mapping per replay.
        home: Folder under which every replay has its home.
        conf: Folder of the settings they have in common; None for the default.
        lineage: Name of the lineage that is replayed; None for the only one, or that of the grid.

    Raises:
        FixConfiguration: If a setting is unknown or out of bounds, two replays have the same name,
            or a home holds other settings.
    """
    points = [
        GridPoint(changes, home.resolve() / _name(changes), changes.get("lineage", lineage))
        for changes in grid
    ]
    homes = [point.home for point in points]
    for point in points:
        if homes.count(point.home) > 1:
            raise FixConfiguration(f"two replays would be named {point.home.name}; rename a value")
    for point in points:
        _write_conf(point, conf or default_conf())
    return points


def _name(changes: Mapping[str, Any]) -> str:
    name = ",".join(f"{key}={value}" for key, value in changes.items())
    return re.sub(r"[^\w.,=-]+", "-", name)[:LONGEST_NAME]


def _write_conf(point: GridPoint, conf: Path) -> None:
    """Write all settings of a replay, valid and in one step."""
    private_folder(point.home)
    with TemporaryDirectory(dir=point.home) as folder:
        new = Path(shutil.copytree(conf, Path(folder) / "conf"))
        for key, value in point.settings.items():
            if key != "lineage":
                _change(new, point.lineage, key, value)
        try:
            load(new, point.lineage)
        except FixConfiguration as error:
            fault = str(error).replace(str(new), "conf")
            raise FixConfiguration(f"{point.home.name}: {fault}") from error
        if not point.conf.exists():
            new.rename(point.conf)
        elif dict(_texts(point.conf)) != dict(_texts(new)):
            raise FixConfiguration(
                f"{point.home} holds a replay with other settings ({point.conf}); "
                "pass an empty --home"
            )


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("*.y*ml"):
        yield str(file.relative_to(folder)), file.read_text(encoding="utf-8")


def _change(conf: Path, lineage: str | None, key: str, value: Any) -> None:
    """Set one value in a folder of settings, in the lineage's own file if it may have one."""
    subject, *path = key.split(".")
    own = conf / LINEAGES / str(lineage)
    folder = own if own.is_dir() and subject not in SHARED_SUBJECTS else conf
    [file, *_] = [*folder.glob(f"{subject}.y*ml"), folder / f"{subject}.yaml"]
    values = (yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None) or {}
    inner = values
    for name in path[:-1]:
        if not isinstance(inner.get(name), dict):
            inner[name] = {}
        inner = inner[name]
    inner[path[-1]] = value
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


@step()
def count_grid(home: Home, others: Sequence[Mapping[str, Any]], as_of: datetime) -> None:
    """Count the other settings of a grid as trials of one of its replays.

    Whoever takes the best of them has tried them all; its own settings are counted as it trains.

    Args:
        home: Home of the replay.
        others: The settings of the other replays.
        as_of: First day of the replay (UTC).
    """
    for settings in others:
        count_settings(home, "grid", settings, as_of)
