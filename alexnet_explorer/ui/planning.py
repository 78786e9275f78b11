"""What would be trained: its size, its layers, the command that does the same, and a script without this project."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from alexnet_explorer.catalogue import find_weights
from alexnet_explorer.commands import command_line
from alexnet_explorer.config import ModelConfig, RunConfig
from alexnet_explorer.files import slug
from alexnet_explorer.script import PACKED_FOLDER, plain_script
from alexnet_explorer.ui.chosen import Chosen
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

SCRIPT_HEIGHT = 480  # pixels


def layer_table(model: ModelConfig) -> list[dict[str, Any]]:
    """A row for each layer: name, kernel, what comes out for one image (channels×height×width), parameters."""
    rows = []
    for layer in model.layers():
        kernel = model.kernels[layer.number - 1] if layer.kind == "conv" else 1
        rows.append(
            {
                "layer": layer.name,
                "kernel": f"{kernel}×{kernel}" if layer.kind == "conv" else "",
                "output": "×".join(map(str, layer.output)),
                "parameters": layer.parameters(kernel) or None,
            }
        )
    return rows


def show(chosen: Chosen, config: RunConfig) -> None:
    """The plan of what is chosen, in three tabs."""
    layers, command, script = st.tabs(["Layers", "Command line", "PyTorch script"])
    with layers:
        st.markdown(
            f"**{config.model.parameters():,} parameters**, {config.train.epochs} epochs on {plain(config.data.name)}."
        )
        st.dataframe(
            layer_table(config.model), key="train_layers", hide_index=True, placeholder="", alt="The layers",
            column_config={"parameters": st.column_config.NumberColumn(format="localized")},
        )  # fmt: skip
    with command:
        st.markdown("The same run from a terminal, in the folder of this project:")
        st.code(command_line(config, chosen.base), language="bash", wrap_lines=True)
    with script:
        _script(chosen, config)


def _script(chosen: Chosen, config: RunConfig) -> None:
    text = plain_script(config, str(chosen.packed.folder) if chosen.packed else PACKED_FOLDER)
    needs = "PyTorch and NumPy" + (" (and safetensors)" if config.train.init else "")
    st.markdown(
        f"The same training, on a CPU with the same losses, by {needs} alone: to read, to change, to take along."
    )
    if config.train.precision == "auto":
        st.caption("The precision auto becomes fp32 in the script.")
    if chosen.packed is None:
        st.caption("It reads the packed data set, which is made when the first run on it is started.")
    with st.container(horizontal=True):
        name = f"{slug(config.model.preset)}-{slug(config.data.name)}"
        st.download_button("Download the script", text, f"{name}.py", "text/x-python", icon=":material/download:",
                           key="train_script")  # fmt: skip
        if init := config.train.init:
            st.download_button(
                "Download the weights that it begins from", partial(_weights, init), "init.safetensors",
                "application/octet-stream", icon=":material/download:", key="train_script_weights",
                help="python script.py FOLDER init.safetensors",
            )  # fmt: skip
    st.code(text, language="python", height=SCRIPT_HEIGHT)


def _weights(init: str) -> bytes:
    return find_weights(init, runs_folder())[0]
