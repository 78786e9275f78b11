"""What each layer does while a run is trained: how long its gradient is, how many of its units are silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from alexnet_explorer import figures
from alexnet_explorer.ui import curves
from alexnet_explorer.ui.history import Kept, Row

if TYPE_CHECKING:
    import plotly.graph_objects as go

RECENT_ROWS = 20  # a gradient that is not a number is left out of its row, so that one row is not enough

GRADIENT = (
    "**How to read it:** lines close together learn at one pace. Where conv1 lies a thousand times below the last "
    "layer, the gradient has faded on its way back; a line that shoots up comes before a loss that does."
)
# By the prefix of the metric: the title of the chart, and how to read it.
SILENT = {
    "dead/": (
        "dead units (%)",
        "**How to read it:** a dead unit is zero for every validation image, so that no gradient reaches its weights. "
        "A few per cent are usual; a third means that the layer is narrower than it was built.",
    ),
    "saturated/": (
        "saturated responses (%)",
        "**How to read it:** a saturated response lies where the curve of the activation is flat, and passes less than "
        "a tenth of the gradient on. A twentieth is usual at first, a quarter later; from half on learning crawls.",
    ),
}


def show(kept: Kept) -> None:
    """Gradients and silent units, each with a sentence on how to read it."""
    shown = [(prefix, *SILENT[prefix]) for prefix in SILENT if names(kept["val"], prefix)]
    if names(kept["train"], "gradient/"):
        shown.insert(0, ("gradient/", "norm of the gradient", GRADIENT))
    if not shown:
        st.info("Nothing was noted of the layers of this run so far: gradients come with the first point of the "
                "curves, silent units with the first epoch.")  # fmt: skip
        return
    scales = curves.choose("layers", curves.Scales(log=True))
    for column, (prefix, title, reading) in zip(st.columns(2), shown, strict=False):
        with column:
            rows = kept["train" if prefix == "gradient/" else "val"]
            curves.draw(chart(kept, scales, prefix, title), f"layers_{prefix}", in_words(rows, prefix, title))
            st.caption(reading)


def chart(kept: Kept, scales: curves.Scales, prefix: str, title: str) -> go.Figure:
    """A line for each layer, the first dark, the last light; only gradients have an axis that may be logarithmic."""
    gradients = prefix == "gradient/"
    rows = kept["train" if gradients else "val"]
    x_title, unit = scales.along(rows[-1:])
    layers = names(rows, prefix)
    lines = [
        figures.smoothed(figures.RunCurve(layer, colour, *scales.points(rows, prefix + layer, unit)), scales.smoothing)
        for layer, colour in zip(layers, figures.depth_colours(len(layers)), strict=True)
    ]
    figure = figures.curves(lines, title, x_title, scales.log and gradients)
    return curves.settled(figure, kept, scales)


def names(rows: Sequence[Row], prefix: str) -> list[str]:
    """The layers that the last rows have a metric of, in their order."""
    found = dict.fromkeys(name for row in rows[-RECENT_ROWS:] for name in row if name.startswith(prefix))
    return [name.removeprefix(prefix) for name in found]


def in_words(rows: Sequence[Row], prefix: str, title: str) -> str:
    """The text alternative of a chart: the last value of each layer."""
    factor = 1 if prefix == "gradient/" else 100
    last = {layer: next(row[prefix + layer] for row in reversed(rows) if prefix + layer in row)
            for layer in names(rows, prefix)}  # fmt: skip
    return f"{title} of each layer; now: " + ", ".join(f"{layer} {factor * v:.3g}" for layer, v in last.items())
