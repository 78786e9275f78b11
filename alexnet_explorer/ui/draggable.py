"""What a visitor does in a chart with the mouse: drags its line, zooms. Streamlit says neither of Plotly's charts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import streamlit as st

Section = tuple[float, float]

# For `st.plotly_chart`: its first shape can be dragged, and a double click shows the whole.
CONFIG = {"edits": {"shapePosition": True}, "doubleClick": "autosize"}


def listen(
    key: str,
    chart: str,
    on_zoom: Callable[[Section | None, Section | None], None],
    level: float | None = None,
    on_drag: Callable[[float], None] | None = None,
) -> None:
    """Call `on_zoom` with the ends of both axes that a zoom left, the horizontal one first; None: all of an axis.

    They are as Plotly has them: in the chart's unit, or their power of ten. And `on_drag` with the place on the
    vertical axis to which the line of the chart was dragged, which is at `level` now. Draws nothing; the chart of the
    key `chart` is another element of the page, drawn with `CONFIG`.
    """

    def take_level() -> None:
        place = st.session_state[key].level
        if on_drag and _is_number(place):
            on_drag(float(place))

    def take_zoom() -> None:
        axes = st.session_state[key].zoom
        if isinstance(axes, list) and len(axes) == 2:
            on_zoom(_section(axes[0]), _section(axes[1]))

    _component()(key=key, data={"chart": chart, "level": level}, on_level_change=take_level, on_zoom_change=take_zoom,
                 height=1)  # fmt: skip


def _section(ends: object) -> Section | None:
    if isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends)) and ends[0] != ends[1]:
        return float(min(ends)), float(max(ends))
    return None


def _is_number(value: object) -> bool:
    """It comes from a browser."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("alexnet_explorer_draggable", html="<i></i>", js=_JS)


_JS = """
const ends = new WeakMap();  // by element of the page: what ends the listening of the call before

export default function({ data, setTriggerValue, parentElement }) {
  ends.get(parentElement)?.();
  let plot = null;
  const changed = (change) => {
    // Taken by one of its ends the line goes askew: that end is where it is wanted.
    const far = (place) => Math.abs(place - data.level);
    const places = ["shapes[0].y0", "shapes[0].y1"].map((name) => change[name]).filter(Number.isFinite);
    if (places.length) setTriggerValue("level", places.reduce((a, b) => (far(b) > far(a) ? b : a)));
    if (!Object.keys(change).some((name) => /^[xy]axis[.](range|autorange)/.test(name))) return;
    const { xaxis, yaxis } = plot.layout;
    setTriggerValue("zoom", [xaxis, yaxis].map((axis) => axis.autorange ? [] : [...(axis.range ?? [])]));
  };
  const leave = () => plot?.removeListener?.("plotly_relayout", changed);  // which a chart that is gone has not
  const look = () => {
    const found = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (!found?.on || found === plot) return;
    leave();
    found.on("plotly_relayout", changed);
    plot = found;
  };
  const timer = setInterval(look, 300);  // the chart may come later, or be drawn anew
  const end = () => {
    clearInterval(timer);
    leave();
  };
  ends.set(parentElement, end);
  look();
  return end;
}
"""
