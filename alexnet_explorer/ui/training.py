"""The controls of a run that is to be trained: what it begins from, its data, its settings, the start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import streamlit as st

from alexnet_explorer.catalogue import find_weights
from alexnet_explorer.config import (
    MODEL_PRESETS,
    PRESET_NOTES,
    Augmentation,
    ConfigError,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from alexnet_explorer.data.packed import DataError, PackedSet
from alexnet_explorer.data.sources import SOURCES
from alexnet_explorer.launch.cluster import PlaceName
from alexnet_explorer.runs import Run, RunError, new_run
from alexnet_explorer.ui import advising, chosen, finetuning, live, networks, placing, preparing, probing, queueing
from alexnet_explorer.ui.chosen import Chosen
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError

_ERROR = "train_error"
_WHERE = "train_where"

# What the paper says of each setting; section numbers in brackets.
PAPER: dict[str, str] = {
    "model.activation": "With ReLU a four-layer network reached 25 % training error on CIFAR-10 in a sixth of the "
    "epochs that tanh took [3.1].",
    "model.pooling": "Windows of 3 pixels, 2 apart, lowered the top-1 error by 0.4 points against windows of 2, and "
    "such networks overfit slightly less [3.4].",
    "model.lrn": "Normalising each response by its neighbours' in five maps lowered the top-1 error by 1.4 points "
    "[3.3].",
    "model.dropout": "Dropping half of the units of fc6 and fc7 prevented substantial overfitting, and about doubled "
    "the steps to converge [4.2].",
    "model.towers": "Two towers on two GPUs lowered the top-1 error by 1.7 points against one GPU's network with half "
    "the kernels [3.2].",
    "model.init": "2012 drew all weights with a deviation of 0.01 and started some biases at 1, which gives the ReLUs "
    "positive inputs at once [5]; modern is He's, of 2015.",
    "data.augmentation": "Without crops and mirror images the network overfits substantially, and changing the colours "
    "brought over 1 point more [4.1]; rotation, shift, blur and zoom are additions of this page.",
    "train.optimiser": "In 2012: gradient descent with momentum, the weight decay inside the update [5]. Muon, of "
    "2024, learns in fewer epochs and costs more for each.",
    "train.learning_rate": "2012 began with 0.01 [5]. The best one depends on all other settings: let it be looked "
    "for.",
    "train.momentum": "0.9 in 2012: each step keeps that share of the one before it [5].",
    "train.average": "Not in the paper. The mean of the weights after each of these steps is what is validated and "
    "kept.",
    "train.weight_decay": "0.0005 in 2012, where it was found to lower the training error, too [5].",
    "train.schedule": "In 2012 the rate was divided by 10 when the validation error stopped falling, three times [5]. "
    "Plateau does so when the validation loss, which is finer, has not fallen for some epochs. One-cycle rises and "
    "falls once, and needs fewer epochs.",
    "train.batch_size": "128 images in 2012 [5].",
    "train.epochs": "About 90 in 2012 [5].",
    "train.device": "In 2012 it took two GTX 580 with 3 GB each, for five to six days [5].",
    "train.precision": "In 2012: 32 bits. fp32 repeats to the bit; auto takes bf16 where a short test finds it faster.",
}

CHOICES: dict[str, str] = {
    "relu": "ReLU", "overlapping": "overlapping 3/2", "non-overlapping": "plain 2/2", "pca-colour": "PCA colour",
    "cpu": "CPU", "cuda": "GPU", "momentum": "momentum (2012)", "muon": "Muon", "plateau": "plateau (2012)",
}  # fmt: skip


def fitting_towers(config: RunConfig) -> list[int]:
    """The numbers of towers that divide the channels of this network."""
    fitting = []
    for towers in range(1, 9):
        try:
            config.with_settings({"model.towers": towers})
        except ConfigError:
            continue
        fitting.append(towers)
    return fitting


def choose() -> Chosen | None:
    """The controls and the button that starts a run. Returns what is chosen, if it is known yet."""
    sets = chosen.sets()
    if like := st.query_params.pop("like", ""):
        changed = st.query_params.pop("with", "")
        st.session_state[_ERROR] = chosen.take_settings_of(like, sets, changed)
    if finetuning.choose_origin():
        finetuning.choose_network()
    else:
        _choose_preset()
    _choose_data(sets)
    found = None
    try:
        found = chosen.now(sets)
        if found is None:
            finetuning.data_to_be_had(chosen.settings()["data"])
    except (RunError, WeightsError) as error:
        st.error(plain(str(error)), icon=":material/error:")
    if found:
        _Controls(found).draw()
    else:
        _start(None)
    return found


def _choose_preset() -> None:
    st.session_state["train_preset"] = chosen.settings()["preset"]
    st.selectbox("Preset", list(MODEL_PRESETS), key="train_preset", on_change=_take_preset)
    st.caption(PRESET_NOTES[chosen.settings()["preset"]])


def _take_preset() -> None:
    chosen.settings().update(preset=st.session_state["train_preset"], changes={})


def _choose_data(sets: Mapping[str, PackedSet]) -> None:
    settings = chosen.settings()
    names = list(SOURCES) + [name for name in sets if name not in SOURCES]
    if settings["data"] not in names:
        settings["data"] = names[0]
    st.session_state["train_data"] = settings["data"]
    st.selectbox("Data set", names, key="train_data", on_change=_take_data)
    name = settings["data"]
    st.caption(describe_set(sets[name]) if name in sets else f"{SOURCES[name]}.")
    if name in sets and (skipped := sets[name].skipped):
        with st.expander(f"Left out: {len(skipped):,}", icon=":material/broken_image:"):
            st.caption("What could not be read: save it again as JPEG or PNG, and add the data set anew.")
            st.dataframe({"file": list(skipped)}, key="train_skipped", hide_index=True, alt="Their names")
    with st.expander("Your own pictures", icon=":material/folder_zip:"):
        _upload()


def describe_set(packed: PackedSet) -> str:
    """How many images of what, in one line."""
    parts = [f"{packed.count('train'):,} training and {packed.count('test'):,} test images"]
    parts += [f"{packed.size}×{packed.size} pixels", f"{len(packed.classes)} classes"]
    return ", ".join(parts) + "."


def _take_data() -> None:
    chosen.settings()["data"] = st.session_state["train_data"]


def _upload() -> None:
    """A zip of class folders becomes a data set of this machine."""
    file = st.file_uploader(
        "A zip file with one folder of pictures for each class", "zip", key="train_zip", help="cats/…, dogs/…; or "
        "train/cats/…, train/dogs/…, test/cats/…, test/dogs/…",
    )  # fmt: skip
    stem = Path(file.name).stem if file else None
    label = st.text_input("Its name", key="train_zip_name", max_chars=120, placeholder=stem)
    try:
        if st.button("Add this data set", key="train_zip_add", disabled=file is None) and file:
            preparing.begin_upload(file, label)
        taken = preparing.receive("upload", _take_upload)
    except DataError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    if taken:
        st.rerun()


def _take_upload(packed: PackedSet) -> None:
    chosen.settings()["data"] = packed.name


class _Controls:
    """The widgets of the settings; each shows its field and takes over what is chosen."""

    def __init__(self, found: Chosen) -> None:
        self.found, self.value = found, found.value

    def draw(self) -> None:
        """Advice and start first, then each setting with what the paper says of it."""
        found = self.found
        if found.packed:
            advising.show(found.packed, (found.config or found.base).data)
        if found.source:
            self.control("train.freeze", st.multiselect, "Layers that stay as they are", options=list(found.fitting),
                         placeholder="None: all of them learn", wrap=True)  # fmt: skip
            st.caption(finetuning.FROZEN)
        _start(found)
        st.subheader("Toggles", anchor=False)
        if found.source is None:
            self._architecture()
        self._regularisation()
        st.subheader("Optimiser and schedule", anchor=False)
        self._optimiser()
        st.subheader("Length, seed, device", anchor=False)
        self._length()

    def control(self, field: str, widget: Callable[..., Any], label: str, fault: str = "", **options: Any) -> None:
        """One widget for one field of the config, what the paper says of it, and why its value cannot be used."""
        key, fault = f"train_{field}", fault or self.found.fault
        st.session_state[key] = self.value(field)
        widget(label, key=key, on_change=_take, args=(field,), **options)
        if f"{field.partition('.')[2]}=" in fault or f"{field} " in fault:
            st.error(plain(fault), icon=":material/error:")
        if field in PAPER:
            st.caption(PAPER[field])

    def _choice(self, field: str, label: str) -> None:
        """A choice between the values that a field allows."""
        self.control(field, st.segmented_control, label, options=_allowed(field), required=True, format_func=_shown)

    def _architecture(self) -> None:
        """The ideas of 2012 that decide what the network is."""
        self._choice("model.activation", "Activation")
        self._choice("model.pooling", "Pooling")
        self.control("model.lrn", st.toggle, "Local response normalisation (LRN)")
        fault = self.found.fault
        if "towers=" in fault:
            fault = f"{fault}. Here {', '.join(map(str, fitting_towers(self.found.base)))} fit."
        self.control("model.towers", st.number_input, "Towers", fault, min_value=1, max_value=8)
        self._choice("model.init", "Initial weights")

    def _regularisation(self) -> None:
        """What keeps it from learning its images by heart."""
        hidden = self.found.base.model.fc_widths
        self.control("model.dropout", st.slider, "Dropout rate", min_value=0.0, max_value=0.95, step=0.05,
                     disabled=not hidden,
                     help=None if hidden else "This network has no hidden fully connected layer to drop units of.",
                     )  # fmt: skip
        self.control("data.augmentation", st.pills, "Augmentation", options=get_args(Augmentation),
                     selection_mode="multi", format_func=_shown, wrap=True)  # fmt: skip
        if "rotation" in self.value("data.augmentation"):
            self.control("data.rotation", st.slider, "Largest rotation, degrees", min_value=0.0, max_value=30.0,
                         step=1.0)  # fmt: skip
        if "shift" in self.value("data.augmentation"):
            self.control("data.shift", st.slider, "Largest shift, share of the size", min_value=0.0, max_value=0.2,
                         step=0.01)  # fmt: skip
        if "zoom" in self.value("data.augmentation"):
            self.control("data.zoom", st.slider, "Least share of the side in view", min_value=0.2, max_value=1.0,
                         step=0.05)  # fmt: skip

    def _optimiser(self) -> None:
        """How the weights are changed."""
        self._choice("train.optimiser", "Optimiser")
        self.control("train.learning_rate", st.number_input, "Learning rate", min_value=1e-12, max_value=100.0,
                     step=0.005, format="%g")  # fmt: skip
        if self.found.config:
            probing.show_rate(self.found.config)
        self.control("train.schedule", st.selectbox, "Schedule", options=_allowed("train.schedule"),
                     format_func=_shown)  # fmt: skip
        if self.value("train.schedule") == "one-cycle":
            self.control("train.warm_up", st.number_input, "Share of the training in which the rate rises",
                         min_value=1e-4, max_value=0.9999, step=0.05, format="%g")  # fmt: skip
        if self.value("train.schedule") == "plateau":
            self.control("train.patience", st.number_input, "Epochs without a lower validation loss before it falls",
                         min_value=1)  # fmt: skip
        self.control("train.momentum", st.number_input, "Momentum", min_value=0.0, max_value=0.99999, step=0.05,
                     format="%g")  # fmt: skip
        self.control("train.weight_decay", st.number_input, "Weight decay", min_value=0.0, max_value=1.0, step=1e-4,
                     format="%g")  # fmt: skip
        self.control("train.average", st.number_input, "Share of the training, its end, whose weights are averaged",
                     min_value=0.0, max_value=1.0, step=0.05, format="%g")  # fmt: skip
        self.control("train.batch_size", st.number_input, "Batch size", min_value=1, max_value=65_536)

    def _length(self) -> None:
        """How long it is trained, on what, and where."""
        self.control("train.epochs", st.number_input, "Epochs", min_value=1, max_value=100_000)
        self.control("data.val_fraction", st.number_input, "Share of the images kept for validation", min_value=1e-5,
                     max_value=0.5, step=0.05, format="%g")  # fmt: skip
        self.control("train.seed", st.number_input, "Seed", min_value=0, max_value=2**31 - 1)
        self._choice("train.device", "Device")
        if self.value("train.device") == "cuda" and gpu_seen() is False:
            st.error("PyTorch sees no CUDA GPU on this machine: take auto or CPU.", icon=":material/error:")
        self._choice("train.precision", "Precision")


def _allowed(field: str) -> tuple[str, ...]:
    part, _, name = field.partition(".")
    fields = ModelConfig.model_fields if part == "model" else TrainConfig.model_fields
    return get_args(fields[name].annotation)


def _shown(value: str) -> str:
    return CHOICES.get(value, value)


def _take(field: str) -> None:
    chosen.change(field, st.session_state[f"train_{field}"])


def _start(found: Chosen | None) -> None:
    """The start button, what became of the last click on it, and what the training will need."""
    config = found.config if found else None
    place = st.container()
    try:
        preparing.receive("start", _watch)
    except DataError as error:
        st.session_state[_ERROR] = str(error)
    with place:
        where = placing.choose(_WHERE)
    place.button(
        "Start training", type="primary", icon=":material/play_arrow:", key="train_start", width="stretch",
        disabled=config is None or preparing.waits("start") or _no_gpu(config), on_click=_ask, args=(config,),
    )  # fmt: skip
    if message := st.session_state.get(_ERROR):
        st.error(plain(message), icon=":material/error:")
    if found and config is None:
        st.caption("A setting below does not fit.")
    if config is None:
        return
    st.caption(f"{config.model.parameters():,} parameters, {config.train.epochs} epochs. {_when(where)}")
    probing.show_estimate(config)


class Begun(NamedTuple):
    """A run that was created, and why it could not be started, if it could not."""

    run_id: str
    fault: str = ""


def _ask(config: RunConfig) -> None:
    """Have the run created and started where it was asked for, once its data are there, whatever page is looked at."""
    st.session_state.pop(_ERROR, None)
    in_slurm = st.session_state.get(_WHERE) == "slurm"
    add = placing.place("slurm").add if in_slurm else partial(queueing.queue().add, quick=True)
    preparing.begin("start", config.data.name, partial(_begin, config, runs_folder(), add))


def _begin(config: RunConfig, root: Path, add: Callable[[Run], None], packed: PackedSet) -> Begun:
    """Create a run and hand it over, without a session. Raises as `new_run` and `new_finetune` do."""
    if config.train.init:
        from alexnet_explorer.training.finetune import new_finetune

        run = new_finetune(config, packed, find_weights(config.train.init, root)[0], root)
    else:
        run = new_run(config, packed, root)
    try:
        add(run)
    except RunError as error:
        return Begun(run.id, str(error))
    return Begun(run.id)


def _watch(begun: Begun) -> None:
    if begun.fault:
        st.session_state[_ERROR] = begun.fault
    live.watch(begun.run_id)


def _when(where: PlaceName) -> str:
    """When a run that is added now would start."""
    if where == "slurm":
        return "It becomes a job of Slurm, which starts it when a node is free; the estimate is of this machine."
    place = queueing.queue().next_place()
    if place == 0:
        return "It starts now."
    at_once = queueing.queue().at_once()
    return f"It will be {queueing.place_text(place)}: runs are trained {'one' if at_once == 1 else at_once} at a time."


def gpu_seen() -> bool | None:
    """Whether PyTorch sees a GPU; None while it is not loaded yet, as no page waits for that."""
    if "torch" not in sys.modules or networks.warm_up().is_alive():
        return None
    import torch

    return torch.cuda.is_available()


def _no_gpu(config: RunConfig) -> bool:
    return config.train.device == "cuda" and gpu_seen() is False
