"""The login of the pages is made once and readable by its owner only."""

from pathlib import Path

import pytest

from steelyard.errors import FixConfiguration
from steelyard.gateways.login import login_file, make_login, read_login


def test_a_login_is_made_once(tmp_path: Path) -> None:
    """It is long, its own in every home, and the same at every start."""
    login = make_login(tmp_path / "one" / "state")

    assert make_login(tmp_path / "one" / "state") == login == read_login(tmp_path / "one" / "state")
    assert make_login(tmp_path / "two") != login
    assert len(login.partition(":")[2]) >= 32
    assert login_file(tmp_path / "two").stat().st_mode & 0o777 == 0o600
    assert read_login(tmp_path / "none") == ""


def test_a_login_that_others_know_is_refused(tmp_path: Path) -> None:
    """The line says what to do."""
    make_login(tmp_path)
    login_file(tmp_path).chmod(0o640)

    with pytest.raises(FixConfiguration, match="can be read by others; delete it"):
        read_login(tmp_path)


def test_a_login_without_password_is_refused(tmp_path: Path) -> None:
    """An emptied file would let everybody in."""
    make_login(tmp_path)
    login_file(tmp_path).write_text("steelyard:\n")

    with pytest.raises(FixConfiguration, match="is not USER:PASSWORD"):
        read_login(tmp_path)
