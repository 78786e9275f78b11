"""The kernels of the convolutions: what each unit looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .mosaic import as_colours

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet


def kernels(model: AlexNet, layer: str) -> NDArray[np.float32]:
    """A convolution's weights: (K, maps that each kernel sees, kh, kw), signed, a copy.

    Raises KeyError where the layer is not there, ValueError where it is no convolution.
    """
    module = model.get_submodule(model.resolve(layer))
    if not isinstance(module, nn.Conv2d):
        convolutions = [name for name, other in model.layers.items() if other.kind == "conv"]
        raise ValueError(f"{layer} has no kernels to show; the convolutions are {', '.join(convolutions)}")
    return module.weight.detach().float().numpy().copy()


def filters(model: AlexNet, layer: str = "conv1", scale: float | None = None) -> NDArray[np.float32]:
    """`as_colours` of the convolution that sees the picture itself: (K, kh, kw, 3).

    Raises ValueError where the layer does not see three colours or one grey: look at `kernels` map by map there.
    """
    weights = kernels(model, layer)
    if model.layers[model.resolve(layer)].number != 1 or weights.shape[1] not in (1, 3):
        raise ValueError(f"{layer} sees {weights.shape[1]} maps, not colours: look at one unit's kernel, map by map")
    return as_colours(weights, scale)


def input_maps(model: AlexNet, layer: str, unit: int) -> range:
    """The numbers of the maps that one unit of a convolution sees: all, or those of its own tower [3.2]."""
    shape = model.layers[model.resolve(layer)]
    seen = shape.input[0] // shape.groups
    tower = unit // (shape.output[0] // shape.groups)
    return range(tower * seen, (tower + 1) * seen)


def norms(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Euclidean norm of each of K kernels (K, maps, kh, kw): (K,)."""
    lengths: NDArray[np.float32] = np.linalg.norm(weights.reshape(len(weights), -1), axis=1)
    return lengths
