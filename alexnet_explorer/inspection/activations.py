"""What every layer puts out for one picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .hooks import record
from .mosaic import RGB, colormap_of, mosaic, scale_of
from .picture_sets import PictureSet, scan

if TYPE_CHECKING:
    from alexnet_explorer.config import Layer
    from alexnet_explorer.weights import LoadedModel


@dataclass(frozen=True)
class LayerStatistics:
    """A layer's output for one picture, in numbers. A fully connected layer's units count as maps of one value."""

    maps: int
    dead: int  # maps that are zero everywhere
    zeros: float  # share of all values that are zero, from 0 to 1
    minimum: float
    maximum: float
    mean: float
    std: float


def walk(loaded: LoadedModel, image: Image.Image, names: Iterable[str] | None = None) -> dict[str, NDArray[np.float32]]:
    """The outputs of the named layers, all of them if None, from one forward pass, in evaluation mode.

    Maps are (C, H, W), fully connected layers (units,). Raises KeyError where a layer is not there.
    """
    wanted = list(loaded.model.layers if names is None else names)
    x = loaded.preprocessing(image)
    with loaded.lock, torch.inference_mode(), record(loaded.model, wanted) as outputs:
        loaded.model(x)
    return {name: outputs[name][0].numpy() for name in wanted}


def activations(loaded: LoadedModel, image: Image.Image, layer: str) -> NDArray[np.float32]:
    """One layer's output: (C, H, W), or (units,). Raises KeyError where the layer is not there."""
    return walk(loaded, image, [layer])[layer]


def statistics(values: NDArray[np.float32]) -> LayerStatistics:
    """The statistics of one layer's output: (C, H, W) or (units,)."""
    alive = values.reshape(len(values), -1).any(axis=1)
    return LayerStatistics(
        maps=len(values),
        dead=int(len(values) - alive.sum()),
        zeros=float((values == 0).mean()),
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean(dtype=np.float64)),
        std=float(values.std(dtype=np.float64)),
    )


def strength(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """How strongly each unit responds somewhere, its largest value: (C, H, W) or (units,) → (C,).

    The largest, not the largest |value|: what comes after a ReLU hears of nothing below zero.
    """
    largest: NDArray[np.float32] = values.reshape(len(values), -1).max(axis=1)
    return largest


def strongest_first(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """The numbers of the units, the strongest first; of equals the one with the smaller number."""
    return np.argsort(-strength(values), kind="stable")


def strongest_place(values: NDArray[np.float32]) -> tuple[int, int]:
    """Row and column of the largest value of one unit's map (H, W), the first of equals; 0, 0 of a single value."""
    row, column = np.unravel_index(int(values.argmax()), values.shape) if values.ndim else (0, 0)
    return int(row), int(column)


def block(layers: Mapping[str, Layer], name: str) -> list[str]:
    """The steps around a layer: all layers of its number, such as conv1, relu1, lrn1, pool1, without dropout.

    Where the convolution was dropped from the network, the layer before them comes first, to compare with. Raises
    KeyError where the layer is not there.
    """
    shown = [layer for layer in layers.values() if layer.kind != "dropout"]
    number = layers[name].number
    steps = [layer.name for layer in shown if layer.number == number]
    first = next(place for place, layer in enumerate(shown) if layer.number == number)
    if first and shown[first].kind not in ("conv", "fc"):
        steps.insert(0, shown[first - 1].name)
    return steps


def dead_over(loaded: LoadedModel, pictures: PictureSet, batch: int = 4) -> dict[str, NDArray[np.bool_]]:
    """Which units of each layer are zero everywhere in every picture of a set: (C,) for each layer but dropout's."""
    names = [layer.name for layer in loaded.model.layers.values() if layer.kind != "dropout"]
    dead = {name: np.ones(loaded.model.layers[name].output[0], bool) for name in names}
    for part in scan(loaded, pictures, names, batch=batch):
        for name, values in part.outputs.items():
            dead[name] &= ~values.reshape(*values.shape[:2], -1).any(axis=(0, 2))
    return dead


def thumbnail(values: NDArray[np.float32], side: int = 72) -> RGB:
    """A layer's output in small: its four strongest maps, or each unit a dot: → (h, w, 3), no larger than `side`.

    On a scale of its own, `scale_of`.
    """
    scale = scale_of([values])
    if values.ndim == 1:
        across = math.ceil(math.sqrt(len(values)))
        tiles, columns, gap, zoom = values[:, None, None], across, 0, max(1, side // across)
    else:
        half = (side - 1) // 2
        how = Image.Resampling.BOX if values.shape[1] > half else Image.Resampling.NEAREST
        maps = [Image.fromarray(values[unit]).resize((half, half), how) for unit in strongest_first(values)[:4]]
        tiles, columns, gap, zoom = np.stack([np.asarray(one) for one in maps]), 2, 1, 1
    picture = Image.fromarray(mosaic(tiles, columns, gap, zoom, colormap_of(scale), *scale))
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture)
