"""The login of the pages that ``steelyard up`` serves: ``user:password`` in a file of the home."""

import secrets
from pathlib import Path

from steelyard.errors import FixConfiguration
from steelyard.gateways.files import open_to_others, private_folder, write_whole

USER = "steelyard"


def login_file(state: Path) -> Path:
    """Return the file of the login in the folder ``state``."""
    return state / "login"


def make_login(state: Path) -> str:
    """Return the login, made at the first call.

    Args:
        state: Folder of the state; made if it is missing.

    Raises:
        FixConfiguration: If the file is empty, or others can read it.
    """
    file = login_file(state)
    if not file.exists():
        private_folder(state)
        write_whole(file, f"{USER}:{secrets.token_urlsafe(24)}\n")
    return read_login(state)


def read_login(state: Path) -> str:
    """Return the login; empty if ``steelyard up`` never ran here.

    Args:
        state: Folder of the state.

    Raises:
        FixConfiguration: If the file is empty, or others can read it.
    """
    file = login_file(state)
    if not file.exists():
        return ""
    if open_to_others(file):
        raise FixConfiguration(
            f"{file} can be read by others; delete it, and steelyard up makes a new login"
        )
    login = file.read_text(encoding="utf-8").strip()
    if not login.partition(":")[2]:
        raise FixConfiguration(f"{file} is not USER:PASSWORD; delete it, and steelyard up makes it")
    return login
