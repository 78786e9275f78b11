"""The views: each is written once, for one network; a page shows one, or the same one for every network of the lens.

A view computes arrays, then draws them on a scale that all networks in the row share, and says what the scale is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from alexnet_explorer.data.samples import SAMPLES
from alexnet_explorer.figures import colour_of, style_of
from alexnet_explorer.inspection.mosaic import RGB, Colormap
from alexnet_explorer.inspection.regions import COLUMNS, ROWS
from alexnet_explorer.runs import RunError
from alexnet_explorer.ui import frame, lens, networks, pictures, sending
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError

if TYPE_CHECKING:
    from alexnet_explorer.catalogue import ModelEntry
    from alexnet_explorer.weights import LoadedModel

Array = NDArray[np.float32]
R = TypeVar("R")
Scale = tuple[float, float]

# The width of a page beside its sidebar in a window of 1400 pixels, and the gap between two columns of it: what is no
# wider is not scaled by the browser, which would blur it.
PAGE_PIXELS, COLUMN_GAP = 920, 16


@dataclass(frozen=True)
class Look:
    """The lens, resolved for one network of a row of `width` networks."""

    model: LoadedModel
    picture: pictures.Picture
    layer: str
    unit: int
    target: int | None
    colour: str
    width: int
    epoch: int | None = None  # None: the last one
    kept: Array | None = None  # the layer's weights at `epoch`, where of the network itself only another was kept

    def remember(self, kind: Hashable, compute: Callable[[], R]) -> R:
        """`compute`'s result for this network and picture, from the store of the server if it is there."""
        return networks.results().get((kind, self.model.digest, self.picture.key), compute)

    def seen(self) -> RGB:
        """What the network sees of the picture."""
        return seen_by(self.model, self.picture.image)

    def at(self, layer: str) -> Look:
        """The same look at another layer."""
        return replace(self, layer=layer)

    @property
    def zoom(self) -> int:
        """How often a pixel of the input is repeated, to be large enough to see."""
        return max(1, column(max(2, self.width)) // self.model.preprocessing.size)


def seen_by(loaded: LoadedModel, image: Image.Image) -> RGB:
    """The crop of a picture that goes in, (size, size, 3) uint8, in the colours that the network sees."""
    return in_its_colours(loaded, np.asarray(loaded.preprocessing.crop(image)))


def in_its_colours(loaded: LoadedModel, crop: RGB) -> RGB:
    """A crop, grey where the network sees no colours."""
    if loaded.preprocessing.channels == 3:
        return crop
    return np.asarray(Image.fromarray(crop).convert("L").convert("RGB"))


@dataclass(frozen=True)
class View(Generic[R]):
    """`compute` arrays for one network; `share` a scale between networks; `draw` on it."""

    compute: Callable[[Look], R]
    draw: Callable[[Look, R, Scale], None]
    share: Callable[[Sequence[R]], Scale] = lambda results: (0.0, 0.0)


def looks(page: frame.Page, layer: str | None = None) -> list[Look]:
    """The lens, resolved for each of its networks; what cannot be loaded says so and is left out.

    Until a unit is chosen it is the one that answers most to the picture, in the first network. `layer`:
    another one than the lens's.
    """
    now = lens.current()
    picture = pictures.open_picture(now.picture) or pictures.open_picture(next(iter(SAMPLES)))
    assert picture is not None
    found = []
    wanted = None  # the class to explain, by name: networks number theirs differently
    entries = frame.models_for(page)
    names = frame.names_for(page)
    epoch = now.epoch
    for position, entry in enumerate(entries):
        try:
            own = layer or frame.layer_for(
                page, [layer.name for layer in networks.describe(entry).layers(page.layer_kinds)]
            )
            if position == 0 and epoch not in frame.shared_epochs(page, entries, own):
                epoch = None  # as its slider has it
            if epoch is not None and entry.kind != "imported" and epoch not in _epochs(page, entry, own):
                kept_of = ", ".join(map(str, _epochs(page, entry, own)))
                st.info(
                    f"**{plain(networks.title(entry))}** kept no whole network of epoch {epoch}; it has: {kept_of}."
                )
                continue
            own_epoch = None if entry.kind == "imported" else epoch
            loaded, kept = _load(page, entry, own_epoch, own)
        except (RunError, WeightsError) as error:
            st.error(plain(str(error)), icon=":material/error:")
            continue
        colour = colour_of(0) if len(names) == 1 else style_of(names.index(entry.name)).colour
        if position == 0 and now.target is not None and now.target < len(loaded.classes):
            wanted = loaded.classes[now.target]
        target = loaded.classes.index(wanted) if wanted in loaded.classes else None
        found.append(Look(loaded, picture, own, now.unit or 0, target, colour, len(entries), own_epoch, kept))
    if now.unit is None and found and {"picture", "unit"} <= page.uses:
        return [replace(look, unit=_strongest_unit(found[0])) for look in found]
    return found


def live(page: frame.Page, draw: Callable[[list[Look]], None]) -> None:
    """A part of the page under the controls of layer and unit, drawn again by itself when these change."""

    def part() -> None:
        row = looks(page)
        frame.choose_place(page, row[0].unit if row else 0)
        draw(row)

    frame.live(page, part)


def walk_of(look: Look) -> dict[str, Array]:
    """What every layer puts out for the picture: (C, H, W) or (units,)."""
    from alexnet_explorer.inspection.activations import walk

    return look.remember("activations", lambda: walk(look.model, look.picture.image))


def _strongest_unit(look: Look) -> int:
    """The unit of the layer that answers most to the picture; of the last layer that is the predicted class."""
    from alexnet_explorer.inspection.activations import strongest_first

    return int(strongest_first(walk_of(look)[look.layer])[0])


def _epochs(page: frame.Page, entry: ModelEntry, layer: str) -> list[int]:
    """Those of which this page can show a network."""
    return list(networks.snapshots(entry, layer if page.one_layer else None))


def _load(page: frame.Page, entry: ModelEntry, epoch: int | None, layer: str) -> tuple[LoadedModel, Array | None]:
    """A network at an epoch; where only the layer that the page needs was kept of it: the last network, and that."""
    if page.one_layer and epoch is not None and epoch not in networks.snapshots(entry):
        kept = networks.snapshots(entry, layer)
        if epoch in kept:
            loaded = networks.load(entry.name)
            return loaded, networks.load_kernels(kept[epoch], loaded, layer)
    return networks.load(entry.name, epoch), None


def side_by_side(view: View[Any], row: Sequence[Look]) -> None:
    """The same view of every network, on one scale."""
    with st.spinner("Computing …", show_time=True):
        results = [view.compute(look) for look in row]
    scale = view.share([result for result in results if result is not None])
    for place, look, result in zip(places(len(row)), row, results, strict=True):
        with place:
            if look.width > 1:
                st.markdown(f"**{plain(look.model.title)}**")
            view.draw(look, result, scale)


def places(count: int) -> Sequence[AbstractContextManager[object]]:
    """A column of the page for each; where there is one, the page itself, which is quicker than a column."""
    return st.columns(count) if count > 1 else [nullcontext()] * count


def show(picture: RGB, caption: str, alt: str, photograph: bool = False) -> None:
    """An array at its own size where the page has room for it, and its text alternative.

    As a PNG, in which a pixel is a pixel; a `photograph`, or a map laid over one, as a JPEG with a fifth of the bytes.
    """
    data = (
        sending.jpeg(picture) if photograph else sending.png(picture)
    )  # told its format, Streamlit leaves it as it is
    st.image(data, alt=alt, width="content", output_format="JPEG" if photograph else "PNG")
    st.caption(caption)  # apart from the picture, which a longer caption of its own would stretch and blur


def enlarged(picture: RGB, times: int) -> RGB:
    """Each pixel repeated, so that it stays a pixel."""
    return picture.repeat(times, 0).repeat(times, 1)


# Shared


def column(width: int) -> int:
    """The pixels that each of `width` columns has."""
    return (PAGE_PIXELS - COLUMN_GAP * (width - 1)) // width


class Layout(TypedDict):
    """Arguments of `mosaic`."""

    columns: int
    zoom: int


def layout(tiles: Array, space: int) -> Layout:
    """Columns and zoom that fill a space of so many pixels."""
    count, side = len(tiles), int(tiles.shape[2])

    def zoom(columns: int) -> int:
        return max(1, min(((space + 1) // columns - 1) // side, 160 // side))

    least = 8 if side > 1 else 16  # ten classes stand in one row
    most = min(count, 64, max(least, round((count * 2) ** 0.5)), max(1, space // (side + 1)))
    # Fewer columns where that makes pixels larger, as two columns of 32×32 maps would else be left half empty.
    columns = most if most * zoom(most) * side > 0.58 * space else max(
        range(most, most // 2, -1), key=lambda columns: columns * zoom(columns)
    )  # fmt: skip
    return {"columns": columns, "zoom": zoom(columns)}


def shape_of(tiles: Array) -> str:
    """The size of each of many maps: '5×5'."""
    return f"{tiles.shape[1]}×{tiles.shape[2]}"


def legend(colormap: Colormap, scale: Scale) -> str:
    """What the colours of a picture mean."""
    if colormap == "diverging":
        return f"Blue {scale[0]:.3g}, white 0, red {scale[1]:.3g}."
    return f"Dark {scale[0]:.3g}, light {scale[1]:.3g}."


def where(values: Array, name: str) -> str:
    """A map in words: where its strength lies, for those who cannot see it."""
    strength = np.abs(values)
    total = float(strength.sum())
    if total == 0:
        return f"{name}: nothing anywhere"
    rows, columns = (np.array_split(np.arange(side), 3) for side in strength.shape)
    shares = {
        f"{vertical} {horizontal}": float(strength[np.ix_(r, c)].sum()) / total
        for vertical, r in zip(ROWS, rows, strict=True)
        for horizontal, c in zip(COLUMNS, columns, strict=True)
    }
    place = max(shares, key=lambda name: shares[name])
    return f"{name}: strongest in the {place} ninth of the picture, {shares[place]:.0%} of the total"
