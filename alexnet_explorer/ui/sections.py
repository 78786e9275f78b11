"""The section of long curves that is looked at: drawn in the chart with the mouse, typed, or opened by a link."""

from __future__ import annotations

import math
from collections.abc import Mapping

import streamlit as st

from alexnet_explorer.comparing import AXES, Axis
from alexnet_explorer.ui import own_link
from alexnet_explorer.ui.draggable import Section

_KEPT = "compare_sections"  # in the session: ends by axis
_UPRIGHT = "compare_upright"  # in the session: ends of the vertical axis, by what it shows
_FROM, _TO = "compare_from", "compare_to"
DIGITS = 8


def current(axis: Axis, whole: Section) -> Section | None:
    """The ends of what is looked at, within the whole; None: all of it. The link follows."""
    kept = _kept().get(axis)
    found = (max(kept[0], whole[0]), min(kept[1], whole[1])) if kept else whole
    section = found if kept and found[0] < found[1] and found != whole else None
    own_link.write("section", f"{axis}:{section[0]:.{DIGITS}g},{section[1]:.{DIGITS}g}" if section else None)
    return section


def take(axis: Axis, section: Section | None) -> None:
    """Look at this section from now on, or at all of it."""
    others = {name: ends for name, ends in _kept().items() if name != axis}
    if section:
        low, high = (float(f"{end:.{DIGITS}g}") for end in section)
        others[axis] = (low, high)
    st.session_state[_KEPT] = others


def upright(of: str) -> Section | None:
    """The ends of the vertical axis of what is drawn; None: as the lines have it."""
    kept: dict[str, Section] = st.session_state.get(_UPRIGHT, {})
    return kept.get(of)


def take_upright(of: str, section: Section | None) -> None:
    """Draw from here to there, until something else is drawn."""
    st.session_state[_UPRIGHT] = {of: section} if section else {}


def controls(axis: Axis, name: str, whole: Section, section: Section | None, unit: float, zoomed: bool) -> None:
    """The section in words and to be typed; `unit`: by what ends are divided to be shown. Zoomed: the way back."""
    low, high = ((end / unit) for end in section or whole)
    start, end = (end / unit for end in whole)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        with st.popover("Section", icon=":material/zoom_in:", help="From where to where the curves are drawn"):
            st.session_state[_FROM], st.session_state[_TO] = low, high
            step = 10.0 ** math.floor(math.log10((end - start) / 10))
            for label, key in (("From", _FROM), ("To", _TO)):
                st.number_input(f"{label} ({name})", start, end, step=step, format="%.6g", key=key, on_change=_take,
                                args=(axis, unit))  # fmt: skip
        if zoomed:
            st.button("Show the whole", icon=":material/zoom_out_map:", key="compare_whole",
                      on_click=_leave, args=(axis,))  # fmt: skip
        st.caption(
            f"{name.capitalize()}: {low:.4g} to {high:.4g} of {end:.4g}, with as many points as find room. A double "
            "click in the chart leads back." if section else
            "Long lines are thinned, with every spike kept. Draw over the chart to zoom in: a section has more of its "
            "points."
        )  # fmt: skip


def _leave(axis: Axis) -> None:
    take(axis, None)
    take_upright("", None)


def _take(axis: Axis, unit: float) -> None:
    low, high = st.session_state[_FROM], st.session_state[_TO]
    if low < high:
        take(axis, (low * unit, high * unit))


def _kept() -> Mapping[str, Section]:
    begin: dict[str, Section] = own_link.start("section", {}, _read, _KEPT)
    kept: Mapping[str, Section] = st.session_state.setdefault(_KEPT, begin)
    return kept


def _read(text: str) -> dict[str, Section] | None:
    """'epoch:10,20'."""
    axis, _, ends = text.partition(":")
    try:
        low, high = map(float, ends.split(","))
    except ValueError:
        return None
    return {axis: (low, high)} if axis in AXES and math.isfinite(high - low) and low < high else None
