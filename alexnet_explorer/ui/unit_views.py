"""What a unit stands for: the pictures of a set that it responds to most, and a picture formed to please it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from alexnet_explorer.files import csv_text
from alexnet_explorer.inspection.mosaic import RGB, mosaic, outlined
from alexnet_explorer.inspection.picture_sets import PictureSet
from alexnet_explorer.inspection.receptive import fields, window
from alexnet_explorer.ui import downloads, exhibits, networks, own_link, picture_sets, working
from alexnet_explorer.ui.activation_views import classes_of, unit_of
from alexnet_explorer.ui.exhibits import Exhibit
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import COLUMN_GAP, Look, column, enlarged, places, seen_by
from alexnet_explorer.words import duration

if TYPE_CHECKING:
    from alexnet_explorer.inspection.optimise import Ascent, Optimised
    from alexnet_explorer.inspection.patches import Patch, Strongest

VIEWS = {"patches": "Its strongest patches", "ascent": "What it looks for"}
AT_ONCE = 32  # pictures that are searched without being asked
MOST_TILE, MOST_FORMED = 120, 320  # pixels: three tiles fit on a telephone
STEPS = (32, 64, 128, 256)
USUAL_STEPS, MOST_SEED = 64, 9999
_SWITCH = {"on": True, "off": False}


def show_unit_views(row: Sequence[Look]) -> None:
    """One of the two, for the chosen unit of each network."""
    if not row:
        return
    begin = own_link.start("unit_view", "patches", own_link.one_of(VIEWS), "unit_view")
    chosen = st.segmented_control(
        "Of this unit", list(VIEWS), default=begin, format_func=lambda name: VIEWS[name], key="unit_view",
        required=True, persist_state="session",
    )  # fmt: skip
    own_link.write("unit_view", None if chosen == "patches" else chosen)
    if chosen == "patches":
        _show_patches(row)
    else:
        _show_formed(row)


def _named(look: Look) -> str:
    """'Unit 3 of conv5', and the class that it stands for in the last layer: plain text."""
    unit, classes = unit_of(look), classes_of(look)
    return f"Unit {unit} of {look.layer}" + (f" ({classes[unit]})" if classes else "")


def _file_name(look: Look, what: str) -> str:
    epoch = "" if look.epoch is None else f" epoch {look.epoch}"
    return f"{look.model.name}{epoch} {what}"


def _each(row: Sequence[Look], draw: Callable[[Look], None]) -> None:
    for place, look in zip(places(len(row)), row, strict=True):
        with place:
            if look.width > 1:
                st.markdown(f"**{plain(look.model.title)}**")
            draw(look)


# The strongest patches


def _show_patches(row: Sequence[Look]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        with st.container(width=420):
            pictures = picture_sets.choose("patches_set", "Pictures to search")
        begin = own_link.start("whole", False, _SWITCH.get, "patches_whole")
        whole = st.toggle("Whole pictures beside them", begin, key="patches_whole", persist_state="session")
        own_link.write("whole", "on" if whole else None)
    found = [_known(look, pictures) for look in row]
    if _search(row, found, pictures):
        found = [_known(look, pictures) for look in row]
    if any(one and one.seen for one in found):
        known = {id(look): one for look, one in zip(row, found, strict=True)}
        _each(row, lambda look: _draw_patches(look, known[id(look)], pictures, whole))
    st.caption(
        "Of each picture only the position counts where the unit is strongest, as in Zeiler and Fergus "
        "([2013](https://arxiv.org/abs/1311.2901), figure 2). A patch is what the unit sees from there; under it what "
        "the picture is called, and the unit's response."
    )


def _known(look: Look, pictures: PictureSet) -> Strongest | None:
    """The strongest of all units, as far as a search came."""
    from alexnet_explorer.inspection.patches import PatchCache

    key, store = _patches_key(look, pictures), networks.results()
    kept: Strongest | None = store.find(key)
    if kept:
        return kept
    found = PatchCache().read(look.model, pictures, look.layer)
    if found and found.seen == pictures.count:
        store.get(key, lambda: found)
    return found


def _patches_key(look: Look, pictures: PictureSet) -> tuple[str, ...]:
    return ("patches", look.model.digest, pictures.key, look.layer)


def _search(row: Sequence[Look], found: Sequence[Strongest | None], pictures: PictureSet) -> bool:
    """The search of what is not searched yet. True where it may have come to an end just now."""
    from alexnet_explorer.inspection.patches import PatchCache, find_in_all_layers, find_strongest

    left = [(look, one.seen if one else 0) for look, one in zip(row, found, strict=True)
            if one is None or one.seen < pictures.count]  # fmt: skip
    if not left:
        return False
    cache, store = PatchCache(), networks.results()
    total = len(left) * pictures.count
    few = pictures.count <= AT_ONCE

    def act(progress: working.Progress) -> bool:
        for number, (look, _) in enumerate(left):
            if few:
                progress(number / len(left), f"{pictures.count} pictures")
                for layer, one in find_in_all_layers(look.model, pictures).items():
                    store.get(_patches_key(look.at(layer), pictures), lambda one=one: one)  # type: ignore[misc]
                continue

            def hear(seen: int, before: int = number * pictures.count, look: Look = look) -> None:
                progress((before + seen) / total, f"{look.layer}: {seen:,} of {pictures.count:,} pictures")

            result = find_strongest(look.model, pictures, look.layer, cache, hear)
            store.get(_patches_key(look, pictures), lambda result=result: result)  # type: ignore[misc]
        return True

    about = repr([_patches_key(look, pictures) for look, _ in left])
    seen = min(seen for _, seen in left)
    button = f"Go on from picture {seen:,}" if seen else f"Search the {pictures.count:,} pictures"
    # A slot of their own, so that a look at the samples does not end a long search.
    return working.offer("patches_few" if few else "patches", about, button, act, at_once=few)


@dataclass(frozen=True)
class Shown:
    """The patches of a unit as pictures: what it sees (N, s, s, 3), and the whole pictures (N, size, size, 3)."""

    patches: list[Patch]
    seen: RGB
    whole: RGB

    def frames(self, look: Look, zoom: int) -> list[RGB]:
        """The whole pictures, enlarged, with a rectangle around what the unit sees."""
        frames = []
        for picture, one in zip(self.whole, self.patches, strict=True):
            sides = (side * zoom for side in window(look.model.model.config, look.layer, one.row, one.column))
            frames.append(outlined(enlarged(picture, zoom), *sides))
        return frames


def _as_pictures(look: Look, found: Strongest, pictures: PictureSet) -> Shown:
    from alexnet_explorer.inspection.patches import cut

    patches = found.of(unit_of(look))
    size = look.model.preprocessing.size
    whole = [seen_by(look.model, pictures.picture(one.picture)) for one in patches]
    field = fields(look.model.model.config)[look.layer]
    single = len(look.model.model.layers[look.layer].output) == 1
    seen = whole if single else [cut(one, field, at.row, at.column) for one, at in zip(whole, patches, strict=True)]
    none = np.zeros((0, size, size, 3), np.uint8)
    return Shown(patches, np.stack(seen) if seen else none, np.stack(whole) if whole else none)


def _draw_patches(look: Look, found: Strongest | None, pictures: PictureSet, whole: bool) -> None:
    if found is None or not found.seen:
        return
    key = ("patches as pictures", look.model.digest, pictures.key, look.layer, unit_of(look), found.seen)
    shown = networks.results().get(key, lambda: _as_pictures(look, found, pictures))
    searched = f"{found.seen:,} pictures" if found.seen == pictures.count else (
        f"first {found.seen:,} of {pictures.count:,} pictures"
    )  # fmt: skip
    name = plain(_named(look))
    if not shown.patches:
        st.info(f"{name} fires in none of the {searched}: nothing there is what it looks for, or it is dead.")
        return
    single = len(look.model.model.layers[look.layer].output) == 1
    tile = min(MOST_TILE, (column(look.width) - 2 * exhibits.GAP) // 3)
    labels = [pictures.label(one.picture) or f"picture {one.picture}" for one in shown.patches]
    with st.container(horizontal=True, gap="medium"):
        cut_out = _tiles(shown, list(shown.seen), labels, tile, "what the unit sees")
        exhibits.show(f"patches {look.model.name}", cut_out, 3)
        if whole and not single:
            frames = shown.frames(look, max(1, tile // look.model.preprocessing.size))
            framed = _tiles(shown, frames, labels, tile, "the whole picture with a frame")
            exhibits.show(f"whole pictures {look.model.name}", framed, 3)
    side = shown.seen.shape[1]
    few = len(shown.patches) < min(9, found.seen)
    st.caption(
        f"{name} in the {searched}"
        + (f": it fires in {len(shown.patches)} only" if few else "")
        + (". It sees the whole picture." if single else f". It sees {side}×{side} pixels; grey is beyond the border.")
    )
    downloads.offer(
        f"patches {look.model.name}", _file_name(look, f"{look.layer} unit {unit_of(look)} patches"),
        png=lambda: mosaic(shown.seen, 3, 4, max(1, MOST_TILE // side)),
        csv=lambda: _as_csv(look, shown.patches, labels, pictures),
        npz=lambda: {**vars(found), "patches": shown.seen, "whole": shown.whole},
    )  # fmt: skip


def _tiles(shown: Shown, pictures: Sequence[RGB], labels: Sequence[str], tile: int, what: str) -> list[Exhibit]:
    return [
        Exhibit(_fitted(picture, tile), f"{label} · {one.value:.3g}", f"{label}, {what}",
                photograph=len(picture) * 2 > tile, room=tile)
        for picture, label, one in zip(pictures, labels, shown.patches, strict=True)
    ]  # fmt: skip


def _fitted(picture: RGB, side: int) -> RGB:
    """A square picture about `side` pixels wide: its pixels repeated, or from half of that resampled."""
    if len(picture) * 2 <= side:
        return enlarged(picture, side // len(picture))
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def _as_csv(look: Look, patches: Sequence[Patch], labels: Sequence[str], pictures: PictureSet) -> str:
    head = ["network", "pictures", "layer", "unit", "rank", "picture", "label", "row", "column", "value"]
    rows = [
        [look.model.name, pictures.name, look.layer, unit_of(look), rank, one.picture, label, one.row, one.column,
         f"{one.value:.7g}"]
        for rank, (one, label) in enumerate(zip(patches, labels, strict=True), 1)
    ]  # fmt: skip
    return csv_text([head, *rows])


# What it looks for


def _show_formed(row: Sequence[Look]) -> None:
    how = _choose_ascent()
    left = [(look, one) for one in how for look in row if _formed_key(look, one) not in networks.results()]
    if left:
        _form(left)
    if any(networks.results().find(_formed_key(look, one)) for look in row for one in how):
        _each(row, lambda look: _draw_formed(look, how))
    st.caption(
        "Formed from noise: every step changes the pixels so that the response rises. What is found has to bear being "
        "shifted by up to 8 pixels, turned by 5° and scaled by 5 %, and coarse structure counts a little more than "
        "fine ([Olah and others, 2017](https://distill.pub/2017/feature-visualization/)). Plain ascent does without, "
        "with steps of the same size: stronger in one place, weaker when shifted."
    )


def _choose_ascent() -> list[Ascent]:
    from alexnet_explorer.inspection.optimise import Ascent

    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        begin = int(own_link.start("steps", USUAL_STEPS, own_link.number(STEPS[0], STEPS[-1]), "ascent_steps"))
        steps = st.selectbox("Steps", STEPS, STEPS.index(begin if begin in STEPS else USUAL_STEPS), key="ascent_steps",
                             persist_state="session", width=120)  # fmt: skip
        start = int(own_link.start("seed", 0, own_link.number(0, MOST_SEED), "ascent_seed"))
        seed = int(st.number_input("Seed", 0, MOST_SEED, start, key="ascent_seed", width=140,
                                   persist_state="session",
                                   help="Of the noise and the shifts: the same seed, the same picture."))  # fmt: skip
        plain_too = own_link.start("plain", False, _SWITCH.get, "ascent_plain")
        both = st.toggle("Plain ascent beside it", plain_too, key="ascent_plain", persist_state="session")
    own_link.write("steps", None if steps == USUAL_STEPS else str(steps))
    own_link.write("seed", str(seed) if seed else None)
    own_link.write("plain", "on" if both else None)
    return [Ascent(steps, seed), *([Ascent(steps, seed, plain=True)] if both else [])]


def _formed_key(look: Look, how: Ascent) -> tuple[object, ...]:
    from alexnet_explorer.inspection.optimise import raised_layer

    return ("formed", look.model.digest, raised_layer(look.model.model.config, look.layer), unit_of(look), how)


def _form(left: Sequence[tuple[Look, Ascent]]) -> None:
    """The button that forms the pictures that are not there yet, with how long that will take."""
    from alexnet_explorer.inspection.optimise import SHIFT, optimise, probe, raised_layer, seen_from_the_middle

    store = networks.results()
    windows = [
        seen_from_the_middle(look.model.model.config, raised_layer(look.model.model.config, look.layer), SHIFT)
        for look, _ in left
    ]

    def seconds(look: Look, how: Ascent) -> float:
        *key, _, one = _formed_key(look, how)
        return store.get(("seconds", *key, one), lambda: probe(look.model, look.layer, how))

    def act(progress: working.Progress) -> bool:
        for number, (look, how) in enumerate(left):

            def hear(step: int, picture: RGB, number: int = number, look: Look = look, how: Ascent = how) -> None:
                text = f"{look.layer}, unit {unit_of(look)}: step {step} of {how.steps}{', plain' if how.plain else ''}"
                part = windows[number].cut(picture)
                share = (number + step / how.steps) / len(left)
                progress(share, text, enlarged(part, max(1, MOST_FORMED // max(part.shape[:2]))))

            def compute(look: Look = look, how: Ascent = how, hear: Callable[[int, RGB], None] = hear) -> Optimised:
                return optimise(look.model, look.layer, unit_of(look), how, hear)

            store.get(_formed_key(look, how), compute)
        return True

    total = sum(seconds(look, how) for look, how in left)
    what = "it" if len(left) == 1 else f"{len(left)} pictures"
    working.offer(
        "ascent", repr([_formed_key(*one) for one in left]), f"Form {what}: about {duration(max(1, total))}", act
    )


def _draw_formed(look: Look, how: Sequence[Ascent]) -> None:
    from alexnet_explorer.inspection.optimise import raised_layer

    kept = {one: networks.results().find(_formed_key(look, one)) for one in how}
    found: dict[Ascent, Optimised] = {one: result for one, result in kept.items() if result is not None}
    if not found:
        return
    raised = raised_layer(look.model.model.config, look.layer)
    place = "in the middle of its map" if len(look.model.model.layers[raised].output) == 3 else "its one number"
    room = min(MOST_FORMED, (column(look.width) - COLUMN_GAP) // len(how))
    exhibits.show(f"formed {look.model.name}", [_formed(look, one, result, room) for one, result in found.items()])
    side = look.model.preprocessing.size
    shown = next(iter(found.values())).window
    cropped = shown.bottom - shown.top < side
    st.caption(
        f"The response is that of {raised}, {place}"
        + ("" if raised == look.layer else f", before {look.layer}: there the gradient does not vanish at zero")
        + (f". Shown are the pixels that it sees, shifted or not, of {side}×{side}." if cropped else ".")
    )
    first = next(iter(found.values()))
    downloads.offer(
        f"formed {look.model.name}", _file_name(look, f"{raised} unit {unit_of(look)} looks for"),
        png=lambda: mosaic(np.stack([one.window.cut(one.picture) for one in found.values()]), None, 4,
                           max(1, MOST_FORMED // (first.window.bottom - first.window.top))),
        csv=lambda: _formed_csv(look, raised, found),
        npz=lambda: _formed_arrays(found),
    )  # fmt: skip


def _formed(look: Look, how: Ascent, result: Optimised, room: int) -> Exhibit:
    picture = result.window.cut(result.picture)
    return Exhibit(
        enlarged(picture, max(1, room // max(picture.shape[:2]))),
        f"{result.mean_response:.3g} on average under shifts of up to 8 pixels, {result.response:.3g} as it stands."
        if result.moved
        else "No change of the pixels changes its response: the unit is dead, or what feeds it is.",
        f"The picture formed for unit {unit_of(look)} of {look.layer}",
        title="Plain ascent:" if how.plain else f"{_named(look)}:",
        room=room,
    )


def _formed_csv(look: Look, raised: str, found: Mapping[Ascent, Optimised]) -> str:
    head = ["network", "layer", "unit", "ascent", "steps", "seed", "mean response under shifts", "response"]
    rows = [
        [look.model.name, raised, unit_of(look), "plain" if how.plain else "with views", how.steps, how.seed,
         f"{result.mean_response:.7g}", f"{result.response:.7g}"]
        for how, result in found.items()
    ]  # fmt: skip
    return csv_text([head, *rows])


def _formed_arrays(found: Mapping[Ascent, Optimised]) -> dict[str, NDArray[np.generic]]:
    return {("plain" if how.plain else "with_views"): result.picture for how, result in found.items()}
