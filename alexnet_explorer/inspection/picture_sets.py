"""Pictures in an order that never changes, to look through with a network: a few by name, or a packed set's images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_explorer.data.packed import DataError, PackedSet, Split, find_set

if TYPE_CHECKING:
    from alexnet_explorer.weights import LoadedModel

_OF_A_SET = re.compile(r"set-([0-9a-f]{16})-(train|test)-([1-9]\d{0,8})-(\d{1,9})")
MOST = 2000  # images of a packed set that are looked through, unless more are asked for


@dataclass(frozen=True)
class PictureSet:
    """Pictures numbered from 0; equal keys mean equal pictures in equal order, here and on another day."""

    name: str
    key: str
    count: int
    picture: Callable[[int], Image.Image]
    """The RGB picture of a number."""
    label: Callable[[int], str | None]
    """What the picture shows, a class or a title, where that is known."""
    classes: tuple[str, ...] = ()
    """The classes that `label` names, if it names classes."""
    name_of: Callable[[int], str] = str
    """The name under which a picture of the set is opened elsewhere: in a link, say (see `of_name`)."""


@dataclass(frozen=True)
class Scanned:
    """What a network made of some pictures of a set, the `first` of which has that number."""

    first: int
    inputs: NDArray[np.uint8]
    """What it saw: (N, size, size, 3)."""
    outputs: dict[str, NDArray[np.float32]]
    """By layer: (N, C, H, W), or (N, units)."""


def of_pictures(name: str, pictures: Mapping[str, tuple[str, Image.Image]]) -> PictureSet:
    """A set of a few RGB pictures with their titles, by names that stand for their content."""
    content = hashlib.sha256("\0".join(pictures).encode()).hexdigest()
    names, listed = list(pictures), list(pictures.values())
    return PictureSet(
        name, content[:16], len(listed), lambda n: listed[n][1], lambda n: listed[n][0], name_of=lambda n: names[n]
    )


def of_packed(packed: PackedSet, split: Split = "test", most: int = MOST) -> PictureSet:
    """Up to `most` images of a packed set, drawn once for all where there are more."""
    total = packed.count(split)
    chosen = np.arange(total)
    if most < total:
        chosen = np.sort(np.random.default_rng(0).permutation(total)[:most])
    images, labels = packed.images(split), packed.labels(split)
    words = {"test": "test images", "train": "training images"}[split]
    key = f"{packed.digest}-{split}-{len(chosen)}"
    return PictureSet(
        name=f"{packed.name}, {len(chosen):,} {words}",
        key=key,
        count=len(chosen),
        picture=lambda n: Image.fromarray(np.asarray(images[chosen[n]])),
        label=lambda n: packed.classes[labels[chosen[n]]],
        classes=packed.classes,
        name_of=lambda n: f"set-{key}-{n}",
    )


def of_name(name: str) -> tuple[PictureSet, int] | None:
    """The packed set of this machine and the number in it that a picture's name means, `set-<key>-<number>`.

    None where the name is another one's, or this machine does not have the set.
    """
    match = _OF_A_SET.fullmatch(name)
    if not match:
        return None
    try:
        pictures = of_packed(find_set("", match[1]), "train" if match[2] == "train" else "test", int(match[3]))
    except DataError:
        return None
    number = int(match[4])
    return (pictures, number) if pictures.name_of(number) == name and number < pictures.count else None


def scan(
    loaded: LoadedModel, pictures: PictureSet, layers: Iterable[str], start: int = 0, batch: int = 16
) -> Iterator[Scanned]:
    """The outputs of the named layers for every picture from number `start` on, a batch at a time.

    The network is locked only while it looks at a batch, so that others can use it in between. Raises KeyError where
    a layer is not there.
    """
    import torch

    from .hooks import record

    names = list(layers)
    for first in range(start, pictures.count, batch):
        numbers = range(first, min(first + batch, pictures.count))
        inputs = np.stack([np.asarray(loaded.preprocessing.crop(pictures.picture(n))) for n in numbers])
        x = loaded.preprocessing.normalise(torch.from_numpy(inputs))
        with loaded.lock, torch.inference_mode(), record(loaded.model, names) as outputs:
            loaded.model(x)
        yield Scanned(first, inputs, {name: outputs[name].numpy() for name in names})
