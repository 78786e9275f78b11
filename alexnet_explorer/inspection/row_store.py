"""Rows of numbers, one for each picture of a set, kept on disk: computed once, mapped into memory when they are read.

A file holds one array (N, D) in NumPy's format. While it is written it ends in `.part`; the next writer goes on where
the last one stopped. All files together are bounded: those that were not read for the longest time go first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock, Timeout

from ..data.packed import DataError, data_root
from .neighbours import Rows

MOST_BYTES = 2**30
MOST_BYTES_OF_ONE = 2**28  # as many are read for each new picture
Progress = Callable[[float, str], None]


class RowStore:
    """A folder of such files; by default one in the data folder of this machine."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder or data_root() / "rows"
        self.most_bytes = most_bytes

    def find(self, key: tuple[str, ...], count: int) -> Rows | None:
        """The `count` rows kept under a key, mapped read-only; None where they are not there, or not whole."""
        path = self._path(key)
        try:
            rows: Rows = np.load(path, mmap_mode="r", allow_pickle=False)
            os.utime(path)  # read just now, so it is among the last to go
        except (OSError, EOFError, ValueError):
            return None
        return rows if rows.ndim == 2 and len(rows) == count else None

    def fill(
        self, key: tuple[str, ...], count: int, rows_from: Callable[[int], Iterable[Rows]], progress: Progress
    ) -> Rows:
        """The rows of a key, computed where they are not there: `rows_from(start)` gives those from a number on.

        `progress` hears how far it came and may raise, which keeps what is there for the next time. Raises DataError
        where the disk does not take them.
        """
        path = self._path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(path, progress):
                if self.find(key, count) is None:
                    _write(path.with_suffix(".part"), count, rows_from, progress)
                    path.with_suffix(".part").replace(path)
                    self._make_room(path)
        except OSError as error:
            raise DataError(f"What was computed cannot be kept in {self.folder.name!r} ({error.strerror}): make room "
                            "on the disk.") from error  # fmt: skip
        rows = self.find(key, count)
        if rows is None:
            raise DataError("What was computed is gone again: too much of it is asked for at once, try again.")
        return rows

    def _path(self, key: tuple[str, ...]) -> Path:
        return self.folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.npy"

    def _make_room(self, newest: Path) -> None:
        files = sorted(
            ((about.st_mtime, about.st_size, file) for file in self.folder.iterdir() if (about := file.stat())),
            reverse=True,
        )
        total = 0
        for _, size, file in files:
            total += size
            if total > self.most_bytes and file != newest:
                with suppress(OSError):  # read by somebody, where the system minds
                    file.unlink()


@contextmanager
def _alone(path: Path, progress: Progress) -> Iterator[None]:
    """Wait for another visitor's, or another process's, work on the same rows."""
    lock = FileLock(path.with_suffix(".lock"))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            progress(0.0, "Waiting for somebody else, who computes the same")
    try:
        yield
    finally:
        lock.release()


def _write(part: Path, count: int, rows_from: Callable[[int], Iterable[Rows]], progress: Progress) -> None:
    with part.open("r+b" if part.exists() else "w+b") as file:
        done = _begun(file, count)
        for rows in rows_from(done):
            if not file.tell():
                header = {"shape": (count, rows.shape[1]), "fortran_order": False, "descr": rows.dtype.str}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(rows.tobytes())
            done += len(rows)
            progress(done / count, f"{done:,} of {count:,} pictures")
        file.flush()
        os.fsync(file.fileno())


def _begun(file: IO[bytes], count: int) -> int:
    """How many rows are there already, behind which the file stands then; what does not fit is taken away."""
    with suppress(EOFError, ValueError):
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if len(shape) == 2 and shape[0] == count and shape[1] > 0:
            begin, row = file.tell(), shape[1] * dtype.itemsize
            done = min((file.seek(0, os.SEEK_END) - begin) // row, count)
            file.truncate(file.seek(begin + done * row))
            return int(done)
    file.truncate(file.seek(0))
    return 0
