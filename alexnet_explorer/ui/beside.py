"""Networks side by side on the visitor's picture, at one epoch, on shared scales."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from alexnet_explorer.ui import (
    activation_views,
    filter_views,
    frame,
    layer_views,
    lens,
    networks,
    prediction_views,
    saliency_method,
    saliency_views,
    views,
)  # fmt: skip


def show(page: frame.Page) -> None:
    """Predictions, filters, activations, one layer's statistics and saliency of up to four of the networks."""
    if not frame.models_for(page):
        st.info("None of these runs has kept its weights: there are no networks to look through.")
        return
    _choose(page)
    frame.choose_place(page)
    st.caption("Picture, epoch, class and layer are the same for all, and so is every scale.")
    row = views.looks(page)
    if row:
        st.subheader("Predictions")
        views.side_by_side(prediction_views.predictions(), row)
    st.subheader("Filters of conv1")
    filters = views.looks(replace(page, one_layer=True, layer_kinds=("conv",)), "conv1") if _partial(page) else row
    filters = [look.at("conv1") for look in filters]
    views.side_by_side(filter_views.compared_view, filters)
    views.side_by_side(filter_views.norms_view, filters)
    if not row:
        return
    st.subheader("Activations")
    views.side_by_side(activation_views.maps_view(activation_views.Choice()), row)
    st.subheader("Statistics of the layer")
    views.side_by_side(layer_views.statistics_view, row)
    st.subheader("Saliency")
    saliency_views.show_one(row, saliency_method.choose("compare_method", "saliency", "grad-cam"))


def _partial(page: frame.Page) -> bool:
    """Whether the epoch was kept of any of the networks in part only, so that its filters are all there is to see."""
    epoch = lens.current().epoch
    return epoch is not None and any(
        entry.kind != "imported" and epoch not in networks.snapshots(entry) for entry in frame.models_for(page)
    )


def _choose(page: frame.Page) -> None:
    """Which of many: the first four, until others are chosen."""
    entries = {entry.name: entry for entry in networks.entries()}
    names = [name for name in frame.names_for(page) if name in entries]
    if len(names) <= lens.MOST_MODELS:
        return
    st.session_state["compare_beside"] = [entry.name for entry in frame.models_for(page)]
    st.multiselect(
        "Side by side", names, format_func=lambda name: networks.title(entries[name]) if name in entries else name,
        key="compare_beside", max_selections=lens.MOST_MODELS, on_change=_take, help="Up to four of those compared",
    )  # fmt: skip


def _take() -> None:
    lens.change(beside=tuple(st.session_state["compare_beside"]))
