"""Runs side by side: their curves on one chart, what differs in their settings, their metrics with differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from alexnet_explorer.comparing import METRICS
from alexnet_explorer.figures import BASELINE_COLOUR, RunCurve, colour_of, curves
from alexnet_explorer.runs import Run, RunError, differences, find_run
from alexnet_explorer.ui import frame, networks
from alexnet_explorer.ui.curves import METRICS as Y_TITLES
from alexnet_explorer.ui.curves import choose
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain


def chosen_runs(page: frame.Page) -> list[Run]:
    """The runs among the networks of the page; imported weights have no history and are left out, which is said."""
    runs = []
    for found in frame.models_for(page):
        try:
            runs.append(find_run(found.name, runs_folder()))
        except RunError:
            st.caption(f"{plain(networks.title(found))} has no training history here.")
    return runs


def titles(runs: Sequence[Run]) -> dict[str, str]:
    """A title for each run's id that tells the runs from each other."""
    return {run.id: networks.label(run.id) for run in runs}


def show_curves(runs: Sequence[Run]) -> None:
    """Loss and error of all runs: validation solid, training dotted."""
    scales = choose("compare")
    rows = {run.id: run.metrics()[0] for run in runs}
    x_title, unit = scales.along([row for run in runs for row in rows[run.id][-1:]])
    named = titles(runs)
    st.caption("Solid: validation. Dotted: training, on changed pictures and with dropout, so often higher.")
    for column, (metric, y_title) in zip(st.columns(2), Y_TITLES.items(), strict=True):
        lines = []
        for position, run in enumerate(runs):
            colour = BASELINE_COLOUR if position == 0 else colour_of(position - 1)
            for part, dash in (("val", "solid"), ("train", "dot")):
                x, y = scales.points(rows[run.id], f"{part}/{metric}", unit)
                lines.append(RunCurve(named[run.id], colour, x, y, dash))
        with column:
            chart = curves(lines, y_title, x_title, scales.log, scales.smoothing)
            st.plotly_chart(chart, key=f"curves_{metric}", alt=f"{y_title} of {', '.join(named.values())}")


def show_differences(runs: Sequence[Run]) -> None:
    """The settings in which the runs differ."""
    named = titles(runs)
    try:
        changed = differences({run.id: run.as_computed() for run in runs})
    except RunError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    if not changed:
        st.info("The settings of these runs are the same.")
        return
    table = [
        {"setting": field, **{named[run_id]: _text(value) for run_id, value in values.items()}}
        for field, values in changed.items()
    ]
    st.dataframe(table, hide_index=True, key="compare_settings")


def show_metrics(runs: Sequence[Run]) -> None:
    """The last metrics, and each run's difference from the first one, the baseline."""
    st.dataframe(metric_table(runs, titles(runs)), hide_index=True, key="compare_metrics")
    st.caption("In brackets: the difference from the first run. One pair of runs is one draw of the dice: with other "
               "seeds, small differences can change their sign.")  # fmt: skip


def metric_table(runs: Sequence[Run], named: Mapping[str, str]) -> list[dict[str, str]]:
    """A row a metric that any of the runs has, a column a run."""
    summaries = {run.id: run.status().summary for run in runs}
    base = summaries[runs[0].id]
    table = []
    for metric, title in METRICS.items():
        if any(metric in summary for summary in summaries.values()):
            cells = {named[run.id]: _cell(metric, summaries[run.id].get(metric), base.get(metric)) for run in runs}
            table.append({"metric": title, **cells})
    return table


def _cell(metric: str, value: float | None, base: float | None) -> str:
    if value is None:
        return "not yet"
    error = metric.endswith("error")
    shown = f"{value:.1%}" if error else f"{value:.3f}"
    difference = 0.0 if base is None else round(100 * (value - base), 1) if error else round(value - base, 3)
    if not difference:
        return shown
    return f"{shown} ({difference:+.1f} points)" if error else f"{shown} ({difference:+.3f})"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
