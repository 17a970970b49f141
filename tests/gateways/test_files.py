"""Files written whole: the old content or the new one, never a part."""

import os
from pathlib import Path

import pytest

from steelyard.gateways.files import write_whole


@pytest.mark.parametrize("before", [None, "a longer old content"], ids=["new file", "old file"])
@pytest.mark.parametrize("content", ["née", "née".encode()], ids=["text", "bytes"])
def test_a_file_holds_exactly_what_was_written(
    tmp_path: Path, before: str | None, content: str | bytes
) -> None:
    """The content stands alone in its file, and nothing is left beside it."""
    file = tmp_path / "state.json"
    if before is not None:
        file.write_text(before)
    write_whole(file, content)
    assert file.read_bytes() == "née".encode()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A full disk costs the new content only, and leaves no half-written file."""

    def full(*_: object) -> None:
        raise OSError("no space left")

    file = tmp_path / "state.json"
    write_whole(file, "old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_remainder_of_a_process_that_died_is_in_nobodys_way(tmp_path: Path) -> None:
    """What another process left half-written is written over."""
    (tmp_path / "state.json.new").write_text("half of something much longer")
    write_whole(tmp_path / "state.json", "whole")
    assert (tmp_path / "state.json").read_text() == "whole"
