"""Where runs are trained: the choice between this machine and Slurm, and what a job asks Slurm for.

Nothing of it is drawn where there is no Slurm.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from alexnet_explorer.config import ConfigError
from alexnet_explorer.launch import slurm
from alexnet_explorer.launch.cluster import Cluster, Place, PlaceName
from alexnet_explorer.runs import RunError
from alexnet_explorer.ui import queueing
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

NAMES: dict[PlaceName, str] = {"here": "This machine", "slurm": "Slurm"}
LABELS = {
    "partition": "Partition", "account": "Account", "qos": "QOS", "constraint": "Constraint", "minutes": "Minutes",
    "cpus": "Cores", "gpus": "GPUs", "memory_gb": "Memory, GB", "at_once": "Jobs at once",
}  # fmt: skip

ANSWER_LASTS = 60.0  # seconds until Slurm is asked again whether it is there

_FIELD = "slurm_{}"
_ERROR = "slurm_error"


def choose(key: str) -> PlaceName:
    """The controls, in a row; this machine where there is no Slurm."""
    if slurm.unavailable() or not _answers():
        return "here"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen: PlaceName = st.segmented_control(
            "Where", list(NAMES), default="here", required=True, format_func=NAMES.__getitem__, key=key
        )
        if chosen == "slurm":
            with st.popover("What a job asks for", icon=":material/tune:", key=f"{key}_asks"):
                _settings()
    return chosen


def place(name: PlaceName) -> Place:
    """The place of this name for this app's runs."""
    return Cluster(runs_folder()) if name == "slurm" else queueing.queue()


@st.cache_data(ttl=ANSWER_LASTS, show_spinner=False)
def _answers() -> bool:
    return slurm.answers()


def _settings() -> None:
    try:
        kept = slurm.read_settings(runs_folder())
    except RunError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    columns = st.columns(2)
    for number, (name, label) in enumerate(LABELS.items()):
        value, info = getattr(kept, name), slurm.SlurmSettings.model_fields[name]
        control: Any = columns[number % 2].text_input
        if not isinstance(value, str):
            control = partial(columns[number % 2].number_input, min_value=0, step=1)
        key = _FIELD.format(name)
        st.session_state.setdefault(key, value)
        control(label, key=key, help=info.description, on_change=partial(_take, name))
    if message := st.session_state.pop(_ERROR, ""):
        st.error(plain(message), icon=":material/error:")


def _take(name: str) -> None:
    try:
        slurm.write_settings(runs_folder(), {name: st.session_state[_FIELD.format(name)]})
    except (ConfigError, RunError) as error:
        st.session_state[_ERROR] = str(error)
        del st.session_state[_FIELD.format(name)]
