"""Compare: two runs or more, in their settings, their curves, and on one picture."""

import streamlit as st

from alexnet_explorer.inspection.attribution import METHODS
from alexnet_explorer.ui import comparison, page, reporting, views

here = page.head(
    "compare",
    "Change one idea, train both ways, and look at what it did. The runs are the networks of the sidebar; the first "
    "is the baseline, drawn in grey. Below the curves both look at the same picture, on the same scales.",
)
runs = comparison.chosen_runs(here)
if runs:
    comparison.show_curves(runs)
if len(runs) > 1:
    st.subheader("What differs in the settings")
    comparison.show_differences(runs)
    st.subheader("Where they ended")
    comparison.show_metrics(runs)
    reporting.show(runs, comparison.titles(runs))

row = views.looks(here)
st.subheader("Predictions")
views.side_by_side(views.predictions, row)
st.subheader("Filters of conv1")
views.side_by_side(views.filters_view, [look.at("conv1") for look in row])
st.subheader("Activations")
views.side_by_side(views.activations_view(strongest_first=True), row)
st.subheader("Saliency")
method = st.segmented_control(
    "Method",
    list(METHODS),
    format_func=lambda key: METHODS[key].title,
    default="grad-cam",
    key="compare_method",
    required=True,
    persist_state="session",
)
views.side_by_side(views.saliency_view(method or "grad-cam"), row)
page.foot(
    "**Notice** that unit 17 of one network is not unit 17 of the other: each training finds its own numbering. "
    "Compare what kinds of filters there are, not their places.",
    """from pathlib import Path
from alexnet_explorer.runs import differences, find_run

runs = [find_run(name, Path("runs")) for name in ("alexnet-32-relu", "alexnet-32-tanh")]
print(differences({run.id: run.as_computed() for run in runs}))
for run in runs:
    print(run.id, run.status().summary)""",
)
