"""The walk of a picture through the layers: all of them in small, and one of them map by map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from alexnet_explorer.document import Cell, Column, Table
from alexnet_explorer.inspection.mosaic import colormap_of, mosaic, own_scales, scale_of
from alexnet_explorer.ui import cards, clickable, downloads, frame, lens, sending
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import (
    Array,
    Look,
    Scale,
    View,
    column,
    enlarged,
    layout,
    legend,
    shape_of,
    side_by_side,
    walk_of,
)

ScaleOf = Literal["map", "layer", "shared"]
ORDERS = ("strongest first", "as numbered")
THUMBNAIL = 72  # pixels


@dataclass(frozen=True)
class Choice:
    """The page's own controls."""

    scale: ScaleOf = "shared"
    order: str = ORDERS[0]

    def order_of(self, values: Array) -> NDArray[np.intp]:
        """The numbers of the units as they are shown."""
        from alexnet_explorer.inspection.activations import strongest_first

        return strongest_first(values) if self.order == ORDERS[0] else np.arange(len(values))

    def scale_for(self, arrays: Sequence[Array], common: Scale) -> Scale:
        """The one scale of what is drawn of a network, or `common` to all of them."""
        return common if self.scale == "shared" else scale_of(arrays)


# All layers


def show_walk(row: Sequence[Look]) -> None:
    """Every layer in small, to choose one; and who has not the one that was chosen."""
    wanted = lens.current().layer
    for look in row:
        if wanted and look.layer != wanted and not frame.same_place(look.layer, wanted):
            st.info(f"**{plain(look.model.title)}** has no layer {plain(wanted)}: here is {look.layer} instead.")
    if row:
        side_by_side(View(_strip, _draw_strip), row)


def layers_of(look: Look) -> list[str]:
    """The names of the layers that are shown: dropout does nothing but in training."""
    return [layer.name for layer in look.model.model.layers.values() if layer.kind != "dropout"]


def _strip(look: Look) -> list[cards.Card]:
    from alexnet_explorer.inspection.activations import statistics, thumbnail

    def draw() -> list[cards.Card]:
        seen = look.seen()
        shape = f"{look.model.preprocessing.channels}×{seen.shape[0]}×{seen.shape[1]}"
        small = Image.fromarray(enlarged(seen, max(1, THUMBNAIL // len(seen))))
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        drawn = [cards.Card(sending.png(np.asarray(small)), "input", shape, fixed=True)]
        for name in layers_of(look):
            values = walk_of(look)[name]
            about = f"{'×'.join(map(str, values.shape))}\n{statistics(values).zeros:.0%} zero"
            drawn.append(cards.Card(sending.png(thumbnail(values, THUMBNAIL)), name, about))
        return drawn

    return look.remember("strip", draw)


def _draw_strip(look: Look, strip: list[cards.Card], scale: Scale) -> None:
    names = layers_of(look)

    def take(number: int) -> None:
        lens.change(layer=names[number - 1])

    cards.choose(f"walk {look.model.name}", strip, names.index(look.layer) + 1, take)


# One layer


def values_of(look: Look) -> Array:
    """What the chosen layer puts out: (C, H, W) or (units,)."""
    return walk_of(look)[look.layer]


def maps_view(choice: Choice) -> View[Array]:
    """The maps of the lens's layer; a click on one chooses its unit."""
    return View(values_of, lambda look, values, scale: _draw_maps(look, values, scale, choice), scale_of)


def _draw_maps(look: Look, values: Array, common: Scale, choice: Choice) -> None:
    from alexnet_explorer.inspection.activations import statistics, strength

    tiles = values if values.ndim == 3 else values[:, None, None]
    order, strengths, classes = choice.order_of(values), strength(values), classes_of(look)
    scale = choice.scale_for([values], common)
    drawn, ends, scale_words = tiles[order], scale, legend(colormap_of(scale), scale)
    if choice.scale == "map" and values.ndim == 3:
        drawn, ends = own_scales(drawn), (-1.0 if scale[0] < 0 else 0.0, 1.0)
        scale_words = "Each map has its own scale: " + (
            "blue below zero, white 0, red above, up to its own largest value." if scale[0] < 0
            else "dark 0, light its own largest value."
        )  # fmt: skip
    arranged = layout(tiles, column(look.width))
    picture = look.remember(
        ("mosaic", look.layer, choice, ends, tuple(arranged.items())),
        lambda: mosaic(drawn, colormap=colormap_of(scale), vmin=ends[0], vmax=ends[1], **arranged),
    )
    height, width = (side * arranged["zoom"] for side in tiles.shape[1:])

    def label(place: int) -> str:
        unit = int(order[place])
        name = f" ({classes[unit]})" if classes else ""
        return f"unit {unit}{name}: {f'up to {strengths[unit]:.3g}' if values.ndim == 3 else f'{values[unit]:.3g}'}"

    def take(place: int) -> None:
        lens.change(unit=int(order[place]))

    clickable.tiles(
        picture, clickable.Grid(len(tiles), arranged["columns"], width, height), f"maps {look.model.name}",
        f"Mosaic of the activations of {look.layer}", int(np.flatnonzero(order == unit_of(look))[0]), label,
        take,
    )  # fmt: skip
    about = statistics(values)
    st.caption(
        f"{look.layer}: {len(tiles)} {'maps of ' + shape_of(tiles) if values.ndim == 3 else 'units'}, "
        f"{'strongest first' if choice.order == ORDERS[0] else 'in order'}. {scale_words} "
        f"{about.zeros:.0%} of the values are zero, {about.dead} of {about.maps} units show nothing here; values from "
        f"{about.minimum:.3g} to {about.maximum:.3g}, mean {about.mean:.3g}. Click a "
        f"{'map' if values.ndim == 3 else 'square'} to choose its unit."
    )
    if classes:
        st.dataframe(largest_units(values, classes), key=f"classes {look.model.name}", hide_index=True,
                     alt="The classes of the largest units")  # fmt: skip
    downloads.offer(f"maps {look.model.name}", file_name(look, look.layer), png=lambda: picture,
                    csv=lambda: unit_table(values, classes).to_csv(), npz=lambda: {look.layer: values})  # fmt: skip


def unit_of(look: Look) -> int:
    """The chosen unit; of a layer with fewer, the last one."""
    return min(look.unit, look.model.model.layers[look.layer].output[0] - 1)


def classes_of(look: Look) -> tuple[str, ...]:
    """The classes that the units of the last layer stand for; of another layer none."""
    return tuple(look.model.classes) if look.layer == list(look.model.model.layers)[-1] else ()


def file_name(look: Look, what: str) -> str:
    """What a file is of, in words."""
    epoch = "" if look.epoch is None else f" epoch {look.epoch}"
    return f"{look.model.name}{epoch} {look.picture.title} {what}"


def largest_units(values: Array, classes: Sequence[str], top: int = 10) -> list[dict[str, str | int]]:
    """The largest outputs of the last layer (units,), with the classes that they stand for: rows of a table."""
    order = np.argsort(-values, kind="stable")[:top]
    return [{"unit": int(unit), "class": classes[unit], "output": f"{values[unit]:.2f}"} for unit in order]


def unit_table(values: Array, classes: Sequence[str]) -> Table:
    """A row a unit of a layer's output, with where it is strongest."""
    from alexnet_explorer.inspection.activations import strongest_place

    heads = [*(["class"] if classes else []), "largest", "mean", "zeros (share)", "row of largest", "column of largest"]
    rows: list[list[Cell]] = [
        [unit, *([classes[unit]] if classes else []), float(one.max()), float(one.mean()), float((one == 0).mean()),
         *strongest_place(one)]
        for unit, one in enumerate(values)
    ]  # fmt: skip
    return Table("units", [Column(head) for head in ("unit", *heads)], rows)
