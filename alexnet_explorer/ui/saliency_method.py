"""The control by which a visitor chooses a saliency method, in the link of its page."""

from __future__ import annotations

import streamlit as st

from alexnet_explorer.inspection.methods import METHODS
from alexnet_explorer.ui import own_link


def choose(key: str, link: str, usual: str) -> str:
    """The key of a method; `key` is the widget's, `link` the name in the link, `usual` what needs no place there."""
    chosen = st.segmented_control(
        "Method",
        list(METHODS),
        format_func=lambda method: METHODS[method].title,
        default=own_link.start(link, usual, own_link.one_of(METHODS), key),
        key=key,
        required=True,
        persist_state="session",
    )
    method = chosen or usual
    own_link.write(link, None if method == usual else method)
    return method
