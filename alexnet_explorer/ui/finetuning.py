"""The controls of a fine-tuning: the network that it begins from, the layers that stay as they are."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from alexnet_explorer.catalogue import ModelEntry
from alexnet_explorer.data.packed import DataError
from alexnet_explorer.runs import RunError, find_run
from alexnet_explorer.ui import chosen, networks, preparing
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError, digest_of, read_bytes

NEW, TRAINED = "new weights", "a trained network"

FROZEN = ("Frozen layers cost no backward pass, and cannot learn few pictures by heart. The first convolutions see "
          "edges and colours, which serve for any pictures.")  # fmt: skip

_ERROR = "finetuning_error"


def choose_origin() -> bool:
    """New weights or a trained network's; whether it is the latter."""
    st.session_state["train_origin"] = TRAINED if chosen.settings()["init"] else NEW
    st.segmented_control("Start from", [NEW, TRAINED], key="train_origin", required=True, on_change=_take_origin,
                         width="stretch")  # fmt: skip
    if message := st.session_state.pop(_ERROR, ""):
        st.error(plain(message), icon=":material/error:")
    return bool(chosen.settings()["init"])


def choose_network() -> None:
    """Which trained network it begins from, and what that one knows."""
    init = chosen.settings()["init"]
    options = {name: networks.title(entry) for name, entry in _networks().items()}
    name, _, digest = init.rpartition("@")
    if name not in options or _digest(_networks()[name]) != digest:  # a cloned run began from weights of then
        options = {init: f"{name} (as it was)"} | options
        name = init
    st.session_state["train_source"] = name
    st.selectbox("Network", list(options), format_func=lambda option: options.get(option, option), key="train_source",
                 on_change=_take_source)  # fmt: skip
    try:
        source = chosen.source_of(init)
    except (RunError, WeightsError):
        return  # said where the settings are read
    model = source.config.model
    st.caption(f"It tells {len(source.classes)} classes of {plain(source.config.data.name)} apart, in pictures of "
               f"{model.input_size}×{model.input_size} pixels. What it has learned of them serves for others, too, so "
               "that a few dozen pictures of each class are enough. The last layer is drawn anew where the classes "
               "are others.")  # fmt: skip


def data_to_be_had(name: str) -> None:
    """The button that brings a data set which is not on this machine yet."""
    st.info("How a network is fine-tuned depends on the pictures: bring them here first.")
    try:
        if st.button("Get this data set", key="train_get", icon=":material/download:"):
            preparing.begin("choose", name)
        taken = preparing.receive("choose", lambda packed: None)
    except DataError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    if taken:
        st.rerun()


def _networks() -> dict[str, ModelEntry]:
    """Those to begin from, by name; a run at work still changes."""
    return {entry.name: entry for entry in networks.entries() if entry.kind != "run" or not _at_work(entry.name)}


def _at_work(run_id: str) -> bool:
    return find_run(run_id, runs_folder()).status().at_work


def _digest(entry: ModelEntry) -> str:
    return _digest_of(str(entry.path), entry.path.stat().st_mtime_ns)


@st.cache_resource(max_entries=64, show_spinner=False)
def _digest_of(path: str, changed: int) -> str:
    return digest_of(read_bytes(Path(path)))


def _take_origin() -> None:
    if st.session_state["train_origin"] == NEW:
        chosen.settings().update(init="", changes={})
    else:
        _begin_from(next(iter(_networks())))


def _take_source() -> None:
    _begin_from(st.session_state["train_source"])


def _begin_from(name: str) -> None:
    try:
        entry = _networks().get(name)
        init = f"{name}@{_digest(entry)}" if entry else name
    except (OSError, WeightsError) as error:
        st.session_state[_ERROR] = f"It cannot be read: {error}"
        return
    chosen.settings().update(init=init, changes={})
