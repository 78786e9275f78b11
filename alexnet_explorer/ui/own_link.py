"""The controls of a page in its link, beside the lens: a link that is opened sets them, a change is written there."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")
_NONE = "none"
_STARTS, _FRESH, _PAGE = "own_link_starts", "own_link_fresh", "own_link_page"


def arrive(page: str) -> None:
    """Take note of the link by which a visitor came to a page.

    While they stay there the link follows the controls, and may lag behind them, so that it is not read again.
    """
    if st.session_state.get(_PAGE) != page:
        st.session_state[_PAGE] = page
        given = dict(st.query_params)
        starts = st.session_state.get(_STARTS, {})  # of each page: controls of two pages may have one name
        st.session_state[_STARTS] = starts | {page: starts.get(page, {}) | given}
        st.session_state[_FRESH] = set(given)


def start(name: str, usual: T, read: Callable[[str], Any], *keys: str) -> T:
    """What a control begins with: what the link says under `name`, else what is usual.

    What `read` makes None of is not well-formed, and counts as not given. A link that is followed later has its way,
    too: what the widgets `keys` had before is forgotten.
    """
    if name in st.session_state.get(_FRESH, ()):
        st.session_state[_FRESH].remove(name)
        for key in keys:
            st.session_state.pop(key, None)
    text = st.session_state.get(_STARTS, {}).get(st.session_state.get(_PAGE), {}).get(name)
    value: T | None = read(text) if text else None
    return usual if value is None else value


def write(name: str, value: str | None) -> None:
    """Bring the link in line; None: the usual value, which needs no place there."""
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def one_of(allowed: Container[str]) -> Callable[[str], str | None]:
    """Reads one of some words."""
    return lambda text: text if text in allowed else None


def some_of(allowed: Container[str]) -> Callable[[str], list[str] | None]:
    """Reads some of them, with commas between, as `listed` writes them."""
    return lambda text: [] if text == _NONE else [word for word in text.split(",") if word in allowed] or None


def listed(chosen: Iterable[str]) -> str:
    """What `some_of` reads: none of them is a choice, too."""
    return ",".join(chosen) or _NONE


def number(low: float, high: float) -> Callable[[str], float | None]:
    """Reads a number within bounds."""

    def read(text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if low <= value <= high else None

    return read
