"""What every layer puts out for one picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .hooks import record

if TYPE_CHECKING:
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
