"""The views of the page Compare; only the one that is open is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from alexnet_explorer.ui import beside, class_differences, disagreements, fields, frame, overlays, own_link, reporting
from alexnet_explorer.ui.comparison import Compared, choose_baseline, chosen_runs, show_differences, show_metrics

View = Callable[[frame.Page, DeltaGenerator], None]


def show(page: frame.Page) -> None:
    """The choice of a view, and the view."""
    usual = next(iter(VIEWS))
    choices = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with choices:
        view = st.segmented_control(
            "View", list(VIEWS), default=own_link.start("view", usual, own_link.one_of(VIEWS), "compare_view"),
            format_func=lambda name: VIEWS[name][0], key="compare_view", required=True, label_visibility="collapsed",
            persist_state="session",
        )  # fmt: skip
    view = view or usual
    own_link.write("view", None if view == usual else view)
    VIEWS[view][1](page, choices)


def _of_runs(view: Callable[[Sequence[Compared]], None], least: int = 1) -> View:
    """A view of what was written while the networks were trained; the baseline is chosen among the other choices."""

    def draw(page: frame.Page, choices: DeltaGenerator) -> None:
        runs = chosen_runs(page)
        if len(runs) < least:
            st.info(f"This takes {'two runs' if least > 1 else 'a run'} with a history here: choose in the sidebar.")
            return
        if len(runs) > 1:
            with choices:
                choose_baseline(runs, page)
        view(runs)

    return draw


def _curves(runs: Sequence[Compared]) -> None:
    st.fragment(overlays.show)(runs)  # drawn again by itself, which spares the rest of the page
    if len(runs) > 1:
        st.subheader("What differs in the settings")
        show_differences(runs)
        st.subheader("Where they ended")
        show_metrics(runs)
        reporting.show([one.run for one in runs], {one.run.id: one.name for one in runs})


VIEWS: dict[str, tuple[str, View]] = {
    "curves": ("Curves and results", _of_runs(_curves)),
    "fields": ("Settings against results", _of_runs(fields.show, 2)),
    "classes": ("Classes", _of_runs(class_differences.show)),
    "disagreements": ("Disagreements", _of_runs(disagreements.show, 2)),
    "networks": ("Side by side", lambda page, choices: beside.show(page)),
}
