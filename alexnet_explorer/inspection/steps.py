"""One number of a network, and the terms that it is made of: what `arithmetic.explain` gives. No PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alexnet_explorer.files import csv_text

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet

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

    def to_csv(self) -> str:
        """`table` as a CSV file."""
        columns = self.table()
        return csv_text([[*columns], *zip(*columns.values(), strict=True)])


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

    def cell(self, place: Place | None) -> tuple[int, int, int] | None:
        """Where a place stands in the patch: position in `maps`, row, column. None where it does not."""
        if place is None or place.unit not in self.maps or place.layer != self.source:
            return None
        row, column = place.row - self.top, place.column - self.left
        inside = 0 <= row < len(self.inside) and 0 <= column < len(self.inside) and self.inside[row, column]
        return (self.maps.index(place.unit), row, column) if inside else None

    def heaviest(self, position: int) -> Place | None:
        """The origin of the largest product, in either direction, with one input map; None where all is padding."""
        sizes = np.where(self.inside, np.abs(self.products[position]), -1.0)
        row, column = np.unravel_index(sizes.argmax(), sizes.shape)
        return self.origin(position, int(row), int(column))

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
        return unflattened(self.source, self.shape, position)

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


def unflattened(layer: str, shape: tuple[int, ...], position: int) -> Place:
    """The place of a number that is `position`-th of a layer's output when that is flattened."""
    return Place(layer, *map(int, np.unravel_index(position, shape)))
