"""Where in a set of pictures the units of a layer respond most: their nine strongest patches.

As in Zeiler and Fergus, Visualizing and Understanding Convolutional Networks (2013, arXiv:1311.2901, figure 2): of each
picture only the one position counts where a unit's response is largest, so that nine patches come from nine pictures.
One pass over the set serves all units of a layer. How far it came is kept on disk, and taken up from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet_explorer.data.packed import data_root

from .array_cache import ArrayCache
from .picture_sets import PictureSet, scan

if TYPE_CHECKING:
    from alexnet_explorer.config import Shape
    from alexnet_explorer.weights import LoadedModel

    from .mosaic import RGB
    from .receptive import Field

MOST_PATCHES = 9
KEEP_EVERY = 128  # pictures
MOST_BYTES = 64 * 2**20  # of all that is kept: the strongest of 140 layers as wide as fc7 of 2012, which has 442 kB
PADDING = (190, 190, 190)  # grey: where a patch lies outside its picture
_FORMAT = "1"


class Patch(NamedTuple):
    """One of the strongest: the number of the picture in its set, the position in the map, the response there."""

    picture: int
    row: int
    column: int
    value: float


@dataclass(frozen=True, eq=False)
class Strongest:
    """The strongest responses of every unit of a layer to the first `seen` pictures of a set, the strongest first.

    All arrays are (units, 9); where fewer pictures were seen than nine, `pictures` is −1 and `values` −∞. A fully
    connected unit has one position, (0, 0).
    """

    values: NDArray[np.float32]
    pictures: NDArray[np.int32]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    seen: int = 0

    def of(self, unit: int) -> list[Patch]:
        """The patches of one unit, the strongest first: fewer than nine where a rectified unit is 0 for the others."""
        return [
            Patch(int(picture), int(row), int(column), float(value))
            for picture, row, column, value in zip(
                self.pictures[unit], self.rows[unit], self.columns[unit], self.values[unit], strict=True
            )
            if picture >= 0 and value != 0
        ]

    def and_then(self, outputs: NDArray[np.float32]) -> Strongest:
        """With the next pictures of the set taken in, of which these are the outputs: (N, C, H, W) or (N, units).

        Of equal responses the earlier picture's, and the upper left position's, comes first.
        """
        count, units = outputs.shape[:2]
        maps = outputs.reshape(count, units, -1)
        places = maps.argmax(axis=2)
        rows, columns = np.divmod(places, outputs.shape[3] if outputs.ndim == 4 else 1)
        numbers = np.broadcast_to(np.arange(self.seen, self.seen + count)[:, None], places.shape)
        values = np.concatenate([self.values, np.take_along_axis(maps, places[..., None], axis=2)[..., 0].T], axis=1)
        best = np.argsort(-values, axis=1, kind="stable")[:, :MOST_PATCHES]

        def chosen(kept: NDArray[np.int32], new: NDArray[np.int64]) -> NDArray[np.int32]:
            return np.take_along_axis(np.concatenate([kept, new.T], axis=1, dtype=np.int32), best, axis=1)

        return Strongest(
            np.take_along_axis(values, best, axis=1),
            chosen(self.pictures, numbers), chosen(self.rows, rows), chosen(self.columns, columns),
            self.seen + count,
        )  # fmt: skip


def nothing_yet(units: int) -> Strongest:
    """What is known before the first picture."""
    none = np.full((units, MOST_PATCHES), -1, np.int32)
    return Strongest(np.full((units, MOST_PATCHES), -np.inf, np.float32), none, none, none)


class PatchCache:
    """What was found, in a folder of at most `most_bytes`: what was not used for longest goes."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder or data_root() / "patches"
        self._cache = ArrayCache(self.folder, most_bytes)

    def read(self, loaded: LoadedModel, pictures: PictureSet, layer: str) -> Strongest | None:
        """As far as it came, to the last picture or not; None where nothing is kept, or what is kept is damaged."""
        arrays = self._cache.find(_FORMAT, loaded.digest, pictures.key, layer)
        if arrays is None:
            return None
        try:
            found = Strongest(
                arrays["values"], arrays["pictures"], arrays["rows"], arrays["columns"], int(arrays["seen"])
            )  # fmt: skip
        except (LookupError, TypeError, ValueError):
            return None
        return found if _is_sound(found, loaded.model.layers[layer].output, pictures.count) else None

    def write(self, loaded: LoadedModel, pictures: PictureSet, layer: str, found: Strongest) -> None:
        """Keep this in place of what was there. A disk that does not take it costs time on another day, no more."""
        arrays = {name: np.asarray(value) for name, value in vars(found).items()}
        self._cache.keep(arrays, _FORMAT, loaded.digest, pictures.key, layer)


def _is_sound(found: Strongest, shape: Shape, count: int) -> bool:
    """Whether a file holds what fits this layer (C, H, W) or (units,), and a set of so many pictures."""
    height, width = shape[1:] or (1, 1)
    arrays = {"values": np.float32, "pictures": np.int32, "rows": np.int32, "columns": np.int32}
    whole = all(
        getattr(found, name).dtype == kind and getattr(found, name).shape == (shape[0], MOST_PATCHES)
        for name, kind in arrays.items()
    )
    if not whole or not 0 <= found.seen <= count:
        return False
    there = found.pictures[:, : found.seen]  # the others are −1
    inside = all(
        ((places >= 0) & (places < side)).all()
        for places, side in ((there, found.seen), (found.rows[:, : found.seen], height),
                             (found.columns[:, : found.seen], width))
    )  # fmt: skip
    return inside and bool((found.pictures[:, found.seen :] == -1).all())


def find_strongest(
    loaded: LoadedModel,
    pictures: PictureSet,
    layer: str,
    cache: PatchCache,
    progress: Callable[[int], None] | None = None,
) -> Strongest:
    """The strongest patches of all units of a layer in a set of pictures, from where an earlier search was broken off.

    `progress` is called with the number of pictures seen; an exception of it ends the search, and what was found so
    far is kept. The network is locked a batch at a time. Raises KeyError where the layer is not there.
    """
    layer = loaded.model.resolve(layer)
    found = cache.read(loaded, pictures, layer) or nothing_yet(loaded.model.layers[layer].output[0])
    kept = found.seen
    try:
        for part in scan(loaded, pictures, [layer], start=found.seen):
            found = found.and_then(part.outputs[layer])
            if found.seen - kept >= KEEP_EVERY:
                cache.write(loaded, pictures, layer, found)
                kept = found.seen
            if progress:
                progress(found.seen)
    finally:
        if found.seen > kept:
            cache.write(loaded, pictures, layer, found)
    return found


def find_in_all_layers(loaded: LoadedModel, pictures: PictureSet) -> dict[str, Strongest]:
    """`find_strongest` of every layer at once, for a few pictures: to see them takes longer than to look for all."""
    found = {name: nothing_yet(layer.output[0]) for name, layer in loaded.model.layers.items()}
    for part in scan(loaded, pictures, found, batch=4):  # all layers of a picture are 7 MB in the network of 2012
        found = {name: one.and_then(part.outputs[name]) for name, one in found.items()}
    return found


def cut(picture: RGB, field: Field, row: int, column: int) -> RGB:
    """What a unit sees from a position of its map: (size, size, 3), `PADDING` where that is outside the picture."""
    top, left = (field.offset + place * field.stride for place in (row, column))
    patch = np.full((field.size, field.size, 3), PADDING, dtype=np.uint8)
    height, width = picture.shape[:2]
    inside = picture[max(top, 0) : min(top + field.size, height), max(left, 0) : min(left + field.size, width)]
    first_row, first_column = max(-top, 0), max(-left, 0)
    patch[first_row : first_row + inside.shape[0], first_column : first_column + inside.shape[1]] = inside
    return patch
