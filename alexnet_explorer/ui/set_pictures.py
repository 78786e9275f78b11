"""An image of a data set as the picture of every page: a handful of its test images, to click on one."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import streamlit as st

from alexnet_explorer.data.packed import list_sets
from alexnet_explorer.inspection.picture_sets import PictureSet, of_packed
from alexnet_explorer.runs import RunError
from alexnet_explorer.ui import clickable, lens, networks, thumbnails
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError

ROWS, COLUMNS, SIDE = 5, 4, 64  # side in pixels
_DRAW = "set_pictures_draw"


def choose() -> None:
    """A popover in the sidebar; what it shows is read when it is opened."""
    with st.popover("An image of a data set", icon=":material/dataset:", key="set_pictures", on_change="rerun",
                    width="stretch") as box:  # fmt: skip
        if box.open:
            _offer()


def _offer() -> None:
    packed = {one.digest: one for one in list_sets() if one.count("test")}
    if not packed:
        st.caption("No data set of this machine has test images: prepare one on the page Train.")
        return
    own = _own_set()
    chosen = st.selectbox(
        "Data set", list(packed), list(packed).index(own) if own in packed else 0, key="set_pictures_set",
        format_func=lambda digest: packed[digest].name if digest in packed else digest,
        persist_state="session",
    )  # fmt: skip
    pictures = of_packed(packed[chosen])
    draw = st.session_state.setdefault(_DRAW, 0)
    numbers = np.random.default_rng(draw).permutation(pictures.count)[: ROWS * COLUMNS].tolist()
    clickable.tiles(
        thumbnails.sheet([pictures.picture(number) for number in numbers], SIDE, COLUMNS),
        clickable.Grid(len(numbers), COLUMNS, SIDE, SIDE, thumbnails.GAP),
        "set_pictures_tiles",
        f"{len(numbers)} test images of {packed[chosen].name}",
        None,
        lambda tile: str(pictures.label(numbers[tile])),
        lambda tile: _look_at(pictures, numbers[tile]),
        photographs=True,
    )
    if pictures.count > len(numbers):
        st.button("Others", icon=":material/casino:", key="set_pictures_others", on_click=_draw_again)
    st.caption(f"Test images of {plain(packed[chosen].name)}, {len(numbers)} drawn from {pictures.count:,}.")


def _own_set() -> str | None:
    """The data that the first network of the lens was trained on, by its digest, if that is known."""
    with suppress(RunError, WeightsError):
        return networks.describe(networks.entry(lens.current().models[0])).config.data.digest
    return None


def _look_at(pictures: PictureSet, number: int) -> None:
    lens.change(picture=pictures.name_of(number), target=None)


def _draw_again() -> None:
    st.session_state[_DRAW] += 1
