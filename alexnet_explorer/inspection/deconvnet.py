"""The deconvnet: from one unit's strongest response back to the pixels that caused it (Zeiler and Fergus 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from .activations import strongest_place, walk
from .attribution import NotApplicable

if TYPE_CHECKING:
    from alexnet_explorer.weights import LoadedModel


@dataclass(frozen=True, eq=False)
class Projection:
    """A unit's strongest response in the input's space."""

    pixels: NDArray[np.float32]
    """(C, size, size), signed, in the unit's own measure: a pattern that the network answers to, no photograph."""
    value: float
    """The response that was taken back, above zero."""
    row: int
    column: int
    """Where it was; 0, 0 of a fully connected layer."""


def deconvnet(
    loaded: LoadedModel,
    image: Image.Image,
    layer: str,
    unit: int,
    outputs: Mapping[str, NDArray[np.float32]] | None = None,
) -> Projection:
    """Take a unit's strongest response to a picture back to the pixels, layer by layer (arXiv:1311.2901, section 2.1).

    All else in its layer is set to zero. A max pooling hands each value to the place that won in the forward pass
    (values that meet there add up; an average pooling spreads them evenly), a ReLU keeps what is above zero, a
    convolution or fully connected layer applies its weights transposed. LRN and dropout are passed straight through,
    as the paper does with its contrast normalisation. Without LRN the result is Captum's `NeuronDeconvolution` times
    the response; that one would go through the gradient of the LRN. `outputs`: of `walk` for this picture, where they
    are there already.

    Raises KeyError where the layer is not there, IndexError where the unit is not, NotApplicable where the network
    has no ReLU or the unit no response above zero.
    """
    model, x = loaded.model, loaded.preprocessing(image)
    if model.config.activation != "relu":
        raise NotApplicable(
            "The deconvnet cuts off what is negative on its way down, as ReLU did on the way up; this network has "
            f"{model.config.activation}, which it says nothing about."
        )
    names = list(model.layers)
    passed = names[: names.index(model.resolve(layer)) + 1]
    found = outputs or walk(loaded, image, passed)
    response = found[passed[-1]][unit]
    row, column = strongest_place(response)
    value = float(response.max())
    if value <= 0:
        raise NotApplicable(f"Unit {unit} of {layer} is nowhere above zero in this picture: there is nothing to take "
                            "back.")  # fmt: skip
    signal = torch.zeros(1, *model.layers[passed[-1]].output)
    (signal[0, unit, row, column] if response.ndim else signal[0, unit]).fill_(value)
    inputs = [x, *(torch.from_numpy(found[name])[None] for name in passed[:-1])]
    with loaded.lock:
        for name, taken in zip(reversed(passed), reversed(inputs), strict=True):
            signal = _down(model.get_submodule(name), taken, signal)
    return Projection(signal[0].numpy(), value, row, column)


def _down(module: nn.Module, taken: Tensor, signal: Tensor) -> Tensor:
    """What a layer makes of a signal from above, in the shape of what it took in."""
    match module:
        case nn.ReLU():
            return signal.relu()
        case nn.Conv2d() | nn.Linear() | nn.MaxPool2d() | nn.AvgPool2d():
            # Their gradient is the transposed weights, and the switches of the pooling.
            with torch.enable_grad():
                start = taken.detach().requires_grad_()
                passed = module(start.flatten(1) if isinstance(module, nn.Linear) else start)
                (spread,) = torch.autograd.grad(passed, start, signal)
            return spread
    return signal.view(taken.shape)
