"""The kernels of a convolution: all at once, one of them, and what can be measured of them. One home for two pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from alexnet_explorer.figures import colour_of, histogram, histograms, shares
from alexnet_explorer.files import csv_text
from alexnet_explorer.inspection.mosaic import RGB, as_colours, colourise, mosaic
from alexnet_explorer.ui import clickable, downloads, lens, own_link, sending
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import (
    COLUMN_GAP,
    Array,
    Layout,
    Look,
    Scale,
    View,
    column,
    layout,
    legend,
    shape_of,
    show,
    side_by_side,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from alexnet_explorer.inspection.filters import Order, TowerColour
    from alexnet_explorer.inspection.matching import Match

CHART_HEIGHT = 180  # pixels
MAP_HEIGHT = 320  # pixels that a heat map of units and maps has, about
UNIT_HEIGHT = 120  # pixels of the chosen kernel
BINS = 20
ROOM_ABOVE = 1.05  # of the highest bar
MATCHED_COLUMNS = 8
MOST_PIXELS = 64  # of a matched kernel
RARE = 0.05  # share of random deals below which a difference is called more than chance
NOBODY = -1  # in a row of units: nobody stands here


ORDERS: dict[Order, str] = {"number": "by number", "norm": "by norm", "hue": "by hue", "orientation": "by orientation"}


@dataclass(frozen=True)
class Row:
    """Which units of a network are drawn, from left to right, and what a click on each says."""

    units: NDArray[np.intp]  # of this network, or NOBODY
    chosen: NDArray[np.intp]  # what each is called in the lens: its own number, or its partner's
    by: Order = "number"
    correlations: Array | None = None  # with their partners in the first network, where they are matched
    apart: bool = True  # whether towers are drawn apart; not where partners are to stand at the same places


@dataclass(frozen=True)
class Kernels:
    """A layer's `weights` (K, maps, kh, kw) in one network, and which of them are drawn where."""

    weights: Array
    row: Row
    coloured: bool  # whether they lie on a picture's three colours

    def unit(self, look: Look) -> int:
        """The lens's unit in this network; NOBODY where it has no partner here."""
        unit = min(look.unit, int(self.row.chosen.max()))
        return int(self.row.units[np.flatnonzero(self.row.chosen == unit)[0]])


# Which, and in what order


def choose_order() -> Order:
    """The control."""
    begin: Order = own_link.start("sort", "number", own_link.one_of(ORDERS), "filters_order")
    by: Order = st.segmented_control(
        "Order of the kernels", list(ORDERS), format_func=lambda order: ORDERS.get(order, order), default=begin,
        key="filters_order", required=True, persist_state="session",
        help="Hue and orientation are those of the kernels that see the picture itself.",
    ) or "number"  # fmt: skip
    own_link.write("sort", None if by == "number" else by)
    return by


def rows_of(looks: Sequence[Look], by: Order, matches: Mapping[str, Match]) -> dict[str, Row]:
    """The row of each network, by its name: in an order of its own, or that of the partners in the first."""
    from alexnet_explorer.inspection import filters

    rows: dict[str, Row] = {}
    for look in looks:
        own = by if by in ("number", "norm") or by in applies(look) else "number"
        first = rows.get(looks[0].model.name)
        if first and look.model.name in matches:
            found = matches[look.model.name]
            rows[look.model.name] = Row(
                found.partners[first.units], first.units, own, found.correlations[first.units], apart=False
            )
        else:
            units = filters.arrange(weights_of(look), own)
            rows[look.model.name] = Row(units, units, own, apart=not matches)
    return rows


def applies(look: Look) -> tuple[Order, ...]:
    """The orders by what a kernel looks like: of those that see the picture, and hue where that has colours."""
    if not sees_picture(look):
        return ()
    return ("hue", "orientation") if look.model.preprocessing.mean.shape[0] == 3 else ("orientation",)


def say_what_does_not_apply(looks: Sequence[Look], by: Order) -> None:
    """A sentence for each network that lacks the layer, or what its kernels are to be ordered by."""
    for look in looks:
        name = plain(look.model.title)
        if look.layer != looks[0].layer:
            st.info(f"**{name}** has no {looks[0].layer}: here is its {look.layer}.")
        if by in ("hue", "orientation") and by not in applies(look):
            seen = "grey pictures" if sees_picture(look) else "the maps of the layer before"
            st.info(f"The kernels of {look.layer} of **{name}** see {seen} and have no {by}: they stand by number.")


def weights_of(look: Look) -> Array:
    """The kernels of the lens's layer at its epoch."""
    from alexnet_explorer.inspection import filters

    return filters.kernels(look.model.model, look.layer) if look.kept is None else look.kept


def sees_picture(look: Look) -> bool:
    """Whether the layer is the one that looks at the picture itself."""
    return look.model.model.layers[look.layer].number == 1


def kernels_of(look: Look, row: Row | None = None) -> Kernels:
    """A network's kernels, in a row or as they are numbered."""
    from alexnet_explorer.inspection import filters

    weights = weights_of(look)
    everyone = np.arange(len(weights))
    return Kernels(weights, row or Row(everyone, everyone), filters.sees_colours(look.model.model, look.layer))


def _kernels_in(rows: Mapping[str, Row]) -> Callable[[Look], Kernels]:
    return lambda look: kernels_of(look, rows[look.model.name])


# All of them


def overview(rows: Mapping[str, Row]) -> View[Kernels]:
    """All kernels of a layer: in colour where they see the picture, else how strongly each is tied to each map.

    A click chooses the unit.
    """
    return View(_kernels_in(rows), partial(_draw_overview, choosing=True), _largest)


def _largest(all_: Sequence[Kernels]) -> Scale:
    """The largest weight of any, and the largest norm that a kernel has on one map."""
    from alexnet_explorer.inspection import filters

    weight = max((float(np.abs(one.weights).max()) for one in all_), default=1.0)
    return weight or 1.0, max((float(filters.map_norms(one.weights).max()) for one in all_), default=1.0)


def _draw_overview(look: Look, kernels: Kernels, scale: Scale, choosing: bool) -> None:
    drawn = _draw_colours if sees_picture(look) else _draw_connections
    picture = drawn(look, kernels, scale, choosing)
    if choosing:
        downloads.offer(
            f"filters {look.model.name}", f"{look.model.title} {layer_at(look)}", png=lambda: picture,
            csv=lambda: table(look, kernels), npz=lambda: {"weights": kernels.weights},
        )  # fmt: skip


def _draw_colours(look: Look, kernels: Kernels, scale: Scale, choosing: bool) -> RGB:
    groups = towers_of(look, kernels)
    beside = look.width == 1 and len(groups) == 2
    space = (column(1) - COLUMN_GAP) // 2 if beside else column(look.width)
    places = st.columns(2) if beside else [st.container() for _ in groups]
    for number, (place, group) in enumerate(zip(places, groups, strict=True)):
        with place:
            if len(groups) > 1:
                st.markdown(f"Tower {number + 1}")
            tiles = _tiles(kernels, group, scale[0])
            cut = layout(tiles, space) if kernels.row.apart else _same_columns(tiles, space)
            size = tiles.shape[1] * cut["zoom"]
            grid = clickable.Grid(len(tiles), cut["columns"], size, size)
            alt = f"Mosaic of {len(tiles)} kernels of {look.layer}{' in colour' * kernels.coloured}"
            _draw(mosaic(tiles, **cut), grid, look, kernels, group, alt, f"{number}", choosing)
    everyone = np.concatenate(groups)
    tiles = _tiles(kernels, everyone, scale[0])
    st.caption(
        f"{layer_at(look)}: {len(kernels.weights)} kernels of {shape_of(tiles)} pixels. Grey is a weight of 0, full "
        f"colour one of ±{scale[0]:.3g}.{_unclear(kernels)}"
    )
    return mosaic(tiles, **layout(tiles, column(1)))


def _same_columns(tiles: Array, space: int) -> Layout:
    """A layout of as many columns in every network, whatever its kernels' size: partners stand at the same places."""
    columns, side = min(MATCHED_COLUMNS, len(tiles)), tiles.shape[1]
    return {"columns": columns, "zoom": max(1, min(((space + 1) // columns - 1) // side, MOST_PIXELS // side))}


def _unclear(kernels: Kernels) -> str:
    """How many kernels have no place in the order."""
    from alexnet_explorer.inspection import filters

    if kernels.row.by not in ("hue", "orientation"):
        return ""
    angles = (filters.hues if kernels.row.by == "hue" else filters.orientations)(kernels.weights)
    if not (count := int(np.isnan(angles).sum())):
        return ""
    return f" {count} without a clear {kernels.row.by} come last."


def _tiles(kernels: Kernels, places: NDArray[np.intp], largest: float) -> Array:
    tiles = as_colours(kernels.weights, largest)[kernels.row.units[places]]
    tiles[kernels.row.units[places] == NOBODY] = 1  # white: not even a weight of 0
    return tiles


def towers_of(look: Look, kernels: Kernels) -> list[NDArray[np.intp]]:
    """The places in the row by tower; all together where there is one tower, or units are matched."""
    places = np.arange(len(kernels.row.units))
    towers = look.model.model.config.paths
    if towers == 1 or not kernels.row.apart:
        return [places]
    tower = kernels.row.units // (len(kernels.weights) // towers)
    return [places[tower == number] for number in range(towers)]


def _draw_connections(look: Look, kernels: Kernels, scale: Scale, choosing: bool) -> RGB:
    from alexnet_explorer.inspection import filters

    strengths = filters.connections(look.model.model, look.layer, kernels.weights)[kernels.row.units]
    strengths[kernels.row.units == NOBODY] = np.nan
    count, inputs = strengths.shape
    across, down = (max(1, min(8, space // number)) for space, number in
                    ((column(look.width), count), (MAP_HEIGHT, inputs)))  # fmt: skip
    picture = colourise(strengths.T, "viridis", 0.0, scale[1]).repeat(down, 0).repeat(across, 1)
    grid = clickable.Grid(count, count, across, down * inputs, gap=0)
    alt = f"Heat map of {layer_at(look)}: a column a unit, a row an input map, light where the kernel is strong"
    _draw(picture, grid, look, kernels, np.arange(count), alt, "map", choosing)
    st.caption(
        f"{layer_at(look)}: a column for each of the {len(kernels.weights)} kernels, a row for each of the {inputs} "
        f"maps that come in: the norm of the {shape_of(kernels.weights[0])} weights between them. "
        f"{legend('viridis', (0.0, scale[1]))}"
        + (" Grey: maps of the other tower, which the unit does not see." if np.isnan(strengths).any() else "")
    )
    return picture


def _draw(
    picture: RGB, grid: clickable.Grid, look: Look, kernels: Kernels, places: NDArray[np.intp], alt: str, part: str,
    choosing: bool,
) -> None:  # fmt: skip
    """The picture of the kernels in these places of the row."""
    if not choosing:
        st.image(sending.png(picture), alt=alt, width="content", output_format="PNG")
        return
    units = kernels.row.units[places]
    chosen = np.flatnonzero((units == kernels.unit(look)) & (units != NOBODY))

    def label(place: int) -> str:
        return describe(kernels, int(places[place]))

    def choose(place: int) -> None:
        lens.change(unit=int(kernels.row.chosen[places[place]]))

    clickable.tiles(picture, grid, f"kernels {look.model.name} {part}", alt, int(chosen[0]) if len(chosen) else None,
                    label, choose)  # fmt: skip


def describe(kernels: Kernels, place: int) -> str:
    """The unit that stands in a place of the row, in a few words."""
    unit, partner = int(kernels.row.units[place]), int(kernels.row.chosen[place])
    if unit == NOBODY:
        return f"unit {partner} has no partner"
    if kernels.row.correlations is None:
        return f"unit {unit}"
    return f"unit {unit}, partner of {partner}: correlation {kernels.row.correlations[place]:.2f}"


def layer_at(look: Look) -> str:
    """The layer, and the epoch where it is not the last one."""
    return look.layer if look.epoch is None else f"{look.layer} after epoch {look.epoch}"


# One of them


def unit_view(rows: Mapping[str, Row]) -> View[Kernels]:
    """The lens's unit, or its partner: its weights map by map, on a scale of its own, and its numbers."""
    return View(_kernels_in(rows), _draw_unit, _largest)


def _draw_unit(look: Look, kernels: Kernels, scale: Scale) -> None:
    from alexnet_explorer.inspection import filters

    unit = kernels.unit(look)
    if unit == NOBODY:
        st.caption(f"Unit {look.unit} of the first network has no partner here.")
        return
    kernel = kernels.weights[unit]
    largest = float(np.abs(kernel).max()) or 1.0
    limits = (-largest, largest)
    maps = filters.input_maps(look.model.model, look.layer, unit)
    if sees_picture(look):
        tiles = colourise(kernel, "diverging", *limits) / 255
        if kernels.coloured:
            tiles = np.concatenate([as_colours(kernel[None], scale[0]), tiles])
        zoom = max(1, UNIT_HEIGHT // kernel.shape[1])
        zoom = min(zoom, (column(look.width) - 3 * 8) // (len(tiles) * kernel.shape[1]))
        picture = mosaic(tiles, columns=len(tiles), gap=8, zoom=max(1, zoom))
        on = "in colour, and its weights on red, green and blue" if kernels.coloured else "its weights on the grey"
        words = f"{layer_at(look)}, unit {unit}: {on}. {legend('diverging', limits)}"
    else:
        picture = mosaic(kernel, colormap="diverging", vmin=-largest, vmax=largest,
                         **layout(kernel, column(look.width)))  # fmt: skip
        words = (f"{layer_at(look)}, unit {unit}: its weights for input maps {maps[0]} to {maps[-1]}, "
                 f"{shape_of(kernel)} each. {legend('diverging', limits)}")  # fmt: skip
    show(picture, words, f"The kernel of unit {unit} of {look.layer}, one tile an input map")
    st.caption(_numbers(kernels, unit))
    downloads.offer(f"unit {look.model.name}", f"{look.model.title} {layer_at(look)} unit {unit}",
                    png=lambda: picture, npz=lambda: {"weights": kernel})  # fmt: skip


def _numbers(kernels: Kernels, unit: int) -> str:
    """What is measured of one kernel, in words."""
    from alexnet_explorer.inspection import filters

    one = kernels.weights[unit : unit + 1]
    said = [f"Norm {filters.norms(one)[0]:.3g}"]
    if kernels.coloured:
        hue = filters.hues(one)[0]
        said.append(f"{filters.colourfulness(one)[0]:.0%} of its energy is colour")
        said.append("no clear hue" if np.isnan(hue) else f"hue {hue:.0f}°")
    if one.shape[1] in (1, 3):
        angle = filters.orientations(one)[0]
        said.append("no clear orientation" if np.isnan(angle) else f"stripes run at {angle:.0f}°")
    return "; ".join(said) + "."


# Their numbers


def table(look: Look, kernels: Kernels) -> str:
    """CSV: a line a kernel, with what is measured of it."""
    from alexnet_explorer.inspection import filters

    weights = kernels.weights
    towers = look.model.model.config.paths
    columns: dict[str, NDArray[np.generic]] = {
        "unit": np.arange(len(weights)),
        "tower": np.arange(len(weights)) // (len(weights) // towers) + 1,
        "norm": filters.norms(weights),
        "mean": weights.mean(axis=(1, 2, 3)),
    }
    if kernels.coloured:
        columns |= {"colour_share": filters.colourfulness(weights), "hue_degrees": filters.hues(weights)}
    if sees_picture(look):
        columns["orientation_degrees"] = filters.orientations(weights)
    rows = [["" if np.isnan(value) else f"{value:.6g}" for value in row] for row in zip(*columns.values(), strict=True)]
    return csv_text([columns, *rows])


def _norm_scale(all_: Sequence[Kernels]) -> Scale:
    """The largest norm that a kernel has in any network, and the most kernels that share one of its bins."""
    from alexnet_explorer.inspection import filters

    norms = [filters.norms(one.weights) for one in all_]
    highest = max((float(each.max()) for each in norms), default=1.0) or 1.0
    most = max((int(np.histogram(each, BINS, (0.0, highest))[0].max()) for each in norms), default=1)
    return highest, ROOM_ABOVE * most


def _draw_norms(look: Look, kernels: Kernels, scale: Scale) -> None:
    from alexnet_explorer.inspection import filters

    norms, (highest, most) = filters.norms(kernels.weights), scale
    title = f"norm of the {len(norms)} kernels of {look.layer}"
    figure = histogram(norms, title, look.colour, 0.0, highest, BINS, most)
    figure.update_layout(height=CHART_HEIGHT)
    described = f"Histogram of the kernels' norms, from {norms.min():.3g} to {norms.max():.3g}"
    _chart(figure, f"norms {look.model.name}", described)


norms_view = View(kernels_of, _draw_norms, _norm_scale)
"""How long the kernels of a layer are, in bins that all networks share."""

compared_view = View(kernels_of, partial(_draw_overview, choosing=False), _largest)
"""All kernels of a layer, for networks that are compared."""


def _draw_values(look: Look, kernels: Kernels, scale: Scale) -> None:
    figure = shares(kernels.weights, f"weights of {look.layer}", look.colour, -scale[0], scale[0])
    figure.update_layout(height=CHART_HEIGHT)
    low, high = float(kernels.weights.min()), float(kernels.weights.max())
    described = f"Histogram of the weights of {look.layer}, from {low:.3g} to {high:.3g}"
    _chart(figure, f"weights {look.model.name}", described)


_values_view = View(kernels_of, _draw_values, _largest)


def show_histograms(row: Sequence[Look]) -> None:
    """The weights' values and the kernels' norms, on scales that all networks share; of one network side by side."""
    columns = st.columns(2) if len(row) == 1 else [st.container(), st.container()]
    for place, view in zip(columns, (_values_view, norms_view), strict=True):
        with place:
            side_by_side(view, row)


def _draw_colour(look: Look, kernels: Kernels, scale: Scale) -> None:
    from alexnet_explorer.inspection import filters

    if not sees_picture(look):
        return
    if not kernels.coloured:
        st.info("This network sees grey pictures: its kernels have no colours to measure.")
        return
    colour = filters.colourfulness(kernels.weights)
    towers = look.model.model.config.paths
    groups = np.split(colour, towers)
    names = [f"tower {number + 1}" for number in range(towers)] if towers > 1 else ["all kernels"]
    figure = histograms(
        [(name, look.colour if towers == 1 else colour_of(number), values)
         for number, (name, values) in enumerate(zip(names, groups, strict=True))],
        "share of the kernel's energy that is colour", "kernels", 0.0, 1.0, BINS,
    )  # fmt: skip
    figure.update_xaxes(tickformat=".0%")
    figure.update_layout(height=CHART_HEIGHT + 40 * (towers > 1))
    means = ", ".join(f"{name} {values.mean():.0%}" for name, values in zip(names, groups, strict=True))
    _chart(figure, f"colour {look.model.name}", f"Histogram of the share of colour in the kernels; means: {means}")
    found = look.remember(("tower colour", look.epoch), lambda: filters.tower_colour(colour, towers))
    specific = int((colour > filters.COLOURFUL).sum())
    st.markdown(
        f"{specific} of {len(colour)} kernels are colour-specific (more than half of their energy is colour), "
        f"{len(colour) - specific} colour-agnostic. {in_towers(found)}"
    )


def in_towers(found: TowerColour) -> str:
    """Whether the towers differ in colour more than chance has them, in words."""
    if len(found.means) == 1:
        return "This network has one tower: there are no two to compare, as in the paper's section 6.1."
    means = ", ".join(f"{mean:.0%} in tower {number + 1}" for number, mean in enumerate(found.means))
    verdict = "more than chance gives" if found.as_far < RARE else "no more than chance gives"
    often = f"{found.as_far:.1%}" if found.as_far else "none"
    return (
        f"Colour makes up {means}: {100 * found.apart:.1f} points apart, {verdict}. Dealt to the towers at random, the "
        f"same kernels are {100 * found.chance:.1f} points apart on average, and as far as these in {often} of 1,000 "
        "deals."
    )


colour_view = View(kernels_of, _draw_colour)
"""How much colour the kernels have, tower by tower [6.1]."""


def _chart(figure: go.Figure, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)
