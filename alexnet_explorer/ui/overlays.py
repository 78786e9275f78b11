"""The curves of several runs over one another: one metric, grouped if wanted, and how long each takes to an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

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
    groups,
    ratio,
    reached,
)
from alexnet_explorer.figures import MOST_POINTS, RunCurve, curves, smooth, style_of
from alexnet_explorer.runs import RunError, differences
from alexnet_explorer.ui import draggable, own_link
from alexnet_explorer.ui.comparison import Compared, tracks
from alexnet_explorer.ui.curves import Scales, choose, draw
from alexnet_explorer.ui.text import plain
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
    colour: str
    dash: str
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
    found: dict[str, Track] = {}
    for one in runs:
        try:
            found[one.run.id] = tracks().of(one.run)
        except RunError as error:
            st.error(plain(str(error)), icon=":material/error:")
    metrics = known_metrics(list(found.values()))
    if not metrics:
        st.info("These runs have written no metrics so far.")
        return
    choice = _choose(runs, metrics)
    lines = grouped(runs, choice.fields)
    drawn = {line: along(line, found, choice, choice.metric, choice.scales.axis) for line in lines}
    y = np.concatenate([curve.y for curve, *_ in drawn.values()])
    level = _choose_level(choice.metric, [curve for curve, *_ in drawn.values()]) if np.isfinite(y).any() else None
    _chart(choice, drawn, found, level)
    if level is not None:
        _ways(choice, lines, found, level)


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


def factor_of(metric: str) -> float:
    """Errors and shares of units are told in percent."""
    return 100.0 if metric.endswith("_error") or metric.startswith(("dead/", "saturated/")) else 1.0


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


def grouped(runs: Sequence[Compared], fields: Sequence[str] | None) -> list[Line]:
    """A line a run, or a line a group of runs that agree in the fields; the baseline's is the first, in grey."""
    if fields is None:
        return [Line(one.name, one.colour, one.dash, (one.run.id,)) for one in runs]
    found = groups({one.run.id: one.config for one in runs}, fields)
    return [
        Line(f"{name} ({len(ids)} run{'s' * (len(ids) > 1)})", *style_of(place), tuple(ids))
        for place, (name, ids) in enumerate(found.items())
    ]


def along(
    line: Line, found: Mapping[str, Track], choice: Choice, metric: str, axis: Axis
) -> tuple[Curve, Floats, Floats]:
    """A line as it is drawn, in percent where it is a share, and the edges of its band: empty where it has none."""
    factor = factor_of(metric)
    curves_of = [found[run].curve(metric, axis) for run in line.runs if run in found]
    nothing = np.empty(0)
    if choice.fields is None:
        curve = curves_of[0] if curves_of else Curve(nothing, nothing)
        return Curve(curve.x, factor * curve.y), nothing, nothing
    smoothed = [Curve(curve.x, smooth(factor * curve.y, choice.scales.smoothing)) for curve in curves_of]
    mean = band(smoothed, choice.spread)
    wide = np.isfinite(mean.low).any()
    return Curve(mean.x, mean.mean), mean.low if wide else nothing, mean.high if wide else nothing


def _chart(choice: Choice, drawn: Mapping[Line, tuple[Curve, Floats, Floats]], found: Mapping[str, Track],
           level: float | None) -> None:  # fmt: skip
    scales, metric, grouping = choice.scales, choice.metric, choice.fields is not None
    longest = max((float(curve.x[-1]) for curve, *_ in drawn.values() if len(curve.x)), default=0.0)
    x_title, unit = scales.along([{"seconds": longest}])
    shown = []
    for line, (curve, low, high) in drawn.items():
        shown.append(RunCurve(line.name, line.colour, curve.x / unit, curve.y, line.dash, low, high))
        if choice.training:
            x, y = along(line, found, choice, TRAINING[metric], scales.axis)[0]
            shown.append(RunCurve(line.name, line.colour, x / unit, y, "dot"))
    shown = _section(shown, scales.axis)
    figure = curves(shown, title_of(metric), x_title, scales.log, 0.0 if grouping else scales.smoothing, level)
    revision = f"{metric} {scales.axis} {scales.log}"
    height = CHART_HEIGHT + LEGEND_ROW * min(len(drawn), MOST_LEGEND_ROWS)  # on a phone each name has a row
    figure.update_layout(height=height, uirevision=revision, editrevision=level, legend_maxheight=LEGEND_SHARE)
    last = [f"{line.name} {curve.y[-1]:.3g}" for line, (curve, *_) in drawn.items() if len(curve.y)]
    draw(figure, _CHART, f"{title_of(metric)} along {x_title}; at the end: {', '.join(last)}", draggable.CONFIG)
    if grouping:
        st.caption(f"Each line is the mean of its runs, the band around it the {SPREADS[choice.spread]}, as far as all "
                   "of them go.")  # fmt: skip


def _section(lines: list[RunCurve], axis: Axis) -> list[RunCurve]:
    """Of lines that are too long to be drawn point by point, the part that the visitor chose."""
    longest = max((line.x for line in lines), key=len, default=())
    if len(longest) <= MOST_POINTS:
        return lines
    end = float(longest[-1])
    low, high = st.slider(
        "Section", 0.0, end, (0.0, end), end / 1000, key=f"compare_section_{axis}", format="%.4g",
        help="Long lines are thinned, with every spike kept; a shorter section shows more of their points.",
    )  # fmt: skip
    cut = []
    for line in lines:
        x = np.asarray(line.x)
        inside = (x >= low) & (x <= high)
        y, *edges = (np.asarray(part)[inside] if len(part) else () for part in (line.y, line.low, line.high))
        cut.append(replace(line, x=x[inside], y=y, low=edges[0], high=edges[1]))
    return cut


def _choose_level(metric: str, drawn: Sequence[Curve]) -> float | None:
    """The slider that moves a horizontal line; only what should fall has one."""
    if not metric.endswith(("error", "loss")):
        return None
    lowest = [float(np.nanmin(curve.y)) for curve in drawn if np.isfinite(curve.y).any()]
    high = max(float(np.nanmax(curve.y)) for curve in drawn if np.isfinite(curve.y).any())
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
        help="Moves the dotted line in the chart, which can be dragged as well",
    )  # fmt: skip

    def drag(place: float) -> None:
        st.session_state[key] = min(max(round(step * round(place / step), 6), low), high)

    draggable.listen("compare_drag", _CHART, level, drag)
    own_link.write("reach", None if level == usual else f"{level:g}")
    return level


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
            x, y = along(line, found, choice, choice.metric, axis)[0]
            drawn = Curve(x, smooth(y, choice.scales.smoothing) if choice.fields is None else y)
            ways[axis].append(reached(drawn, level))
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
