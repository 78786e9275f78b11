"""The controls of a page in its link, beside the lens: a link that is opened sets them, a change is written there."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")
_STARTS, _WRITTEN = "own_link_starts", "own_link_written"


def start(name: str, usual: T, read: Callable[[str], Any], *keys: str) -> T:
    """What a control begins with: what the link that was opened says under `name`, else what is usual.

    What `read` makes None of is not well-formed, and counts as not given. A link to this page that is followed later
    has its way, too: what the widgets `keys` had before is forgotten.
    """
    starts: dict[str, str] = st.session_state.setdefault(_STARTS, {})
    written: dict[str, str] = st.session_state.setdefault(_WRITTEN, {})
    text = st.query_params.get(name, "")
    if text and text != written.get(name):
        starts[name] = text
        for key in keys:
            st.session_state.pop(key, None)
    value: T | None = read(starts[name]) if starts.get(name) else None
    return usual if value is None else value


def write(name: str, value: str | None) -> None:
    """Bring the link in line; None: the usual value, which needs no place there."""
    st.session_state.setdefault(_WRITTEN, {})[name] = value
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def one_of(allowed: Container[str]) -> Callable[[str], str | None]:
    """Reads one of some words."""
    return lambda text: text if text in allowed else None


def some_of(allowed: Container[str]) -> Callable[[str], list[str] | None]:
    """Reads some of them, with commas between."""
    return lambda text: [word for word in text.split(",") if word in allowed] or None


def number(low: float, high: float) -> Callable[[str], float | None]:
    """Reads a number within bounds."""

    def read(text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if low <= value <= high else None

    return read
