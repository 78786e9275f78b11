"""How one number of a network comes about: the terms that it is made of, and the places that they come from.

    outputs = see(loaded, image)
    step = explain(loaded, outputs, Place("conv1", 17, 3, 9))
    step.total, step.value                  # what its terms make, and the network's own number
    step.origin(0, 5, 5)                    # the place of one number of the patch: explain that one next

The terms are added up in float64 from the network's own weights and the layer's own input; the network computes in
float32, so that the two differ in the seventh digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from alexnet_explorer.data.preprocess import LUMA
from alexnet_explorer.model import LocalResponseNorm

from .activations import walk
from .filters import input_maps
from .steps import (
    PIXELS,
    ActivationStep,
    Array,
    ConvolutionStep,
    DropoutStep,
    FullStep,
    LrnStep,
    Outputs,
    PixelStep,
    Place,
    PoolStep,
    SoftmaxStep,
    Step,
    before,
    exists,
    unflattened,
)

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel


def pixels(loaded: LoadedModel, image: Image.Image) -> NDArray[np.float32]:
    """What the network takes in of a picture: (C, size, size), after its preprocessing."""
    return loaded.preprocessing(image)[0].numpy()


def see(loaded: LoadedModel, image: Image.Image) -> dict[str, NDArray[np.float32]]:
    """The outputs of every layer for a picture, and under `PIXELS` what went in."""
    return {PIXELS: pixels(loaded, image), **walk(loaded, image)}


def explain(loaded: LoadedModel, outputs: Outputs, place: Place, seed: int = 0) -> Step:
    """How the number at a place of a layer comes about. `outputs` as `see` gives them; `seed` draws dropout's mask.

    Raises KeyError where this network has no such layer, IndexError where the layer has no such place.
    """
    model = loaded.model
    layer = model.layers[model.resolve(place.layer)]
    place = Place(layer.name, place.unit, place.row, place.column)
    if not exists(model, place):
        raise IndexError(f"{layer.name} has no {place}: it puts out {'×'.join(map(str, layer.output))} numbers")
    source = before(model, layer.name)
    given = outputs[source]
    value = float(_number(outputs[layer.name], place))
    module = model.get_submodule(layer.name)
    if isinstance(module, nn.Conv2d):
        return _convolution(model, module, given, place, value)
    if isinstance(module, LocalResponseNorm):
        return _lrn(module, source, given, place, value)
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return _pool(module, source, given, place, value)
    if isinstance(module, nn.Linear):
        bias = float(module.bias[place.unit])
        weights = module.weight[place.unit].detach().double().numpy()
        return FullStep(place, value, source, given.shape, given.astype(np.float64).ravel(), weights, bias)
    if isinstance(module, nn.Dropout):
        origin = unflattened(source, given.shape, place.unit)
        kept = mask(layer.output[0], module.p, seed)
        return DropoutStep(place, value, module.p, float(_number(given, origin)), origin, seed, kept)
    origin = Place(source, place.unit, place.row, place.column)
    return ActivationStep(place, value, model.config.activation, float(_number(given, origin)), origin)


def explain_probability(loaded: LoadedModel, outputs: Outputs, unit: int) -> SoftmaxStep:
    """The probability of a class, from the outputs of the last layer. Raises IndexError where it is not there."""
    last = list(loaded.model.layers)[-1]
    logits = outputs[last]
    own = float(torch.from_numpy(logits).softmax(0)[unit])
    return SoftmaxStep(Place(last, unit), own, logits.astype(np.float64))


def explain_pixel(loaded: LoadedModel, crop: NDArray[np.uint8], outputs: Outputs, place: Place) -> PixelStep:
    """How a number that goes in comes from its pixel. `crop` is what `preprocessing.crop` cuts: (size, size, 3)."""
    prepared = loaded.preprocessing
    weights = np.array(LUMA) if prepared.channels == 1 else np.eye(3)[place.unit]
    row, column = (place.row, place.column) if prepared.mean.shape[1] > 1 else (0, 0)  # one mean, or a mean image
    return PixelStep(
        place,
        float(_number(outputs[PIXELS], place)),
        crop[place.row, place.column],
        weights,
        float(prepared.mean[place.unit, row, column]),
        float(prepared.std[place.unit, 0, 0]),
    )


def mask(units: int, p: float, seed: int) -> NDArray[np.bool_]:
    """Which units dropout keeps, drawn as `model.Dropout` does for a batch of one under `torch.manual_seed(seed)`."""
    drawn = torch.empty(units).bernoulli_(1 - p, generator=torch.Generator().manual_seed(seed))
    return drawn.bool().numpy()


def _number(values: NDArray[np.float32], place: Place) -> np.float32:
    number: np.float32 = values[place.unit, place.row, place.column] if values.ndim == 3 else values[place.unit]
    return number


def _convolution(
    model: AlexNet, module: nn.Conv2d, given: NDArray[np.float32], place: Place, value: float
) -> ConvolutionStep:
    maps = input_maps(model, place.layer, place.unit)
    (size, _), (stride, _), padding = module.kernel_size, module.stride, int(module.padding[0])
    top, left = place.row * stride - padding, place.column * stride - padding

    def cut(values: NDArray[Any]) -> NDArray[Any]:
        """The patch, of maps (…, H, W), with zeros around them."""
        around = [(0, 0)] * (values.ndim - 2) + [(padding, padding)] * 2
        rows, columns = (slice(start + padding, start + padding + size) for start in (top, left))
        return np.pad(values, around)[..., rows, columns]

    assert module.bias is not None
    return ConvolutionStep(
        place,
        value,
        before(model, place.layer),
        maps,
        top,
        left,
        cut(given[maps.start : maps.stop].astype(np.float64)),
        cut(np.ones(given.shape[1:], bool)),
        module.weight[place.unit].detach().double().numpy(),
        float(module.bias[place.unit]),
    )


def _window(
    given: NDArray[np.float32], source: str, unit: int, rows: range, columns: range
) -> tuple[Array, tuple[Place, ...]]:
    """The numbers of one map in these rows and columns, as far as they are there, and their places."""
    rows = range(max(rows.start, 0), min(rows.stop, given.shape[1]))
    columns = range(max(columns.start, 0), min(columns.stop, given.shape[2]))
    window = given[unit, rows.start : rows.stop, columns.start : columns.stop].astype(np.float64)
    return window, tuple(Place(source, unit, row, column) for row in rows for column in columns)


def _lrn(module: LocalResponseNorm, source: str, given: NDArray[np.float32], place: Place, value: float) -> LrnStep:
    if module.kind == "across-maps":
        near = np.flatnonzero(module.band[place.unit, :, 0, 0].numpy())
        window = given[near, place.row, place.column].astype(np.float64)[None]
        origins = tuple(Place(source, int(unit), place.row, place.column) for unit in near)
    else:
        reach = module.size // 2
        rows, columns = (range(at - reach, at + reach + 1) for at in (place.row, place.column))
        window, origins = _window(given, source, place.unit, rows, columns)
    own = origins.index(Place(source, place.unit, place.row, place.column))
    return LrnStep(place, value, module.kind, module.size, window, origins, own, module.k, module.alpha, module.beta)


def _pool(
    module: nn.MaxPool2d | nn.AvgPool2d, source: str, given: NDArray[np.float32], place: Place, value: float
) -> PoolStep:
    size, stride = int(module.kernel_size), int(module.stride)  # type: ignore[arg-type]
    rows, columns = (range(at * stride, at * stride + size) for at in (place.row, place.column))
    window, origins = _window(given, source, place.unit, rows, columns)
    return PoolStep(place, value, "max" if isinstance(module, nn.MaxPool2d) else "avg", size, window, origins)
