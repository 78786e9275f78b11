"""The control by which a visitor says what a network is to be run over, the same on every page."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from alexnet_explorer.data.packed import list_sets
from alexnet_explorer.inspection.picture_sets import PictureSet, of_packed, of_pictures
from alexnet_explorer.ui import own_link, pictures

OWN = "samples"


def choose(key: str, label: str = "Pictures") -> PictureSet:
    """The samples with the visitor's uploads, or the test images of a set that is on this machine."""
    packed = {one.digest: one for one in list_sets() if one.count("test")}
    titles = {OWN: "The sample photographs and your uploads"} | {digest: one.name for digest, one in packed.items()}
    usual = own_link.start("pictures", OWN, own_link.one_of(titles), key)
    chosen = st.selectbox(
        label, list(titles), list(titles).index(usual), format_func=lambda digest: titles.get(digest, digest), key=key,
        persist_state="session", help="Of a data set its test images, which no training has seen.",
    )  # fmt: skip
    own_link.write("pictures", None if chosen == OWN else chosen)
    return of_packed(packed[chosen]) if chosen in packed else own_pictures(tuple(pictures.names()))


def own_pictures(names: Sequence[str]) -> PictureSet:
    """The pictures of these names that this session has."""
    found = [picture for name in names if (picture := pictures.open_picture(name))]
    return of_pictures("The sample photographs and your uploads", {one.name: (one.title, one.image) for one in found})
