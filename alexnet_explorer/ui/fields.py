"""Settings against results: parallel coordinates, and any setting against any result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from alexnet_explorer.comparing import Curve, Dimension, Track, dimension, factor_of
from alexnet_explorer.figures import scatter
from alexnet_explorer.runs import differences
from alexnet_explorer.ui import own_link, parallel
from alexnet_explorer.ui.comparison import Compared, known_tracks
from alexnet_explorer.ui.curves import draw
from alexnet_explorer.ui.overlays import choose_goal
from alexnet_explorer.ui.results import GOAL, TO_GOAL, Result, results, to_goal
from alexnet_explorer.ui.text import plain

USUAL_AXES = 6
SCATTER_HEIGHT = 400  # pixels
_NO_SETTING = ("data.digest",)  # which its name says better


def show(runs: Sequence[Compared]) -> None:
    """Both charts; the settings in which the runs differ come first."""
    tracks = known_tracks(runs)
    known = results(runs, tracks)
    configs = {one.run.id: one.config for one in runs}
    values = {run_id: config.flat() for run_id, config in configs.items()}
    differ = [field for field in differences(configs) if field not in _NO_SETTING]
    fields = [*differ, *(name for name in values[runs[0].run.id] if name not in (*differ, *_NO_SETTING))]
    names, usual = list(known), differ[:USUAL_AXES]
    begin = own_link.start("result", names[0], own_link.one_of(names), "compare_result")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        name = st.selectbox("Result", names, names.index(begin), format_func=lambda one: known[one].title,
                            key="compare_result", persist_state="session", width=300)  # fmt: skip
        begins = own_link.start("axes", usual, own_link.some_of(fields), "compare_fields")
        axes = st.multiselect("Settings", fields, begins, key="compare_fields", persist_state="session", width=520,
                              help="Those that differ come first.")  # fmt: skip
    own_link.write("result", None if name == names[0] else name)
    own_link.write("axes", None if axes == usual else own_link.listed(axes))
    against = [*fields, *names]
    begin = own_link.start("field", against[0], own_link.one_of(against), "compare_field")
    places = st.container(), st.container()
    with places[1]:
        field = st.selectbox(
            "Setting, or another result", against, against.index(begin), key="compare_field", persist_state="session",
            format_func=lambda one: known[one].title if one in known else one, width=300,
        )  # fmt: skip
    own_link.write("field", None if field == against[0] else field)
    with places[0]:
        asked = known | _to_goal({name, field}, runs, tracks)
        shown, found = _found(asked[name], runs)
        if not shown:
            return
        _parallel(axes, [[values[one.run.id][axis] for one in shown] for axis in axes], found, shown)
    with places[1]:
        other = asked[field].of if field in asked else None
        column = [other(one) if other else values[one.run.id][field] for one in shown]
        _scatter(dimension(asked[field].title if other else field, column), found, shown)


def _to_goal(chosen: set[str], runs: Sequence[Compared], tracks: Mapping[str, Track]) -> dict[str, Result]:
    """The times to an error, where one of them is chosen: then the error can be, too."""
    if chosen.isdisjoint(TO_GOAL):
        return {}
    curves = [tracks[one.run.id].curve(GOAL, "epoch") for one in runs if one.run.id in tracks]
    goal = choose_goal(GOAL, [Curve(x, factor_of(GOAL) * y) for x, y in curves])
    return {name: to_goal(name, goal.level, tracks) for name in TO_GOAL} if goal else {}


def _found(result: Result, runs: Sequence[Compared]) -> tuple[list[Compared], Dimension]:
    """The runs that have this result, and theirs; the others are told."""
    values = {one.run.id: result.of(one) for one in runs}
    shown = [one for one in runs if values[one.run.id] is not None]
    if left_out := [one.name for one in runs if values[one.run.id] is None]:
        st.caption(f"Without this result so far, and left out: {plain(', '.join(left_out))}.")
    return shown, dimension(result.title, [values[one.run.id] for one in shown])


def _parallel(
    axes: Sequence[str], values: Sequence[Sequence[Any]], found: Dimension, shown: Sequence[Compared]
) -> None:
    if not axes:
        st.info("Choose a setting or two.")
        return
    short = [field.rpartition(".")[2] for field in axes]
    titles = [name if short.count(name) == 1 else field for name, field in zip(short, axes, strict=True)]
    settings = [dimension(title, column) for title, column in zip(titles, values, strict=True)]
    parallel.draw(settings, found, [one.name for one in shown], [one.style for one in shown])
    st.caption("**How to read it:** a line is a run, from its settings on the left to its result on the right. Draw "
               "along an axis to see only the runs that pass there; a click on it shows all again.")  # fmt: skip


def _scatter(setting: Dimension, found: Dimension, shown: Sequence[Compared]) -> None:
    figure = scatter(setting, found, [one.name for one in shown], [one.style for one in shown])
    figure.update_layout(height=SCATTER_HEIGHT)
    draw(figure, "compare_scatter", f"{found.name} against {setting.name}, a point a run")
    if setting.words:
        st.caption("Points of one value are moved apart sideways a little, so that none hides another.")
