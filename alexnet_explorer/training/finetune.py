"""Fine-tuning: a network learns other classes from the weights that it has, instead of from random ones.

The new run takes the architecture, the preprocessing and the weights of its source; layers that do not fit, and the
last one where the classes are others, are drawn anew. A copy of the source's weights file lies in the run directory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F

from ..config import Augmentation, ConfigError, DataConfig, ModelConfig, RunConfig, TrainConfig
from ..data.packed import PackedSet
from ..data.preprocess import Preprocessing
from ..model import AlexNet
from ..runs import Run, new_run
from ..weights import parameter_shapes, parse_weights
from ..weights_file import WeightsError, digest_of, read_bytes

STEPS = 200  # of a training on few pictures: more learn them by heart
FEW = 1000  # pictures, of which a fifth is kept for validation


class Source(Protocol):
    """What is to be known of a network from which another one begins; a `LoadedModel` is one."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def config(self) -> RunConfig: ...
    @property
    def classes(self) -> tuple[str, ...]: ...


def finetune_config(source: Source, packed: PackedSet) -> RunConfig:
    """What to begin with: settings that suit a few dozen pictures of each class as well as many thousands."""
    images = packed.count("train")
    batch_size = 16 if images < FEW else 32 if images < 10 * FEW else 128
    val_fraction = 0.2 if images < FEW else 0.1
    steps = math.ceil(images * (1 - val_fraction) / batch_size)
    # A mirrored digit is another sign, or none.
    augmentation: tuple[Augmentation, ...] = ("crop",) if packed.name == "digits" else ("flip", "crop", "pca-colour")
    return RunConfig(
        model=source.config.model.model_copy(update={"num_classes": len(packed.classes)}),
        data=DataConfig(
            name=packed.name, digest=packed.digest, augmentation=augmentation, val_fraction=val_fraction,
            scaling=source.config.data.scaling,
        ),
        train=TrainConfig(
            epochs=min(max(5, math.ceil(STEPS / steps)), 60), batch_size=batch_size, learning_rate=0.005,
            init=f"{source.name}@{source.digest}",
        ),
    )  # fmt: skip


def new_finetune(config: RunConfig, packed: PackedSet, weights: bytes, root: Path) -> Run:
    """A run of `config` that begins from a weights file of ours, not started.

    Raises ConfigError where no layer fits, or one that is to be frozen would be drawn anew.
    """
    source = parse_weights(weights, config.train.init, shown=config.train.init)
    model = config.model.model_copy(update={"num_classes": len(packed.classes)})
    if model.in_channels != source.config.model.in_channels:
        raise ConfigError(f"model.in_channels={model.in_channels}: {source.name} sees pictures of "
                          f"{source.config.model.in_channels} channels, and so does what begins from it; leave it at "
                          f"{source.config.model.in_channels}")  # fmt: skip
    taken = fitting_layers(source, model, packed.classes)
    if not taken:
        raise ConfigError(f"--init: no layer of {source.name} fits this network; leave its sizes as they are")
    if anew := [layer for layer in config.train.freeze if layer not in taken]:
        raise ConfigError(f"train.freeze: {', '.join(anew)} would be drawn anew, as the classes or sizes are others "
                          f"than those of {source.name}; allowed are {', '.join(taken)}")  # fmt: skip
    return new_run(config, packed, root, weights)


def fitting_layers(source: Source, model: ModelConfig, classes: Sequence[str]) -> list[str]:
    """The layers of `model`, which tells `classes` apart, that can begin with the weights of the source."""
    own, its = parameter_shapes(model), parameter_shapes(source.config.model)
    layers = [layer.name for layer in model.layers() if layer.kind in ("conv", "fc")]
    if tuple(classes) != source.classes:
        layers.pop()
    return [
        layer for layer in layers if all(own[name] == its.get(name) for name in (f"{layer}.weight", f"{layer}.bias"))
    ]


def suggested_freeze(source: Source, packed: PackedSet) -> list[str]:
    """The layers that had better stay as they are: of few pictures convolutions learn details by heart."""
    if packed.count("train") >= FEW:
        return []
    fitting = fitting_layers(source, source.config.model, packed.classes)
    return [layer for layer in fitting if layer.startswith("conv")]


@torch.no_grad()
def begin_from(file: Path, init: str, model: AlexNet, classes: Sequence[str]) -> Preprocessing:
    """Give `model` the weights of `file` where they fit. Returns what pictures go through to look as they did there.

    Raises WeightsError where the file is not the one that the run was created with (`train.init`).
    """
    data = read_bytes(file)
    if digest_of(data) != init.rpartition("@")[2]:
        raise WeightsError(f"{file.name} does not hold what this run begins from ({init}): start a new run.")
    source = parse_weights(data, init, shown=file.name)
    for layer in fitting_layers(source, model.config, classes):
        model.get_submodule(layer).load_state_dict(source.model.get_submodule(layer).state_dict())
    return _for_size(source.preprocessing, model.config.input_size)


def _for_size(preprocessing: Preprocessing, size: int) -> Preprocessing:
    """The same for an input of another size: pictures grow or shrink with it, so that it shows as much of them."""
    if size == preprocessing.size:
        return preprocessing
    mean = preprocessing.mean
    if mean.shape[-1] > 1:  # 2012's mean image
        mean = F.interpolate(mean[None], (size, size), mode="bilinear", antialias=True)[0]
    return Preprocessing(round(preprocessing.canvas * size / preprocessing.size), size, mean, preprocessing.std)
