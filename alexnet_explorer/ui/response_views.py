"""One unit of the walk: where it responds, what it sees from there, and which of those pixels it answers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from alexnet_explorer.inspection.mosaic import RGB, as_colours, outlined, overlay
from alexnet_explorer.inspection.receptive import Window, window
from alexnet_explorer.ui import downloads, exhibits
from alexnet_explorer.ui.activation_views import classes_of, file_name, unit_of, values_of
from alexnet_explorer.ui.exhibits import Exhibit
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import Array, Look, Scale, View, column, enlarged, side_by_side, walk_of, where

if TYPE_CHECKING:
    from alexnet_explorer.inspection.deconvnet import Projection

UNIT_PIXELS, PATCH = 460, 208  # of the picture under a unit's map, and of what is enlarged beside it, at most


def show_unit(row: Sequence[Look]) -> None:
    """The chosen unit of each network."""
    if row:
        side_by_side(response_view, row)


@dataclass(frozen=True)
class Unit:
    """A unit's output (H, W), or () of a fully connected layer, what it sees from where it is strongest, and why."""

    number: int
    values: Array
    signed: bool  # some value of the layer is below zero
    place: tuple[int, int]
    window: Window
    projection: Projection | str  # or the reason why there is none


def _unit(look: Look) -> Unit:
    from alexnet_explorer.inspection.activations import strongest_place
    from alexnet_explorer.inspection.attribution import NotApplicable
    from alexnet_explorer.inspection.deconvnet import deconvnet

    number = unit_of(look)
    values = values_of(look)[number]
    place = strongest_place(values)
    projection: Projection | str
    try:
        projection = look.remember(
            ("deconvnet", look.layer, number),
            lambda: deconvnet(look.model, look.picture.image, look.layer, number, walk_of(look)),
        )
    except NotApplicable as reason:
        projection = str(reason)
    signed = bool((values_of(look) < 0).any())
    return Unit(number, values, signed, place, window(look.model.model.config, look.layer, *place), projection)


def _draw_unit(look: Look, unit: Unit, scale: Scale) -> None:
    seen, whole = look.seen(), unit.values.ndim == 0
    classes = classes_of(look)
    name = f"Unit {unit.number}{f' ({classes[unit.number]})' if classes else ''}"
    zoom = max(1, min(UNIT_PIXELS, column(look.width)) // len(seen))
    shown = [_over_the_picture(look, unit, name, enlarged(seen, zoom), zoom)]
    if not whole:
        patch = unit.window.cut(seen)
        shown.append(
            Exhibit(enlarged(patch, _times(patch)), "What it sees there.", "The part of the picture in the frame",
                    room=PATCH)
        )  # fmt: skip
    if not isinstance(unit.projection, str):
        has_lrn = any(layer.kind == "lrn" for layer in look.model.model.layers.values())
        largest = float(np.abs(unit.projection.pixels).max())
        back = unit.window.cut(as_colours(unit.projection.pixels[None], largest)[0])
        shown.append(
            Exhibit(
                enlarged(np.rint(back * 255).astype(np.uint8), _times(back)),
                f"what in it the unit answers to, its response taken back to the pixels. Grey is 0, full colour "
                f"±{largest:.3g}." + (" LRN is passed straight through." if has_lrn else ""),
                "The unit's response taken back to the pixels",
                title="The deconvnet:",
                room=PATCH,
            )
        )
    exhibits.show(f"response {look.model.name}", shown)
    if isinstance(unit.projection, str):
        st.info(plain(unit.projection), icon=":material/block:")
    arrays = {"map": unit.values}
    if not isinstance(unit.projection, str):
        arrays["deconvnet"] = unit.projection.pixels
    downloads.offer(f"unit {look.model.name}", file_name(look, f"{look.layer} unit {unit.number}"),
                    npz=lambda: arrays)  # fmt: skip


def _over_the_picture(look: Look, unit: Unit, name: str, picture: RGB, zoom: int) -> Exhibit:
    """The unit's map over the picture, each of whose pixels is repeated `zoom` times; or what its one number sees."""
    if unit.values.ndim == 0:
        caption = f"{name} of {look.layer} is one number, {unit.values:.4g}, and sees the whole picture."
        return Exhibit(picture, caption, "What the network sees", photograph=True)
    frame = Window(*(side * zoom for side in unit.window))
    return Exhibit(
        outlined(overlay(picture, unit.values, unit.signed), *frame),
        f"{name} over the picture: {unit.values.min():.3g} to {unit.values.max():.3g}, coloured where it is strong. "
        f"The frame is what it sees from its strongest position, row {unit.place[0]}, column {unit.place[1]} of its "
        f"map: {_extent(unit.window)} pixels; both are counted from 0.",
        where(unit.values, f"Unit {unit.number} of {look.layer}"),
        photograph=True,
    )


def _times(patch: Array | RGB) -> int:
    """How often a pixel of a patch is repeated."""
    height, width = patch.shape[:2]
    return max(1, PATCH // int(max(height, width)))


def _extent(seen: Window) -> str:
    return f"{seen.bottom - seen.top}×{seen.right - seen.left}"


response_view = View(_unit, _draw_unit)
