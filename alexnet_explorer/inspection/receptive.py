"""Receptive fields: which pixels of the input can change what a unit puts out at a position.

In closed form, from kernels, strides and paddings. An activation changes nothing, nor does LRN across maps, whose
neighbours stand at the same place; LRN within a map sees as far as its window. Towers do not matter. A fully connected
layer is a convolution whose kernel covers the whole map.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet_explorer.config import Layer, ModelConfig

T = TypeVar("T", bound=np.generic)


class Field(NamedTuple):
    """What the units of a layer see, in pixels of the input, as if that had no borders.

    The unit at (row, column) sees a square of `size` pixels; the first one's begins at `offset`, which padding makes
    negative, the next one's `stride` pixels further on.
    """

    size: int
    stride: int
    offset: int


class Window(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right` of the input; the second of each is not part of it."""

    top: int
    left: int
    bottom: int
    right: int

    def cut(self, picture: NDArray[T]) -> NDArray[T]:
        """That part of a picture (H, W, …)."""
        return picture[self.top : self.bottom, self.left : self.right]


class _Step(NamedTuple):
    """One layer along one axis: position p sees p·stride − padding and the kernel − 1 places after it, of `side`."""

    kernel: int
    stride: int
    padding: int
    side: int


def fields(config: ModelConfig) -> dict[str, Field]:
    """The receptive field of every layer, by name."""
    found = {}
    size, stride, offset = 1, 1, 0
    for name, step in _steps(config):
        size += (step.kernel - 1) * stride
        offset -= step.padding * stride
        stride *= step.stride
        found[name] = Field(size, stride, offset)
    return found


def window(config: ModelConfig, layer: str, row: int = 0, column: int = 0) -> Window:
    """The pixels that a layer's units see from a position, cut off at the borders.

    Borders inside the network cut, too: a pooling window that is rounded up reaches beyond its map. Where a stride is
    longer than its kernel, there are pixels inside that nothing sees. A fully connected layer has one position.
    Raises KeyError where the layer is not there.
    """
    chain = dict(_steps(config))
    names = list(chain)
    if layer not in chain:
        raise KeyError(f"this network has no layer {layer!r}; it has {', '.join(names)}")
    passed = [chain[name] for name in reversed(names[: names.index(layer) + 1])]
    top, bottom = _back(passed, row)
    left, right = _back(passed, column)
    return Window(top, left, bottom, right)


def _back(passed: list[_Step], position: int) -> tuple[int, int]:
    """From a position in the last layer to the places of the input that it sees: the first, and the one after them."""
    first, last = position, position
    for kernel, stride, padding, side in passed:
        first = max(0, first * stride - padding)
        last = min(side - 1, last * stride - padding + kernel - 1)
    return first, last + 1


def _steps(config: ModelConfig) -> Iterator[tuple[str, _Step]]:
    side = config.input_size
    for layer in config.layers():
        yield layer.name, _Step(*_reach(layer, config, side), side)
        if layer.kind != "dropout":
            side = layer.output[1] if len(layer.output) == 3 else 1


def _reach(layer: Layer, config: ModelConfig, side: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of a layer whose input is `side` wide."""
    if len(layer.output) == 1 and layer.kind != "dropout":  # which passes single numbers, also of maps
        return side, 1, 0
    n = layer.number - 1
    match layer.kind:
        case "conv":
            return config.kernels[n], config.strides[n], config.paddings[n]
        case "pool":
            return 3 if config.pooling == "overlapping" else 2, 2, 0
        case "lrn" if config.lrn_kind == "within-map":
            return config.lrn_size, 1, config.lrn_size // 2
        case _:
            return 1, 1, 0
