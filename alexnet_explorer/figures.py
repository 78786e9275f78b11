"""Arrays in, Plotly figures out. No Streamlit; no colours of text or background, which are the page's theme's."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from alexnet_explorer.inspection.mosaic import colour_table

if TYPE_CHECKING:
    from alexnet_explorer.inspection.predict import Prediction

# Okabe and Ito's palette, which colour-blind visitors can tell apart; without black, which a dark page swallows,
# and with yellow last, which a light one nearly does.
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BASELINE_COLOUR = "#8C8C8C"
_GRID = "rgba(128, 128, 128, 0.25)"
_FAINT = 0.3
_DEPTHS = (64, 224)  # of 256: a dark page swallows what is before, a light one what comes after
_MOST_LABELS = 40  # classes whose names find room beside a confusion matrix
_ROOM_OF_RATIOS = 1.2
_RATIOS = [digit * 10**power for power in range(-3, 4) for digit in (1, 2, 5)]  # marked on an axis
_FEW = 30  # points of a line that are marked: one point alone makes no line


def colour_of(position: int) -> str:
    """The colour of the run at `position` in a list; they repeat after seven. The baseline's is `BASELINE_COLOUR`."""
    return RUN_COLOURS[position % len(RUN_COLOURS)]


def depth_colours(count: int) -> list[str]:
    """Colours of the layers of a network, the first dark, the last light: viridis without its ends."""
    places = np.linspace(*_DEPTHS, count).round().astype(int)
    return [f"#{bytes(colour).hex()}" for colour in colour_table("viridis")[places]]


@dataclass(frozen=True)
class RunCurve:
    """One line of a chart: a name for the legend, x and y of the same length, y may have NaN."""

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    dash: str = "solid"  # Plotly's: solid, dash, dot, …


def curves(
    runs: Sequence[RunCurve], y_title: str, x_title: str, log_y: bool = False, smoothing: float = 0.0
) -> go.Figure:
    """Curves over one another. With `smoothing` above 0: the raw line faint, `smooth`'s above it."""
    figure = _figure(x_title, y_title)
    named: set[str] = set()
    for run in runs:
        line = {"color": run.colour, "dash": run.dash, "width": 2}
        mode = "lines+markers" if len(run.x) <= _FEW else "lines"
        group = {"name": _text(run.name), "legendgroup": run.name, "mode": mode, "line": line}
        if smoothing:
            x, y = thin(run.x, run.y)
            figure.add_scatter(x=x, y=y, opacity=_FAINT, showlegend=False, hoverinfo="skip", **group)
        x, y = thin(run.x, smooth(run.y, smoothing))
        figure.add_scatter(x=x, y=y, showlegend=run.name not in named, **group)
        named.add(run.name)  # lines of one name share a place in the legend
    figure.update_layout(hovermode="x unified", legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    if log_y:
        figure.update_yaxes(type="log")
    return figure


def smooth(values: ArrayLike, weight: float) -> NDArray[np.float64]:
    """TensorBoard's smoothing: an exponential moving average, its bias towards a start at 0 divided out.

    `weight` is from 0 (no change) to below 1. A value that is not finite stays as it is, and out of the average.
    """
    raw = np.asarray(values, dtype=np.float64)
    result = raw.copy()
    average = total = 0.0
    for position in np.flatnonzero(np.isfinite(raw)):
        average = weight * average + (1 - weight) * raw[position]
        total = weight * total + (1 - weight)
        result[position] = average / total
    return result


def thin(x: ArrayLike, y: ArrayLike, points: int = 1000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A long line in about `points` points: the lowest and the highest of each stretch, so that no spike is lost.

    A shorter line stays as it is. A stretch with NaN keeps that, and so the gap.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) <= points:
        return x, y
    stretches = np.array_split(np.arange(len(x)), points // 2)
    kept = {int(stretch[pick(y[stretch])]) for stretch in stretches for pick in (np.argmin, np.argmax)}
    chosen = sorted(kept | {0, len(x) - 1})
    return x[chosen], y[chosen]


def prediction_bars(predictions: Sequence[Prediction], colour: str = RUN_COLOURS[0]) -> go.Figure:
    """Horizontal bars, the first prediction on top, with percent."""
    figure = _figure("probability", "")
    shares = [prediction.probability for prediction in predictions]
    # Bars stand at numbers, not at labels: ImageNet has two classes called 'crane', whose bars would be stacked.
    places = list(range(len(predictions)))
    figure.add_bar(
        x=shares, y=places, orientation="h", marker_color=colour, textposition="auto",
        text=[f"{share:.1%}" for share in shares],
        hovertext=[f"{_text(prediction.label)}: {prediction.probability:.2%}" for prediction in predictions],
        hoverinfo="text",
    )  # fmt: skip
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(
        autorange="reversed",
        tickvals=places,
        showgrid=False,
        zeroline=False,
        ticktext=[_text(prediction.label) for prediction in predictions],
    )
    # Half of '100%' stands to the right of the axis; without room for it Plotly leaves it out.
    figure.update_layout(height=80 + 36 * len(predictions), showlegend=False, margin_r=24)
    return figure


@dataclass(frozen=True)
class Interval:
    """One line of a chart of intervals; an end that is infinite is open, and there may be no value."""

    name: str
    value: float | None
    low: float
    high: float


def intervals(
    lines: Sequence[Interval], x_title: str, none: float, claimed: float | None = None, ratio: bool = False
) -> go.Figure:
    """Estimates with their intervals, the first line on top; upright: no difference, and what was claimed.

    With `ratio` the axis is logarithmic, so that twice and half are as far from 1. An open end reaches the edge.
    """
    ends = [end for one in lines for end in (one.low, one.high, one.value) if end is not None and math.isfinite(end)]
    ends = [end for end in (*ends, none, *([] if claimed is None else [claimed])) if end > 0 or not ratio]
    if ratio:
        low, high = min(ends) / _ROOM_OF_RATIOS, max(ends) * _ROOM_OF_RATIOS
    else:
        room = 0.1 * ((max(ends) - min(ends)) or 1.0)
        low, high = min(ends) - room, max(ends) + room
    figure = _figure(x_title, "")
    for place, one in enumerate(lines):
        colour = colour_of(0)
        span = [max(one.low, low), min(one.high, high)]
        figure.add_scatter(x=span, y=[place, place], mode="lines", line={"color": colour, "width": 3}, hoverinfo="skip")
        if one.value is not None:
            figure.add_scatter(x=[one.value], y=[place], mode="markers", marker={"color": colour, "size": 10},
                               hovertemplate="%{x:.3g}<extra></extra>")  # fmt: skip
    figure.add_vline(x=none, line={"color": BASELINE_COLOUR, "width": 1})
    if claimed is not None:
        figure.add_vline(x=claimed, line={"color": colour_of(1), "width": 2, "dash": "dash"})
    if ratio:
        figure.update_xaxes(type="log", range=[math.log10(low), math.log10(high)], tickvals=_RATIOS)
    else:
        figure.update_xaxes(range=[low, high])
    names = [_text(one.name) for one in lines]
    figure.update_yaxes(
        tickvals=list(range(len(lines))), ticktext=names, range=[len(lines) - 0.5, -0.5], showgrid=False
    )
    figure.update_layout(height=90 + 40 * len(lines), showlegend=False)
    return figure


def histogram(values: ArrayLike, x_title: str, colour: str = RUN_COLOURS[0], bins: int = 60) -> go.Figure:
    """How often each value occurs, counted here rather than in the browser; values that are not finite are left out."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    counts, edges = np.histogram(flat[np.isfinite(flat)], bins)
    figure = _figure(x_title, "count")
    figure.add_bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), marker_color=colour)
    figure.update_layout(bargap=0, showlegend=False)
    return figure


def confusion(counts: ArrayLike, classes: Sequence[str]) -> go.Figure:
    """A confusion matrix as a heatmap: counts (true, predicted), a row a true class, coloured by its share of the row.

    Classes of the same name are told apart by their numbers; above `_MOST_LABELS` of them only the tooltips name them.
    """
    seen = np.asarray(counts, dtype=np.int64)
    shares = (seen / np.maximum(seen.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    repeated = {name for name, times in Counter(classes).items() if times > 1}
    names = [_text(f"{name} ({number})" if name in repeated else name) for number, name in enumerate(classes)]
    figure = _figure("predicted class", "true class")
    figure.add_heatmap(
        z=shares, x=names, y=names, customdata=seen.astype(np.int32), zmin=0, zmax=1, colorscale="viridis",
        colorbar={"tickformat": ".0%", "title": {"text": "of the class"}, "thickness": 12},
        hovertemplate="%{y}<br>taken for %{x}<br>%{customdata} images, %{z:.1%} of the class<extra></extra>",
    )  # fmt: skip
    labels = len(names) <= _MOST_LABELS
    figure.update_xaxes(type="category", showticklabels=labels, showgrid=False, constrain="domain")
    figure.update_yaxes(type="category", showticklabels=labels, showgrid=False, autorange="reversed")
    return figure


def _text(words: str) -> str:
    """Words of a user as Plotly shows them: it reads some HTML, links among it."""
    return html.escape(words, quote=False)


def _figure(x_title: str, y_title: str) -> go.Figure:
    """An empty chart that fits a light and a dark page. In one go: Plotly checks each change for milliseconds."""
    clear = "rgba(0, 0, 0, 0)"
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "automargin": True}
    return go.Figure(
        layout={
            "paper_bgcolor": clear,
            "plot_bgcolor": clear,
            "margin": {"l": 10, "r": 10, "t": 30, "b": 10},
            "xaxis": {"title": {"text": x_title}, **axis},
            "yaxis": {"title": {"text": y_title}, **axis},
        }
    )
