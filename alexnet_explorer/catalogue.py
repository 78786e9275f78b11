"""Every network that this installation can show: the gallery, the runs, the weights that users brought.

Read from file names and headers alone, so that a list of models needs no PyTorch.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .runs import Run, RunError, list_runs
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
    epochs: tuple[tuple[int, Path], ...] = ()  # its whole snapshots, in order; `path` may be newer than the last

    def at(self, epoch: int | None) -> Path:
        """The weights of an epoch, or the newest ones; imported weights have no epochs, and are what they are.

        Raises RunError where that epoch of a run was not kept whole.
        """
        if epoch is None or not self.epochs:
            return self.path
        try:
            return dict(self.epochs)[epoch]
        except KeyError:
            kept = ", ".join(str(kept) for kept, _ in self.epochs)
            raise RunError(f"{self.title}: epoch {epoch} was not kept; there are: {kept}") from None


def imported_folder(root: Path) -> Path:
    """Where weights that users brought, or downloaded, are kept: a hidden folder of the runs folder."""
    return root / ".models"


def list_models(root: Path) -> list[ModelEntry]:
    """The gallery (the default model first), then the runs of `root`, newest first, then imported weights."""
    entries = [entry for run in list_runs(root) if (entry := _run_entry(run))]
    entries += [entry for file in sorted(imported_folder(root).glob("*.safetensors")) if (entry := _file_entry(file))]
    order = {"gallery": 0, "run": 1, "imported": 2}
    return sorted(entries, key=lambda entry: (order[entry.kind], entry.name != DEFAULT_MODEL))


def find_model(name: str, root: Path) -> ModelEntry:
    """The network of that name; a name, never a path. Raises RunError with what is there."""
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


def _run_entry(run: Run) -> ModelEntry | None:
    try:
        kind: Literal["gallery", "run"] = "gallery" if run.in_gallery else "run"
        newest = run.weights_file()
        if newest is None:
            return None
        return ModelEntry(run.id, run.title, kind, newest, tuple(run.whole_snapshots().items()))
    except RunError:
        return None


def _file_entry(file: Path) -> ModelEntry | None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.stem):
        return None
    try:
        return ModelEntry(file.stem, read_metadata(file).get("title", file.stem), "imported", file)
    except WeightsError:
        return None
