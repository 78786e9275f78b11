"""The page Arithmetic: one number of a network, what it is made of, and on to the numbers that those are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import streamlit as st

from alexnet_explorer.inspection import steps
from alexnet_explorer.inspection.cells import CAPTION, GAP, captioned, cells, places, sheet, side, written
from alexnet_explorer.inspection.mosaic import RGB, Colormap, as_colours, colourise, limits, mosaic, outlined
from alexnet_explorer.inspection.receptive import window
from alexnet_explorer.inspection.steps import PIXELS, Outputs, Place
from alexnet_explorer.ui import downloads, exhibits, frame, lens, own_link, trail
from alexnet_explorer.ui.clickable import Grid, tiles
from alexnet_explorer.ui.equations import COLOURS, FUNCTIONS, brief, line, name_of, percent, shown, training_line
from alexnet_explorer.ui.exhibits import Exhibit
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.trail import Trail
from alexnet_explorer.ui.views import Layout, Look, Scale, column, enlarged, layout, walk_of

MAP_PIXELS = 352  # width of the map in which a position is chosen, and of the picture
MOST_ZOOM = 48
DETAIL_PIXELS = 280  # of each of three pictures beside one another
TILE, TILES_IN_ROW, MOST_TILES = 60, 6, 18  # of the input maps that contribute most
MOST_ROWS = 12  # of a fully connected unit's inputs
MOST_CLASSES = 6
_TABLE, _ROW, _COLUMN, _SEED = "arithmetic_inputs", "arithmetic_row", "arithmetic_column", "arithmetic_seed"


@dataclass(frozen=True)
class Here:
    """The number that is explained, in one network."""

    look: Look
    outputs: Outputs
    trail: Trail
    pictures: list[RGB] = field(default_factory=list)  # those that the page has drawn, for its PNG

    def name(self, place: Place) -> str:
        """A place in words."""
        model = self.look.model
        return name_of(place, steps.shape_of(model.model, place.layer), model.preprocessing.channels)

    def go(self, place: Place) -> None:
        """On to this place."""
        trail.go(self.trail, place)

    def draw(self, picture: RGB, caption: str, alt: str, photograph: bool = False) -> None:
        """A picture with a caption in plain text, which goes into the page's PNG, too."""
        exhibits.show(f"arithmetic_{len(self.pictures)}", [Exhibit(picture, caption, alt, photograph=photograph)])
        self.pictures.append(picture)

    def choose(self, picture: RGB, grid: Grid, key: str, alt: str, chosen: int | None, label: Callable[[int], str],
               on_choose: Callable[[int], None]) -> None:  # fmt: skip
        """A picture whose tiles can be clicked."""
        self.pictures.append(picture)
        tiles(picture, grid, f"arithmetic_{key}", alt, chosen, label, on_choose)


def explained(row: Sequence[Look]) -> None:
    """One number of the first network, step by step; the others' number at the same place in a line each."""
    from alexnet_explorer.inspection.arithmetic import explain

    if not row:
        return
    look, *others = row
    wanted = lens.current().layer
    if wanted and look.layer != wanted and not frame.same_place(look.layer, wanted):
        st.info(f"{plain(look.model.title)} has no layer {plain(wanted)}: here is {look.layer}.")
    if others:
        st.caption(f"Several networks are chosen: **{plain(look.model.title)}** is explained; "
                   "the same place in the others stands below.")  # fmt: skip
    outputs = _outputs(look)
    unit = min(look.unit, len(outputs[look.layer]) - 1)
    here = Here(look, outputs, trail.current(look.model.model, outputs, look.layer, unit))
    seed = _seed() if look.model.model.layers[look.layer].kind == "dropout" else 0
    step = explain(look.model, outputs, here.trail.place, seed)
    _way(here)
    _result(here, step)
    _overview(here, step)
    _DRAW[type(step).__name__](here, step)
    downloads.offer(
        "arithmetic", f"{look.model.name} {here.name(step.place)}", png=lambda: sheet(here.pictures), csv=step.to_csv,
        npz=step.arrays,
    )  # fmt: skip
    if look.layer == list(outputs)[-1]:
        _probability(here)
    for other in others:
        _other(other, here.trail)


def _outputs(look: Look) -> Outputs:
    from alexnet_explorer.inspection.arithmetic import pixels

    given = look.remember(PIXELS, lambda: pixels(look.model, look.picture.image))
    return {PIXELS: given, **walk_of(look)}


def _seed() -> int:
    begin = own_link.start("seed", 0, own_link.number(0, 999_999), _SEED)
    seed = st.number_input("Seed of the mask", 0, 999_999, int(begin), key=_SEED, persist_state="session", width=180)
    own_link.write("seed", str(seed) if seed else None)
    return seed


def _way(here: Here) -> None:
    """The numbers by which the visitor came here, to go back to."""
    via = here.trail.via
    if not via:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for number, place in enumerate(via):
            st.button(
                f"{plain(here.name(place))} ›", key=f"arithmetic_back_{number}", type="tertiary",
                help="Back to this number", on_click=trail.back, args=(here.trail, len(via) - number),
            )  # fmt: skip


def _overview(here: Here, step: steps.Step) -> None:
    """The unit's map, in which a position is chosen, and what the number sees of the picture."""
    place, config = here.trail.place, here.look.model.model.config
    left, right = st.columns(2)
    with left:
        if here.outputs[place.layer].ndim == 3:
            _positions(here)
        else:
            _units(here)
    with right:
        size = here.look.model.preprocessing.size
        zoom = max(1, round(MAP_PIXELS / size))
        origin = step.origin if isinstance(step, steps.DropoutStep) else place  # dropout before fc6 passes on maps
        seen = window(config, origin.layer, origin.row, origin.column)
        here.draw(
            outlined(enlarged(here.look.seen(), zoom), *(zoom * edge for edge in seen)),
            f"What this number sees of the picture: {_pixels(seen.bottom - seen.top, seen.right - seen.left, size)}.",
            f"The picture, with rows {seen.top} to {seen.bottom - 1} and columns {seen.left} to {seen.right - 1} "
            "outlined",
            photograph=True,
        )


def _pixels(height: int, width: int, size: int) -> str:
    return f"all {size}×{size} pixels" if height == width == size else f"{height}×{width} of its {size}×{size} pixels"


def _positions(here: Here) -> None:
    place = here.trail.place
    values = here.outputs[place.layer][place.unit]
    height, width = values.shape
    colormap, scale = _scale(values)
    zoom = max(1, min(MOST_ZOOM, MAP_PIXELS // width))
    here.choose(
        enlarged(colourise(values, colormap, *scale), zoom),
        Grid(height * width, width, zoom, zoom, gap=0),
        "map",
        f"The map of unit {place.unit} of {place.layer}, {height}×{width} positions",
        place.row * width + place.column,
        lambda tile: f"row {tile // width}, column {tile % width}: {values.flat[tile]:.4g}",
        lambda tile: trail.move(here.trail, *divmod(tile, width)),
    )
    strongest = "" if here.trail.chosen else " The strongest was chosen for you."
    st.caption(f"{place.layer}, unit {place.unit}: click on one of its {height}×{width} numbers. "
               f"{_legend(colormap, scale)}{strongest}")  # fmt: skip
    st.session_state[_ROW], st.session_state[_COLUMN] = place.row, place.column
    with st.container(horizontal=True):
        for label, key, count in (("Row", _ROW, height), ("Column", _COLUMN, width)):
            st.number_input(label, 0, count - 1, key=key, on_change=_move, args=(here.trail,), width=150)


def _move(way: Trail) -> None:
    trail.move(way, st.session_state[_ROW], st.session_state[_COLUMN])


def _units(here: Here) -> None:
    """The units of a fully connected layer, one number each."""
    place = here.trail.place
    values = here.outputs[place.layer]
    colormap, scale = _scale(values)
    laid = layout(values[:, None, None], column(2))
    classes = here.look.model.classes if place.layer == list(here.outputs)[-1] else ()
    here.choose(
        mosaic(values[:, None, None], colormap=colormap, vmin=scale[0], vmax=scale[1], **laid),
        _grid(len(values), laid, 1, 1),
        "units",
        f"The {len(values)} units of {place.layer}",
        place.unit,
        lambda unit: f"unit {unit}{f' ({classes[unit]})' if classes else ''}: {values[unit]:.4g}",
        lambda unit: trail.change(Trail(replace(place, unit=unit))),
    )
    st.caption(f"{place.layer}: {len(values)} units, one number each; click on another. {_legend(colormap, scale)}")


def _result(here: Here, step: steps.Step) -> None:
    """The number, and its equation."""
    from alexnet_explorer.inspection.arithmetic import explain

    model, place = here.look.model, step.place
    names = list(model.model.layers)
    following = names[names.index(place.layer) + 1 :][:1]
    then = None
    if following and model.model.layers[following[0]].kind == "activation":
        then = explain(model, here.outputs, replace(place, layer=following[0]))
    classes = model.classes if place.layer == names[-1] else ()
    title = f"{here.name(place)}{f', {classes[place.unit]}' if classes else ''}"
    with st.container(border=True):
        st.markdown(f"**{plain(title)}**")
        st.markdown(f"#### {plain(line(step, then if isinstance(then, steps.ActivationStep) else None))}")
        apart = abs(step.total - step.value)
        made = f"make it but for {apart:.0e}" if apart else "make exactly that"
        st.caption(f"The network's own number is {shown(step.value)[0]}; the terms {made}.")
        why, origin = _main_origin(step)
        if origin and origin.layer != PIXELS:
            st.button(f"{why}: {plain(here.name(origin))}", key="arithmetic_on", on_click=here.go, args=(origin,),
                      icon=":material/subdirectory_arrow_left:")  # fmt: skip


def _main_origin(step: steps.Step) -> tuple[str, Place | None]:
    """Where most of a number comes from, and why there."""
    match step:
        case steps.ConvolutionStep():
            return "On to what contributes most", step.heaviest(int(step.strongest[0]))
        case steps.FullStep():
            return "On to what contributes most", step.origin(int(step.strongest[0]))
        case steps.PoolStep():
            return "On to the winner" if step.kind == "max" else "On to the largest", step.origins[step.winner]
        case steps.LrnStep():
            return "On to the number before", step.origins[step.own]
        case steps.ActivationStep() | steps.DropoutStep():
            return "On to the number before", step.origin
    return "", None


# Convolutions


def _convolution(here: Here, step: steps.ConvolutionStep) -> None:
    first = step.source == PIXELS
    way = here.trail
    wanted = way.pixel.unit if first and way.pixel else way.map
    position = step.maps.index(wanted) if wanted is not None and wanted in step.maps else int(step.strongest[0])
    _, size, _ = step.patch.shape
    padding = int((~step.inside).sum())
    st.markdown(
        f"The kernel of unit {step.place.unit} lies on {size}×{size} numbers of "
        f"{_input_maps(here, step)}, is multiplied with them one by one, and everything is added up."
        + (f" {padding} of the {size * size} positions lie outside the map: padding, zeros." if padding else "")
    )
    left, right = st.columns(2)
    with left:
        _strongest_maps(here, step, position)
        if first:
            _in_colour(here, step)
    with right:
        _sums(here, step)
    _patch(here, step, position)
    if first:
        _pixel(here, step, position)


def _input_maps(here: Here, step: steps.ConvolutionStep) -> str:
    if step.source == PIXELS:
        return "each of the picture's three colours" if len(step.maps) == 3 else "the grey picture"
    layer = here.look.model.model.layers[step.place.layer]
    if layer.groups == 1:
        return f"each of the {len(step.maps)} maps of {step.source}"
    return f"each of the {len(step.maps)} maps of {step.source} in its own tower ({step.maps[0]} to {step.maps[-1]})"


def _map_name(here: Here, step: steps.ConvolutionStep, position: int) -> str:
    if step.source == PIXELS:
        return COLOURS[position] if len(step.maps) == 3 else "grey"
    return f"map {step.maps[position]}"


def _strongest_maps(here: Here, step: steps.ConvolutionStep, position: int) -> None:
    """The products with the input maps that contribute most, and their sums."""
    order = [int(number) for number in step.strongest[:MOST_TILES]]
    largest = float(np.abs(step.products).max())
    size = step.patch.shape[1]
    zoom = max(1, (TILE - 12) // size)
    decimals = places(float(np.abs(step.sums).max()))
    columns = min(TILES_IN_ROW, len(order))
    here.choose(
        captioned(
            [enlarged(colourise(step.products[n], "diverging", -largest, largest), zoom) for n in order],
            [written(float(step.sums[n]), decimals) for n in order], TILE, columns,
        ),
        Grid(len(order), columns, TILE, size * zoom + CAPTION, GAP),
        "maps",
        "The products of the input maps that contribute most, each with its sum",
        order.index(position) if position in order else None,
        lambda tile: f"{_map_name(here, step, order[tile])}: {step.sums[order[tile]]:.4g}",
        lambda tile: trail.change(replace(here.trail, chosen=True, map=step.maps[order[tile]], pixel=None)),
    )  # fmt: skip
    which = "Input × kernel" if len(order) == len(step.maps) else f"Input × kernel, the {len(order)} strongest maps"
    st.caption(f"{which}, with the sum of each: click on one to see its numbers. "
               f"{_legend('diverging', (-largest, largest))}")  # fmt: skip


def _in_colour(here: Here, step: steps.ConvolutionStep) -> None:
    """The patch of the picture as it looks, and the kernel as a picture."""
    size = step.patch.shape[1]
    crop = np.pad(here.look.seen(), ((size, size), (size, size), (0, 0)), constant_values=128)
    patch = crop[step.top + size :, step.left + size :][:size, :size]
    kernel = as_colours(step.kernel[None].astype(np.float32))[0]
    both = np.stack([patch, np.rint(kernel * 255).astype(np.uint8)])
    here.draw(
        mosaic(both, columns=2, gap=12, zoom=max(1, 160 // size)),
        "Left: what the kernel lies on. Right: the kernel, where grey is 0 and full colour "
        f"±{np.abs(step.kernel).max():.3g}.",
        "The patch of the picture and the kernel, as pictures",
    )


def _sums(here: Here, step: steps.ConvolutionStep) -> None:
    """The sum over each input map, the bias, and the total: a column that adds up."""
    named = [int(number) for number in step.strongest[:5]]
    names = [_map_name(here, step, number) for number in named]
    values = [float(step.sums[number]) for number in named]
    if rest := len(step.maps) - len(named):
        names.append("the other map" if rest == 1 else f"the other {rest} maps")
        values.append(float(step.sums.sum() - sum(values)))
    _column("input × kernel", [*names, "bias"], [*values, step.bias], step.total)


def _column(title: str, names: Sequence[str], values: Sequence[float], total: float) -> None:
    numbers = shown(*values, total)
    rows = [{title: name, "sum": number} for name, number in zip([*names, "together"], numbers, strict=True)]
    st.table(rows, border="horizontal")


def _patch(here: Here, step: steps.ConvolutionStep, position: int) -> None:
    """Patch, kernel and product of one input map; the patch's numbers can be clicked."""
    patch, kernel, products = (values[position] for values in (step.patch, step.kernel, step.products))
    name = _map_name(here, step, position)
    size = len(patch)
    square = side(size, DETAIL_PIXELS)
    colormap, scale = _scale(step.patch)
    most, heaviest = float(np.abs(step.products).max()), float(np.abs(step.kernel).max())
    at = step.cell(_term(here, step, position))
    chosen = at[1] * size + at[2] if at else None

    def label(cell: int) -> str:
        place = step.origin(position, *divmod(cell, size))
        number = f"{patch.flat[cell]:.4g} · {kernel.flat[cell]:.4g} = {products.flat[cell]:.4g}"
        return f"{here.name(place)}: {number}" if place else "padding: 0"

    def take(cell: int) -> None:
        place = step.origin(position, *divmod(cell, size))
        if place and place.layer == PIXELS:
            trail.change(replace(here.trail, chosen=True, map=None, pixel=place))
        elif place:
            here.go(place)

    source = "the picture" if step.source == PIXELS else step.source
    first, second, third = st.columns(3)
    with first:
        st.markdown(f"**Input**: {source}, {name}")
        here.choose(
            cells(patch, square, colormap, *scale, inside=step.inside), Grid(size * size, size, square, square, GAP),
            "patch", f"The patch of {source}, {name}, {size}×{size}", chosen, label, take,
        )  # fmt: skip
        padded = "" if step.inside.all() else " Hatched: padding."
        st.caption(f"Click on a number to see where it comes from. {_legend(colormap, scale)}{padded}")
    with second:
        st.markdown(f"**× kernel** of unit {step.place.unit}")
        here.draw(cells(kernel, square, "diverging", -heaviest, heaviest),
                  _legend("diverging", (-heaviest, heaviest)), f"The kernel's weights for {name}")  # fmt: skip
    with third:
        st.markdown(f"**= products**, sum {shown(float(step.sums[position]))[0]}")
        here.draw(cells(products, square, "diverging", -most, most, step.inside), _legend("diverging", (-most, most)),
                  f"The products with {name}")  # fmt: skip
    title = f"The {size * size} products with {name} as a table"
    folded = st.expander(title, key="arithmetic_products", on_change="rerun")
    if folded.open:  # a table costs the browser more than all else on the page
        with folded:
            _terms(step.table(), size * size * position, size * size)


def _term(here: Here, step: steps.ConvolutionStep, position: int) -> Place | None:
    """The number of the patch that is outlined: the chosen pixel, else what contributes most of this input map."""
    at = step.cell(here.trail.pixel)
    return here.trail.pixel if at and at[0] == position else step.heaviest(position)


def _terms(table: steps.Table, start: int, count: int) -> None:
    rows = {name: values[start : start + count] for name, values in table.items()}
    st.dataframe(rows, hide_index=True, alt="The terms, a row each")


def _pixel(here: Here, step: steps.ConvolutionStep, position: int) -> None:
    """Where one number of the first patch comes from: the picture."""
    from alexnet_explorer.inspection.arithmetic import explain_pixel

    chosen = _term(here, step, position)
    if chosen is None:
        return
    model, picture = here.look.model, here.look.picture.image
    # In colour, also where the network sees it in grey: that sum is part of the walk.
    found = explain_pixel(model, np.asarray(model.preprocessing.crop(picture)), here.outputs, chosen)
    red, green, blue = found.colour.tolist()
    with st.container(border=True):
        st.markdown(f"**{plain(here.name(chosen))}**: the walk ends here")
        st.markdown(f"#### {plain(line(found))}")
        level = f"Its grey is 0.299 · {red} + 0.587 · {green} + 0.114 · {blue} = {found.level:.2f} of 255. " \
            if here.look.model.preprocessing.channels == 1 else f"The pixel is red {red}, green {green}, blue {blue} " \
            "of 255. "  # fmt: skip
        st.caption(
            f"{level}The training images' mean {found.mean:.6g} is subtracted"
            + (f", then it is divided by their deviation {found.std:.6g}." if found.std != 1 else ", nothing else.")
        )


# The other layers


def _activation(here: Here, step: steps.ActivationStep) -> None:
    st.latex({
        "relu": r"y = \max(0, x)", "tanh": r"y = \tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}",
        "sigmoid": r"y = \frac{1}{1 + e^{-x}}",
    }[step.function])  # fmt: skip
    said = {
        "relu": "What is positive passes as it is; what is negative becomes 0. ",
        "tanh": "Large numbers of either sign end near −1 and 1, where the curve is flat. ",
        "sigmoid": "Large numbers of either sign end near 0 and 1, where the curve is flat. ",
    }[step.function]
    before, after = shown(step.before, step.total)
    st.markdown(f"{said}Before {FUNCTIONS[step.function]}: {before}; after: {after}.")


def _lrn(here: Here, step: steps.LrnStep) -> None:
    before, total = shown(step.before, step.total)
    squares, power = brief(float(step.squares.sum())), brief(step.denominator**step.beta)
    # One fraction a line, which fits a telephone.
    st.latex(
        rf"""\begin{{aligned}}
        b &= \frac{{a}}{{\left(k + \alpha \sum a^2\right)^\beta}} \\[6pt]
        &= \frac{{{before}}}{{\left({step.k:g} + {step.alpha:.6g} \cdot {squares}\right)^{{{step.beta:g}}}}} \\[6pt]
        &= \frac{{{before}}}{{{power}}} = {total}
        \end{{aligned}}""".replace("−", "-")
    )
    height, width = step.window.shape
    if step.kind == "across-maps":
        units = [origin.unit for origin in step.origins]
        cut = f", fewer than {step.size} at the end of a tower" if width < step.size else ""
        st.markdown(f"The neighbours are maps {units[0]} to {units[-1]} of {step.origins[0].layer} at the same position"
                    f"{cut}. A strong neighbour makes the denominator larger, and this number smaller.")  # fmt: skip
    else:
        cut = f", cut off at the map's edge from {step.size}×{step.size}" if step.window.size < step.size**2 else ""
        st.markdown(f"The neighbours are {height}×{width} positions of the same map{cut}. Strong neighbours make the "
                    "denominator larger, and this number smaller.")  # fmt: skip
    left, right = st.columns(2)
    with left:
        st.markdown("**The neighbours** a, this number's own outlined")
        _window(here, step.window, step.origins, step.own)
    with right:
        st.markdown(f"**Their squares** a², sum {squares}")
        largest = float(step.squares.max())
        here.draw(cells(step.squares, side(max(step.window.shape[1], 5), column(2)), "viridis", 0, largest),
                  _legend("viridis", (0, largest)), "The squares of the neighbours")  # fmt: skip


def _window(here: Here, values: steps.Array, origins: Sequence[Place], chosen: int | None) -> None:
    """A few numbers in a row or a square, each with its origin to go on to."""
    columns = values.shape[1]
    square = side(max(columns, 5), column(2))
    colormap, scale = _scale(values)
    here.choose(
        cells(values, square, colormap, *scale), Grid(values.size, columns, square, square, GAP), "window",
        f"The {values.size} numbers of the layer before", chosen,
        lambda cell: f"{here.name(origins[cell])}: {values.flat[cell]:.4g}", lambda cell: here.go(origins[cell]),
    )  # fmt: skip
    st.caption(f"Click on a number to see where it comes from. {_legend(colormap, scale)}")


def _pool(here: Here, step: steps.PoolStep) -> None:
    height, width = step.window.shape
    cut = f", cut off at the map's edge from {step.size}×{step.size}" if step.window.size < step.size**2 else ""
    first = step.origins[0]
    said = "The largest of them wins, outlined; the others leave no trace." if step.kind == "max" else \
        f"Their mean is taken: the sum, divided by {step.window.size}."  # fmt: skip
    st.markdown(f"The window lies on {height}×{width} numbers of {first.layer}, from row {first.row}, column "
                f"{first.column}{cut}. {said}")  # fmt: skip
    _window(here, step.window, step.origins, step.winner if step.kind == "max" else None)


def _full(here: Here, step: steps.FullStep) -> None:
    count = len(step.inputs)
    if len(step.shape) == 3:
        maps, height, width = step.shape
        given = f"all {count:,} numbers of {step.source}: {maps} maps of {height}×{width}"
    else:
        given = f"all {count:,} numbers of {step.source}"
    st.markdown(f"Unit {step.place.unit} looks at {given}; each has a weight of its own.")
    left, right = st.columns(2)
    with left:
        _all_products(here, step)
    with right:
        best = [int(number) for number in step.strongest[:5]]
        values = [float(step.products[number]) for number in best]
        names = [_short(here, step.origin(number)) for number in best]
        if count > len(best):
            names.append(f"the other {count - len(best):,} inputs")
            values.append(float(step.products.sum() - sum(values)))
        _column("input × weight", [*names, "bias"], [*values, step.bias], step.total)
    _inputs(here, step)


def _short(here: Here, place: Place) -> str:
    maps = len(steps.shape_of(here.look.model.model, place.layer)) == 3
    return f"{place.layer}, {place.unit} at {place.row}, {place.column}" if maps else f"{place.layer}, {place.unit}"


def _all_products(here: Here, step: steps.FullStep) -> None:
    """Every product, map by map where the inputs are maps."""
    parts = step.products.reshape(step.shape if len(step.shape) == 3 else (-1, 1, 1))
    count, height, width = parts.shape
    largest = float(np.abs(parts).max())
    laid = layout(parts.astype(np.float32), column(2))

    def strongest(tile: int) -> Place:
        return step.origin(tile * height * width + int(np.abs(parts[tile]).argmax()))

    name = "map" if height * width > 1 else "unit"
    here.choose(
        mosaic(parts, colormap="diverging", vmin=-largest, vmax=largest, **laid), _grid(count, laid, height, width),
        "products", f"The products of all inputs, {count} {name}s", None,
        lambda tile: f"{name} {tile}: {parts[tile].sum():.4g}", lambda tile: here.go(strongest(tile)),
    )  # fmt: skip
    st.caption(f"Input × weight of every input, {name} by {name}: click on one to see where it comes from. "
               f"{_legend('diverging', (-largest, largest))}")  # fmt: skip


def _inputs(here: Here, step: steps.FullStep) -> None:
    """The inputs that contribute most, to go on to."""
    best = [int(number) for number in step.strongest[:MOST_ROWS]]
    origins = [step.origin(number) for number in best]
    st.session_state[_TABLE] = {"selection": {"rows": []}}
    st.caption("The inputs that contribute most: choose a row to see where its number comes from.")
    st.dataframe(
        {
            "from": [here.name(origin) for origin in origins],
            "input": [float(step.inputs[number]) for number in best],
            "weight": [float(step.weights[number]) for number in best],
            "input × weight": [float(step.products[number]) for number in best],
        },
        key=_TABLE, hide_index=True, selection_mode="single-row", on_select=lambda: _take(here, origins),
        column_config={
            name: st.column_config.NumberColumn(format="%.5g") for name in ("input", "weight", "input × weight")
        },
        alt="The inputs that contribute most",
    )  # fmt: skip


def _take(here: Here, origins: Sequence[Place]) -> None:
    for row in st.session_state[_TABLE]["selection"]["rows"]:
        here.go(origins[row])


def _dropout(here: Here, step: steps.DropoutStep) -> None:
    st.markdown(
        f"Only training drops units: each one, with probability {step.p:g}, anew for every image. What is left is "
        f"multiplied by 1/(1 − {step.p:g}) = {step.scale:.4g}, so that the layer above sees the same mean. Now, when "
        "the network only looks, nothing is dropped and nothing multiplied. (In 2012 it was the other way round: no "
        "factor in training, outputs halved at test. The mean is the same.)"
    )
    st.markdown(f"**In training**, under the mask of seed {step.seed}: {plain(training_line(step))}.")
    kept = step.kept.astype(np.float32)[:, None, None]
    laid = layout(kept, column(1) // 2)
    here.draw(
        mosaic(kept, colormap="grey", vmin=0, vmax=1, **laid),
        f"The mask that this seed draws, by the network's own rule: {int(kept.sum()):,} of {len(kept):,} units are "
        "kept (white), the others dropped (black). A training never draws this one twice.",
        f"The mask: {int(kept.sum())} of {len(kept)} units kept",
    )


def _probability(here: Here) -> None:
    """The softmax, after the last layer."""
    from alexnet_explorer.inspection.arithmetic import explain_probability

    model = here.look.model
    step = explain_probability(model, here.outputs, here.trail.place.unit)
    st.subheader("Softmax")
    with st.container(border=True):
        st.markdown(f"**The probability of {plain(model.classes[step.place.unit])}**")
        st.markdown(f"#### {plain(line(step))}")
        st.caption(f"z are the outputs of {step.place.layer}, e^z is positive and large where z is; all are divided by "
                   "e to the largest z first, which changes no probability, so that nothing becomes too large for a "
                   f"computer. PyTorch's own probability: {percent(step.value)}.")  # fmt: skip
    order = [int(number) for number in np.argsort(-step.logits, kind="stable")[:MOST_CLASSES]]
    if step.place.unit not in order:
        order.append(step.place.unit)
    rest = len(step.logits) - len(order)
    rows = [
        (model.classes[n], shown(float(step.logits[n]))[0], float(step.exponentials[n]), float(step.probabilities[n]))
        for n in order
    ]
    if rest:
        above, share = (float(values.sum() - values[order].sum()) for values in (step.exponentials, step.probabilities))
        rows.append((f"the other {rest:,} classes", "", above, share))
    rows.append(("together", "", float(step.exponentials.sum()), 1.0))
    exponentials = shown(*(row[2] for row in rows))
    st.table(
        [
            {"class": plain(name), "output z": z, "e^(z − largest)": exponential, "probability": percent(share)}
            for (name, z, _, share), exponential in zip(rows, exponentials, strict=True)
        ],
        border="horizontal",
    )
    downloads.offer("softmax", f"{model.name} softmax", csv=step.to_csv, npz=step.arrays)


def _other(look: Look, way: Trail) -> None:
    """Another network's number at the same place, where it has one; else where its unit is strongest."""
    from alexnet_explorer.inspection.arithmetic import explain

    outputs = _outputs(look)
    place = replace(way.place, layer=look.layer, unit=min(way.place.unit, len(outputs[look.layer]) - 1))
    if not steps.exists(look.model.model, place):
        place = steps.strongest(outputs[look.layer], look.layer, place.unit)
    name = name_of(place, steps.shape_of(look.model.model, place.layer))
    st.markdown(f"**{plain(look.model.title)}**")
    st.markdown(f"{plain(name)}: {plain(line(explain(look.model, outputs, place)))}")


_DRAW: dict[str, Callable[[Here, Any], None]] = {
    "ConvolutionStep": _convolution,
    "ActivationStep": _activation,
    "LrnStep": _lrn,
    "PoolStep": _pool,
    "FullStep": _full,
    "DropoutStep": _dropout,
}


# Shared


def _scale(values: Any) -> tuple[Colormap, Scale]:
    """Diverging where there is anything below zero, else from 0 to the largest."""
    if (values < 0).any():
        return "diverging", limits(values, "diverging")
    return "viridis", (0.0, limits(values)[1])


def _legend(colormap: Colormap, scale: Scale) -> str:
    low, high = (f"{end:.3g}".replace("-", "−") for end in scale)
    return f"Blue {low}, white 0, red {high}." if colormap == "diverging" else f"Dark {low}, light {high}."


def _grid(count: int, laid: Layout, height: int, width: int) -> Grid:
    """The tiles of a mosaic of maps of this size, as `layout` has laid them."""
    return Grid(count, laid["columns"], width * laid["zoom"], height * laid["zoom"])
