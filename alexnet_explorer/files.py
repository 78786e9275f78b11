"""Files that are whole or absent: written beside, flushed to the disk, renamed over; their names and sizes; tables."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

REPLACE_PAUSES = (0.01, 0.03, 0.1, 0.3, 0.6)  # seconds between the tries to replace a file that a reader has open


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` so that a reader, or a crash at any moment, sees the old file or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        _replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _replace(part: Path, path: Path) -> None:
    """Rename over a file. Windows refuses that while a reader has the file open, which takes a moment."""
    for pause in REPLACE_PAUSES if sys.platform == "win32" else ():
        try:
            part.replace(path)
            return
        except PermissionError:
            time.sleep(pause)
    part.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with `write_atomic`."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def slug(text: str) -> str:
    """`text` as a file name that is safe everywhere: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "unnamed"


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV, a line each; None is empty. Text that a spreadsheet would compute has an apostrophe before it."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([_not_computed(cell) for cell in row] for row in rows)
    return written.getvalue()


def _not_computed(cell: object) -> object:
    if not isinstance(cell, str) or cell[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def size_on_disk(folder: Path) -> int:
    """Bytes of all files in a folder, at any depth; those that go meanwhile are not counted."""
    total = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                is_folder = entry.is_dir(follow_symlinks=False)
                total += size_on_disk(Path(entry)) if is_folder else entry.stat(follow_symlinks=False).st_size
    return total
