"""More networks: torchvision's, by one button, and a file of the visitor's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import get_args

import streamlit as st

from alexnet_explorer.catalogue import imported_folder
from alexnet_explorer.ui import lens, networks
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import Look
from alexnet_explorer.weights_file import Prepared, WeightsError, read_bytes, read_metadata

TORCHVISION_MODEL = "torchvision-imagenet"


def more_networks() -> None:
    """Both controls, side by side, and what became of the last use."""
    st.subheader("More networks")
    if message := st.session_state.pop("weights_message", None):
        st.success(message, icon=":material/check:")
    left, right = st.columns(2, gap="large")
    with left:
        _torchvision()
    with right:
        _own_file()


def take_along(row: Sequence[Look]) -> None:
    """The networks that are looked at, as files."""
    with st.expander("Take the network along", icon=":material/download:"):
        st.markdown(
            "As a weights file of this app (safetensors: names, config, classes, preprocessing), or as ONNX, which "
            "other tools read: pictures of 0 to 255 in, logits out, the mean subtracted inside. Both can be added "
            "below again."
        )
        for look in row:
            name = f"{look.model.name}{'' if look.epoch is None else f'-epoch-{look.epoch}'}"
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{plain(look.model.title)}**")
                for suffix, made in (("safetensors", _weights_file), ("onnx", _onnx_file)):
                    st.download_button(
                        suffix, partial(made, look), f"{name}.{suffix}", "application/octet-stream",
                        key=f"take {look.model.name} {suffix}", icon=":material/download:", on_click="ignore",
                    )  # fmt: skip


def _weights_file(look: Look) -> bytes:
    return read_bytes(networks.entry(look.model.name).at(look.epoch))


def _onnx_file(look: Look) -> bytes:
    from alexnet_explorer.onnx_export import to_onnx

    return to_onnx(look.model)


def _torchvision() -> None:
    st.markdown(
        "**ImageNet, 1000 classes.** The network that torchvision publishes, trained on 1.2 million photographs."
    )
    if (imported_folder(runs_folder()) / f"{TORCHVISION_MODEL}.safetensors").exists():
        if st.button("Look at it", key="use_torchvision"):
            _show(TORCHVISION_MODEL, "This is torchvision's network.")
        return
    if not st.button("Download it (233 MB)", key="download_torchvision", icon=":material/download:"):
        return
    from alexnet_explorer.weights_import import download_torchvision

    bar = st.progress(0.0, "Connecting …")
    st.button("Stop", key="stop_download", icon=":material/stop:")  # any click ends this run of the page

    def progress(done: int, total: int) -> None:
        bar.progress(min(done / max(total, 1), 1.0), f"{done / 2**20:.0f} of {total / 2**20:.0f} MB")

    folder = imported_folder(runs_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = download_torchvision(folder, progress)
    except (WeightsError, OSError) as error:
        bar.empty()
        st.error(plain(str(error)), icon=":material/cloud_off:")
        return
    _show(path.stem, "Downloaded, checked, and chosen in the sidebar.")


def _own_file() -> None:
    st.markdown(
        "**Your own weights.** A `.pth` state dict or a `.safetensors` file of an AlexNet, or an `.onnx` file, such as "
        "Caffe's original-geometry AlexNet (`bvlcalexnet` of the ONNX model zoo); nothing in it is executed. What "
        "shapes cannot tell (activation, LRN, preprocessing) is taken from the preset that fits; an ONNX file says it."
    )
    file = st.file_uploader(
        "A weights file", ["pth", "pt", "safetensors", "onnx"], key="own_weights", max_upload_size=1024
    )
    if file is None:
        return
    prepared: Prepared = "as the file says"
    if file.name.lower().endswith(".onnx"):
        prepared = st.segmented_control(
            "Its pictures are prepared", get_args(Prepared), default=prepared, key="own_prepared", required=True,
            help="Exports of this app say it. Of others: as PyTorch's where PyTorch wrote the file, else as Caffe's. "
            "Caffe's take blue first and subtract the mean pixel (104, 117, 123); PyTorch's take red first and bring "
            "each channel to mean 0 and deviation 1.",
        )  # fmt: skip
    if not st.button("Add it", key="add_weights", icon=":material/add:"):
        return
    from alexnet_explorer.weights_import import import_weights

    folder = imported_folder(runs_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with st.spinner("Reading and checking …"):
            path = import_weights(file.getvalue(), file.name, folder, prepared)
            note = read_metadata(path).get("note", "")
    except (WeightsError, OSError) as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    _show(path.stem, f"{plain(path.stem)} is added, and chosen in the sidebar. {plain(note)}")


def _show(name: str, message: str) -> None:
    lens.change(models=(name,), epoch=None, layer=None, unit=None, target=None)
    st.session_state["weights_message"] = message
    st.rerun()
