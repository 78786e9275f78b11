"""What a visitor is looking at: one value, the same on every page, written in the link.

The value lives in the session. A link fills it when a session begins; afterwards the session is the truth and the
link follows it, so that copying the address bar at any moment reopens what one sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from alexnet_explorer.catalogue import DEFAULT_MODEL

MOST_MODELS = 4  # side by side
MOST_COMPARED = 60  # a link with so many ids still fits any address bar
TOO_MANY = (
    f"The page Compare takes {MOST_COMPARED} runs at a time at most, as all are named in its link, which has to fit "
    "any address bar."
)
_KEY = "lens"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # of a run, or of a weights file


@dataclass(frozen=True)
class Lens:
    """The picture, the networks, and the place in them. None means: the page's own best choice."""

    picture: str = "coffee"  # a sample's name, or upload-<digest>
    models: tuple[str, ...] = (DEFAULT_MODEL,)  # several are shown side by side, the first one is the baseline
    compared: tuple[str, ...] = ()  # those chosen on the page Compare, which leaves `models` to the other pages
    beside: tuple[str, ...] = ()  # of many that are compared, those that are shown side by side; none: the first ones
    epoch: int | None = None  # of the training; None: the last one
    layer: str | None = None
    unit: int | None = None
    target: int | None = None  # a class index; None: what each network predicts


def read(query: Mapping[str, str]) -> Lens:
    """The lens of a link's query. What is not well-formed counts as not given."""

    def number(name: str) -> int | None:
        text = query.get(name, "")
        return int(text) if text.isdecimal() and len(text) < 7 else None

    def networks(name: str, most: int = MOST_MODELS) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(_NAME.fullmatch, query.get(name, "").split(","))))[:most]

    plain = Lens()
    return Lens(
        picture=query.get("picture") or plain.picture,
        models=networks("models") or plain.models,
        compared=networks("compared", MOST_COMPARED),
        beside=networks("beside"),
        epoch=number("epoch"),
        layer=query.get("layer") or None,
        unit=number("unit"),
        target=number("target"),
    )


def write(lens: Lens) -> dict[str, str]:
    """The query of a link that reopens this lens; what is not chosen is left out."""
    lists = {name: ",".join(value) or None for name, value in vars(lens).items() if isinstance(value, tuple)}
    return {name: str(value) for name, value in {**vars(lens), **lists}.items() if value is not None}


def current() -> Lens:
    """This session's lens."""
    if _KEY not in st.session_state:
        st.session_state[_KEY] = read(st.query_params)
    lens: Lens = Lens(**vars(st.session_state[_KEY]))  # of this module as it is now, if it was reloaded
    return lens


def change(**fields: Any) -> Lens:
    """Look at something else from now on: `change(picture="coffee")`."""
    st.session_state[_KEY] = replace(current(), **fields)
    return current()


def write_link() -> None:
    """Bring the address bar in line with the lens, leaving a page's own parameters alone."""
    query = write(current())
    own = {name: value for name, value in st.query_params.items() if name not in vars(Lens())}
    if {**own, **query} != st.query_params.to_dict():
        st.query_params.from_dict({**own, **query})
