"""What may spoil a training on pictures of a visitor's own: looked for in the background, told under the data."""

from __future__ import annotations

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

Advice = Future[list[str]]


@st.cache_resource(show_spinner=False)
def _worker() -> tuple[ThreadPoolExecutor, LRUCache[tuple[str, float, int], Advice]]:
    """The one of this server, and what it found, by images and split."""
    return ThreadPoolExecutor(1, "advice"), LRUCache(64)


def _look(packed: PackedSet, config: DataConfig) -> list[str]:
    from alexnet_explorer.data.advice import advice

    try:
        return advice(packed, config)
    except DataError as error:  # a single picture
        return [str(error)]


def show(packed: PackedSet, config: DataConfig) -> None:
    """A warning for each thing that a visitor should know of the pictures; the sets that ship need none."""
    if packed.name in SOURCES:
        return
    worker, found = _worker()
    key = (packed.digest, config.val_fraction, config.split_seed)
    if key not in found:
        found[key] = worker.submit(_look, packed, config)
    future = found[key]
    try:
        sentences = future.result(PATIENCE)
    except NotYet:
        st.fragment(_wait, run_every=REFRESH_SECONDS)(future)
        return
    for sentence in sentences:
        st.warning(plain(sentence), icon=":material/lightbulb:")


def _wait(future: Advice) -> None:
    st.caption("Looking for pictures that are there twice …")
    if future.done():
        st.rerun()
