"""All runs as rows, quickly: what was read of a run is kept in an index, and read again where its files changed.

The index, `.index.sqlite` in the runs folder, holds nothing that is not in the runs: it can be deleted at any time,
and where it is damaged, of another version, or cannot be written, the rows are the same and only come slower.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from .config import DECIDED_ELSEWHERE, ConfigError, RunConfig, preset_config
from .files import size_on_disk
from .notes import Notes
from .runs import EVIDENCE, GALLERY, Run, RunError, Status, run_title

INDEX = ".index.sqlite"
CURVE_POINTS = 24
FORMAT = "1"  # of a row; what a config's fields are counts as well

_FILES = ("config.json", "status.json", "metrics.jsonl", "notes.json")  # those that a row is made of
_LOCK_SECONDS = 2.0  # for another process that writes the index

Stamp = str  # changes with any of the files
_Key = tuple[bool, str]  # whether it ships with the project, and its id


@dataclass(frozen=True)
class Row:
    """What a list says of a run."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="constants")  # a metric may be no number

    id: str
    in_gallery: bool
    own_title: str  # what tells it from others where nobody gave it a name
    status: Status
    notes: Notes
    fault: str  # why it cannot be read, in words
    changed: tuple[str, ...]  # the dotted fields that are not as in its preset
    curve: tuple[float, ...]  # the validation error, over time, in a few points
    bytes: int  # on the disk
    parts: dict[str, str]  # of the config, each as JSON with all its fields; empty where it cannot be read
    is_evidence: bool = False  # it ships as one on which the ledger's verdicts rest

    @property
    def origin(self) -> str:
        """Where it is from, in a word."""
        return "study" if self.is_evidence else "gallery" if self.in_gallery else "here"

    @property
    def title(self) -> str:
        """The name that a person gave it, or its own title."""
        return self.notes.name or self.own_title

    @property
    def config(self) -> dict[str, Mapping[str, Any]]:
        """The fields of the config by part, as its config.json has them; empty where it cannot be read."""
        return {part: _parsed(text) for part, text in self.parts.items()}

    def value(self, field: str) -> Any:
        """A field of the config by its dotted name; None where the config cannot be read."""
        part, _, name = field.partition(".")
        return _parsed(self.parts[part]).get(name) if part in self.parts else None


@lru_cache(maxsize=30_000)
def _parsed(part: str) -> Mapping[str, Any]:
    """The runs of a study share most parts of their configs: each is parsed, and kept, once."""
    fields: dict[str, Any] = json.loads(part)
    return fields


_ROW = TypeAdapter(Row)


def read_row(run: Run) -> Row:
    """The row of a run, read from its files; the status is as they say, whether its process lives or not."""
    fault, own_title = "", "(damaged)"
    changed: tuple[str, ...] = ()
    parts: dict[str, str] = {}
    try:
        settings = run.config
    except RunError as error:
        fault = str(error)
    else:
        own_title, changed = run_title(settings), _changed(settings)
        parts = {name: part.model_dump_json() for name, part in settings}
    try:
        status = run.recorded_status()
    except RunError:
        status = run.status()  # which says why
    return Row(run.id, run.in_gallery, own_title, status, run.notes(), fault, changed, _curve(run),
               size_on_disk(run.path), parts, run.is_evidence)  # fmt: skip


def _curve(run: Run) -> tuple[float, ...]:
    """The validation errors in `CURVE_POINTS` at most, the last one among them."""
    try:
        rows, _ = run.metrics(holding="val/top1_error")
        errors = [round(row["val/top1_error"], 4) for row in rows]
    except (RunError, OSError, LookupError, TypeError):  # the run is listed all the same
        return ()
    every = -(-len(errors) // CURVE_POINTS) or 1
    return tuple(errors[::-1][::every][::-1])


def _changed(config: RunConfig) -> tuple[str, ...]:
    """The fields in which a config differs from what its preset starts from on these data."""
    base = _base(config.model.preset, config.data.name)
    return tuple(
        name for name, value in config.flat().items() if name not in DECIDED_ELSEWHERE and value != base.get(name)
    )  # fmt: skip


@cache
def _base(preset: str, data: str) -> Mapping[str, Any]:
    try:
        return preset_config(preset, data).flat()
    except ConfigError:  # a preset that this version does not have
        return RunConfig().flat()


class Listing:
    """The rows of a runs folder and of the gallery. Several threads may ask, and several processes for one folder.

    With `evidence` also those of the runs on which the ledger's verdicts rest.
    """

    def __init__(self, root: Path, evidence: bool = False) -> None:
        self.root = root
        self._folders = ((False, root), (True, GALLERY), *([(True, EVIDENCE)] if evidence else []))
        self.unread = 0  # runs that the last call had no time for
        self._known: dict[_Key, tuple[Stamp, Row]] | None = None
        self._lock = threading.Lock()

    def rows(self, seconds: float = float("inf")) -> list[Row]:
        """A row for each run, newest first, then the gallery's; what was not read in so many seconds comes next time.

        A run whose process died is interrupted, as `Run.status` says.
        """
        with self._lock:
            rows = self._refreshed(seconds)
        seen = [replace(row, status=row.status.seen_from_here()) if row.status.at_work else row for row in rows]
        own = sorted((row for row in seen if not row.in_gallery), key=lambda row: row.id, reverse=True)
        return own + sorted((row for row in seen if row.in_gallery), key=lambda row: (row.is_evidence, row.id))

    def _refreshed(self, seconds: float) -> list[Row]:
        if self._known is None:
            self._known = self._load()
        known = self._known
        stamps: dict[_Key, Stamp] = {}
        paths: dict[_Key, Path] = {}
        for in_gallery, root in self._folders:
            for name, stamp in _stamps(root).items():
                stamps[in_gallery, name], paths[in_gallery, name] = stamp, root / name
        gone = [key for key in known if key not in stamps]
        for key in gone:
            del known[key]
        stale = [key for key, stamp in stamps.items() if key not in known or known[key][0] != stamp]
        fresh: list[_Key] = []
        self.unread, until = 0, time.monotonic() + seconds
        for count, (in_gallery, name) in enumerate(stale):
            if time.monotonic() > until:
                self.unread = len(stale) - count
                break
            known[in_gallery, name] = stamps[in_gallery, name], read_row(Run(paths[in_gallery, name]))
            fresh.append((in_gallery, name))
        self._store({name: known[False, name] for in_gallery, name in fresh if not in_gallery},
                    [name for in_gallery, name in gone if not in_gallery])  # fmt: skip
        return [row for _, row in known.values()]

    def _load(self) -> dict[_Key, tuple[Stamp, Row]]:
        """What the index holds; nothing where it is not there, cannot be read, or is damaged."""
        if not (self.root / INDEX).is_file():
            return {}
        try:
            with closing(self._open()) as index:
                found = index.execute("SELECT id, stamp, row FROM runs")
                return {(False, name): (stamp, _ROW.validate_json(row)) for name, stamp, row in found}
        except sqlite3.OperationalError:  # locked, or a folder that cannot be written
            return {}
        except (sqlite3.DatabaseError, ValidationError):
            self._remove()
            return {}

    def _store(self, fresh: Mapping[str, tuple[Stamp, Row]], gone: Sequence[str]) -> None:
        """Write rows to the index, where that is possible. Those of runs at work change too often to be worth it."""
        kept = [
            (name, stamp, _ROW.dump_json(row)) for name, (stamp, row) in fresh.items() if not row.status.at_work
        ]  # fmt: skip
        if not kept and not gone:
            return
        try:
            with closing(self._open()) as index, index:
                index.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", kept)
                index.executemany("DELETE FROM runs WHERE id = ?", [(name,) for name in gone])
        except sqlite3.OperationalError:
            return
        except sqlite3.DatabaseError:
            self._remove()

    def _open(self) -> sqlite3.Connection:
        """The index, emptied where another version wrote it. Raises sqlite3.Error."""
        index = sqlite3.connect(self.root / INDEX, timeout=_LOCK_SECONDS)
        try:
            version = int(RunConfig().digest()[:7], 16) ^ int(FORMAT)
            if index.execute("PRAGMA user_version").fetchone() != (version,):
                with index:
                    index.execute("DROP TABLE IF EXISTS runs")
                    index.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, stamp TEXT, row TEXT)")
                    index.execute(f"PRAGMA user_version = {version}")
        except sqlite3.Error:
            index.close()
            raise
        return index

    def _remove(self) -> None:
        with suppress(OSError):
            (self.root / INDEX).unlink(missing_ok=True)


def _stamps(root: Path) -> dict[str, Stamp]:
    """The ids of a folder's runs, each with what changes when it does: inode, time and size of its files."""
    stamps = {}
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and (stamp := _stamp(entry.path)):
                stamps[entry.name] = stamp
    return stamps


def _stamp(folder: str) -> Stamp:
    """Empty where this is no run."""
    parts = []
    for name in _FILES:
        try:
            about = os.stat(f"{folder}/{name}")  # noqa: PTH116 (forty thousand times: a Path takes twice as long)
            parts.append(f"{about.st_ino} {about.st_mtime_ns} {about.st_size}")
        except OSError:
            if not parts:  # config.json
                return ""
            parts.append("")
    return ",".join(parts)
