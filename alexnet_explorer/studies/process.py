"""The process that trains a study: one at most for each study of a runs folder.

runs/.studies/  ID.yaml  ID.lock  ID.process.json  ID.log
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from ..files import write_json
from ..launch import local
from ..launch.cluster import PlaceName
from ..runs import RunError, process_started
from .ledger import own_folder

LOG_BYTES = 4000


def _file(study_id: str, root: Path, ending: str) -> Path:
    return own_folder(root) / f"{study_id}.{ending}"


@contextmanager
def sole(study_id: str, root: Path) -> Iterator[None]:
    """Be the process that trains this study. Raises RunError where there is one, or nothing can be written."""
    try:
        own_folder(root).mkdir(parents=True, exist_ok=True)
        lock = FileLock(_file(study_id, root, "lock"), blocking=False).acquire()
    except Timeout:
        raise RunError(f"the study {study_id} is being trained already") from None
    except OSError as error:
        raise RunError(f"{own_folder(root)} cannot be written: {error.strerror}") from error
    with lock:
        _write_process(study_id, root, os.getpid())
        yield


def _write_process(study_id: str, root: Path, number: int) -> None:
    write_json(_file(study_id, root, "process.json"), {"pid": number, "started": process_started(number)})


def process_of(study_id: str, root: Path) -> int:
    """The id of the process that trains this study; 0 where there is none."""
    try:
        noted = json.loads(_file(study_id, root, "process.json").read_bytes())
        number, started = int(noted["pid"]), float(noted["started"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0
    now = process_started(number)
    # Setting the clock moves the start that the system reports: then the study's lock tells it from another process.
    return number if started and now and (now == started or _held(study_id, root)) else 0


def _held(study_id: str, root: Path) -> bool:
    """Whether a process holds the study's lock, which the system releases when it dies."""
    try:
        with FileLock(_file(study_id, root, "lock"), blocking=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def begin(study_id: str, root: Path, on: PlaceName = "here", any_code: bool = False) -> None:
    """Train a study in a process of its own, which outlives this one; where there is one already, that is it.

    `on`: where its runs are executed. `any_code`: runs of other versions of the code count, too.

    Raises RunError where nothing can be written.
    """
    if process_of(study_id, root):
        return
    log = _file(study_id, root, "log")
    try:
        own_folder(root).mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        command = ["alexnet_explorer", "study", "run", study_id, "--on", on, "--runs", str(root.resolve())]
        number = local.detach([*command, *(["--any-code"] if any_code else [])], log)
        _write_process(study_id, root, number)
    except OSError as error:
        raise RunError(f"the study cannot be started: {error.strerror}; make room on the disk") from error


def end(study_id: str, root: Path) -> None:
    """Ask the process to stop: its runs keep their checkpoints, and the next call goes on with them."""
    if number := process_of(study_id, root):
        with suppress(psutil.Error):
            psutil.Process(number).terminate()


def last_words(study_id: str, root: Path) -> str:
    """The end of what the last process that the app started has said."""
    with suppress(OSError):
        return _file(study_id, root, "log").read_bytes()[-LOG_BYTES:].decode(errors="replace").strip()
    return ""
