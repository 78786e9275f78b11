"""How often a network is wrong on pictures whose classes are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from ..data.augment import crop_range, window
from ..data.packed import DataError
from ..data.preprocess import Preprocessing
from ..weights import LoadedModel

PICTURES_AT_ONCE = 32
VIEWS_AT_ONCE = 64  # as many as a batch of 227×227 pixels may have in half a gigabyte
TOP = 5

Views = Callable[[Preprocessing, Image], Tensor]
"""The views of an RGB picture over which the softmax is averaged: (V, size, size, 3), uint8."""


@dataclass(frozen=True)
class Evaluation:
    """Errors as shares of the `n` pictures, 0–1; `views` is the number of views of each."""

    n: int
    top1_error: float
    top5_error: float
    views: int


def centre_view(preprocessing: Preprocessing, image: Image) -> Tensor:
    """What a prediction looks at: (1, size, size, 3), uint8."""
    return torch.from_numpy(np.array(preprocessing.crop(image)))[None]


def ten_crops(preprocessing: Preprocessing, image: Image) -> Tensor:
    """The paper's ten views [4.1]: the four corners and the centre of the canvas, then their mirror images.

    The corners are the outermost places that a training's random crop can take; where the canvas is no larger than
    the input, these lie outside by an eighth of the size, and the image is mirrored there. (10, size, size, 3), uint8.
    """
    size, canvas = preprocessing.size, preprocessing.canvas
    square = torch.from_numpy(np.array(replace(preprocessing, size=canvas).crop(image)))[None]
    low, high = crop_range(canvas, size)
    centre = (canvas - size) // 2
    top = torch.tensor([low, low, high, high, centre] * 2)
    left = torch.tensor([low, high, low, high, centre] * 2)
    return window(square, torch.zeros(10, dtype=torch.long), top, left, torch.arange(10) >= 5, size)


def evaluate(loaded: LoadedModel, pictures: Iterable[tuple[Image, int]], views: Views = centre_view) -> Evaluation:
    """The errors of a network on RGB pictures, each with the index of its class; they are read one batch at a time.

    A picture counts as right in the top five where its class is among the five most probable ones.
    Raises DataError where there are no pictures.
    """
    n = wrong = wrong5 = count = 0
    left = iter(pictures)
    while batch := list(islice(left, PICTURES_AT_ONCE)):
        seen = torch.stack([views(loaded.preprocessing, image) for image, _ in batch])
        labels = torch.tensor([label for _, label in batch])
        count = seen.shape[1]
        parts = seen.flatten(0, 1).split(VIEWS_AT_ONCE)
        with loaded.lock, torch.inference_mode():
            logits = torch.cat([loaded.model(loaded.preprocessing.normalise(part)) for part in parts])
        shares = logits.softmax(1).unflatten(0, (len(batch), count)).mean(1)
        top = shares.topk(min(TOP, shares.shape[1])).indices == labels[:, None]
        n += len(batch)
        wrong += int((~top[:, 0]).sum())
        wrong5 += int((~top.any(1)).sum())
    if not n:
        raise DataError("There is no picture that can be read, and nothing to evaluate.")
    return Evaluation(n, wrong / n, wrong5 / n, count)
