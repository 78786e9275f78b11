"""Files that are whole or absent."""

import sys
from pathlib import Path

import pytest

from alexnet_explorer import files
from alexnet_explorer.files import write_atomic


@pytest.fixture
def open_for(monkeypatch):
    """Lets a reader have the file open for so many tries to replace it, as Windows sees it. Returns the tries."""
    rename, tries = Path.replace, []

    def build(number):
        def replace(part, path):
            tries.append(path)
            if len(tries) <= number:
                raise PermissionError(13, "Access is denied")
            return rename(part, path)

        monkeypatch.setattr(Path, "replace", replace)
        return tries

    monkeypatch.setattr(files, "REPLACE_PAUSES", (0.0,) * len(files.REPLACE_PAUSES))
    return build


@pytest.mark.parametrize("number", [0, 1, len(files.REPLACE_PAUSES)])
def test_windows_is_asked_again_while_a_reader_has_the_file_open(open_for, number, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    tries = open_for(number)
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and len(tries) == number + 1


@pytest.mark.parametrize(("platform", "tried"), [("win32", len(files.REPLACE_PAUSES) + 1), ("linux", 1)])
def test_a_file_that_may_not_be_replaced_stays_and_leaves_no_part(open_for, platform, tried, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(sys, "platform", platform)
    tries = open_for(99)
    with pytest.raises(PermissionError):
        write_atomic(tmp_path / "file", b"new")
    assert len(tries) == tried and [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
