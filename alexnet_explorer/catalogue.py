"""Every network that this installation can show: the gallery, the runs, the weights that users brought.

Read from file names and headers alone, so that a list of models needs no PyTorch.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import runs
from .runs import Run, RunError, find_run, list_runs
from .weights_file import WeightsError, digest_of, read_bytes, read_metadata

DEFAULT_MODEL = "alexnet-64"
TWINS = ("alexnet-32-relu", "alexnet-32-tanh")  # of the gallery: they differ in one idea, so that they teach something


@dataclass(frozen=True)
class ModelEntry:
    """A network that can predict. `name` is what links and `--model` say."""

    name: str
    title: str
    kind: Literal["gallery", "run", "imported"]
    path: Path
    archived: bool = False  # put away: lists show it only when asked to

    def epochs(self) -> dict[int, Path]:
        """Its whole snapshots, in order, as they are now; `path` may be newer than the last. Imports have none."""
        return {} if self.kind == "imported" else Run(self.path.parent.parent).whole_snapshots()

    def at(self, epoch: int | None) -> Path:
        """The weights of an epoch, or the newest ones; imported weights have no epochs, and are what they are.

        Raises RunError where that epoch of a run was not kept whole.
        """
        kept = {} if epoch is None else self.epochs()
        if epoch is None or not kept:
            return self.path
        try:
            return kept[epoch]
        except KeyError:
            there = ", ".join(map(str, kept))
            raise RunError(f"{self.title}: epoch {epoch} was not kept; there are: {there}") from None


def imported_folder(root: Path) -> Path:
    """Where weights that users brought, or downloaded, are kept: a hidden folder of the runs folder."""
    return root / ".models"


def list_models(root: Path) -> list[ModelEntry]:
    """The gallery (the default model first), then the runs of `root`, newest first, then imported weights."""
    return Catalogue(root).entries()


class Catalogue:
    """`list_models`, again and again: a run or a file is read once more only where it changed. Several may ask."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, tuple[_Stamp, ModelEntry | None]] = {}
        self._lock = threading.Lock()

    def entries(self) -> list[ModelEntry]:
        """As `list_models`."""
        with self._lock:
            known, self._known = self._known, {}
            for folder, read in (
                (runs.GALLERY, _run_entry), (self.root, _run_entry), (imported_folder(self.root), _file_entry)
            ):  # fmt: skip
                found = _stamps(folder, "" if read is _file_entry else "config.json")
                for path, stamp in sorted(found.items(), reverse=folder == self.root):
                    before = known.get(path)
                    self._known[path] = before if before and before[0] == stamp else (stamp, read(Path(path)))
            entries = [entry for _, entry in self._known.values() if entry]
        return sorted(entries, key=lambda entry: (_ORDER[entry.kind], entry.name != DEFAULT_MODEL))


_ORDER = {"gallery": 0, "run": 1, "imported": 2}
_Stamp = tuple[int, ...]


def _stamps(folder: Path, needed: str) -> dict[str, _Stamp]:
    """The paths in a folder that have the file `needed`, each with what changes when it does.

    Config, notes and weights of a run are renamed into place, which changes these files and the folder checkpoints.
    """
    stamps = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            stamp: list[int] = []
            for name in (needed, "notes.json", "checkpoints") if needed else ("",):
                try:
                    about = os.stat(f"{entry.path}/{name}" if name else entry.path)  # noqa: PTH116 (a Path takes longer)
                except OSError:
                    if not stamp:
                        break
                    stamp.append(0)
                else:
                    stamp += about.st_ino, about.st_mtime_ns, about.st_size
            if stamp:
                stamps[entry.path] = tuple(stamp)
    return stamps


def find_model(name: str, root: Path) -> ModelEntry:
    """The network of that name; a name, never a path. Raises RunError with what is there."""
    with suppress(RunError):
        if entry := _run_entry(find_run(name, root).path):
            return entry
    entries = list_models(root)
    for entry in entries:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in entries)
    raise RunError(f"there is no model {name!r}; there are: {known}")


def find_weights(name: str, root: Path) -> tuple[bytes, str, str]:
    """The newest weights file of a network, with its name and title.

    `name` may be `NAME@DIGEST`, as a fine-tuned run writes it down; then a run of `root` that began from these
    weights has them, too. Raises RunError where they are not there, or no longer those of the digest; WeightsError.
    """
    label, digest = name, ""
    if named := re.fullmatch(r"(.+)@([0-9a-f]{16})", name):
        label, digest = named.groups()
        for run in list_runs(root):
            with suppress(RunError):
                if run.init_file.is_file() and run.config.train.init == name:
                    return read_bytes(run.init_file), label, label
    entry = find_model(label, root)
    data = read_bytes(entry.path)
    if digest and digest_of(data) != digest:
        raise RunError(f"the weights of {label!r} are no longer those of {digest}: leave out @{digest}, to take them "
                       "as they are now")  # fmt: skip
    return data, label, entry.title


def _run_entry(path: Path) -> ModelEntry | None:
    run = Run(path)
    try:
        newest = run.weights_file()
        if newest is None:
            return None
        kind: Literal["gallery", "run"] = "gallery" if run.in_gallery else "run"
        return ModelEntry(run.id, run.title, kind, newest, run.notes().archived)
    except RunError:
        return None


def _file_entry(file: Path) -> ModelEntry | None:
    if file.suffix != ".safetensors" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.stem):
        return None
    try:
        return ModelEntry(file.stem, read_metadata(file).get("title", file.stem), "imported", file)
    except WeightsError:
        return None
