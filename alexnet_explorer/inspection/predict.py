"""What a network takes a picture for, and what it saw of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..data.images import ImageError
from .evaluate import ten_crops

if TYPE_CHECKING:
    from alexnet_explorer.data.preprocess import Preprocessing
    from alexnet_explorer.weights import LoadedModel

    from .picture_sets import PictureSet

PLACES = ("top left", "top right", "bottom left", "bottom right", "centre")
"""Where the first five of the ten crops lie; the other five are their mirror images."""

PICTURES_AT_ONCE = 16


@dataclass(frozen=True)
class Prediction:
    """One class and the probability that the network gives it, from 0 to 1."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class TenCrops:
    """The paper's ten views of a picture [4.1] and what the network takes each for."""

    views: NDArray[np.uint8]
    """(10, size, size, 3): `PLACES`, then the same mirrored."""
    shares: NDArray[np.float32]
    """The softmax of each: (10, classes)."""

    @property
    def average(self) -> NDArray[np.float32]:
        """The paper's prediction, the mean of the ten: (classes,)."""
        return np.asarray(self.shares.mean(axis=0), dtype=np.float32)


@dataclass(frozen=True)
class Row:
    """One network's answer to one of many pictures; `error` says why there is none."""

    picture: str
    shows: str | None  # its class, where that is known
    network: str
    predictions: tuple[Prediction, ...] = ()
    error: str = ""


def probabilities(loaded: LoadedModel, image: Image.Image) -> NDArray[np.float32]:
    """The softmax of the logits of one picture's centre crop: (classes,), float32, sums to 1."""
    shares: NDArray[np.float32] = _shares(loaded, np.asarray(loaded.preprocessing.crop(image.convert("RGB")))[None])[0]
    return shares


def predict(loaded: LoadedModel, image: Image.Image, top: int = 5) -> list[Prediction]:
    """The `top` most probable classes, best first; all of them where there are fewer."""
    return best(loaded, probabilities(loaded, image), top)


def best(loaded: LoadedModel, shares: NDArray[np.float32], top: int) -> list[Prediction]:
    """The `top` most probable of a network's classes by their probabilities (classes,), best first."""
    order = np.argsort(-shares, kind="stable")[:top]
    return [Prediction(loaded.classes[i], int(i), float(shares[i])) for i in order]


def predict_ten_crops(loaded: LoadedModel, image: Image.Image) -> TenCrops:
    """Each of the ten crops and what the network takes it for."""
    views = ten_crops(loaded.preprocessing, image).numpy()
    return TenCrops(views, _shares(loaded, views))


def predict_many(
    networks: Sequence[LoadedModel], pictures: PictureSet, top: int, progress: Callable[[float, str], None]
) -> list[Row]:
    """Every network's answer to every picture, in order; a picture that cannot be read has rows that say so.

    `progress(share, text)` is called before each batch, and may raise to stop.
    """
    rows: list[Row] = []
    titles = [loaded.title for loaded in networks]
    named = [title if titles.count(title) == 1 else f"{title} ({loaded.name})"
             for title, loaded in zip(titles, networks, strict=True)]  # fmt: skip
    for first in range(0, pictures.count, PICTURES_AT_ONCE):
        progress(first / pictures.count, f"{first} of {pictures.count} pictures")
        opened: dict[int, Image.Image | str] = {}
        for number in range(first, min(first + PICTURES_AT_ONCE, pictures.count)):
            try:
                opened[number] = pictures.picture(number)
            except ImageError as error:
                opened[number] = str(error)
        readable = {number: image for number, image in opened.items() if not isinstance(image, str)}
        answers = {}
        for place, loaded in enumerate(networks):
            if readable:
                inputs = np.stack([np.asarray(loaded.preprocessing.crop(image)) for image in readable.values()])
                answers[place] = dict(zip(readable, _shares(loaded, inputs), strict=True))
        for number, image in opened.items():
            label = pictures.label(number) or f"number {number}"
            name, shows = (f"number {number}", label) if pictures.classes else (label, None)
            for place, loaded in enumerate(networks):
                if isinstance(image, str):
                    rows.append(Row(name, shows, named[place], error=image))
                else:
                    rows.append(Row(name, shows, named[place], tuple(best(loaded, answers[place][number], top))))
    return rows


def network_input(loaded: LoadedModel, image: Image.Image) -> NDArray[np.float32]:
    """The numbers that go into the first layer: the crop less the mean, over the deviation; (C, size, size)."""
    x: NDArray[np.float32] = loaded.preprocessing(image)[0].numpy()
    return x


def seen_box(preprocessing: Preprocessing, width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what `Preprocessing.crop` cuts out of a picture, in that picture's pixels."""
    resized = [max(preprocessing.size, round(side * preprocessing.canvas / min(width, height)))
               for side in (width, height)]  # fmt: skip
    left, top = ((side - preprocessing.size) // 2 for side in resized)
    across, down = width / resized[0], height / resized[1]
    return left * across, top * down, (left + preprocessing.size) * across, (top + preprocessing.size) * down


def _shares(loaded: LoadedModel, views: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The softmax of views (N, size, size, 3): (N, classes)."""
    x = loaded.preprocessing.normalise(torch.from_numpy(np.array(views)))
    with loaded.lock, torch.inference_mode():
        logits = loaded.model(x)
    return logits.softmax(1).numpy()  # type: ignore[no-any-return]
