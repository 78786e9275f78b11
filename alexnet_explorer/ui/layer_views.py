"""One layer of the walk, as its page's controls say: its maps, what each step of its block does, its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import streamlit as st

from alexnet_explorer.document import Cell, Column, Table
from alexnet_explorer.figures import shares
from alexnet_explorer.inspection.mosaic import colormap_of, colourise, fitted, limits, named_grid, scale_of
from alexnet_explorer.inspection.receptive import fields
from alexnet_explorer.ui import downloads, networks, own_link, pictures
from alexnet_explorer.ui.activation_views import (
    ORDERS,
    Choice,
    ScaleOf,
    classes_of,
    file_name,
    layers_of,
    maps_view,
    unit_of,
    values_of,
)
from alexnet_explorer.ui.picture_sets import own_pictures
from alexnet_explorer.ui.views import Array, Look, Scale, View, column, legend, shape_of, show, side_by_side, walk_of

Shown = Literal["maps", "steps", "statistics"]
VIEWS: dict[Shown, str] = {"maps": "Maps", "steps": "Before and after", "statistics": "Statistics"}
SCALES: dict[ScaleOf, str] = {"map": "each map", "layer": "the layer", "shared": "all networks"}
STEP_MAPS, STEP_UNITS, STEP_GAP = 6, 12, 6  # shown before and after, and the pixels between two maps
TILE, NAME_PIXELS = 112, 60  # of a map there, at most, and of the names of the units


def show_layer(row: Sequence[Look]) -> None:
    """The page's own controls, and the chosen layer as they say."""
    if not row:
        return
    shown, choice = _choose(several=len(row) > 1)
    views: dict[Shown, View[Any]] = {
        "maps": maps_view(choice),
        "steps": _steps_view(choice),
        "statistics": _all_statistics_view,
    }
    side_by_side(views[shown], row)


def _choose(several: bool) -> tuple[Shown, Choice]:
    scales = [name for name in get_args(ScaleOf) if several or name != "shared"]
    usual = Choice("shared" if several else "layer")
    scale_key = f"activations_scale_{len(scales)}"

    def one(label: str, name: str, key: str, options: Sequence[str], default: str, titles: dict[str, str]) -> str:
        begin = own_link.start(name, default, own_link.one_of(options), key)
        chosen = st.segmented_control(
            label, options, default=begin, key=key, required=True, persist_state="session",
            format_func=lambda option: titles.get(option, option),
        )  # fmt: skip
        own_link.write(name, None if chosen == default else chosen)
        return chosen or default

    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        view = one("Of the layer", "view", "activations_view", list(VIEWS), "maps", cast(dict[str, str], VIEWS))
        scale, order = usual.scale, usual.order
        if view != "statistics":
            scale = cast(ScaleOf, one("One scale for", "scale", scale_key, scales, scale, cast(dict[str, str], SCALES)))
        if view == "maps":
            order = one("Order", "order", "order", ORDERS, order, {})
    return cast(Shown, view), Choice(scale, order)


# Before and after


@dataclass(frozen=True)
class Steps:
    """What some units put out at each step of a block: (units, H, W), or (units,)."""

    units: list[int]
    outputs: dict[str, Array]


def _steps_view(choice: Choice) -> View[Steps]:
    return View(_steps, lambda look, steps, scale: _draw_steps(look, steps, scale, choice),
                lambda all_: scale_of([values for steps in all_ for values in steps.outputs.values()]))  # fmt: skip


def _steps(look: Look) -> Steps:
    from alexnet_explorer.inspection.activations import block, strongest_first

    values, unit = values_of(look), unit_of(look)
    most = STEP_MAPS if values.ndim == 3 else STEP_UNITS
    units = [unit, *(other for other in strongest_first(values).tolist() if other != unit)][:most]
    return Steps(units, {name: walk_of(look)[name][units] for name in block(look.model.model.layers, look.layer)})


def _draw_steps(look: Look, steps: Steps, common: Scale, choice: Choice) -> None:
    values = next(iter(steps.outputs.values()))
    if values.ndim == 1:
        _draw_numbers(look, steps)
        return
    scale = choice.scale_for(list(steps.outputs.values()), common)
    ends, largest = scale, np.ones((len(steps.units), 1, 1))
    if choice.scale == "map":
        magnitudes = [np.abs(maps).max(axis=(1, 2), keepdims=True) for maps in steps.outputs.values()]
        largest, ends = np.maximum.reduce(magnitudes), (-1.0 if scale[0] < 0 else 0.0, 1.0)
    tile = min(TILE, (column(look.width) - NAME_PIXELS) // len(steps.outputs) - STEP_GAP)
    tiles = [
        fitted(colourise(maps / np.where(largest > 0, largest, 1), colormap_of(scale), *ends), tile)
        for maps in steps.outputs.values()
    ]
    sheet = named_grid(np.stack(tiles, 1), [f"unit {unit}" for unit in steps.units], list(steps.outputs), STEP_GAP)
    words = "each row up to its own largest value" if choice.scale == "map" else legend(colormap_of(scale), scale)
    show(sheet, f"Unit {steps.units[0]}, which is chosen, then the strongest of {look.layer}. One scale for all "
         f"steps: {words}", f"{len(steps.units)} units of {look.layer} at each step")  # fmt: skip
    table = [
        {"step": name, "maps": shape_of(maps), "values": f"{maps.min():.3g} to {maps.max():.3g}",
         "zero": f"{(maps == 0).mean():.0%}", "what it does": _does(look, name)}
        for name, maps in steps.outputs.items()
    ]  # fmt: skip
    st.table(table, border="horizontal", hide_index=True)
    downloads.offer(f"steps {look.model.name}", file_name(look, " ".join(steps.outputs)), png=lambda: sheet,
                    npz=lambda: steps.outputs)  # fmt: skip


def _does(look: Look, name: str) -> str:
    """What a step does to the maps, in words."""
    config, layer = look.model.model.config, look.model.model.layers[name]
    match layer.kind:
        case "conv":
            side = config.kernels[layer.number - 1]
            return f"slides kernels of {side}×{side} over {'the picture' if layer.number == 1 else 'the maps before'}"
        case "activation":
            return {
                "relu": "cuts off what is below zero",
                "tanh": "squeezes all into −1 to 1",
                "sigmoid": "squeezes all into 0 to 1",
            }[config.activation]
        case "lrn":
            whom = "maps beside it" if config.lrn_kind == "across-maps" else "places around it"
            return f"weakens what has strong {whom}"
        case _:
            side = 3 if config.pooling == "overlapping" else 2
            kind = config.pool_kinds[config.pool_after.index(layer.number)]
            return f"keeps the {'largest' if kind == 'max' else 'mean'} of each {side}×{side} window"


def _draw_numbers(look: Look, steps: Steps) -> None:
    table = step_table(steps, values_of(look), classes_of(look))
    st.dataframe(_shown(table), key=f"steps {look.model.name}", hide_index=True,
                 alt=f"{len(steps.units)} units at each step")  # fmt: skip
    st.caption(f"Unit {steps.units[0]}, which is chosen, then the strongest of {look.layer}."
               + (" The softmax turns the outputs into shares of one." if classes_of(look) else ""))  # fmt: skip
    downloads.offer(f"steps {look.model.name}", file_name(look, " ".join(steps.outputs)), csv=table.to_csv)


def step_table(steps: Steps, values: Array, classes: Sequence[str]) -> Table:
    """A row a unit of a fully connected block; of the last layer's units also the class and its probability."""
    columns = [Column("unit")]
    cells: list[Sequence[Cell]] = [steps.units]
    if classes:
        columns.append(Column("class"))
        cells.append([classes[unit] for unit in steps.units])
    for name, outputs in steps.outputs.items():
        columns.append(Column(name, ".4g"))
        cells.append(outputs.tolist())
    if classes:
        powers = np.exp(values.astype(np.float64) - values.max())
        columns.append(Column("softmax", ".2%"))
        cells.append((powers[steps.units] / powers.sum()).tolist())
    return Table("steps", columns, list(zip(*cells, strict=True)))


# Statistics


def _statistics(look: Look, values: Array, scale: Scale) -> None:
    from alexnet_explorer.inspection.activations import statistics

    about = statistics(values)
    figure = shares(values, f"responses of {look.layer}", look.colour, *scale)
    figure.update_layout(height=240)
    described = f"Histogram of the responses of {look.layer}, from {about.minimum:.3g} to {about.maximum:.3g}"
    st.plotly_chart(figure, key=f"statistics {look.model.name}", config={"displayModeBar": False}, alt=described)
    rows = {
        "mean": f"{about.mean:.3g}",
        "standard deviation": f"{about.std:.3g}",
        "zeros": f"{about.zeros:.1%}",
        "units that show nothing": f"{about.dead} of {about.maps}",
        "smallest, largest": f"{about.minimum:.3g}, {about.maximum:.3g}",
    }
    st.table([{"of this picture": name, look.layer: value} for name, value in rows.items()], border="horizontal")


def _range(arrays: Sequence[Array]) -> Scale:
    """From the smallest of all values to the largest, for histograms that share their bins."""
    ends = [limits(array) for array in arrays]
    return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)


statistics_view = View(values_of, _statistics, _range)


@dataclass(frozen=True)
class LayerNumbers:
    """The chosen layer's output, and how many units of each layer are dead in all of `pictures`."""

    values: Array
    dead: dict[str, int]
    pictures: int


def _numbers(look: Look) -> LayerNumbers:
    from alexnet_explorer.inspection.activations import dead_over

    several = own_pictures(tuple(pictures.names()))
    key = ("dead", look.model.digest, several.key)
    dead = networks.results().get(key, lambda: dead_over(look.model, several))
    return LayerNumbers(values_of(look), {name: int(units.sum()) for name, units in dead.items()}, several.count)


def _draw_all_statistics(look: Look, numbers: LayerNumbers, scale: Scale) -> None:
    _statistics(look, numbers.values, scale)
    table = layer_table(look, numbers.dead)
    st.dataframe(_shown(table), key=f"layers {look.model.name}", hide_index=True, alt="Every layer in numbers")
    st.caption(
        f"Dead here: zero everywhere in this picture. Dead in all {numbers.pictures}: zero everywhere in each of the "
        "sample photographs and your uploads; only a unit that stays so over the training images is dead for good. "
        "Sees: the side of the square of input pixels that one value depends on, up to the whole input's."
    )
    downloads.offer(f"layers {look.model.name}", file_name(look, "layers"), csv=table.to_csv)


_all_statistics_view = View(_numbers, _draw_all_statistics, lambda all_: _range([one.values for one in all_]))


def _shown(table: Table) -> dict[str, list[int | str]]:
    """A table by columns, its numbers as people read them; whole numbers stay, to be sorted by."""
    return {
        column.title: [cell if isinstance(cell, int | str) else column.shown(cell)
                       for cell in (row[place] for row in table.rows)]
        for place, column in enumerate(table.columns)
    }  # fmt: skip


def layer_table(look: Look, dead: dict[str, int]) -> Table:
    """A row a layer: its shape, what it sees, and the statistics of this picture; `dead`: of more pictures."""
    from alexnet_explorer.inspection.activations import statistics

    size, sizes = look.model.preprocessing.size, fields(look.model.model.config)
    rows: list[list[Cell]] = []
    for name in layers_of(look):
        values = walk_of(look)[name]
        about = statistics(values)
        sees = min(sizes[name].size, size) if values.ndim == 3 else size
        rows.append([name, "×".join(map(str, values.shape)), sees, about.zeros, about.dead, dead[name], about.minimum,
                     about.mean, about.std, about.maximum])  # fmt: skip
    heads = {"layer": "", "shape": "", "sees (pixels)": "", "zeros": ".0%", "dead here": "", "dead in all": "",
             "smallest": ".3g", "mean": ".3g", "deviation": ".3g", "largest": ".3g"}  # fmt: skip
    return Table("layers", [Column(title, format_) for title, format_ in heads.items()], rows)
