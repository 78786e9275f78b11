"""What is read off a trained network itself, not off its curve: each reading is a pair, a baseline and another value.

The claims of the paper that compare two ways to look at one network are judged by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..data.augment import generator
from ..data.packed import DataError, PackedSet
from ..weights import LoadedModel
from . import filters
from .evaluate import centre_view, evaluate, ten_crops
from .neighbours import feature_rows, last_hidden, pixel_rows, same_class_share
from .picture_sets import PictureSet

IMAGES = 2000  # test images that are looked at, the same ones for every run
NEIGHBOURS = 5


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
    images, labels = packed.images("test"), packed.labels("test")[chosen]
    pictures = PictureSet(packed.name, "", len(chosen), lambda n: Image.fromarray(images[chosen[n]]), lambda n: None)
    seen = np.concatenate(list(pixel_rows(loaded.preprocessing, pictures)))
    vectors = np.concatenate(list(feature_rows(loaded, pictures, last_hidden(loaded))))
    return Reading(same_class_share(seen, labels, NEIGHBOURS), same_class_share(vectors, labels, NEIGHBOURS))


def tower_colour(loaded: LoadedModel, packed: PackedSet) -> Reading:
    """How far the towers' kernels of conv1 are apart in colour, in chance's mean and as they are [6.1].

    A kernel's colour is the share of its energy off the grey axis. The towers' order means nothing, so the distance of
    their means has no sign; by chance it is that of two random halves of all kernels. Raises DataError where the
    network has not two towers, or sees no colours.
    """
    weights = filters.kernels(loaded.model, "conv1")
    if loaded.model.config.paths != 2 or weights.shape[1] != 3:
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
