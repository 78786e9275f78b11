"""Filters: the weights of the convolutions as pictures."""

import streamlit as st

from alexnet_explorer.ui import epoch_curve, filter_views, matching, page, views

here = page.head(
    "filters",
    "A convolution slides small kernels over its input; each answers where the input looks like the kernel. Nobody "
    "designed them: edges, blobs and colours appear in conv1 because they help, in every network trained on "
    "photographs. Deeper kernels see the maps of the layer before.",
)


def body(row: list[views.Look]) -> None:
    if not row:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        order = filter_views.choose_order()
        matched = matching.choose(row)
    alike = matching.ask(row) if matched else {}
    filter_views.say_what_does_not_apply(row, order)
    rows = filter_views.rows_of(row, order, matching.matches(row, alike))
    views.side_by_side(filter_views.overview(rows), row)
    st.subheader("One of them")
    views.side_by_side(filter_views.unit_view(rows), row)
    if any(map(filter_views.sees_picture, row)):
        st.subheader("How much colour they have")
        views.side_by_side(filter_views.colour_view, row)
    st.subheader("Their weights and norms")
    filter_views.show_histograms(row)
    epoch_curve.show(here, row)
    if alike:
        matching.show(row, alike)


views.live(here, body)
page.foot(
    "**Notice** that some kernels of conv1 are grey edges and some are coloured blobs. In the paper's two towers, one "
    "tower's were largely grey and the other's coloured, in every run (section 6.1). Kernels that look like noise, or "
    "have a small norm, have learned little. Move the epoch back to see them form; choose a second network to match "
    "its units with these.",
    """from alexnet_explorer.inspection.filters import arrange, filters, kernels
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
pictures = filters(network.model, "conv1")     # (32, 5, 5, 3), 0.5 is a weight of zero
by_hue = pictures[arrange(kernels(network.model, "conv1"), "hue")]""",
)
