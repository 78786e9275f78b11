"""Arrays that took long to compute, kept on disk by what they are about: a bounded folder, in which the oldest goes."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from alexnet_explorer.files import write_atomic

_BETWEEN = "\0"  # no name has it


class ArrayCache:
    """Named arrays, some of them together in a file; all files take `most_bytes` at most.

    What was not used for longest goes. What is read has to be checked: a disk may hold anything.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes

    def find(self, *about: str) -> dict[str, NDArray[Any]] | None:
        """The arrays that were kept about this; None where nothing is, or the file is damaged."""
        path = self._path(about)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            _touch(path)
        except (OSError, EOFError, LookupError, TypeError, ValueError, BadZipFile):
            return None
        return arrays

    def keep(self, arrays: Mapping[str, NDArray[Any]], *about: str) -> None:
        """Keep these in place of what was there. A disk that does not take it costs time on another day, no more."""
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self._path(about)
            write_atomic(path, file.getvalue())
            _touch(path)
            self._remove_oldest()

    def _path(self, about: tuple[str, ...]) -> Path:
        return self.folder / f"{hashlib.sha256(_BETWEEN.join(about).encode()).hexdigest()[:32]}.npz"

    def _remove_oldest(self) -> None:
        """Until the rest fits; the newest stays. What a crash left half-written is old one day."""
        left = self.most_bytes
        files = [(path.stat(), path) for path in self.folder.iterdir()]
        for number, (about, path) in enumerate(sorted(files, key=lambda file: -file[0].st_mtime_ns)):
            left -= about.st_size
            if left < 0 and number:
                path.unlink(missing_ok=True)


def _touch(path: Path) -> None:
    """It was used now: the time of a write alone comes in steps of milliseconds."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))
