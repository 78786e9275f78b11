"""What the last validation of a run got wrong: which classes are taken for which, and the worst cases as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from alexnet_explorer import figures
from alexnet_explorer.comparing import confusion_matrix
from alexnet_explorer.data.packed import DataError, find_set
from alexnet_explorer.inspection.mosaic import to_png
from alexnet_explorer.runs import Mistake, Run, RunError
from alexnet_explorer.ui import networks, views
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError, read_metadata

FEW_CLASSES = 12  # up to here the matrix can be read by itself; with more the most confused pairs are listed too
MOST_PAIRS = 10  # which a table shows without a scroll bar of its own
TILE, TILE_SPACE = 128, 144  # pixels of a picture, and with its words
MATRIX_HEIGHT = 480


def show(run: Run) -> None:
    """The confusion matrix, the pairs that are most confused where there are many classes, and the worst mistakes."""
    try:
        found = run.mistakes()
    except RunError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    if found is None:
        st.info("No mistakes of this run were noted so far: they come with the validation at the end of an epoch.")
        return
    classes = class_names(run)
    counts = confusion_matrix(found, len(classes))
    wrong, total = int(counts.sum() - np.trace(counts)), int(counts.sum())
    st.caption(f"Of {total:,} validation images {wrong:,} were taken for another class, after epoch {found.epoch}.")
    _confusion(counts, classes)
    if found.worst:
        st.markdown("**The worst mistakes:** least probability for what they are")
        _worst(run, found.worst, classes)


def class_names(run: Run) -> list[str]:
    """As the weights of the run name them, else their numbers."""
    file = run.weights_file()
    try:
        names: list[str] = json.loads(read_metadata(file)["classes"]) if file else []
    except (WeightsError, KeyError, ValueError):
        names = []
    count = run.config.model.num_classes
    return names if len(names) == count else [f"class {number}" for number in range(count)]


def confused_pairs(counts: NDArray[np.int64], classes: Sequence[str], most: int = MOST_PAIRS) -> list[dict[str, Any]]:
    """The pairs of classes that are confused most often, as rows of a table."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows = []
    for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if count := int(wrong[true, predicted]):
            share = 100 * count / int(counts[true].sum())
            rows.append({"class": classes[true], "taken for": classes[predicted], "images": count, "share": share})
    return rows


def _confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    pairs = confused_pairs(counts, classes)
    if len(classes) > FEW_CLASSES and pairs:
        st.dataframe(
            pairs, hide_index=True, key="mistakes_pairs", alt="The classes that are confused most often",
            column_config={"share": st.column_config.NumberColumn("of its images", format="%.0f%%")},
        )  # fmt: skip
    figure = figures.confusion(counts, classes)
    figure.update_layout(height=MATRIX_HEIGHT, uirevision="confusion")
    said = [f"{pair['class']} for {pair['taken for']} ({pair['images']})" for pair in pairs[:3]]
    alt = f"Confusion matrix of {len(classes)} classes; most often taken: {', '.join(said) or 'none for another'}"
    st.plotly_chart(figure, key="mistakes_matrix", config={"displayModeBar": False}, alt=alt)
    st.caption(
        "**How to read it:** a row is a true class, a column what the network took its images for; what is right lies "
        "on the diagonal. A bright spot beside it is a pair that the network confuses. Draw a frame to zoom in."
    )


def _worst(run: Run, worst: Sequence[Mistake], classes: Sequence[str]) -> None:
    tiles = []
    for one in worst:
        true, predicted = classes[one.true], classes[one.predicted]
        said = (f"**{plain(true)}** {one.probability_of_true:.1%}  \n"
                f"taken for **{plain(predicted)}** {one.probability:.1%}")  # fmt: skip
        tiles.append(Tile(one.image, f"{true}, taken for {predicted}", said))
    show_tiles(run, tiles)


class Tile(NamedTuple):
    """A training image of a run's data set by its place there, its text alternative, and the words under it."""

    image: int
    alt: str
    words: str  # Markdown


def show_tiles(run: Run, tiles: Sequence[Tile]) -> None:
    """Images of the run's data set with words under them; where this machine does not have the set, it says so."""
    try:
        pictures = _pictures(run, [tile.image for tile in tiles])
    except (DataError, OSError, IndexError) as error:  # an imported run may name any picture
        st.info(f"Their pictures cannot be shown. {plain(str(error))}")
        return
    with st.container(horizontal=True):
        for tile, picture in zip(tiles, pictures, strict=True):
            with st.container(width=TILE_SPACE, gap="xsmall"):
                st.image(picture, alt=tile.alt)
                st.caption(tile.words)


def _pictures(run: Run, places: Sequence[int]) -> list[bytes]:
    """PNG files of training images of the run's data set. Raises DataError where this machine does not have it."""
    data = run.config.data

    @cache
    def images() -> NDArray[np.uint8]:
        return find_set(data.name, data.digest).images("train")

    def picture(place: int) -> bytes:
        pixels = np.array(images()[place])
        if len(pixels) > TILE:
            return to_png(np.asarray(Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.LANCZOS)))
        return to_png(views.enlarged(pixels, TILE // len(pixels)))

    store = networks.results()
    return [store.get(("training image", data.digest, place), lambda place=place: picture(place)) for place in places]  # type: ignore[misc]
