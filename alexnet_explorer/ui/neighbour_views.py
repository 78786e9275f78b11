"""The page Neighbours: the pictures of a set that a network takes for the most alike, beside those alike in pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from alexnet_explorer.files import csv_text
from alexnet_explorer.ui import clickable, downloads, frame, lens, picture_sets, thumbnails, views, working
from alexnet_explorer.ui.text import plain

if TYPE_CHECKING:
    from alexnet_explorer.inspection.neighbours import Nearest, Rows
    from alexnet_explorer.inspection.picture_sets import PictureSet
    from alexnet_explorer.inspection.row_store import RowStore
    from alexnet_explorer.ui.pictures import Picture

COUNT = 6  # as in the paper's figure 4
TILE = 128  # pixels; the sides of small pictures divide it
_WORK, _ASKED = "neighbours", "neighbours_asked"


@dataclass(frozen=True)
class Space:
    """One way to compare pictures: the rows of a set's, where they are kept, and the distances of the chosen one."""

    name: str
    about: str
    unit: str  # of the distances
    key: tuple[str, ...]
    rows_from: Callable[[int], Iterable[Rows]]
    distances: Callable[[Rows], NDArray[np.float64]]


def show(page: frame.Page) -> None:
    """A row of the nearest in pixels, and one in the lens's layer for each of its networks."""
    among = picture_sets.choose("neighbours_pictures", "Look among")
    looks = views.looks(page)
    if not looks:
        return
    picture = looks[0].picture
    spaces = [_pixels(looks[0], among), *(_layer(look, among) for look in looks if _fits(look, among))]
    rows = _rows(spaces, among)
    if not rows:
        return
    apart = [space.distances(found) for space, found in zip(spaces, rows, strict=True)]
    itself = apart[0] == 0
    for place, (space, distances) in enumerate(zip(spaces, apart, strict=True)):
        _draw(f"neighbours_{place}", space, picture, among, distances, itself)
    if not among.classes:
        st.caption(f"{among.count} pictures are few to find any alike: choose a data set above, or prepare one on the "
                   "page Train.")  # fmt: skip
    if lens.current().layer:
        st.button("Back to the last hidden layer, the paper's", icon=":material/undo:", key="neighbours_layer",
                  on_click=_last_hidden)  # fmt: skip


def _last_hidden() -> None:
    lens.change(layer=None)


def _pixels(look: views.Look, among: PictureSet) -> Space:
    from alexnet_explorer.inspection.neighbours import PIXEL_SIDE, distances, pixel_rows, pixels

    preprocessing = look.model.preprocessing
    side = min(preprocessing.size, PIXEL_SIDE)
    averaged = f", averaged down to {side}×{side}" if side < preprocessing.size else ""
    seen = ("pixels", str(preprocessing.canvas), str(preprocessing.size), str(preprocessing.channels))
    return Space(
        "pixels",
        f"the {preprocessing.size}×{preprocessing.size} that the network sees{averaged}",
        "grey levels",
        (*seen, among.key),
        partial(pixel_rows, preprocessing, among),
        lambda rows: look.remember(
            ("pixel distances", among.key), lambda: distances(rows, pixels(preprocessing, look.picture.image))
        ),
    )


def _layer(look: views.Look, among: PictureSet) -> Space:
    from alexnet_explorer.inspection.neighbours import distances, feature_rows, features

    size = math.prod(look.model.model.layers[look.layer].output)
    return Space(
        f"{look.layer} of {look.model.title}",
        f"{size:,} numbers",
        look.layer,
        (look.model.digest, look.layer, among.key),
        partial(feature_rows, look.model, among, look.layer),
        lambda rows: look.remember(
            ("distances", look.layer, among.key),
            lambda: distances(rows, features(look.model, look.picture.image, look.layer)),
        ),
    )


def _fits(look: views.Look, among: PictureSet) -> bool:
    """Whether the rows of a layer are not too many bytes; says so where they are."""
    from alexnet_explorer.inspection.row_store import MOST_BYTES_OF_ONE

    size = math.prod(look.model.model.layers[look.layer].output)
    if fits := 4 * size * among.count <= MOST_BYTES_OF_ONE:
        return fits
    st.info(f"{look.layer} of {plain(look.model.title)} has {size:,} numbers, too many to keep for {among.count:,} "
            "pictures: choose a later layer, or fewer pictures.")  # fmt: skip
    return fits


def _rows(spaces: Sequence[Space], among: PictureSet) -> list[Rows] | None:
    """The rows of every space, None while they are computed; that goes on in the background, and on the disk."""
    from alexnet_explorer.inspection.row_store import RowStore

    store = RowStore()

    def found() -> list[Rows] | None:
        kept = [store.find(space.key, among.count) for space in spaces]
        return [rows for rows in kept if rows is not None] if all(rows is not None for rows in kept) else None

    if rows := found():
        return rows
    asked = [space.key for space in spaces]
    if st.session_state.get(_ASKED) != asked or not working.kept(_WORK):
        st.session_state[_ASKED] = asked
        working.begin(_WORK, lambda progress: _compute(store, spaces, among, progress))
    if done := working.finished(_WORK):
        if rows := found():
            return rows
        st.info(plain(done.message) + " What was computed is kept.")
        st.button("Go on", icon=":material/play_arrow:", key="neighbours_go_on", on_click=_ask_again)
    return None


def _compute(store: RowStore, spaces: Sequence[Space], among: PictureSet, progress: working.Progress) -> None:
    for number, space in enumerate(spaces):

        def tell(share: float, text: str, number: int = number, name: str = space.name) -> None:
            progress((number + share) / len(spaces), f"{name}: {text}")

        store.fill(space.key, among.count, space.rows_from, tell)


def _ask_again() -> None:
    st.session_state.pop(_ASKED, None)


def _draw(
    key: str,
    space: Space,
    picture: Picture,
    among: PictureSet,
    distances: NDArray[np.float64],
    itself: NDArray[np.bool_],
) -> None:
    """The picture and its nearest, which can be clicked, with their distances and classes in words."""
    from alexnet_explorer.inspection.neighbours import nearest

    found = nearest(distances, COUNT, itself)
    st.markdown(f"**Nearest in {plain(space.name)}:** {plain(space.about)}")
    if not len(found.numbers):
        st.caption("There is no other picture in this set.")
        return
    images = [picture.image, *(among.picture(int(number)) for number in found.numbers)]
    sheet = thumbnails.sheet(images, TILE, len(images))
    told = [f"{among.label(int(n)) or f'picture {n}'}, {_number(d)}" for n, d in zip(*_lists(found), strict=True)]
    clickable.tiles(
        sheet,
        clickable.Grid(len(images), len(images), TILE, TILE, thumbnails.GAP),
        key,
        f"The picture, then its nearest: {'; '.join(told)}",
        0,
        lambda tile: told[tile - 1] + ". Click to go on from it" if tile else "The picture itself",
        lambda tile: _go_on_from(found, among, tile),
        photographs=True,
    )
    st.caption(f"{_own_class(found, picture, among)}Distances in {plain(space.unit)}: {' · '.join(map(plain, told))}.")
    downloads.offer(
        key, f"neighbours in {space.name}", png=lambda: sheet,
        csv=lambda: table(nearest(distances, among.count, itself), among),
    )  # fmt: skip


def _go_on_from(found: Nearest, among: PictureSet, tile: int) -> None:
    if tile:
        lens.change(picture=among.name_of(int(found.numbers[tile - 1])), target=None)


def _own_class(found: Nearest, picture: Picture, among: PictureSet) -> str:
    """How many of them bear the picture's own class, where that is one of the set's; else the commonest class."""
    if not among.classes:
        return ""
    labels = [among.label(int(number)) for number in found.numbers]
    if picture.label in among.classes:
        own, everyone = labels.count(picture.label), [among.label(number) for number in range(among.count)]
        chance = everyone.count(picture.label) / len(everyone)
        return (
            f"**{own} of {len(labels)}** are of its own class, {plain(picture.label)}; of all pictures {chance:.1%}. "
        )
    most = max(labels, key=labels.count)
    return f"{labels.count(most)} of {len(labels)} are {plain(most or '')}; the picture's own class is not known. "


def table(found: Nearest, among: PictureSet) -> str:
    """All pictures of a set as CSV, the nearest first: place, number in the set, distance, label."""
    rows = [(place, number, distance, among.label(number) or "")
            for place, (number, distance) in enumerate(zip(*_lists(found), strict=True), 1)]  # fmt: skip
    return csv_text([("place", "picture", "distance", "label"), *rows])


def _lists(found: Nearest) -> tuple[list[int], list[float]]:
    return found.numbers.tolist(), found.distances.tolist()


def _number(distance: float) -> str:
    return f"{distance:,.0f}" if distance >= 100 else f"{distance:.3g}"
