"""Networks for the pages: listed from headers alone, loaded once for all visitors, results kept within bounds."""

from __future__ import annotations

import gc
import importlib
import json
import os
import threading
from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import streamlit as st
from cachetools import LRUCache
from numpy.typing import NDArray

from alexnet_explorer.catalogue import Catalogue, ModelEntry, find_model
from alexnet_explorer.config import Layer, RunConfig
from alexnet_explorer.runs import EVIDENCE, Run, RunError, find_run, list_runs
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.weights_file import WeightsError, read_layer, read_metadata

if TYPE_CHECKING:
    from alexnet_explorer.weights import LoadedModel

T = TypeVar("T")
_SEEN: ContextVar[list[ModelEntry] | None] = ContextVar("seen", default=None)

RESULT_BYTES = 256 * 2**20
WAIT_SECONDS = 0.2  # between two looks of who waits for what another one computes
MODEL_BYTES = 2**30  # four networks of 2012, as many as are shown side by side


@dataclass(frozen=True)
class Description:
    """What a weights file says of its network, without loading it."""

    config: RunConfig
    classes: tuple[str, ...]

    def layers(self, kinds: tuple[str, ...]) -> list[Layer]:
        return [layer for layer in self.config.model.layers() if layer.kind in kinds]


def entries() -> list[ModelEntry]:
    """The networks that can be chosen, the default one first."""
    seen = _SEEN.get()
    if not seen:
        found = _catalogue(runs_folder()).entries()
        if seen is None:
            return found
        seen += found
    return list(seen)


@contextmanager
def looked_up_once() -> Iterator[None]:
    """Within it, `entries` are those of its first call: a page asks for them many times while it is drawn."""
    before = _SEEN.set([])
    try:
        yield
    finally:
        _SEEN.reset(before)


@st.cache_resource(max_entries=4, show_spinner=False)
def _catalogue(root: Path) -> Catalogue:
    return Catalogue(root)


def entry(name: str) -> ModelEntry:
    """Raises RunError where there is no such network."""
    return find_model(name, runs_folder())


def label(name: str) -> str:
    """The title that people read; the id of a run is added, as titles repeat."""
    try:
        return title(entry(name))
    except RunError:
        return name


def title(found: ModelEntry) -> str:
    """`label` of a network that was looked up already."""
    return f"{found.title} #{found.name[-4:]}" if found.kind == "run" else found.title


def run_label(run: Run) -> str:
    """The title of a run, and the end of its id, as titles repeat; the gallery's have names."""
    return _run_label(run.path, *(_changed(run.path / name) for name in ("config.json", "notes.json")))


@st.cache_resource(max_entries=4096, show_spinner=False)
def _run_label(path: Path, *changed: int) -> str:
    run = Run(path)
    try:
        if run.is_evidence:
            return f"{run.title} #{run.id[-4:]} (a study's evidence)"
        return run.title if run.in_gallery else f"{run.title} #{run.id[-4:]}"
    except RunError:
        return run.id


def _changed(file: Path) -> int:
    """When a file was; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def runs_without_weights(found: Container[str]) -> list[Run]:
    """The runs that are not among the networks `found`, but have curves; what the ledger rests on is among them."""
    runs = [*list_runs(runs_folder()), *list_runs(EVIDENCE, gallery=False)]
    return [run for run in runs if run.id not in found and (run.path / "metrics.jsonl").is_file()]


def describe(found: ModelEntry) -> Description:
    """Config and classes of a network. Raises WeightsError."""
    return _describe(str(found.path), found.path.stat().st_mtime_ns)


@st.cache_resource(max_entries=256, show_spinner=False)
def _describe(path: str, changed: int) -> Description:
    metadata = read_metadata(path)
    return Description(RunConfig.from_json(metadata["config"]), tuple(json.loads(metadata["classes"])))


def snapshots(found: ModelEntry, layer: str | None = None) -> dict[int, Path]:
    """The epochs kept of a network, in order: whole, or at least one layer of it. Imported weights have none."""
    if layer is None or found.kind == "imported":
        return found.epochs()
    return epochs_with(find_run(found.name, runs_folder()), layer)


def epochs_with(run: Run, layer: str) -> dict[int, Path]:
    """The snapshots of a run that hold at least this layer, in order."""
    return {epoch: path for epoch, path in run.snapshots().items() if _holds(path, layer)}


def _holds(path: Path, layer: str) -> bool:
    """Whether a snapshot has a layer; a complete one names none."""
    try:
        layers = json.loads(read_metadata(path).get("layers", "[]"))
    except (WeightsError, ValueError):
        return False
    return not layers or layer in layers


def load_kernels(path: Path, loaded: LoadedModel, layer: str) -> NDArray[np.float32]:
    """A convolution's weights from a snapshot of the same run, complete or partial. Raises WeightsError."""
    name = f"{layer}.weight"
    kernels = read_layer(path, name)
    if kernels.shape != loaded.model.get_parameter(name).shape:
        raise WeightsError(f"{path.name} does not fit its network: choose another epoch.")
    return kernels


def load(name: str, epoch: int | None = None, quietly: bool = False) -> LoadedModel:
    """The network itself; its first use loads PyTorch. The page says that it is loaded, unless `quietly`.

    Raises RunError, WeightsError.
    """
    found = entry(name)
    path = found.at(epoch)
    key, kept = (path, path.stat().st_mtime_ns), _models()
    with nullcontext() if quietly or key in kept else st.spinner("Loading the network …"):
        return kept.get(key, lambda: _load(path, found.name, label(name)))


def _load(path: Path, name: str, title: str) -> LoadedModel:
    import torch

    from alexnet_explorer.weights import load_weights

    # Threads that wait for each other stall a page when a training keeps the cores busy: half of them do.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    return load_weights(path, name, title)


@st.cache_resource(show_spinner=False)
def warm_up() -> threading.Thread:
    """Load PyTorch in the background, once, while the visitor looks at the first page."""
    thread = threading.Thread(target=_import_all, daemon=True)
    thread.start()
    return thread


def _import_all() -> None:
    for module in ("alexnet_explorer.weights", "plotly.graph_objects", "captum.attr"):
        importlib.import_module(module)
    # Streamlit collects garbage after every run of a page; what was imported need not be looked through each time.
    gc.collect()
    gc.freeze()


class Results:
    """What was computed for one visitor, kept for the next: the oldest go when `most_bytes` are reached."""

    def __init__(self, most_bytes: int = RESULT_BYTES, size: Callable[[Any], int] | None = None) -> None:
        self._kept: LRUCache[Hashable, Any] = LRUCache(most_bytes, getsizeof=size or size_of)
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, threading.RLock] = {}

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._kept

    def find(self, key: Hashable) -> Any:
        """The value kept under `key`, or None."""
        with self._lock:
            return self._kept.get(key)

    def get(self, key: Hashable, compute: Callable[[], T], waiting: Callable[[], None] | None = None) -> T:
        """The value kept under `key`, else computed and kept; who asks meanwhile waits for the same one.

        `waiting` is called now and then by who waits, and may raise to end that.
        """
        with self._lock:
            if key in self._kept:
                found: T = self._kept[key]
                return found
            under_way = self._under_way.setdefault(key, threading.RLock())
        while not under_way.acquire(timeout=WAIT_SECONDS if waiting else -1):
            if waiting:
                waiting()
        try:
            with self._lock:
                if key in self._kept:
                    found = self._kept[key]
                    return found
            try:
                value = compute()
                with self._lock, suppress(ValueError):  # larger than the whole store: not kept
                    self._kept[key] = value
            finally:
                with self._lock:
                    self._under_way.pop(key, None)
        finally:
            under_way.release()
        return value


def bytes_of(loaded: LoadedModel) -> int:
    """Bytes of a network's weights."""
    return sum(int(parameter.nbytes) for parameter in loaded.model.parameters())


def size_of(value: object) -> int:
    """Bytes of the arrays in a result, with a little for everything else."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 128
    if isinstance(value, bytes):
        return len(value) + 128
    if isinstance(value, Mapping):
        return sum(map(size_of, value.values())) + 128
    if isinstance(value, list | tuple):
        return sum(map(size_of, value)) + 128
    return sum(size_of(part) for part in vars(value).values()) if hasattr(value, "__dict__") else 128


@st.cache_resource(show_spinner=False)
def results() -> Results:
    """The one store of arrays of this server."""
    return Results()


@st.cache_resource(show_spinner=False)
def _models() -> Results:
    """The one store of networks of this server."""
    return Results(MODEL_BYTES, bytes_of)
