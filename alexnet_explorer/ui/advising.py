"""What may spoil a training on pictures of a visitor's own: looked for in the background, told under the data."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import streamlit as st
from cachetools import LRUCache

from alexnet_explorer.config import DataConfig
from alexnet_explorer.data.packed import DataError, PackedSet
from alexnet_explorer.data.sources import SOURCES
from alexnet_explorer.ui.text import plain

PATIENCE = 0.5  # seconds in which most sets are looked through
REFRESH_SECONDS = 1.0
KEPT = 64  # answers


class _Adviser:
    """Looks through one set after the other, and knows what it found in the last ones."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "advice")
        self._found: LRUCache[tuple[str, float, int], Future[list[str]]] = LRUCache(KEPT)
        self._lock = threading.Lock()

    def about(self, packed: PackedSet, config: DataConfig) -> Future[list[str]]:
        """What is to be said of these pictures in this split, now or later."""
        key = (packed.digest, config.val_fraction, config.split_seed)
        with self._lock:
            if key not in self._found:
                self._found[key] = self._worker.submit(_look, packed, config)
            return self._found[key]


@st.cache_resource(show_spinner=False)
def _adviser() -> _Adviser:
    """The one of this server."""
    return _Adviser()


def _look(packed: PackedSet, config: DataConfig) -> list[str]:
    from alexnet_explorer.data.advice import advice

    try:
        return advice(packed, config)
    except DataError as error:  # a single picture
        return [str(error)]
    except OSError as error:
        return [f"The pictures cannot be read ({error.strerror or error}): add the data set again."]


def show(packed: PackedSet, config: DataConfig) -> None:
    """A warning for each thing that a visitor should know of the pictures; the sets that ship need none."""
    if packed.name in SOURCES:
        return
    future = _adviser().about(packed, config)
    try:
        sentences = future.result(PATIENCE)
    except NotYet:
        st.fragment(_wait, run_every=REFRESH_SECONDS)(future)
        return
    for sentence in sentences:
        st.warning(plain(sentence), icon=":material/lightbulb:")


def _wait(future: Future[list[str]]) -> None:
    st.caption("Looking for pictures that are there twice …")
    if future.done():
        st.rerun()
