"""Settings against results: parallel coordinates, and any setting against any metric."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from alexnet_explorer.comparing import METRICS, Dimension, dimension
from alexnet_explorer.figures import parallel, scatter
from alexnet_explorer.runs import differences
from alexnet_explorer.ui import own_link
from alexnet_explorer.ui.comparison import Compared
from alexnet_explorer.ui.curves import draw
from alexnet_explorer.ui.text import plain

USUAL_AXES = 6
PARALLEL_HEIGHT, SCATTER_HEIGHT = 380, 400  # pixels
MINUTES = "minutes"


def show(runs: Sequence[Compared]) -> None:
    """Both charts, with the settings in which the runs differ."""
    summaries = {one.run.id: one.run.status() for one in runs}
    metrics = [name for name in METRICS if any(name in status.summary for status in summaries.values())]
    changed = differences({one.run.id: one.config for one in runs})
    fields = [field for field in changed if field != "data.digest"]
    if not fields or not metrics:
        st.info("The settings of these runs are the same: there is nothing to set their results against." if metrics
                else "None of these runs has come to the end of an epoch so far.")  # fmt: skip
        return
    results, usual = [*metrics, MINUTES], fields[:USUAL_AXES]
    begin = own_link.start("result", results[0], own_link.one_of(results), "compare_result")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        result = st.selectbox("Result", results, results.index(begin), format_func=_title, key="compare_result",
                              persist_state="session", width=240)  # fmt: skip
        begins = own_link.start("axes", usual, own_link.some_of(fields), "compare_fields")
        axes = st.multiselect("Settings", fields, begins, key="compare_fields", persist_state="session", width=520)
    own_link.write("result", None if result == metrics[0] else result)
    own_link.write("axes", None if axes == usual else ",".join(axes))
    values = [status.seconds / 60 or None if result == MINUTES else status.summary.get(result)
              for status in summaries.values()]  # fmt: skip
    shown = [one for one, value in zip(runs, values, strict=True) if value is not None]
    if left_out := [one.name for one in runs if one not in shown]:
        st.caption(f"Without this result so far, and left out: {plain(', '.join(left_out))}.")
    if not shown:
        return
    factor, unit = (100, " (%)") if result.endswith("error") else (1, "")
    found = dimension(_title(result) + unit, [factor * value for value in values if value is not None])
    _parallel(axes, [[changed[field][one.run.id] for one in shown] for field in axes], found)
    begin = own_link.start("field", fields[0], own_link.one_of(fields), "compare_field")
    field = st.selectbox("Setting", fields, fields.index(begin), key="compare_field", persist_state="session",
                         width=240)  # fmt: skip
    own_link.write("field", None if field == fields[0] else field)
    _scatter(dimension(field, [changed[field][one.run.id] for one in shown]), found, shown)


def _title(metric: str) -> str:
    return METRICS.get(metric, "time of training (min)")


def _parallel(axes: Sequence[str], values: Sequence[Sequence[object]], found: Dimension) -> None:
    if not axes:
        st.info("Choose a setting or two.")
        return
    short = [dimension(field.rpartition(".")[2], column) for field, column in zip(axes, values, strict=True)]
    figure = parallel([*short, found])
    figure.update_layout(height=PARALLEL_HEIGHT)
    draw(
        figure, "compare_parallel", f"Parallel coordinates of {len(found.values)} runs: {', '.join(axes)}, {found.name}"
    )
    st.caption("**How to read it:** a line is a run, from its settings on the left to its result on the right, which "
               "gives the colour. Draw along an axis to see only the runs that pass there.")  # fmt: skip


def _scatter(setting: Dimension, found: Dimension, shown: Sequence[Compared]) -> None:
    figure = scatter(setting, found, [one.name for one in shown], [one.colour for one in shown])
    figure.update_layout(height=SCATTER_HEIGHT)
    draw(figure, "compare_scatter", f"{found.name} against {setting.name}, a point a run")
    if setting.words:
        st.caption("Points of one value are moved apart sideways a little, so that none hides another.")
