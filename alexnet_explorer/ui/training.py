"""The controls of a run that is to be trained: a preset, a data set, and the toggles.

What a visitor chose is one dictionary of the session: preset, data set, and the fields that were changed since.
The widgets show it and write to it, so that it outlives a walk over the other pages.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import streamlit as st

from alexnet_explorer.config import (
    DECIDED_ELSEWHERE,
    MODEL_PRESETS,
    PRESET_NOTES,
    Augmentation,
    ConfigError,
    ModelConfig,
    RunConfig,
    TrainConfig,
    preset_config,
)
from alexnet_explorer.data.packed import DataError, PackedSet, list_sets
from alexnet_explorer.data.sources import SOURCES
from alexnet_explorer.runs import RunError, find_run, new_run
from alexnet_explorer.ui import live, networks, preparing, queueing
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

_KEY = "train_settings"
_WAITING = "train_waiting"  # the config, as JSON, of a run that starts when its data are there
_ERROR = "train_error"

# What the paper says of each toggle; section numbers in brackets.
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
    "brought over 1 point more [4.1]; rotation, shift and blur are additions of this page.",
    "train.device": "In 2012 it took two GTX 580 with 3 GB each, for five to six days [5].",
}

CHOICES: dict[str, str] = {
    "relu": "ReLU", "overlapping": "overlapping 3/2", "non-overlapping": "plain 2/2", "pca-colour": "PCA colour",
    "cpu": "CPU", "cuda": "GPU",
}  # fmt: skip


def command_line(config: RunConfig) -> str:
    """The command that starts the same run: preset, data, and the fields in which it differs from the preset.

    The number of classes and the digest are left out, as the data decide them. Raises ConfigError where the preset
    is none of ours.
    """
    preset, data = config.model.preset, config.data.name
    words = ["python", "-m", "alexnet_explorer", "train", "--preset", preset, "--data", data]
    for field, value in changes_from_preset(config).items():
        if field in ("train.epochs", "train.seed"):
            words += [f"--{field.removeprefix('train.')}", str(value)]
        else:
            words += ["--set", f"{field}={_as_text(value)}"]
    return shlex.join(words)


def changes_from_preset(config: RunConfig) -> dict[str, Any]:
    """The dotted fields in which a config differs from its preset, but for what the data decide. Raises ConfigError."""
    data = config.data.name
    base = preset_config(config.model.preset, Path(data).name or data).flat()
    changed = {field: value for field, value in config.flat().items() if value != base[field]}
    return {field: value for field, value in changed.items() if field not in DECIDED_ELSEWHERE}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)


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


def planned(config: RunConfig, sets: Mapping[str, PackedSet]) -> RunConfig:
    """The config as it will be trained: with one output for each class of its data, if they are known yet."""
    packed = sets.get(config.data.name)
    classes = len(packed.classes) if packed else 10  # as each of `SOURCES` has
    return config.model_copy(update={"model": config.model.model_copy(update={"num_classes": classes})})


def choose() -> RunConfig | None:
    """The controls and the button that starts a run. Returns the config, or None where settings do not fit together."""
    sets = {packed.name: packed for packed in list_sets()}
    if like := st.query_params.pop("like", ""):
        _take_settings_of(like, sets)
    _choose_preset()
    _choose_data(sets)
    config, fault = _config()
    _start(planned(config, sets) if config else None)
    st.subheader("Toggles", anchor=False)
    _toggles(fault)
    _training(fault)
    return planned(config, sets) if config else None


def plan(config: RunConfig) -> None:
    """What would be trained: its size, its layers, and the command that does the same."""
    st.markdown(
        f"**{config.model.parameters():,} parameters**, {config.train.epochs} epochs on {plain(config.data.name)}."
    )
    st.dataframe(
        layer_table(config.model), key="train_layers", hide_index=True, placeholder="", alt="The layers",
        column_config={"parameters": st.column_config.NumberColumn(format="localized")},
    )  # fmt: skip
    st.caption("The same run from a terminal:")
    st.code(command_line(config), language="bash", wrap_lines=True)


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = st.session_state.setdefault(
        _KEY, {"preset": "alexnet-32", "data": "digits", "changes": {}}
    )
    return settings


def _take_settings_of(run_id: str, sets: Mapping[str, PackedSet]) -> None:
    """Begin with the settings of a run, `?like=ID` in the link, to change some of them."""
    st.session_state.pop(_ERROR, None)
    try:
        config = find_run(run_id, runs_folder()).config
        changes = changes_from_preset(config)
    except (RunError, ConfigError) as error:
        st.session_state[_ERROR] = f"The settings cannot be taken over: {error}"
        return
    _settings().update(preset=config.model.preset, changes=changes)
    if config.data.name in sets or config.data.name in SOURCES:
        _settings()["data"] = config.data.name
    else:
        st.session_state[_ERROR] = f"The data set {config.data.name!r} is not on this machine: choose another."


def _base() -> RunConfig:
    """The preset, before anything was changed."""
    return preset_config(_settings()["preset"], _settings()["data"])


def _config() -> tuple[RunConfig | None, str]:
    """The config as chosen, and, where there is none, the reason in words."""
    try:
        return _base().with_settings(_settings()["changes"]), ""
    except ConfigError as error:
        return None, str(error).removeprefix("model: ")


def _value(field: str) -> Any:
    return _settings()["changes"].get(field, _base().flat()[field])


def _choose_preset() -> None:
    st.session_state["train_preset"] = _settings()["preset"]
    st.selectbox("Preset", list(MODEL_PRESETS), key="train_preset", on_change=_take_preset)
    st.caption(PRESET_NOTES[_settings()["preset"]])


def _take_preset() -> None:
    _settings().update(preset=st.session_state["train_preset"], changes={})


def _choose_data(sets: Mapping[str, PackedSet]) -> None:
    names = list(SOURCES) + [name for name in sets if name not in SOURCES]
    if _settings()["data"] not in names:
        _settings()["data"] = names[0]
    st.session_state["train_data"] = _settings()["data"]
    st.selectbox("Data set", names, key="train_data", on_change=_take_data)
    name = _settings()["data"]
    st.caption(describe_set(sets[name]) if name in sets else f"{SOURCES[name]}.")
    with st.expander("Your own pictures", icon=":material/folder_zip:"):
        _upload()


def describe_set(packed: PackedSet) -> str:
    """How many images of what, in one line."""
    parts = [f"{packed.count('train'):,} training and {packed.count('test'):,} test images"]
    parts += [f"{packed.size}×{packed.size} pixels", f"{len(packed.classes)} classes"]
    if packed.skipped:
        parts.append(f"{len(packed.skipped)} files were left out, as they cannot be read")
    return ", ".join(parts) + "."


def _take_data() -> None:
    _settings()["data"] = st.session_state["train_data"]


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
        packed = preparing.result("upload")
    except DataError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    if packed:
        _settings()["data"] = packed.name
        st.rerun()


def _start(config: RunConfig | None) -> None:
    """The start button, and what became of the last click on it."""
    place = st.container()
    if _WAITING in st.session_state:
        _go_on()
    place.button(
        "Start training", type="primary", icon=":material/play_arrow:", key="train_start", width="stretch",
        disabled=config is None or _WAITING in st.session_state or _no_gpu(config), on_click=_ask, args=(config,),
    )  # fmt: skip
    if message := st.session_state.get(_ERROR):
        st.error(plain(message), icon=":material/error:")
    if config is None:
        st.caption("A setting below does not fit.")
    else:
        st.caption(f"{config.model.parameters():,} parameters, {config.train.epochs} epochs. {_when()}")


def _ask(config: RunConfig) -> None:
    st.session_state.pop(_ERROR, None)
    st.session_state[_WAITING] = config.to_json()
    preparing.begin("start", config.data.name)


def _go_on() -> None:
    """Start the run that waits, if its data are there."""
    try:
        packed = preparing.result("start")
        if packed is None:
            return
        run = new_run(RunConfig.from_json(st.session_state[_WAITING]), packed, runs_folder())
        live.watch(run.id)
        queueing.queue().add(run, quick=True)
    except (DataError, RunError) as error:
        st.session_state[_ERROR] = str(error)
    del st.session_state[_WAITING]


def _when() -> str:
    """When a run that is added now would start."""
    place = queueing.queue().next_place()
    if place == 0:
        return "It starts now."
    at_once = queueing.queue().at_once()
    return f"It will be {queueing.place_text(place)}: runs are trained {'one' if at_once == 1 else at_once} at a time."


def _control(field: str, widget: Callable[..., Any], label: str, fault: str = "", **options: Any) -> None:
    """One widget for one field of the config, what the paper says of it, and why its value cannot be used."""
    key = f"train_{field}"
    st.session_state[key] = _value(field)
    widget(label, key=key, on_change=_take, args=(field,), **options)
    if f"{field.partition('.')[2]}=" in fault:
        st.error(plain(fault), icon=":material/error:")
    if field in PAPER:
        st.caption(PAPER[field])


def _take(field: str) -> None:
    _settings()["changes"][field] = st.session_state[f"train_{field}"]


def _choice(field: str, label: str) -> None:
    """A choice between the values that a field allows."""
    _control(field, st.segmented_control, label, options=_allowed(field), required=True,
             format_func=lambda value: CHOICES.get(value, value))  # fmt: skip


def _allowed(field: str) -> tuple[str, ...]:
    part, _, name = field.partition(".")
    fields = ModelConfig.model_fields if part == "model" else TrainConfig.model_fields
    return get_args(fields[name].annotation)


def _toggles(fault: str) -> None:
    """The ideas of 2012, each a field of the model's or the data's config."""
    _choice("model.activation", "Activation")
    _choice("model.pooling", "Pooling")
    _control("model.lrn", st.toggle, "Local response normalisation (LRN)")
    hidden = MODEL_PRESETS[_settings()["preset"]].fc_widths
    _control("model.dropout", st.slider, "Dropout rate", min_value=0.0, max_value=0.95, step=0.05, disabled=not hidden,
             help=None if hidden else "This preset has no hidden fully connected layer to drop units of.")  # fmt: skip
    if "towers=" in fault:
        fault = f"{fault}. Here {', '.join(map(str, fitting_towers(_base())))} fit."
    _control("model.towers", st.number_input, "Towers", fault, min_value=1, max_value=8)
    _choice("model.init", "Initial weights")
    _control("data.augmentation", st.pills, "Augmentation", options=get_args(Augmentation), selection_mode="multi",
             format_func=lambda value: CHOICES.get(value, value))  # fmt: skip
    if "rotation" in _value("data.augmentation"):
        _control("data.rotation", st.slider, "Largest rotation, degrees", min_value=0.0, max_value=30.0, step=1.0)
    if "shift" in _value("data.augmentation"):
        _control("data.shift", st.slider, "Largest shift, share of the size", min_value=0.0, max_value=0.2, step=0.01)


def _training(fault: str) -> None:
    """Where and how long it is trained, and how."""
    _choice("train.device", "Device")
    if _value("train.device") == "cuda" and gpu_seen() is False:
        st.error("PyTorch sees no CUDA GPU on this machine: take auto or CPU.", icon=":material/error:")
    _control("train.epochs", st.number_input, "Epochs", fault, min_value=1, max_value=100_000)
    with st.expander("More", icon=":material/tune:"):
        _control("train.optimiser", st.selectbox, "Optimiser", options=_allowed("train.optimiser"))
        st.caption("In 2012: momentum, with the weight decay inside the update [5]. Muon, of 2024, learns in fewer "
                   "epochs and costs more for each.")  # fmt: skip
        _control("train.learning_rate", st.number_input, "Learning rate", fault, min_value=1e-6, max_value=100.0,
                 step=0.005, format="%g")  # fmt: skip
        _control("train.schedule", st.selectbox, "Schedule", options=_allowed("train.schedule"))
        st.caption("In 2012 the rate was divided by 10 when the validation error stopped falling: plateau [5].")
        _control("train.batch_size", st.number_input, "Batch size", fault, min_value=1, max_value=65_536)
        _control("train.seed", st.number_input, "Seed", fault, min_value=0, max_value=2**31 - 1)


def gpu_seen() -> bool | None:
    """Whether PyTorch sees a GPU; None while it is not loaded yet, as no page waits for that."""
    if "torch" not in sys.modules or networks.warm_up().is_alive():
        return None
    import torch

    return torch.cuda.is_available()


def _no_gpu(config: RunConfig) -> bool:
    return config.train.device == "cuda" and gpu_seen() is False
