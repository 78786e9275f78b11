"""A network as a table: what each layer is, what it puts out, what it costs. From its config alone, without weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..config import Layer, LayerKind, ModelConfig, Shape
from .receptive import fields


@dataclass(frozen=True)
class Row:
    """One layer; `kernel`, `stride` and `padding` in pixels, None where a layer has no window."""

    name: str
    kind: LayerKind
    kernel: int | None
    stride: int | None
    padding: int | None
    groups: int
    output: Shape
    parameters: int
    multiply_adds: int  # for one picture
    receptive_field: int  # side of the square of pixels that one output sees, as if the picture had no borders


def summary(config: ModelConfig) -> list[Row]:
    """The layers of a network in order.

    Multiply-adds are those of convolutions and fully connected layers; what activations, LRN and pooling compute
    beside them is not counted, as is usual.
    """
    seen = fields(config)
    return [_row(layer, config, seen[layer.name].size) for layer in config.layers()]


def totals(rows: Sequence[Row]) -> tuple[int, int]:
    """Parameters and multiply-adds of all layers: 60,965,224 and 724,406,816 for the network of 2012."""
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)


def _row(layer: Layer, config: ModelConfig, receptive_field: int) -> Row:
    kernel = stride = padding = None
    multiply_adds = 0
    if layer.kind == "conv":
        place = layer.number - 1
        kernel, stride, padding = config.kernels[place], config.strides[place], config.paddings[place]
        multiply_adds = math.prod(layer.output) * (layer.input[0] // layer.groups) * kernel**2
    elif layer.kind == "pool":
        kernel, stride, padding = 3 if config.pooling == "overlapping" else 2, 2, 0
    elif layer.kind == "fc":
        multiply_adds = layer.input[0] * layer.output[0]
    return Row(
        layer.name, layer.kind, kernel, stride, padding, layer.groups, layer.output, layer.parameters(kernel or 1),
        multiply_adds, receptive_field,
    )  # fmt: skip
