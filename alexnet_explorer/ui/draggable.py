"""A horizontal line of a chart that can be dragged: Streamlit does not say where Plotly's drag has put it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import streamlit as st

# For `st.plotly_chart`: its first shape can be dragged.
CONFIG = {"edits": {"shapePosition": True}}


def listen(key: str, chart: str, level: float, on_drag: Callable[[float], None]) -> None:
    """Call `on_drag` with the place on the vertical axis to which the line of the chart of that key was dragged.

    `level`: where it is now. Draws nothing; the chart is another element of the page, drawn with `CONFIG`.
    """

    def take() -> None:
        place = st.session_state[key].level
        if isinstance(place, int | float) and math.isfinite(place):  # it comes from a browser
            on_drag(float(place))

    _component()(key=key, data={"chart": chart, "level": level}, on_level_change=take, height=1)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("alexnet_explorer_draggable", html="<i></i>", js=_JS)


_JS = """
const ends = new WeakMap();  // by element of the page: what ends the listening of the call before

export default function({ data, setTriggerValue, parentElement }) {
  ends.get(parentElement)?.();
  let plot = null;
  const moved = (change) => {
    // Taken by one of its ends the line goes askew: that end is where it is wanted.
    const far = (place) => Math.abs(place - data.level);
    const places = ["shapes[0].y0", "shapes[0].y1"].map((name) => change[name]).filter(Number.isFinite);
    if (places.length) setTriggerValue("level", places.reduce((a, b) => (far(b) > far(a) ? b : a)));
  };
  const leave = () => plot?.removeListener?.("plotly_relayout", moved);  // which a chart that is gone has not
  const look = () => {
    const found = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (!found?.on || found === plot) return;
    leave();
    found.on("plotly_relayout", moved);
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
