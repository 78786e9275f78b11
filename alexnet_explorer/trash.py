"""Deleted runs: they lie in the trash of their runs folder until it is emptied, and can be brought back."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .files import size_on_disk
from .runs import EVIDENCE, GALLERY, Run, RunError, find_run, free_id, list_runs, trash_folder


def list_trash(root: Path) -> list[Run]:
    """The deleted runs of a runs folder, those that were created last first."""
    return list_runs(trash_folder(root), gallery=False)


def restore(deleted: Run, root: Path) -> Run:
    """Bring a deleted run back, under another id where its own is taken by now. Raises RunError."""
    try:
        return Run(deleted.path.rename(root / free_id(deleted.id, root, GALLERY, EVIDENCE)))
    except OSError as error:
        raise RunError(f"run {deleted.id} cannot be restored: {error.strerror}") from error


def empty(deleted: Sequence[Run]) -> int:
    """Remove deleted runs for good. Returns how many bytes that freed. Raises RunError."""
    freed = 0
    for run in deleted:
        size, gone = size_on_disk(run.path), run.path.with_name(f".{run.id}.deleted")
        try:
            run.path.rename(gone)  # what is half removed must not be restored
            shutil.rmtree(gone)
        except OSError as error:
            raise RunError(f"run {run.id} cannot be removed: {error.strerror}") from error
        freed += size
    return freed


def find_deleted(run_id: str, root: Path) -> Run:
    """The run of this id in the trash. Raises RunError."""
    run = find_run(run_id, trash_folder(root))
    if run.in_gallery:
        raise RunError(f"there is no run {run_id!r} in the trash")
    return run
