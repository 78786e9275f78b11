"""How one number of a network comes about: the terms that it is made of, and the places that they come from.

    outputs = see(loaded, image)
    step = explain(loaded, outputs, Place("conv1", 17, 3, 9))
    step.total, step.value                  # what its terms make, and the network's own number
    step.origin(0, 5, 5)                    # the place of one number of the patch: explain that one next

The terms are added up in float64 from the network's own weights and the layer's own input; the network computes in
float32, so that the two differ in the seventh digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel

Array = NDArray[np.float64]
Outputs = Mapping[str, NDArray[np.float32]]
Table = dict[str, Sequence[int | float | str]]  # columns of one length

PIXELS = "pixels"  # the layer before the first: what the network takes in, after its preprocessing


@dataclass(frozen=True)
class Place:
    """Where a number stands: a layer by this network's own name, a unit, and in its map a row and a column, from 0.

    Of a fully connected layer row and column are 0; in `PIXELS` the units are the channels.
    """

    layer: str
    unit: int
    row: int = 0
    column: int = 0


@dataclass(frozen=True, eq=False)
class Step:
    """One number. What every kind of step has."""

    place: Place
    value: float  # the network's own

    @property
    def total(self) -> float:
        """What the terms make."""
        raise NotImplementedError

    def table(self) -> Table:
        """The terms, a row each."""
        raise NotImplementedError

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The terms as arrays, by name."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ConvolutionStep(Step):
    """Σ patch · kernel + bias [3.5]. A tower's kernel sees that tower's maps alone [3.2]."""

    source: str  # the layer before
    maps: range  # the numbers of the input maps that the kernel sees
    top: int  # row of the patch's first number in its map; negative in the padding
    left: int
    patch: Array  # (maps, k, k); zeros in the padding
    inside: NDArray[np.bool_]  # (k, k): not padding
    kernel: Array  # (maps, k, k)
    bias: float

    @property
    def products(self) -> Array:
        """(maps, k, k)"""
        return self.patch * self.kernel

    @property
    def sums(self) -> Array:
        """What each input map contributes: (maps,)."""
        sums: Array = self.products.sum(axis=(1, 2))
        return sums

    @property
    def strongest(self) -> NDArray[np.intp]:
        """The positions in `maps`, those that contribute most, in either direction, first."""
        return np.argsort(-np.abs(self.sums), kind="stable")

    @property
    def total(self) -> float:
        return float(self.sums.sum() + self.bias)

    def origin(self, position: int, row: int, column: int) -> Place | None:
        """The place of one number of the patch: `position` in `maps`, a cell. None in the padding."""
        if not self.inside[row, column]:
            return None
        return Place(self.source, self.maps[position], self.top + row, self.left + column)

    def table(self) -> Table:
        _, height, width = self.patch.shape
        position, row, column = (axis.ravel() for axis in np.indices(self.patch.shape))
        inside = np.broadcast_to(self.inside, (len(self.maps), height, width)).ravel()
        return {
            "term": [*np.where(inside, "product", "padding").tolist(), "bias"],
            "input map": [*(position + self.maps.start).tolist(), ""],
            "row": [*(row + self.top).tolist(), ""],
            "column": [*(column + self.left).tolist(), ""],
            "input": [*self.patch.ravel().tolist(), ""],
            "weight": [*self.kernel.ravel().tolist(), ""],
            "value": [*self.products.ravel().tolist(), self.bias],
        }

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "patch": self.patch, "inside": self.inside, "kernel": self.kernel, "products": self.products,
            "sums": self.sums, "maps": np.array(self.maps), "corner": np.array([self.top, self.left]),
            "bias": np.array(self.bias), "total": np.array(self.total), "value": np.array(self.value),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class ActivationStep(Step):
    """max(0, x), tanh x, or 1 / (1 + e^-x) [3.1]."""

    function: str  # relu, tanh or sigmoid
    before: float
    origin: Place

    @property
    def total(self) -> float:
        if self.function == "relu":
            return max(0.0, self.before)
        if self.function == "tanh":
            return math.tanh(self.before)
        # Both forms are the sigmoid; each overflows on the other's side.
        small = math.exp(-abs(self.before))
        return 1 / (1 + small) if self.before >= 0 else small / (1 + small)

    def table(self) -> Table:
        return {"term": ["before", self.function], "value": [self.before, self.total]}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"before": np.array(self.before), "total": np.array(self.total), "value": np.array(self.value)}


@dataclass(frozen=True, eq=False)
class LrnStep(Step):
    """b = a / (k + α Σ a²)^β [3.3]; α is not divided by the number of neighbours.

    The neighbours are maps of the same tower at one position (`window` is (1, n)), or positions of the same map
    ((h, w)); fewer at the ends of a tower, or of a map.
    """

    kind: str  # across-maps or within-map
    size: int  # neighbours away from the ends: maps, or the side of the window
    window: Array
    origins: tuple[Place, ...]  # of the window's numbers, row by row
    own: int  # which of them is a
    k: float
    alpha: float
    beta: float

    @property
    def before(self) -> float:
        """a"""
        return float(self.window.flat[self.own])

    @property
    def squares(self) -> Array:
        """a², as `window`."""
        return np.square(self.window)

    @property
    def denominator(self) -> float:
        """k + α Σ a², before it is raised to β."""
        return self.k + self.alpha * float(self.squares.sum())

    @property
    def total(self) -> float:
        return float(self.before / self.denominator**self.beta)

    def table(self) -> Table:
        return {
            "unit": [origin.unit for origin in self.origins],
            "row": [origin.row for origin in self.origins],
            "column": [origin.column for origin in self.origins],
            "a": self.window.ravel().tolist(),
            "a squared": self.squares.ravel().tolist(),
        }

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "window": self.window, "squares": self.squares, "own": np.array(self.own), "k": np.array(self.k),
            "alpha": np.array(self.alpha), "beta": np.array(self.beta), "denominator": np.array(self.denominator),
            "total": np.array(self.total), "value": np.array(self.value),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class PoolStep(Step):
    """The largest of a window, or its mean [3.4]; at the far edges windows of 3 may be cut off."""

    kind: str  # max or avg
    size: int  # the window's side where it is whole
    window: Array  # (h, w)
    origins: tuple[Place, ...]  # of its numbers, row by row

    @property
    def winner(self) -> int:
        """Which of the window's numbers is the largest, the first of equals."""
        return int(self.window.argmax())

    @property
    def total(self) -> float:
        return float(self.window.max() if self.kind == "max" else self.window.mean())

    def table(self) -> Table:
        return {
            "row": [origin.row for origin in self.origins],
            "column": [origin.column for origin in self.origins],
            "value": self.window.ravel().tolist(),
        }

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"window": self.window, "total": np.array(self.total), "value": np.array(self.value)}


@dataclass(frozen=True, eq=False)
class FullStep(Step):
    """Σ input · weight + bias, over all units of the layer before; maps are flattened row by row."""

    source: str
    shape: tuple[int, ...]  # of the layer before: (C, H, W) or (units,)
    inputs: Array  # (n,)
    weights: Array  # (n,)
    bias: float

    @property
    def products(self) -> Array:
        """(n,)"""
        return self.inputs * self.weights

    @property
    def strongest(self) -> NDArray[np.intp]:
        """The inputs that contribute most, in either direction, first."""
        return np.argsort(-np.abs(self.products), kind="stable")

    @property
    def total(self) -> float:
        return float(self.products.sum() + self.bias)

    def origin(self, position: int) -> Place:
        """The place of one input."""
        return _unflattened(self.source, self.shape, position)

    def table(self) -> Table:
        origins = [self.origin(position) for position in range(len(self.inputs))]
        columns: Table = {"term": [*["product"] * len(origins), "bias"], "unit": [*[o.unit for o in origins], ""]}
        if len(self.shape) == 3:
            columns |= {"row": [*[o.row for o in origins], ""], "column": [*[o.column for o in origins], ""]}
        return columns | {
            "input": [*self.inputs.tolist(), ""],
            "weight": [*self.weights.tolist(), ""],
            "value": [*self.products.tolist(), self.bias],
        }

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "inputs": self.inputs.reshape(self.shape), "weights": self.weights.reshape(self.shape),
            "bias": np.array(self.bias), "total": np.array(self.total), "value": np.array(self.value),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class DropoutStep(Step):
    """Nothing is dropped when a network is only looked at; in training each unit is, with probability p [4.2].

    What is kept is then multiplied by 1/(1 − p), so that its mean stays (2012 halved the outputs at test instead).
    """

    p: float
    before: float
    origin: Place
    seed: int
    kept: NDArray[np.bool_]  # (units,): the mask that training would draw with this seed, for a batch of one

    @property
    def scale(self) -> float:
        """1 / (1 − p)"""
        return 1 / (1 - self.p)

    @property
    def total(self) -> float:
        return self.before

    @property
    def in_training(self) -> float:
        """What this unit would put out in training, under the drawn mask."""
        return self.before * self.scale if self.kept[self.place.unit] else 0.0

    def table(self) -> Table:
        return {"unit": list(range(len(self.kept))), "kept": self.kept.astype(int).tolist()}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "before": np.array(self.before), "kept": self.kept, "scale": np.array(self.scale),
            "in_training": np.array(self.in_training), "total": np.array(self.total), "value": np.array(self.value),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class SoftmaxStep(Step):
    """e^z / Σ e^z over the outputs of the last layer; `value` is PyTorch's.

    Numerator and denominator are both divided by e^largest, which changes no probability and lets nothing overflow.
    """

    logits: Array  # (classes,)

    @property
    def largest(self) -> float:
        """The largest logit."""
        return float(self.logits.max())

    @property
    def exponentials(self) -> Array:
        """e^(z − largest): (classes,)."""
        exponentials: Array = np.exp(self.logits - self.largest)
        return exponentials

    @property
    def probabilities(self) -> Array:
        """(classes,), sums to 1."""
        probabilities: Array = self.exponentials / self.exponentials.sum()
        return probabilities

    @property
    def total(self) -> float:
        return float(self.probabilities[self.place.unit])

    def table(self) -> Table:
        return {
            "class": list(range(len(self.logits))),
            "output": self.logits.tolist(),
            "exponential": self.exponentials.tolist(),
            "probability": self.probabilities.tolist(),
        }

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"logits": self.logits, "exponentials": self.exponentials, "probabilities": self.probabilities}


@dataclass(frozen=True, eq=False)
class PixelStep(Step):
    """(level − mean) / deviation: how a pixel reaches the network. Levels are 0–255."""

    colour: NDArray[np.uint8]  # (3,): red, green, blue
    weights: Array  # (3,): what of each is looked at: one colour, or the weighted mean that makes grey
    mean: float
    std: float

    @property
    def level(self) -> float:
        """The level of this channel."""
        return float(self.weights @ self.colour)

    @property
    def total(self) -> float:
        return (self.level - self.mean) / self.std

    def table(self) -> Table:
        return {
            "term": ["red", "green", "blue", "level", "mean", "deviation", "value"],
            "value": [*self.colour.tolist(), self.level, self.mean, self.std, self.total],
        }

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "colour": self.colour, "level": np.array(self.level), "mean": np.array(self.mean),
            "deviation": np.array(self.std), "total": np.array(self.total), "value": np.array(self.value),
        }  # fmt: skip


def pixels(loaded: LoadedModel, image: Image.Image) -> NDArray[np.float32]:
    """What the network takes in of a picture: (C, size, size), after its preprocessing."""
    return loaded.preprocessing(image)[0].numpy()


def see(loaded: LoadedModel, image: Image.Image) -> dict[str, NDArray[np.float32]]:
    """The outputs of every layer for a picture, and under `PIXELS` what went in."""
    return {PIXELS: pixels(loaded, image), **walk(loaded, image)}


def before(model: AlexNet, layer: str) -> str:
    """The layer that this one takes its input from; of the first it is `PIXELS`."""
    names = [PIXELS, *model.layers]
    return names[names.index(layer) - 1]


def shape_of(model: AlexNet, layer: str) -> tuple[int, ...]:
    """What a layer puts out, or `PIXELS`: (C, H, W) or (units,)."""
    return next(iter(model.layers.values())).input if layer == PIXELS else model.layers[layer].output


def exists(model: AlexNet, place: Place) -> bool:
    """Whether this network has a number there."""
    if place.layer != PIXELS and place.layer not in model.layers:
        return False
    shape = (*shape_of(model, place.layer), 1, 1)[:3]
    inside = zip((place.unit, place.row, place.column), shape, strict=True)
    return all(0 <= number < size for number, size in inside)


def strongest(values: NDArray[np.float32], layer: str, unit: int) -> Place:
    """The place of the largest number of a unit, in the output of its layer: (C, H, W) or (units,)."""
    row, column = divmod(int(values[unit].argmax()), values.shape[-1]) if values.ndim == 3 else (0, 0)
    return Place(layer, unit, row, column)


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
        origin = _unflattened(source, given.shape, place.unit)
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


def _unflattened(layer: str, shape: tuple[int, ...], position: int) -> Place:
    """The place of a number that is `position`-th of a layer's output when that is flattened."""
    return Place(layer, *map(int, np.unravel_index(position, shape)))


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
