"""What is read off a trained network itself, not off its curve: each reading is a pair, a baseline and another value.

The claims of the paper that compare two ways to look at one network are judged by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.augment import generator
from ..data.packed import DataError, PackedSet
from ..weights import LoadedModel
from . import filters
from .evaluate import centre_view, evaluate, ten_crops
from .hooks import record

IMAGES = 2000  # test images that are looked at, the same ones for every run
NEIGHBOURS = 5
BATCH = 250


class Reading(NamedTuple):
    """Shares, 0–1."""

    baseline: float
    other: float


def ten_crop(loaded: LoadedModel, packed: PackedSet) -> Reading:
    """Top-1 error on test images by the mean of ten crops, and by the one in the centre [4.1]. Raises DataError."""
    chosen = _some(packed)
    images, labels = packed.images("test"), packed.labels("test")
    pictures = [(Image.fromarray(images[number]), int(labels[number])) for number in chosen]
    many, one = (evaluate(loaded, pictures, views) for views in (ten_crops, centre_view))
    return Reading(many.top1_error, one.top1_error)


def neighbours(loaded: LoadedModel, packed: PackedSet) -> Reading:
    """The share of an image's nearest others that are of its class: nearest in pixels, nearest in fc7 [6.1].

    The distance is Euclid's; fc7 is the last hidden layer, after its activation, before dropout. Raises DataError.
    """
    chosen = _some(packed)
    labels = torch.from_numpy(np.asarray(packed.labels("test"))[chosen])
    images = packed.images("test")
    pixels = torch.stack([centre_view(loaded.preprocessing, Image.fromarray(images[number]))[0] for number in chosen])
    layer = last_hidden(loaded)
    vectors = []
    for part in pixels.split(BATCH):
        with loaded.lock, torch.inference_mode(), record(loaded.model, [layer]) as outputs:
            loaded.model(loaded.preprocessing.normalise(part))
            vectors.append(outputs[layer].flatten(1).float())
    return Reading(_same_class(pixels.flatten(1).float(), labels), _same_class(torch.cat(vectors), labels))


def last_hidden(loaded: LoadedModel) -> str:
    """The activation before the layer that tells the classes: relu7 in the network of 2012."""
    return [name for name, layer in loaded.model.layers.items() if layer.kind == "activation"][-1]


def _same_class(vectors: Tensor, labels: Tensor) -> float:
    distances = torch.cdist(vectors, vectors)
    distances.fill_diagonal_(torch.inf)
    nearest = distances.topk(NEIGHBOURS, largest=False).indices
    return float((labels[nearest] == labels[:, None]).double().mean())


def tower_colour(loaded: LoadedModel, packed: PackedSet) -> Reading:
    """How far the towers' kernels of conv1 are apart in colour, in chance's mean and as they are [6.1].

    A kernel's colour is the share of its energy off the grey axis. The towers' order means nothing, so the distance of
    their means has no sign; by chance it is that of two random halves of all kernels. Raises DataError where the
    network has not two towers, or sees no colours.
    """
    weights = filters.kernels(loaded.model, "conv1")
    if loaded.model.config.towers != 2 or weights.shape[1] != 3:
        raise DataError("The towers' colours are those of a network with two towers on RGB images: set model.towers=2.")
    found = filters.tower_colour(filters.colourfulness(weights), 2)
    return Reading(found.chance, found.apart)


def _some(packed: PackedSet) -> list[int]:
    """Test images, drawn once for all."""
    if not packed.count("test"):
        raise DataError(f"The data set {packed.name!r} has no test images to look at.")
    order = torch.randperm(packed.count("test"), generator=generator(0))
    return sorted(order[:IMAGES].tolist())


READINGS: dict[str, Callable[[LoadedModel, PackedSet], Reading]] = {
    "ten-crop": ten_crop,
    "neighbours": neighbours,
    "tower-colour": tower_colour,
}
