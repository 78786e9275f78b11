"""Where two runs disagree: the validation images that one gets right and the other wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from alexnet_explorer.comparing import Disagreement, disagreement, same_validation
from alexnet_explorer.config import DataConfig
from alexnet_explorer.data.packed import DataError, find_set
from alexnet_explorer.runs import Mistakes
from alexnet_explorer.ui import answers, own_link
from alexnet_explorer.ui.comparison import Compared
from alexnet_explorer.ui.mistakes import Tile, class_names, show_tiles
from alexnet_explorer.ui.text import plain

MOST_TILES = 18  # images of either kind at a time
NUMBER_WIDTH = 170  # pixels


def show(runs: Sequence[Compared]) -> None:
    """Two runs of the visitor's choice: how often they part, whether that can be chance, and on which images."""
    first, second = _pair(runs)
    if first.run.id == second.run.id:
        st.info("Choose two different runs.")
        return
    if not same_validation(first.config, second.config):
        st.info(f"{plain(first.name)} and {plain(second.name)} are validated on different images, so that their "
                "answers cannot be compared one by one: data set, val_fraction or split_seed differ.")  # fmt: skip
        return
    pair = [first, second]
    found = answers.known(pair, single=True)
    if unknown := [one for one in pair if one.run.id not in found]:
        st.info("The answer to each single image is kept by trainings of today; of older runs it can be computed.")
        answers.ask_for(unknown)
        return
    one, other = (found[run.run.id] for run in pair)
    if one.true != other.true:
        st.info("Their answers are to different images, and cannot be compared one by one: compute them once more on "
                "the same data set.")  # fmt: skip
        return
    parted = disagreement(one.true, one.predicted, other.predicted)
    _numbers(first, second, parted, len(one.true))
    for title, places, key in (
        (f"{first.name} is right, {second.name} is wrong", parted.only_first, "first"),
        (f"{second.name} is right, {first.name} is wrong", parted.only_second, "second"),
    ):
        st.markdown(f"**{plain(title)}**: {len(places):,} images")
        if len(places):
            _pictures(first, second, one, other, places, key)


def _pair(runs: Sequence[Compared]) -> tuple[Compared, Compared]:
    by_id = {one.run.id: one for one in runs}
    names = list(by_id)
    begin = own_link.start("pair", names[:2], own_link.some_of(names), "compare_one", "compare_another")
    begin = begin if len(begin) == 2 else names[:2]
    chosen = []
    with st.container(horizontal=True):
        for name, label in zip(begin, ("One run", "Another run"), strict=True):
            key = f"compare_{label.split()[0].lower()}"
            chosen.append(st.selectbox(label, names, names.index(name), key=key, persist_state="session", width=320,
                                       format_func=lambda one: by_id[one].name if one in by_id else one))  # fmt: skip
    own_link.write("pair", None if chosen == names[:2] else ",".join(chosen))
    return by_id[chosen[0]], by_id[chosen[1]]


def _numbers(first: Compared, second: Compared, parted: Disagreement, count: int) -> None:
    numbers = {
        "Both right": parted.both,
        f"Only {first.name}": len(parted.only_first),
        f"Only {second.name}": len(parted.only_second),
        "Both wrong": parted.neither,
    }
    with st.container(horizontal=True):
        for label, number in numbers.items():
            st.metric(plain(label), f"{number:,}", width=NUMBER_WIDTH)
    few, many = sorted((len(parted.only_first), len(parted.only_second)))
    st.caption(
        f"Of {count:,} validation images. If both runs were right equally often, the {few + many:,} on which they part "
        f"would split as unevenly as {few:,} to {many:,}, or more so, with probability p = {parted.p:.2g} (McNemar's "
        "exact test). That is about these two networks; what the setting does, only several seeds can say."
    )


def _pictures(first: Compared, second: Compared, one: Mistakes, other: Mistakes, places: np.ndarray, key: str) -> None:
    start = 0
    if len(places) > MOST_TILES:
        starts = range(0, len(places), MOST_TILES)
        start = st.select_slider("Images", starts, key=f"compare_page_{key}", label_visibility="collapsed", width=320,
                                 format_func=lambda at: f"{at + 1} to {min(at + MOST_TILES, len(places))}")  # fmt: skip
    shown = [int(place) for place in places[start : start + MOST_TILES]]
    try:
        images = _images(first.config.data)
    except (DataError, OSError) as error:
        st.info(f"Their pictures cannot be shown. {plain(str(error))}")
        return
    classes = class_names(first.run)
    tiles = []
    for place in shown:
        true, taken, by_other = (classes[answer[place]] for answer in (one.true, one.predicted, other.predicted))
        wrong = by_other if taken == true else taken
        tiles.append(Tile(images[place], f"{true}, taken for {wrong}",
                          f"**{plain(true)}**  \ntaken for {plain(wrong)}"))  # fmt: skip
    show_tiles(first.run, tiles)


@st.cache_data(max_entries=16, show_spinner="Finding the images …")
def _image_places(data: str) -> list[int]:
    from alexnet_explorer.data.batches import split_indices

    config = DataConfig.model_validate_json(data)
    places: list[int] = split_indices(find_set(config.name, config.digest), config)["val"].tolist()
    return places


def _images(data: DataConfig) -> list[int]:
    """The places of the validation images among the training images of their set, in order. Raises DataError."""
    return _image_places(data.model_dump_json())
