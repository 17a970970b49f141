"""Files to begin with: a home with settings, and a trading system to rewrite."""

import keyword
import re
from pathlib import Path
from string import Template

from steelyard.errors import FixConfiguration
from steelyard.gateways.files import private_folder, write_whole
from steelyard.settings import PACKAGE
from steelyard.views.operations import Scaffold

FIRST_SYSTEM = "my_system"
_TEXTS = PACKAGE / "scaffold"


def init_home(folder: Path) -> Scaffold:
    """Write settings, an example of the environment and a system of the user's own into a folder.

    Args:
        folder: Folder of the home; made if it is not there.

    Raises:
        FixConfiguration: If one of the files is there already, or cannot be written.
    """
    system, module = _system_of(FIRST_SYSTEM)
    delivered = sorted((PACKAGE / "conf").rglob("*.yaml"))
    files = {str(file.relative_to(PACKAGE)): _text(file) for file in delivered}
    head = files["conf/strategy.yaml"].splitlines()[0]
    files["conf/strategy.yaml"] = f"{head}\nsystem: {system}\n"
    files |= {f"{FIRST_SYSTEM}.py": module, ".env.example": _text(_TEXTS / "env.txt")}
    written = _write(folder, files)
    go_there = () if folder.resolve() == Path().resolve() else (f"cd {folder}",)
    return Scaffold(
        written,
        (
            *go_there,
            f"steelyard check-strategy {system} --bars sample",
            f"steelyard replay --bars sample --strategy {system} "
            "--start 2008-01-01 --end 2010-01-01 --retrain-days 90 --home past",
            "name your bars in conf/source.yaml, then: steelyard collect && steelyard doctor",
            "steelyard up",
        ),
    )


def new_strategy(name: str, folder: Path) -> Scaffold:
    """Write a trading system to rewrite.

    Args:
        name: Name of its module, for example ``breakout``.
        folder: Folder of the module.

    Raises:
        FixConfiguration: If the name is none of a module, or the file is there already.
    """
    system, module = _system_of(name)
    return Scaffold(
        _write(folder, {f"{name}.py": module}),
        (
            f"steelyard check-strategy {system} --bars sample",
            f"conf/strategy.yaml: system: {system}",
        ),
    )


def _system_of(name: str) -> tuple[str, str]:
    """Return MODULE:CLASS of a system, and the text of its module."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or keyword.iskeyword(name):
        raise FixConfiguration(
            f"{name!r} is no name of a module: take small letters, digits and underscores, "
            "for example my_breakout"
        )
    class_name = "".join(part.capitalize() for part in name.split("_"))
    text = Template(_text(_TEXTS / "strategy.txt"))
    return f"{name}:{class_name}", text.substitute(class_name=class_name, module=name)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _write(folder: Path, files: dict[str, str]) -> tuple[str, ...]:
    """Write files by name, none of which may be there; return where they are."""
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise FixConfiguration(
            f"{folder / there[0]} is there already; nothing was written, pass another name or "
            "folder"
        )
    try:
        for name, text in files.items():
            private_folder((folder / name).parent)
            write_whole(folder / name, text)
    except OSError as error:
        raise FixConfiguration(f"{folder}: {error.strerror}; pass another folder") from error
    return tuple(str(folder / name) for name in files)
