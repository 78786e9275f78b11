"""Arrays in, Plotly figures out. No Streamlit; no colours of text or background, which are the page's theme's."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from itertools import accumulate
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from alexnet_explorer.inspection.mosaic import colour_table
from alexnet_explorer.words import number_text

# Plotly asks pandas about every array once anybody has begun to import it: half of it, from the thread of another
# visitor, is not enough.
import_module("pandas")

if TYPE_CHECKING:
    from alexnet_explorer.comparing import Dimension
    from alexnet_explorer.inspection.predict import Prediction

# Okabe and Ito's palette, which colour-blind visitors can tell apart; without black, which a dark page swallows,
# and with yellow last, which a light one nearly does.
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BASELINE_COLOUR = "#8C8C8C"
DASHES = ("solid", "dash", "longdash", "dashdot", "longdashdot")  # dotted is the training's
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")  # each goes with the dash of its place
_GRID = "rgba(128, 128, 128, 0.25)"
_FAINT = 0.3
_VEIL = 0.18  # opacity of a band
_SHARES = (-4.3, 0.05)  # powers of ten
_JITTER = 0.12  # by which points of one word are moved apart, on either side; words stand 1 apart
_NAMED_RUNS = 30  # points of a scatter with their own place in the legend
_DEPTHS = (64, 224)  # of 256: a dark page swallows what is before, a light one what comes after
_MOST_LABELS = 40  # classes whose names find room beside a confusion matrix
_ROOM_OF_RATIOS = 1.2
_NAME_WIDTH = 32  # characters of a line, in a chart of intervals
_RATIOS = [digit * 10**power for power in range(-3, 4) for digit in (1, 2, 5)]  # marked on an axis
MOST_POINTS, FEWEST_POINTS = 1000, 300  # of a line that is thinned; fewer where there are many lines
_POINTS_IN_ALL = 10_000  # of the thinned lines of a chart: what a browser draws at once
_SILENT = {"showlegend": False, "hoverinfo": "skip"}
_UNIFIED = 10  # lines whose values find room in one tooltip
_EXACT = 200  # points of a line that are sent in double precision
_FEW = 30  # points of a line that are marked: one point alone makes no line


def colour_of(position: int) -> str:
    """The colour of the run at `position` in a list; they repeat after seven. The baseline's is `BASELINE_COLOUR`."""
    return RUN_COLOURS[position % len(RUN_COLOURS)]


class Style(NamedTuple):
    """How a run is drawn, the same in every chart: its colour, the dash of its line, the shape of its points."""

    colour: str
    dash: str = DASHES[0]
    symbol: str = SYMBOLS[0]


def style_of(position: int) -> Style:
    """The style of the run at `position` in a comparison, whose first is the baseline, in grey.

    After seven runs the colours repeat, with another dash and shape.
    """
    if position == 0:
        return Style(BASELINE_COLOUR)
    turn = (position - 1) // len(RUN_COLOURS) % len(DASHES)
    return Style(colour_of(position - 1), DASHES[turn], SYMBOLS[turn])


def depth_colours(count: int) -> list[str]:
    """Colours of the layers of a network, the first dark, the last light: viridis without its ends."""
    places = np.linspace(*_DEPTHS, count).round().astype(int)
    return [f"#{bytes(colour).hex()}" for colour in colour_table("viridis")[places]]


@dataclass(frozen=True)
class RunCurve:
    """One line of a chart: a name for the legend, x and y (n,), y may have NaN."""

    name: str
    colour: str
    x: Sequence[float] | NDArray[np.float64]
    y: Sequence[float] | NDArray[np.float64]
    dash: str = "solid"  # Plotly's: solid, dash, dot, …
    low: Sequence[float] | NDArray[np.float64] = ()  # of a mean: the edges of the band around it, as long as x
    high: Sequence[float] | NDArray[np.float64] = ()
    raw: Sequence[float] | NDArray[np.float64] = ()  # y before it was smoothed, as long as x
    symbol: str = SYMBOLS[0]  # of its points, where they are so few that each is marked


def smoothed(line: RunCurve, weight: float) -> RunCurve:
    """The line smoothed as a whole, with what it was; of weight 0 the line as it is."""
    return replace(line, y=smooth(line.y, weight), raw=line.y) if weight else line


def section(line: RunCurve, low: float, high: float) -> RunCurve:
    """The part of a line from `low` to `high` on the horizontal axis, and a point on either side, to which it leads."""
    x = np.asarray(line.x, dtype=np.float64)
    part = slice(max(int(np.searchsorted(x, low)) - 1, 0), int(np.searchsorted(x, high, "right")) + 1)
    return replace(line, x=x[part], y=line.y[part], low=line.low[part], high=line.high[part], raw=line.raw[part])


def curves(
    runs: Sequence[RunCurve], y_title: str, x_title: str, log_y: bool = False, level: float | None = None
) -> go.Figure:
    """Curves over one another, long ones thinned. Of a smoothed line the raw one is drawn, too, faintly.

    `level`: a value that is marked by a horizontal line.
    """
    lines: list[dict[str, object]] = []
    named: set[str] = set()
    points = partial(_points, most=max(FEWEST_POINTS, min(MOST_POINTS, _POINTS_IN_ALL // max(len(runs), 1))))
    for run in runs:
        line = {"color": run.colour, "dash": run.dash, "width": 2}
        mode = "lines+markers" if len(run.x) <= _FEW else "lines"
        group = {"name": _text(run.name), "legendgroup": run.name, "mode": mode, "line": line}
        group |= {"marker": {"symbol": run.symbol}} if mode != "lines" else {}
        if len(run.low):
            edge = {"mode": "lines", "line": {"width": 0}, "legendgroup": run.name, **_SILENT}
            lines.append({**edge, **points(run.x, run.high)})
            lines.append({**edge, **points(run.x, run.low), "fill": "tonexty", "fillcolor": _veil(run.colour)})
        if len(run.raw):
            lines.append({**group, **points(run.x, run.raw), "opacity": _FAINT, **_SILENT})
        lines.append({**group, **points(run.x, run.y), "showlegend": run.name not in named})
        named.add(run.name)  # lines of one name share a place in the legend
    figure = _figure(x_title, y_title)
    figure.add_traces([{"type": "scatter", **line} for line in lines])  # at once: Plotly takes milliseconds for each
    hover = "x unified" if len(named) <= _UNIFIED else "closest"
    figure.update_layout(hovermode=hover, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    if level is not None:
        mark = {"color": BASELINE_COLOUR, "width": 1.5, "dash": "2px,3px"}
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=level, y1=level, line=mark)
    if log_y:
        figure.update_yaxes(type="log")
    return figure


def _points(x: ArrayLike, y: ArrayLike, most: int) -> dict[str, object]:
    few_x, few_y = thin(x, y, most)
    # Of single precision a long line takes half the time on its way; nobody sees the difference.
    exact = np.float64 if len(few_x) <= _EXACT else np.float32
    return {"x": few_x.astype(exact), "y": few_y.astype(exact)}


def smooth(values: ArrayLike, weight: float) -> NDArray[np.float64]:
    """TensorBoard's smoothing: an exponential moving average, its bias towards a start at 0 divided out.

    `weight` is from 0 (no change) to below 1. A value that is not finite stays as it is, and out of the average.
    """
    raw = np.asarray(values, dtype=np.float64)
    result = raw.copy()
    finite = np.flatnonzero(np.isfinite(raw))
    averages = accumulate(raw[finite].tolist(), lambda so_far, y: weight * so_far + (1 - weight) * y, initial=0.0)
    result[finite] = list(averages)[1:] / (1 - weight ** np.arange(1.0, len(finite) + 1))
    return result


def thin(x: ArrayLike, y: ArrayLike, points: int = MOST_POINTS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A long line in about `points` points: the lowest and the highest of each stretch, so that no spike is lost.

    A shorter line stays as it is. A stretch with NaN keeps that, and so the gap.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) <= points:
        return x, y
    width = -(-len(x) // (points // 2))
    count = -(-len(x) // width)
    stretches = np.pad(y, (0, count * width - len(y)), "edge").reshape(count, width)  # of equals the first is picked
    first = np.arange(count) * width
    ends = np.array([0, len(x) - 1])
    chosen = np.unique(np.concatenate([first + stretches.argmin(1), first + stretches.argmax(1), ends]))
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
    claimed: float | None = None


def intervals(lines: Sequence[Interval], x_title: str, none: float, ratio: bool = False) -> go.Figure:
    """Estimates with their intervals, the first line on top; upright: no difference, and dashed what was claimed of it.

    With `ratio` the axis is logarithmic, so that twice and half are as far from 1. An open end reaches the edge; where
    both are open, as of one pair of runs, nothing is known but the value.
    """
    known = [end for one in lines for end in (one.low, one.high, one.value, one.claimed) if end is not None]
    ends = [end for end in (*known, none) if math.isfinite(end) and (end > 0 or not ratio)]
    if ratio:
        low, high = min(ends) / _ROOM_OF_RATIOS, max(ends) * _ROOM_OF_RATIOS
    else:
        room = 0.1 * ((max(ends) - min(ends)) or 1.0)
        low, high = min(ends) - room, max(ends) + room
    figure = _figure(x_title, "")
    for place, one in enumerate(lines):
        colour = colour_of(0)
        if one.low > (0.0 if ratio else -math.inf) or one.high < math.inf:
            span = [max(one.low, low), min(one.high, high)]
            figure.add_scatter(
                x=span, y=[place, place], mode="lines", line={"color": colour, "width": 3}, hoverinfo="skip"
            )
        if one.value is not None:
            figure.add_scatter(x=[one.value], y=[place], mode="markers", marker={"color": colour, "size": 10},
                               hovertemplate="%{x:.3g}<extra></extra>")  # fmt: skip
        if one.claimed is not None:
            figure.add_shape(type="line", x0=one.claimed, x1=one.claimed, y0=place - 0.5, y1=place + 0.5,
                             line={"color": colour_of(1), "width": 2, "dash": "dash"})  # fmt: skip
    figure.add_vline(x=none, line={"color": BASELINE_COLOUR, "width": 1})
    if ratio:
        figure.update_xaxes(type="log", range=[math.log10(low), math.log10(high)], tickvals=_RATIOS)
    else:
        figure.update_xaxes(range=[low, high])
    names = [wrap(one.name, _NAME_WIDTH) for one in lines]  # on a telephone, too, there is room beside them
    figure.update_yaxes(
        tickvals=list(range(len(lines))), ticktext=["<br>".join(map(_text, name)) for name in names],
        range=[len(lines) - 0.5, -0.5], showgrid=False,
    )  # fmt: skip
    figure.update_layout(height=90 + (24 + 16 * max(map(len, names), default=0)) * len(lines), showlegend=False)
    return figure


def shares(values: ArrayLike, x_title: str, colour: str, low: float, high: float, bins: int = 60) -> go.Figure:
    """What share of all values lies in each of the bins from `low` to `high`: charts of one range can be compared.

    The axis is logarithmic, as a single bin, that of zero, often has most of them.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    counts, edges = np.histogram(flat, bins, _span(low, high))
    figure = _figure(x_title, "share of the values")
    figure.add_bar(x=(edges[:-1] + edges[1:]) / 2, y=counts / max(len(flat), 1), width=np.diff(edges),
                   marker_color=colour, hovertemplate="%{x:.3g}: %{y:.2%}<extra></extra>")  # fmt: skip
    figure.update_layout(bargap=0, showlegend=False)
    figure.update_yaxes(type="log", range=_SHARES, tickvals=[1e-4, 1e-3, 0.01, 0.1, 1],
                        ticktext=["0.01%", "0.1%", "1%", "10%", "100%"])  # fmt: skip
    return figure


def histogram(
    values: ArrayLike, x_title: str, colour: str, low: float, high: float, bins: int = 60, most: float | None = None
) -> go.Figure:
    """How often each value occurs in the bins from `low` to `high`, counted here rather than in the browser.

    Values that are not finite are left out. `most`: where the vertical axis ends; charts of one range and one end can
    be compared.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    counts, edges = np.histogram(flat[np.isfinite(flat)], bins, _span(low, high))
    figure = _figure(x_title, "count")
    figure.add_bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), marker_color=colour)
    figure.update_layout(bargap=0, showlegend=False)
    figure.update_xaxes(range=[edges[0], edges[-1]])
    if most is not None:
        figure.update_yaxes(range=[0, most])
    return figure


def _span(low: float, high: float) -> tuple[float, float]:
    """A range that has a width, even where all values are the same."""
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def histograms(
    groups: Sequence[tuple[str, str, ArrayLike]], x_title: str, y_title: str, low: float, high: float, bins: int = 20
) -> go.Figure:
    """How often each value occurs in several groups (name, colour, values), in bins that they share, side by side."""
    figure = _figure(x_title, y_title)
    for name, colour, values in groups:
        counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins, (low, high))
        figure.add_bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, marker_color=colour, name=_text(name))
    top = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(bargap=0.1, barmode="group", showlegend=len(groups) > 1, legend=top)
    figure.update_xaxes(range=[low, high])
    return figure


def likeness(table: ArrayLike, rows: Sequence[str], columns: Sequence[str], y_title: str, x_title: str) -> go.Figure:
    """How alike layers are, 0 to 1, as a heat map: (rows, columns), the first layers at the top left."""
    figure = _figure(_text(x_title), _text(y_title))
    figure.add_heatmap(
        z=np.asarray(table, dtype=np.float32).round(3), x=list(columns), y=list(rows), zmin=0, zmax=1,
        colorscale="viridis", colorbar={"title": {"text": "CKA"}, "thickness": 12},
        hovertemplate="%{y} and %{x}: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False, constrain="domain", tickangle=-60, dtick=1)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed", dtick=1)
    return figure


def correlations(table: ArrayLike, names: Sequence[str]) -> go.Figure:
    """Rank correlations of each two of some methods, −1 to 1, as a heat map with its numbers: (names, names)."""
    figure = _figure("", "")
    titles = [_text(name) for name in names]
    figure.add_heatmap(
        z=np.asarray(table, dtype=np.float32).round(3), x=titles, y=titles, zmin=-1, zmax=1, colorscale=_diverging(),
        texttemplate="%{z:.2f}", colorbar={"title": {"text": "rank correlation"}, "thickness": 12},
        hovertemplate="%{y} and %{x}: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False, dtick=1)
    return figure.update_yaxes(type="category", showgrid=False, autorange="reversed", dtick=1)


def scatter(x: Dimension, y: Dimension, names: Sequence[str], styles: Sequence[Style]) -> go.Figure:
    """A point a run. Points of one word are moved apart a little, the same way each time."""
    figure = _figure(x.name, y.name)
    places = _apart(x), _apart(y)
    for place, (name, style) in enumerate(zip(names, styles, strict=True)):
        figure.add_scatter(
            x=[places[0][place]], y=[places[1][place]], mode="markers", name=_text(name),
            marker={"color": style.colour, "symbol": style.symbol, "size": 11, "line": {"width": 1, "color": _GRID}},
            hovertemplate=f"{_text(name)}<br>{_shown(x, place)}<br>{_shown(y, place)}<extra></extra>",
        )  # fmt: skip
    for axis, one in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
        if one.words:
            axis(tickvals=list(range(len(one.words))), ticktext=[_text(word) for word in one.words],
                 range=[-0.5, len(one.words) - 0.5], zeroline=False)  # fmt: skip
    return figure.update_layout(showlegend=len(names) <= _NAMED_RUNS)


def _apart(one: Dimension) -> NDArray[np.float64]:
    if not one.words:
        return one.values
    return one.values + np.random.default_rng(0).uniform(-_JITTER, _JITTER, len(one.values))


def _shown(one: Dimension, place: int) -> str:
    value = one.values[place]
    return f"{_text(one.name)}: {_text(one.words[int(value)]) if one.words else number_text(value)}"


def dots(rows: Sequence[str], runs: Sequence[tuple[str, Style, ArrayLike]], x_title: str) -> go.Figure:
    """A row for each of `rows`, the first on top, with a dot a run: (name, style, values by row); NaN has none."""
    figure = _figure(x_title, "")
    places = list(range(len(rows)))
    for name, style, values in runs:
        figure.add_scatter(
            x=values, y=places, mode="markers", name=_text(name),
            marker={"color": style.colour, "symbol": style.symbol, "size": 9, "opacity": 0.85},
            customdata=[_text(row) for row in rows],
            hovertemplate="%{customdata}: %{x:.1f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", tickvals=places, ticktext=[_text(row) for row in rows], zeroline=False)
    figure.update_layout(height=120 + 22 * len(rows), legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    return figure


def confusion_difference(counts: ArrayLike, baseline: ArrayLike, classes: Sequence[str]) -> go.Figure:
    """How a run's confusions differ from another's: (true, predicted), in points of each true class's images.

    On the diagonal red is good, as there is what is right; beside it blue is.
    """
    one, other = (_rows_of_shares(each) for each in (counts, baseline))
    points = 100 * (one - other)
    largest = float(np.abs(points).max()) or 1.0
    figure = _confusion_axes(classes)
    names = list(figure.layout.xaxis.ticktext)
    figure.add_heatmap(
        z=points, x=names, y=names, zmin=-largest, zmax=largest, colorscale=_diverging(),
        colorbar={"title": {"text": "points"}, "thickness": 12},
        hovertemplate="%{y}<br>taken for %{x}<br>%{z:+.1f} points<extra></extra>",
    )  # fmt: skip
    return figure


def _diverging() -> list[tuple[float, str]]:
    table = colour_table("diverging")
    return [(float(share), f"#{bytes(table[round(255 * share)]).hex()}") for share in np.linspace(0, 1, 11)]


def confusion(counts: ArrayLike, classes: Sequence[str]) -> go.Figure:
    """A confusion matrix as a heatmap: counts (true, predicted), a row a true class, coloured by its share of the row.

    Classes of the same name are told apart by their numbers; above `_MOST_LABELS` of them only the tooltips name them.
    """
    seen = np.asarray(counts, dtype=np.int64)
    figure = _confusion_axes(classes)
    names = list(figure.layout.xaxis.ticktext)
    figure.add_heatmap(
        z=_rows_of_shares(seen), x=names, y=names, customdata=seen.astype(np.int32), zmin=0, zmax=1,
        colorscale="viridis",
        colorbar={"tickformat": ".0%", "title": {"text": "of the class"}, "thickness": 12},
        hovertemplate="%{y}<br>taken for %{x}<br>%{customdata} images, %{z:.1%} of the class<extra></extra>",
    )  # fmt: skip
    return figure


def _rows_of_shares(counts: ArrayLike) -> NDArray[np.float32]:
    seen = np.asarray(counts, dtype=np.int64)
    return np.asarray(seen / np.maximum(seen.sum(axis=1, keepdims=True), 1), dtype=np.float32)


def _confusion_axes(classes: Sequence[str]) -> go.Figure:
    """An empty matrix of classes: `ticktext` of its axes are their names, each another."""
    repeated = {name for name, times in Counter(classes).items() if times > 1}
    names = [_text(f"{name} ({number})" if name in repeated else name) for number, name in enumerate(classes)]
    figure = _figure("predicted class", "true class")
    axis = {"type": "category", "showticklabels": len(names) <= _MOST_LABELS, "showgrid": False}
    axis |= {"tickvals": names, "ticktext": names}
    figure.update_xaxes(constrain="domain", **axis)
    figure.update_yaxes(autorange="reversed", **axis)
    return figure


def _veil(colour: str) -> str:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return f"rgba({red}, {green}, {blue}, {_VEIL})"


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
