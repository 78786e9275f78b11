"""The curves of several runs over one another: one metric, grouped if wanted, and how long each takes to an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import streamlit as st

from alexnet_explorer.comparing import (
    AXES,
    SEED,
    Axis,
    Curve,
    Floats,
    Ratio,
    Reached,
    Spread,
    Track,
    all_but_the_seed,
    band,
    factor_of,
    groups,
    ratio,
    reached,
)
from alexnet_explorer.figures import RunCurve, Style, curves, smoothed, style_of
from alexnet_explorer.figures import section as section_of
from alexnet_explorer.runs import differences
from alexnet_explorer.ui import draggable, own_link, sections
from alexnet_explorer.ui.comparison import Compared, known_tracks
from alexnet_explorer.ui.curves import Scales, choose, draw
from alexnet_explorer.words import duration

CHART_HEIGHT, LEGEND_ROW, MOST_LEGEND_ROWS = 400, 10, 20  # pixels
LEGEND_SHARE = 0.35  # of the chart; a longer legend can be scrolled
TITLES = {
    "val/top1_error": "validation error (%)",
    "val/loss": "validation loss (nats)",
    "val/top5_error": "validation error, top 5 (%)",
    "epoch/train_top1_error": "training error of the epoch (%)",
    "epoch/train_loss": "training loss of the epoch (nats)",
    "train/top1_error": "training error (%)",
    "train/loss": "training loss (nats)",
    "clean/top1_error": "training error, clean passes (%)",
    "clean/loss": "training loss, clean passes (nats)",
    "learning_rate": "learning rate",
}
TRAINING = {"val/top1_error": "train/top1_error", "val/loss": "train/loss"}  # drawn dotted beside them
SPREADS: dict[Spread, str] = {"std": "standard deviation", "sem": "standard error", "ci95": "95 % interval"}
BUT_SEED = "all but the seed"
_SWITCH = {"on": True, "off": False}
_SWITCH_TEXT = {value: text for text, value in _SWITCH.items()}
STEPS = 200  # of the slider of a loss
_CHART = "compare_curves"


@dataclass(frozen=True)
class Line:
    """What is drawn under one name: a run, or the mean of a group, along every axis."""

    name: str
    style: Style
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What the visitor chose to see."""

    metric: str
    fields: list[str] | None  # runs that agree in them are one group; None: each run by itself
    spread: Spread
    training: bool
    scales: Scales


def show(runs: Sequence[Compared]) -> None:
    """The controls, the chart, and the way to an error, a row a line."""
    found = known_tracks(runs)
    metrics = known_metrics(list(found.values()))
    if not metrics:
        st.info("These runs have written no metrics so far.")
        return
    choice = _choose(runs, metrics)
    measured = {name for name, track in found.items() if np.isfinite(track.curve(choice.metric, "epoch").y).any()}
    lines = grouped(runs, choice.fields, measured)
    drawn = {line: along(line, found, choice, choice.metric, choice.scales.axis) for line in lines}
    goal = choose_goal(choice.metric, [Curve(*_points(curve)) for curve in drawn.values()])
    _chart(choice, drawn, found, goal)
    if goal:
        _ways(choice, lines, found, goal.level)


def known_metrics(found: Sequence[Track]) -> list[str]:
    """The metrics that any of the runs has, those with a title first; test metrics are no curves."""
    names = dict.fromkeys(name for track in found for name in track.metrics if not name.startswith("test/"))
    return [name for name in TITLES if name in names] + sorted(name for name in names if name not in TITLES)


def title_of(metric: str) -> str:
    """A metric in words, with its unit."""
    if metric in TITLES:
        return TITLES[metric]
    for prefix, words in (("gradient/", "norm of the gradient of"), ("dead/", "dead units (%) of"),
                          ("saturated/", "saturated responses (%) of")):  # fmt: skip
        if metric.startswith(prefix):
            return f"{words} {metric.removeprefix(prefix)}"
    return metric


def _choose(runs: Sequence[Compared], metrics: Sequence[str]) -> Choice:
    changed = list(differences({one.run.id: one.config for one in runs}))
    by = [*([BUT_SEED] if SEED in changed else []), *(field for field in changed if field != "data.digest")]
    begin = own_link.start("metric", metrics[0], own_link.one_of(metrics), "compare_metric")
    spread: Spread = "ci95"
    fields: list[str] = []
    training, few = False, len(runs) <= 4
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        metric = st.selectbox("Metric", metrics, metrics.index(begin), format_func=title_of, key="compare_metric",
                              persist_state="session", width=280)  # fmt: skip
        if by:
            fields = st.multiselect(
                "Group by", by, own_link.start("group", [], own_link.some_of(by), "compare_group"), key="compare_group",
                persist_state="session", width=280, placeholder="each run by itself",
                help="Runs that agree in these settings become one line, their mean, with a band around it.",
            )  # fmt: skip
        if fields:
            at = list(SPREADS).index(own_link.start("band", spread, own_link.one_of(SPREADS), "compare_band"))
            spread = st.selectbox("Band", list(SPREADS), at, format_func=lambda name: SPREADS[name],
                                  key="compare_band", persist_state="session", width=190)  # fmt: skip
        elif TRAINING.get(metric) in metrics:
            begins = own_link.start("training", few, _SWITCH.get, "compare_training")
            training = st.toggle("Training, dotted", begins, key="compare_training", persist_state="session",
                                 help="On changed pictures and with dropout, so often higher")  # fmt: skip
    scales = choose("compare", Scales(
        own_link.start("axis", "epoch", own_link.one_of(AXES), "compare_axis"),
        own_link.start("smooth", 0.0, own_link.number(0, 0.99), "compare_smoothing"),
        own_link.start("log", False, _SWITCH.get, "compare_log"),
    ))  # fmt: skip
    own_link.write("metric", None if metric == metrics[0] else metric)
    own_link.write("group", ",".join(fields) or None)
    own_link.write("band", None if spread == "ci95" else spread)
    own_link.write("training", None if training == few or fields else _SWITCH_TEXT[training])
    own_link.write("axis", None if scales.axis == "epoch" else scales.axis)
    own_link.write("smooth", f"{scales.smoothing:g}" if scales.smoothing else None)
    own_link.write("log", "on" if scales.log else None)
    by_fields: list[str] | None = None
    if fields:
        by_fields = all_but_the_seed({one.run.id: one.config for one in runs}) if BUT_SEED in fields else fields
    return Choice(metric, by_fields, spread, training, scales)


def grouped(runs: Sequence[Compared], fields: Sequence[str] | None, measured: Collection[str]) -> list[Line]:
    """A line a run, or a line a group of runs that agree in the fields; the baseline's is the first, in grey.

    `measured`: the ids of the runs that have values so far. A group's name says how many of its runs its mean is of.
    """
    if fields is None:
        return [Line(one.name, one.style, (one.run.id,)) for one in runs]
    found = groups({one.run.id: one.config for one in runs}, fields)
    lines = []
    for place, (name, ids) in enumerate(found.items()):
        count = sum(run in measured for run in ids)
        of = f"{count} of {len(ids)}" if count < len(ids) else f"{count}"
        lines.append(Line(f"{name} ({of} run{'s' * (len(ids) > 1)})", style_of(place), tuple(ids)))
    return lines


def along(line: Line, found: Mapping[str, Track], choice: Choice, metric: str, axis: Axis) -> RunCurve:
    """A line as a whole, in percent where it is a share, smoothed: of a group each run before the mean is taken."""
    colour, dash, symbol = line.style
    lines = []
    for x, y in (found[run].curve(metric, axis) for run in line.runs if run in found):
        one = RunCurve(line.name, colour, x, factor_of(metric) * y, dash, symbol=symbol)
        lines.append(smoothed(one, choice.scales.smoothing))
    if choice.fields is None and lines:
        return lines[0]
    mean = band([Curve(*_points(one)) for one in lines], choice.spread)
    drawn = RunCurve(line.name, colour, mean.x, mean.mean, dash, symbol=symbol)
    return replace(drawn, low=mean.low, high=mean.high) if np.isfinite(mean.low).any() else drawn


def _points(line: RunCurve) -> tuple[Floats, Floats]:
    return np.asarray(line.x), np.asarray(line.y)


def _chart(choice: Choice, drawn: Mapping[Line, RunCurve], found: Mapping[str, Track], goal: Goal | None) -> None:
    scales, metric, grouping = choice.scales, choice.metric, choice.fields is not None
    shown = list(drawn.values())
    if choice.training:
        dotted = [replace(along(line, found, choice, TRAINING[metric], scales.axis), dash="dot") for line in drawn]
        shown = [one for pair in zip(shown, dotted, strict=True) for one in pair]
    ends = [(float(one.x[0]), float(one.x[-1])) for one in shown if len(one.x)]
    whole = min((start for start, _ in ends), default=0.0), max((end for _, end in ends), default=0.0)
    x_title, unit = scales.along([{"seconds": whole[1]}])
    section = sections.current(scales.axis, whole)
    if section:
        shown = [section_of(one, *section) for one in shown]
    shown = [replace(one, x=np.asarray(one.x) / unit) for one in shown]
    level = goal.level if goal else None
    figure = curves(shown, title_of(metric), x_title, scales.log, level)
    upright = sections.upright(of := f"{metric} {scales.axis} {scales.log}")
    height = CHART_HEIGHT + LEGEND_ROW * min(len(drawn), MOST_LEGEND_ROWS)  # on a phone each name has a row
    figure.update_layout(
        height=height, uirevision=f"{of} {section} {upright}", editrevision=level, legend_maxheight=LEGEND_SHARE
    )
    if section:
        figure.update_xaxes(range=[end / unit for end in section])
    if upright:
        figure.update_yaxes(range=upright)
    last = [f"{line.name} {curve.y[-1]:.3g}" for line, curve in drawn.items() if len(curve.y)]
    draw(figure, _CHART, f"{title_of(metric)} along {x_title}; at the end: {', '.join(last)}", draggable.CONFIG)
    draggable.listen("compare_drag", _CHART, partial(_zoom, scales.axis, unit, of), level, goal.move if goal else None)
    if whole[0] < whole[1]:
        sections.controls(scales.axis, x_title, whole, section, unit, bool(section or upright))
    if grouping:
        st.caption(f"Each line is the mean of its runs, the band around it the {SPREADS[choice.spread]}, as far as all "
                   "of them go.")  # fmt: skip


def _zoom(axis: Axis, unit: float, of: str, ends: draggable.Section | None, upright: draggable.Section | None) -> None:
    sections.take(axis, (ends[0] * unit, ends[1] * unit) if ends else None)
    sections.take_upright(of, upright)


@dataclass(frozen=True)
class Goal:
    """A level that curves are to fall to, chosen by a slider or dragged in a chart."""

    level: float
    step: float
    low: float
    high: float
    key: str

    def move(self, place: float) -> None:
        """Take the place to which it was dragged."""
        nearest = round(self.step * round(place / self.step), 6)
        st.session_state[self.key] = min(max(nearest, self.low), self.high)


def choose_goal(metric: str, drawn: Sequence[Curve]) -> Goal | None:
    """The slider of a level that curves are to reach; only what should fall has one. The usual: where all come."""
    numbers = [values for curve in drawn if len(values := curve.y[np.isfinite(curve.y)])]
    lowest = [float(values.min()) for values in numbers]
    if not lowest or not metric.endswith(("error", "loss")):
        return None
    high = max(float(values.max()) for values in numbers)
    step = 0.1 if metric.endswith("error") else 10.0 ** math.floor(math.log10(max(high - min(lowest), 1e-6) / STEPS))
    low, high = (round(step * ceiling, 6) for ceiling in (math.floor(min(lowest) / step), math.ceil(high / step)))
    if high <= low:
        return None
    usual = round(min(step * math.ceil(max(lowest) / step), high), 6)  # that the slowest of them just reaches
    key, digits = f"compare_level_{metric}", max(0, -math.floor(math.log10(step)))
    begin = own_link.start("reach", usual, own_link.number(low, high), key)
    kept = st.session_state.get(key, usual)
    if not low <= kept <= high:  # of other runs
        del st.session_state[key]
    level = st.slider(
        "To reach", low, high, begin, step, key=key,
        persist_state="session", format=f"%.{digits}f{'%%' if metric.endswith('error') else ''}",
        help="Moves the dotted line in the chart of the curves, which can be dragged as well",
    )  # fmt: skip
    own_link.write("reach", None if level == usual else f"{level:g}")
    return Goal(level, step, low, high, key)


def _ways(choice: Choice, lines: Sequence[Line], found: Mapping[str, Track], level: float) -> None:
    table = ways_table(choice, lines, found, level)
    goal = f"{level:g} %" if choice.metric.endswith("error") else f"{level:g}"
    st.dataframe(table, hide_index=True, key="compare_ways", alt=f"How long each takes to {goal}",
                 column_config={"": st.column_config.TextColumn(pinned=True)})  # fmt: skip
    st.caption(f"How long each takes to {goal}: where its line, as it is drawn, smoothing included, first meets the "
               "dotted one, straight between two points. '> 30': it was not there within 30.")  # fmt: skip


def ways_table(choice: Choice, lines: Sequence[Line], found: Mapping[str, Track], level: float) -> list[dict[str, str]]:
    """A row a line: epochs, time and images to the level, and the first two as multiples of the baseline's."""
    axes: tuple[Axis, ...] = ("epoch", "seconds", "images")
    ways: dict[Axis, list[Reached | None]] = {}
    for axis in axes:
        ways[axis] = []
        for line in lines:
            ways[axis].append(reached(Curve(*_points(along(line, found, choice, choice.metric, axis))), level))
    return [
        {
            "": line.name,
            "epochs": _far(ways["epoch"][place], lambda x: f"{x:.1f}"),
            "time": _far(ways["seconds"][place], duration),
            "images seen": _far(ways["images"][place], lambda x: f"{x:,.0f}"),
            "× the epochs": _multiple(ratio(ways["epoch"][place], ways["epoch"][0])),
            "× the time": _multiple(ratio(ways["seconds"][place], ways["seconds"][0])),
        }
        for place, line in enumerate(lines)
    ]


def _far(way: Reached | None, text: Callable[[float], str]) -> str:
    if way is None:
        return "–"
    return text(way.at) if way.at is not None else f"> {text(way.last)}"


def _multiple(multiple: Ratio | None) -> str:
    if multiple is None:
        return "–"
    return f"{'' if multiple.sign == '=' else multiple.sign + ' '}{multiple.value:.2f}"
