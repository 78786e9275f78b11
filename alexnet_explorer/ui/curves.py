"""The curves of a run: how they are drawn, as the visitor chose, and what they show of the training and its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from alexnet_explorer import figures
from alexnet_explorer.comparing import Axis, factor_of
from alexnet_explorer.ui.history import PARTS, Kept, Row

if TYPE_CHECKING:
    import plotly.graph_objects as go

CHART_HEIGHT, LOW_CHART_HEIGHT = 320, 180  # pixels

AXES: dict[Axis, str] = {"epoch": "epoch", "step": "step", "seconds": "time", "images": "images seen"}
METRICS = {"loss": "loss (cross-entropy, nats)", "top1_error": "top-1 error (%)"}
# What is longer than so many seconds is told in this unit.
UNITS = ((2 * 3600.0, "h", 3600.0), (180.0, "min", 60.0), (0.0, "s", 1.0))


@dataclass(frozen=True)
class Scales:
    """How curves are drawn: along one of `AXES`; smoothed by 0 (not at all) to 0.99; y as a power."""

    axis: Axis = "epoch"
    smoothing: float = 0.0
    log: bool = False

    def along(self, rows: Sequence[Row]) -> tuple[str, float]:
        """The title of the x axis, and by what the rows' values are divided: time is told in a unit that fits."""
        if self.axis != "seconds":
            return AXES[self.axis], 1.0
        longest = max((row["seconds"] for row in rows), default=0.0)
        _, unit, seconds = next(one for one in UNITS if longest >= one[0])
        return f"time of training ({unit})", seconds

    def points(self, rows: Sequence[Row], metric: str, unit: float) -> tuple[list[float], list[float]]:
        """x and y of the rows that have a metric: x in `along`'s unit, shares of images or units in percent."""
        factor = factor_of(metric)
        found = [(row[self.axis] / unit, factor * row[metric]) for row in rows if metric in row and self.axis in row]
        return [x for x, _ in found], [y for _, y in found]


def choose(key: str, begin: Scales | None = None) -> Scales:
    """The controls; what was chosen outlives a walk over the other pages. `begin`: how they are at first."""
    begin = begin or Scales()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        axis = st.segmented_control(
            "Along", list(AXES), default=begin.axis, key=f"{key}_axis", required=True,
            format_func=lambda name: AXES[name], persist_state="session",
        )  # fmt: skip
        smoothing = st.slider(
            "Smoothing", 0.0, 0.99, begin.smoothing, 0.01, key=f"{key}_smoothing", persist_state="session", width=220,
            help="As in TensorBoard: each point becomes a mean of those before it, the nearer the more. The line as "
            "it was stays, faintly.",
        )  # fmt: skip
        log = st.toggle("Logarithmic", begin.log, key=f"{key}_log", persist_state="session",
                        help="The vertical axis: the same distance for the same factor")  # fmt: skip
    return Scales(axis or "epoch", smoothing, log)


def show(kept: Kept, scales: Scales, summary: Mapping[str, float]) -> None:
    """Loss and error side by side, and the learning rate under them, once there is something to draw."""
    if not (kept["train"] or kept["val"]):
        st.caption("The curves come with the first steps.")
        return
    for column, (metric, figure) in zip(st.columns(2), charts(kept, scales).items(), strict=True):
        with column:
            draw(figure, f"watched_{metric}", in_words(metric, summary))
    if rates := [row["learning_rate"] for row in kept["train"] if "learning_rate" in row]:
        alt = f"The learning rate; now {rates[-1]:.3g}, the highest {max(rates):.3g}"
        draw(rate_chart(kept, scales), "watched_rate", alt)


def charts(kept: Kept, scales: Scales) -> dict[str, go.Figure]:
    """Plotly figures of loss and error, each with training and validation."""
    x_title, unit = scales.along([*kept["train"][-1:], *kept["val"][-1:]])
    made = {}
    for metric, title in METRICS.items():
        lines = []
        for number, (part, name) in enumerate(PARTS.items()):
            points = scales.points(kept[part], f"{part}/{metric}", unit)
            lines.append(figures.smoothed(figures.RunCurve(name, figures.colour_of(number), *points), scales.smoothing))
        made[metric] = settled(figures.curves(lines, title, x_title, scales.log), kept, scales)
    return made


def rate_chart(kept: Kept, scales: Scales) -> go.Figure:
    """The learning rate, as its schedule has it: never smoothed."""
    x_title, unit = scales.along(kept["train"][-1:])
    x, y = scales.points(kept["train"], "learning_rate", unit)
    figure = figures.curves([figures.RunCurve("learning rate", figures.BASELINE_COLOUR, x, y)], "learning rate",
                            x_title, scales.log)  # fmt: skip
    return settled(figure, kept, scales, height=LOW_CHART_HEIGHT, showlegend=False)


def in_words(metric: str, summary: Mapping[str, float]) -> str:
    """The text alternative of a chart."""
    last = {name: summary.get(f"{part}/{metric}") for part, name in PARTS.items()}
    said = [f"{name} {value:.3g}" for name, value in last.items() if value is not None]
    return f"Curves of {metric.replace('top1_', 'top-1 ')}; now: {', '.join(said) or 'nothing yet'}"


def settled(figure: go.Figure, kept: Kept, scales: Scales, **layout: Any) -> go.Figure:
    """What a zoom belongs to: it outlives the next second, not another run or axis. And the size."""
    revision = f"{kept['run']} {figure.layout.xaxis.title.text} {scales.log}"
    whole = {"height": CHART_HEIGHT, "uirevision": revision, "yaxis_rangemode": "tozero"}  # which a log axis ignores
    return figure.update_layout(**whole | layout)


def draw(figure: go.Figure, key: str, alt: str, config: Mapping[str, Any] | None = None) -> None:
    """A chart of the page with its text alternative; `config`: more of Plotly's."""
    st.plotly_chart(figure, key=key, config={"displayModeBar": False, **(config or {})}, alt=alt)
