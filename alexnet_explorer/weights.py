"""A trained network on disk: one safetensors file that holds all that a prediction needs.

    save_weights("model.safetensors", model, preprocessing, classes, config)
    loaded = load_weights("model.safetensors")
    loaded.model(loaded.preprocessing(image))         # (1, classes)

Tensors bear the paper's names (`conv1.weight`, … `fc8.bias`), beside `input.mean` and `input.std`. Loading is
strict: a name or a shape that differs is an error that says which. `weights_file` knows the layout of the file,
`weights_import` brings in torchvision's weights and a user's own.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, Json, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .config import ModelConfig, RunConfig, Shape, explain
from .data.preprocess import Preprocessing
from .model import AlexNet
from .weights_file import (
    VERSION,
    WeightsError,
    check_version,
    digest_of,
    read_bytes,
    read_header,
    read_metadata,
    shapes_of,
    write_tensors,
)

__all__ = ["LoadedModel", "WeightsError", "load_weights", "save_weights"]

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(eq=False)
class LoadedModel:
    """A network ready to look at: in eval mode, float32, its parameters without gradients.

    Hold `lock` whenever hooks or Captum touch the model: several visitors share it.
    """

    name: str
    title: str
    trained_on: str
    model: AlexNet
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    config: RunConfig
    digest: str
    """The first 16 hexadecimal digits of the file's SHA-256."""
    folders: tuple[str, ...] = ()
    """What the training data's class folders were called (WordNet ids, say), in the order of `classes`, if known."""
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)


class _Description(BaseModel):
    """Our metadata, see `weights_file`."""

    config: Json[RunConfig]
    classes: Json[tuple[str, ...]]
    layers: Json[tuple[str, ...]]
    canvas: Annotated[int, Field(ge=1, le=4096)]
    folders: Json[tuple[str, ...]] = ()


def save_weights(
    path: str | Path,
    model: AlexNet,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    config: RunConfig,
    *,
    layers: Collection[str] = (),
    half: bool = True,
    folders: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a model to `path`, atomically; equal content gives equal bytes.

    layers: keep the parameters of these only (a partial snapshot, for `read_layer`); none named: everything.
    half: parameters as float16 instead of float32; the mean and the deviation of the input stay float32.
    folders: what the class folders of the training data were called, where that is known.
    extra: more metadata, as text.
    Raises OSError where the disk does not take the file.
    """
    tensors = {
        name: tensor.to(torch.float16 if half else torch.float32)
        for name, tensor in model.state_dict().items()
        if not layers or name.rpartition(".")[0] in layers
    }
    if not layers:
        tensors["input.mean"], tensors["input.std"] = preprocessing.mean.float(), preprocessing.std.float()
    metadata = {
        **(extra or {}),
        "alexnet_explorer": VERSION,
        "config": config.model_dump_json(),
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "canvas": str(preprocessing.canvas),
        "layers": json.dumps(sorted(layers)),
    } | ({"folders": json.dumps(list(folders), ensure_ascii=False)} if folders else {})
    write_tensors(Path(path), {name: tensor.cpu().numpy() for name, tensor in tensors.items()}, metadata)


def load_weights(path: str | Path, name: str = "", title: str = "") -> LoadedModel:
    """The model of a file that `save_weights` wrote; `name` and `title` default to the file's.

    Raises WeightsError, which says what differs, where the file is damaged, partial or does not fit its own config.
    """
    path = Path(path)
    return parse_weights(read_bytes(path), name or path.stem, title, shown=path.name)


def parse_weights(data: bytes, name: str, title: str = "", *, shown: str) -> LoadedModel:
    """`load_weights` from bytes; `shown` is the file's name in errors. Raises WeightsError."""
    # Everything comes from one read, so that the digest is that of these tensors even while a run overwrites the file.
    metadata = read_header(io.BytesIO(data), shown)
    about = _described(metadata, shown)
    config = about.config
    if about.layers:
        raise WeightsError(f"{shown} is a partial snapshot (only {', '.join(about.layers)}): choose an epoch whose "
                           "snapshot is complete, or look at the filters of these layers.")  # fmt: skip
    tensors = tensors_of(data, shown)
    preprocessing = _preprocessing(tensors, about.canvas, config.model, shown)
    return LoadedModel(
        name=name,
        title=title or metadata.get("title", name),
        trained_on=config.data.name,
        model=build(config.model, tensors, shown),
        preprocessing=preprocessing,
        classes=about.classes,
        config=config,
        digest=digest_of(data),
        folders=about.folders,
    )


def check_weights(path: Path) -> RunConfig:
    """The config of a weights file, whole or partial, whose tensors have the names and shapes that it says.

    Only the header is read. Raises WeightsError.
    """
    about = _described(read_metadata(path), path.name)
    expected = {name: shape for name, shape in parameter_shapes(about.config.model).items()
                if not about.layers or name.rpartition(".")[0] in about.layers}  # fmt: skip
    found = {name: shape for name, shape in shapes_of(path).items() if about.layers or not name.startswith("input.")}
    if different := differences(expected, found):
        raise WeightsError(f"{path.name} does not fit its network ({about.config.model.preset}): {different}.")
    return about.config


def _described(metadata: Mapping[str, str], shown: str) -> _Description:
    """What the metadata of one of our files say. Raises WeightsError."""
    check_version(metadata, shown)
    try:
        about = _Description.model_validate(metadata)
    except ValidationError as error:
        raise WeightsError(f"{shown} does not describe its network as it should ({explain(error):.200}): take another "
                           "copy of it.") from None  # fmt: skip
    for names in (about.classes, about.folders or about.classes):
        if len(names) != about.config.model.num_classes:
            raise WeightsError(f"{shown} names {len(names)} classes, its network has {about.config.model.num_classes}: "
                               "take another copy of it.")  # fmt: skip
    return about


def tensors_of(data: bytes, shown: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises WeightsError where it is damaged."""
    try:
        tensors: dict[str, Tensor] = parse_safetensors(data)
    except SafetensorError:
        raise WeightsError(f"{shown} is damaged or only the beginning of a file: take another copy of it.") from None
    return tensors


class _Undrawn(TorchFunctionMode):
    """Draws nothing for what is built inside. On `meta` to draw is to import PyTorch's compiler: 80 MB, a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == nn.init.__name__:
            return next(iter((*args, *given.values())))  # the tensor, by its place or by its name
        return func(*args, **given)


def build(config: ModelConfig, tensors: Mapping[str, Tensor], shown: str) -> AlexNet:
    """The network of `config` with these parameters, ready to look at (see `LoadedModel`).

    Raises WeightsError where names or shapes differ, or a value is not a number.
    """
    # Shapes first: a file of a few bytes may claim tensors, or a network, that no memory holds.
    if different := differences(parameter_shapes(config), {name: tuple(t.shape) for name, t in tensors.items()}):
        raise WeightsError(f"{shown} does not fit its network ({config.preset}): {different}.")
    check_numbers(tensors, shown)
    with torch.device("meta"), _Undrawn():  # no memory is filled with first weights that would not be used
        model = AlexNet(config)
    model.load_state_dict({name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}, assign=True)
    return model.eval().requires_grad_(False)


def parameter_shapes(config: ModelConfig) -> dict[str, Shape]:
    """The shape of every parameter of a network by its name, without building it."""
    shapes: dict[str, Shape] = {}
    for layer in config.layers():
        if layer.kind == "conv":
            side = config.kernels[layer.number - 1]
            shapes[f"{layer.name}.weight"] = (layer.output[0], layer.input[0] // layer.groups, side, side)
        elif layer.kind == "fc":
            shapes[f"{layer.name}.weight"] = (layer.output[0], layer.input[0])
        else:
            continue
        shapes[f"{layer.name}.bias"] = (layer.output[0],)
    return shapes


def differences(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> str:
    """What differs between two sets of tensors, in words; empty where nothing does."""
    missing, unexpected, unequal = compare(expected, found)
    shapes = [f"{name} is {_shape(found[name])} instead of {_shape(expected[name])}" for name in unequal]
    parts = {"missing": missing, "not expected": unexpected, "of another shape": shapes}
    return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in parts.items() if names)


def compare(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> tuple[list[str], list[str], list[str]]:
    """The names that are missing, those that are not expected, and those whose shapes are not equal."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    unequal = [name for name in expected if name in found and tuple(found[name]) != tuple(expected[name])]
    return missing, unexpected, unequal


def check_numbers(tensors: Mapping[str, Tensor], shown: str) -> None:
    """Raises WeightsError where a tensor from a file holds anything but finite real numbers."""
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS or tensor.layout != torch.strided or tensor.device.type != "cpu":
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(f"{shown}: {name} holds {kind} values, not plain floating-point weights; "
                               "save the weights before they are quantised or packed.")  # fmt: skip
        # The extremes of a tensor with a NaN are NaN; one pass, 20 times as fast as isfinite().all().
        if not all(extreme.float().isfinite() for extreme in tensor.aminmax()):
            raise WeightsError(f"{shown}: {name} holds values that are not finite (NaN or infinite), as after a "
                               "training that diverged; take weights from an earlier epoch.")  # fmt: skip


def _preprocessing(tensors: dict[str, Tensor], canvas: int, model: ModelConfig, shown: str) -> Preprocessing:
    """Takes `input.mean` and `input.std` out of the tensors."""
    size, channel = model.input_size, (model.in_channels, 1, 1)
    mean, std = (tensors.pop(name, torch.empty(0)) for name in ("input.mean", "input.std"))
    if tuple(mean.shape) not in (channel, (model.in_channels, size, size)) or tuple(std.shape) != channel:
        raise WeightsError(f"{shown} lacks the mean and deviation of its input, or they do not fit {size}×{size} "
                           "pixels: take another copy of it.")  # fmt: skip
    check_numbers({"input.mean": mean, "input.std": std}, shown)
    if canvas < size or not (std > 0).all():
        raise WeightsError(f"{shown} describes an input that no picture can be brought to: take another copy of it.")
    return Preprocessing(canvas, size, mean.float(), std.float())


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
