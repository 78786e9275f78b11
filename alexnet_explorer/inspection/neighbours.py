"""The pictures of a set nearest to one: in what a layer makes of them, as in the paper's figure 4, or in pixels.

Distances are Euclid's. A picture is a row of numbers: all that a layer puts out for it, or the pixels that the network
sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .activations import activations
from .picture_sets import PictureSet, scan

if TYPE_CHECKING:
    from alexnet_explorer.data.preprocess import Preprocessing
    from alexnet_explorer.weights import LoadedModel

PIXEL_SIDE = 64  # pixels are compared at this side at most: 2000 pictures of 227×227 would be 300 MB
BATCH = 32
_PIXELS_AT_ONCE = 2**19
_NUMBERS_AT_ONCE = 2**18  # as many stay in the processor's cache, which is four times as fast

Rows = NDArray[np.float32] | NDArray[np.uint8]


@dataclass(frozen=True)
class Nearest:
    """The numbers of the nearest pictures of a set and their distances, both (k,), the nearest first."""

    numbers: NDArray[np.intp]
    distances: NDArray[np.float64]


def last_hidden(loaded: LoadedModel) -> str:
    """The activation before the layer that tells the classes, after which dropout comes: relu7 in 2012's network."""
    return [name for name, layer in loaded.model.layers.items() if layer.kind == "activation"][-1]


def features(loaded: LoadedModel, image: Image.Image, layer: str) -> NDArray[np.float32]:
    """What a layer puts out for one RGB picture, as a row (D,). Raises KeyError where the layer is not there."""
    return activations(loaded, image, layer).ravel()


def feature_rows(
    loaded: LoadedModel, pictures: PictureSet, layer: str, start: int = 0
) -> Iterator[NDArray[np.float32]]:
    """The rows of a set's pictures from number `start` on, some at a time: (n, D). Raises KeyError."""
    # The network is not locked for long: 10 pictures of 227×227 take a third of a second.
    batch = min(BATCH, max(1, _PIXELS_AT_ONCE // loaded.preprocessing.size**2))
    for part in scan(loaded, pictures, [layer], start, batch):
        yield part.outputs[layer].reshape(len(part.inputs), -1)


def pixels(preprocessing: Preprocessing, image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an RGB picture that a network sees, as a row (D,): of one without colours, grey ones.

    Where there are more than `PIXEL_SIDE` on a side, they are averaged down to so many.
    """
    crop = preprocessing.crop(image)
    if preprocessing.channels == 1:
        crop = crop.convert("L")
    if preprocessing.size > PIXEL_SIDE:
        crop = crop.resize((PIXEL_SIDE, PIXEL_SIDE), Image.Resampling.BOX)
    return np.asarray(crop, dtype=np.uint8).ravel()


def pixel_rows(preprocessing: Preprocessing, pictures: PictureSet, start: int = 0) -> Iterator[NDArray[np.uint8]]:
    """The pixels of a set's pictures from number `start` on, some at a time: (n, D)."""
    for first in range(start, pictures.count, BATCH):
        numbers = range(first, min(first + BATCH, pictures.count))
        yield np.stack([pixels(preprocessing, pictures.picture(number)) for number in numbers])


def distances(rows: Rows, row: Rows) -> NDArray[np.float64]:
    """Euclid's distance of each of some rows (N, D) to one (D,): (N,). They may be mapped from a file."""
    found = np.empty(len(rows))
    step = max(1, _NUMBERS_AT_ONCE // len(row))
    for start in range(0, len(rows), step):
        difference = rows[start : start + step].astype(np.float32)
        difference -= row
        found[start : start + step] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return found


def nearest(distances: NDArray[np.float64], count: int, leave_out: NDArray[np.bool_] | None = None) -> Nearest:
    """The nearest of the pictures with these distances (N,): `count`, or as many as are left.

    leave_out: (N,), those that are not looked at, the picture itself say.
    """
    order = np.argsort(distances, kind="stable")
    if leave_out is not None:
        order = order[~leave_out[order]]
    return Nearest(order[:count], distances[order[:count]])


def same_class_share(rows: Rows, labels: NDArray[np.int64], count: int) -> float:
    """The share of the `count` nearest others of every picture that are of its class, 0–1. Rows (N, D), labels (N,)."""
    import torch

    points = torch.from_numpy(rows).float()
    apart = torch.cdist(points, points).fill_diagonal_(torch.inf)
    closest = apart.topk(count, largest=False).indices.numpy()
    return float((labels[closest] == labels[:, None]).mean())
