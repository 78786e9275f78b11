"""The page Saliency: one map, many methods, the layers, the epochs, another class; each on a scale that is stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image

from alexnet_explorer.inspection.methods import METHODS, Settings
from alexnet_explorer.inspection.mosaic import sheet
from alexnet_explorer.inspection.regions import in_words
from alexnet_explorer.runs import RunError
from alexnet_explorer.ui import (
    agreement_views,
    clickable,
    downloads,
    frame,
    lens,
    maps,
    networks,
    own_link,
    prediction_views,
    saliency_method,
    sending,
    trust_views,
    views,
)  # fmt: skip
from alexnet_explorer.ui.maps import Answer, Ask
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import Look
from alexnet_explorer.weights_file import WeightsError
from alexnet_explorer.words import duration

if TYPE_CHECKING:
    from alexnet_explorer.inspection.attribution import Attribution

TILE = 168  # pixels: five stand side by side
CONTRAST_TILE = 290  # three
LARGE = 96  # pixels of the input, from which on a look at every epoch waits for a click
_AGAINST = "saliency_against_picked"  # the other class that a visitor chose, by name
MODES = {
    "one": "One map", "many": "Many methods", "layers": "Layers", "epochs": "Epochs", "contrast": "Another class",
    "set": "Over a set",
}  # fmt: skip
BY_LAYER = [key for key, method in METHODS.items() if method.needs_layer]
QUICK = [key for key, method in METHODS.items() if not method.slow]
LOADING = 0.3  # seconds that the weights of an epoch of such a network take to be read
SHEET_COLUMNS = 5


@dataclass(frozen=True)
class Chosen:
    """What the controls of the page say."""

    method: str
    settings: Settings
    outline: bool = False
    methods: tuple[str, ...] = ()  # that are shown together
    against: int | None = None  # the other class, of the first network

    def ask(self, look: Look, method: str | None = None) -> Ask:
        """For the map of the class that the lens names; with the settings, where the method is the chosen one."""
        own = method in (None, self.method)
        return Ask(look, method or self.method, self.settings if own else Settings(), look.target)


def show(page: frame.Page) -> str:
    """The controls, the maps, and below them whether to believe the chosen one; gives the key of its method."""
    mode = _choose_mode()
    row = views.looks(page)
    if not row:
        return next(iter(METHODS))
    if mode == "set":
        agreement_views.show(row)
        return next(iter(METHODS))
    chosen = _choose(mode, row[0])
    shown = _SHOW[mode](row, chosen)
    trust_views.show(row, shown)
    return chosen.method


def show_one(row: Sequence[Look], method: str) -> None:
    """One method with its usual settings, a network beside the other."""
    _one(row, Chosen(method, Settings()))


def _choose_mode() -> str:
    start = own_link.start("show", "one", own_link.one_of(MODES), "saliency_mode")
    mode = st.segmented_control(
        "Show", list(MODES), format_func=lambda mode: MODES[mode], default=start, key="saliency_mode", required=True,
        persist_state="session", label_visibility="collapsed",
    ) or "one"  # fmt: skip
    own_link.write("show", None if mode == "one" else mode)
    return mode


def _choose(mode: str, look: Look) -> Chosen:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if mode == "layers":
            method = saliency_method.choose("layer_method", "method", "grad-cam", BY_LAYER)
        else:
            method = saliency_method.choose("method", "method", "saliency")
        settings = saliency_method.settings(
            method, look.model.model, look.model.preprocessing.size, "method", sweeping=mode == "layers"
        )
        methods = _choose_methods(method) if mode == "many" else []
        against = _choose_other(look) if mode == "contrast" else None
        start = own_link.start("outline", False, {"on": True}.get, "saliency_outline")
        outline = st.toggle("Outline", start, key="saliency_outline", persist_state="session",
                            help="A line around the tenth of the picture where the map is strongest")  # fmt: skip
        own_link.write("outline", "on" if outline else None)
    saliency_method.explain(method)
    return Chosen(method, settings, outline, tuple(methods), against)


# One method


def _one(row: Sequence[Look], chosen: Chosen) -> list[Answer]:
    results = maps.answers([chosen.ask(look) for look in row], "saliency", METHODS[chosen.method].title)
    limit = maps.shared_limit(results)

    def draw(look: Look, found: Answer) -> None:
        if isinstance(found, str):
            st.info(plain(found), icon=":material/block:")
        elif found is not None:
            _draw(look, found, limit, chosen.outline)

    _each(row, results, draw)
    return results


def _draw(look: Look, found: Attribution, limit: float, outline: bool) -> None:
    label = look.model.classes[found.target]
    picture = maps.drawn(views.enlarged(look.seen(), look.zoom), found.map, found.signed, limit, outline)
    views.show(
        picture,
        f"Evidence for “{plain(label)}”{f' at {found.layer}' if found.layer else ''}: {maps.colours(found.signed)}; "
        f"full colour from {'±' if found.signed else ''}{limit:.3g}. {found.seconds:.2f} s",
        maps.said(found, label),
        photograph=True,
    )
    downloads.offer(
        f"{found.method}_{look.model.name}", f"{found.method} {label} {look.model.name}",
        png=lambda: picture, npz=lambda: {"map": found.map},
    )  # fmt: skip


# Many methods


def _many(row: Sequence[Look], chosen: Chosen) -> list[Answer]:
    asks = [[chosen.ask(look, method) for method in chosen.methods] for look in row]
    slow = sum(METHODS[method].slow for method in chosen.methods)
    what = "the slow one" if slow == 1 else f"the {slow} slow ones"
    found = iter(maps.answers([ask for one in asks for ask in one], "saliency_many", what))
    results = [{ask.method: next(found) for ask in one} for one in asks]
    st.caption(
        "Each map is divided by its own 99th percentile, as the methods' units differ: full colour is each one's own "
        "strong value. Red speaks for the class, blue against it; where there is no blue, the lighter, the more it "
        "matters. A click on a map makes its method the chosen one."
    )
    _each(row, results, lambda look, own: _draw_many(look, own, chosen))
    return [one[chosen.method] for one in results]


def _choose_methods(method: str) -> list[str]:
    start = own_link.start("methods", QUICK, own_link.some_of(METHODS), "saliency_methods")
    with st.popover("Which methods", icon=":material/checklist:"):
        picked = st.multiselect(
            "Methods", list(METHODS), start, format_func=lambda key: METHODS[key].title, key="saliency_methods",
            persist_state="session", help="The slow ones are computed on demand; their time is told before.",
        )  # fmt: skip
        slow = [key for key in METHODS if key not in picked and METHODS[key].slow]
        st.button("Add the slow ones", disabled=not slow, key="saliency_all", on_click=_pick,
                  args=(list(METHODS),))  # fmt: skip
    own_link.write("methods", None if picked == QUICK else own_link.listed(picked))
    return [key for key in METHODS if key in {*picked, method}]


def _pick(methods: list[str]) -> None:
    st.session_state["saliency_methods"] = methods


def _draw_many(look: Look, results: Mapping[str, Answer], chosen: Chosen) -> None:
    tiles = []
    for method, found in results.items():
        waiting = chosen.ask(look, method)
        tiles.append(Tile(METHODS[method].title, found, None, method == chosen.method, partial(_take_method, method),
                          lambda ask=waiting: f"Slow: about {duration(max(1, ask.seconds()))}, on demand"))  # type: ignore[misc]  # fmt: skip
    _tiles(look, tiles, "many", chosen.outline)


def _take_method(method: str) -> None:
    st.session_state["method"] = method


# The layers


def _layers(row: Sequence[Look], chosen: Chosen) -> list[Answer]:
    button = f"Compute {METHODS[chosen.method].title} of every layer"
    swept = maps.results_of([_sweep(look, chosen) for look in row], "saliency_layers", button)
    st.caption(
        "After each convolution, first to last: early layers are fine and know little of the class, late ones are "
        "coarse and know more. Each map is divided by its own 99th percentile, as the layers' units differ; the "
        "lighter, the more it matters. A click chooses the layer that is examined below."
    )
    layers = next((list(found) for found in swept if found), [])
    if not layers:
        return [None] * len(row)
    at = saliency_method.swept_layer(chosen.method, layers)

    def draw(look: Look, found: Mapping[str, Answer] | None) -> None:
        tiles = [
            Tile(layer, one, None, layer == at, partial(saliency_method.take_layer, chosen.method, layer))
            for layer, one in (found or {}).items()
        ]
        _tiles(look, tiles, "layers", chosen.outline)

    _each(row, swept, draw)
    return [found.get(at) if found else None for found in swept]


def _sweep(look: Look, chosen: Chosen) -> maps.Job:
    """The maps of every layer of a network, by the layers' names."""
    ask = chosen.ask(look)

    def compute(report: maps.Share) -> dict[str, Attribution | str]:
        from alexnet_explorer.inspection.attribution import NotApplicable, sweep

        image, settings = look.picture.image, chosen.settings
        found = sweep(look.model, image, chosen.method, look.target, settings, progress=report)
        return {layer: str(one) if isinstance(one, NotApplicable) else one for layer, one in found.items()}

    def seconds() -> float:
        convolutions = sum(layer.kind == "conv" for layer in look.model.model.layers.values())
        return convolutions * ask.seconds()

    slow = METHODS[chosen.method].slow
    return maps.Job(("sweep", ask.key), f"{METHODS[chosen.method].title}, {look.model.title}", compute,
                    seconds if slow else None)  # fmt: skip


# The epochs


def _epochs(row: Sequence[Look], chosen: Chosen) -> list[Answer]:
    kept = {look.model.name: networks.entry(look.model.name).epochs() for look in row}
    button = f"Compute {METHODS[chosen.method].title} of every epoch"
    jobs = [_every_epoch(look, chosen, kept[look.model.name]) for look in row]
    found: list[Mapping[int, Answer] | None] = maps.results_of(jobs, "saliency_epochs", button)
    limit = maps.shared_limit([one for by_epoch in found if by_epoch for one in by_epoch.values()])
    signed = METHODS[chosen.method].signed
    if limit:
        st.caption(
            "One class throughout, whatever the network says at each epoch, and one scale for all: "
            f"{maps.colours(signed)}; full colour from {'±' if signed else ''}{limit:.3g}. A click takes the lens "
            "to an epoch."
        )

    page = frame.page_of("saliency")
    last = frame.shared_epochs(page, [networks.entry(look.model.name) for look in row], row[0].layer)[-1:]
    now = {look.model.name: _looked_at(look, kept[look.model.name]) for look in row}

    def draw(look: Look, by_epoch: Mapping[int, Answer] | None) -> None:
        if len(kept[look.model.name]) < 2:
            st.info(
                f"Of {plain(look.model.title)} no other epoch was kept whole: there is only the network as it is. What "
                "you train on the page Train keeps more of them."
            )
        tiles = [
            Tile(f"epoch {epoch}", one, limit, epoch == now[look.model.name],
                 partial(lens.change, epoch=None if [epoch] == last else epoch))
            for epoch, one in (by_epoch or {}).items()
        ]  # fmt: skip
        if tiles:
            _tiles(look, tiles, "epochs", chosen.outline)

    _each(row, found, draw)
    places = zip(now.values(), found, strict=True)
    return [by_epoch.get(epoch) if by_epoch and epoch is not None else None for epoch, by_epoch in places]


def _looked_at(look: Look, kept: Mapping[int, Path]) -> int | None:
    """Which of the kept epochs the network of this look is; None where its weights are newer than all of them."""
    if look.epoch is not None:
        return look.epoch
    newest = networks.entry(look.model.name).path
    return next((epoch for epoch, path in kept.items() if path == newest), None)


def _every_epoch(look: Look, chosen: Chosen, files: Mapping[int, Path]) -> maps.Job:
    """The maps of one class by the kept epochs of a network."""
    target = _class_of(look)
    ask = replace(chosen.ask(look), target=target)

    def compute(report: maps.Share) -> dict[int, Attribution | str]:
        found: dict[int, Attribution | str] = {}
        for number, epoch in enumerate(files):
            try:
                model = look.model if epoch == look.epoch else networks.load(look.model.name, epoch, quietly=True)
            except (RunError, WeightsError) as error:  # one that diverged or is damaged hides no other
                found[epoch] = str(error)
                continue
            found[epoch] = replace(ask, look=replace(look, model=model, epoch=epoch)).compute(
                lambda share, number=number: report((number + share) / len(files))  # type: ignore[misc]
            )
        return found

    changed = tuple((epoch, path.stat().st_mtime_ns) for epoch, path in files.items())
    key = ("epochs", look.model.name, changed, chosen.method, chosen.settings, target, look.picture.key)
    large = look.model.preprocessing.size >= LARGE or METHODS[chosen.method].slow
    return maps.Job(key, f"{METHODS[chosen.method].title}, {look.model.title}", compute,
                    (lambda: len(files) * (ask.seconds() + LOADING)) if large else None)  # fmt: skip


# Another class


def _contrast(row: Sequence[Look], chosen: Chosen) -> list[Answer]:
    assert chosen.against is not None
    name = row[0].model.classes[chosen.against]
    asks, others = [], []
    for look in row:
        own = _class_of(look)
        theirs = look.model.classes.index(name) if name in look.model.classes else None
        asks.append(replace(chosen.ask(look), target=own))
        others.append(None if theirs in (None, own) else replace(chosen.ask(look), target=theirs))
    wanted = [*asks, *(ask for ask in others if ask)]
    results = maps.answers(wanted, "saliency_contrast", f"{METHODS[chosen.method].title} for both classes")
    found = dict(zip([ask.key for ask in wanted], results, strict=True))
    limit = maps.shared_limit(results)
    signed = METHODS[chosen.method].signed
    if limit:
        st.caption(
            f"One scale for all: {maps.colours(signed)}; full colour from {'±' if signed else ''}{limit:.3g}. The "
            f"difference, from −{limit:.3g} (blue) to {limit:.3g} (red), is the first less the second: "
            + (
                "red is what speaks more for the first class."
                if signed
                else "red is what matters more to the first class, for or against it, and blue to the second."
            )
        )
    shown = [found[ask.key] for ask in asks]

    def draw(look: Look, pair: tuple[Answer, Answer]) -> None:
        one, other = pair
        if other is None and look.model.classes[_class_of(look)] == name:
            st.info(f"This network says {plain(name)} itself: choose another class to compare it with.")
            return
        if isinstance(one, str) or isinstance(other, str):
            st.info(plain(one if isinstance(one, str) else str(other)), icon=":material/block:")
        elif one is not None and other is not None:
            _draw_contrast(look, one, other, limit, chosen.outline)
        elif name not in look.model.classes:
            st.info(f"{plain(look.model.title)} knows no class {plain(name)}.")

    pairs = [(one, found[ask.key] if ask else None) for one, ask in zip(shown, others, strict=True)]
    _each(row, pairs, draw)
    return shown


def _choose_other(look: Look) -> int:
    """The class that the explained one is compared with: the one that comes next, unless another is chosen."""
    classes, own = look.model.classes, _class_of(look)
    order = prediction_views.probabilities_of(look).argsort()[::-1].tolist()
    options = [number for number in order if number != own]
    linked = own_link.start("against", None, own_link.number(0, len(classes) - 1), _AGAINST)
    if linked is not None:
        st.session_state.setdefault(_AGAINST, classes[int(linked)])
    picked = st.session_state.get(_AGAINST)  # its name, as another network has other numbers
    number = classes.index(picked) if picked in classes else options[0]
    st.session_state["saliency_against"] = number if number in options else options[0]
    chosen: int = st.selectbox(
        f"“{plain(classes[own])}” against", options, key="saliency_against", width=320, on_change=_take_other,
        args=(classes,), format_func=lambda number: classes[number] if number < len(classes) else "",
    )  # fmt: skip
    own_link.write("against", None if chosen == options[0] else str(chosen))
    return chosen


def _take_other(classes: Sequence[str]) -> None:
    st.session_state[_AGAINST] = classes[st.session_state["saliency_against"]]


def _apart_in_words(apart: views.Array, labels: Sequence[str], signed: bool) -> str:
    """What differs between the maps of two classes, for those who cannot see it."""
    if signed:
        return in_words(apart, f"Evidence for {labels[0]} less {labels[1]}", True)
    sides = zip(labels, (np.maximum(apart, 0), np.maximum(-apart, 0)), strict=True)
    return "; ".join(in_words(side, f"What matters more to {label}", False) for label, side in sides)


def _draw_contrast(look: Look, one: Attribution, other: Attribution, limit: float, outline: bool) -> None:
    labels = [look.model.classes[found.target] for found in (one, other)]
    apart = maps.difference(one, other)
    seen = views.enlarged(look.seen(), max(1, round(CONTRAST_TILE / look.model.preprocessing.size)))
    told = f"{labels[0]} less {labels[1]}"
    parts = [
        (labels[0], maps.drawn(seen, one.map, one.signed, limit, outline), maps.said(one, labels[0])),
        (labels[1], maps.drawn(seen, other.map, other.signed, limit, outline), maps.said(other, labels[1])),
        (told, maps.drawn(seen, apart, True, limit, False), _apart_in_words(apart, labels, one.signed)),
    ]
    with st.container(horizontal=True, gap="small"):
        for label, picture, alt in parts:
            with st.container(width=picture.shape[1], gap=None):
                st.markdown(f"**{plain(label)}**")
                st.image(sending.jpeg(picture), alt=alt, width="content", output_format="JPEG")
    downloads.offer(
        f"contrast_{look.model.name}", f"{one.method} {told} {look.model.name}",
        png=lambda: sheet([(label, picture) for label, picture, _ in parts], len(parts)),
        npz=lambda: {"first": one.map, "second": other.map, "difference": apart},
    )  # fmt: skip


# Shared


@dataclass(frozen=True)
class Tile:
    """A small map of several, under its title; a click on it does something."""

    title: str
    found: Answer
    limit: float | None  # None: its own 99th percentile
    chosen: bool
    on_click: Callable[[], object]
    waiting: Callable[[], str] = lambda: "Not computed yet"

    def label(self, number: int) -> str:
        return "Chosen" if self.chosen else f"Choose {self.title}"

    def take(self, number: int) -> None:
        self.on_click()


def _tiles(look: Look, tiles: Sequence[Tile], kind: str, outline: bool) -> None:
    """Small maps in rows, as many as there is room for; files of all of them."""
    size = look.model.preprocessing.size
    zoom = max(1, TILE // size)
    side = size * zoom if size <= TILE else TILE
    seen = views.enlarged(look.seen(), zoom)
    if size > TILE:
        seen = np.asarray(Image.fromarray(seen).resize((TILE, TILE), Image.Resampling.LANCZOS))
    pictures = []
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for tile in tiles:
            with st.container(width=side, gap=None):
                st.markdown(f"**{tile.title}**")
                if isinstance(tile.found, str):
                    st.caption(f":material/block: {plain(tile.found)}")
                elif tile.found is None:
                    st.caption(tile.waiting())
                else:
                    label = look.model.classes[tile.found.target]
                    picture = maps.drawn(seen, tile.found.map, tile.found.signed, tile.limit, outline)
                    pictures.append((tile.title, picture))
                    clickable.tiles(
                        picture, clickable.Grid(1, 1, side, side), f"{kind} {tile.title} {look.model.name}",
                        f"{tile.title}: {maps.said(tile.found, label)}", 0 if tile.chosen else None,
                        tile.label, tile.take, photographs=True,
                    )  # fmt: skip
    found = {tile.title: tile.found.map for tile in tiles if tile.found is not None and not isinstance(tile.found, str)}
    if found:
        downloads.offer(
            f"{kind}_{look.model.name}", f"saliency {MODES[kind]} {look.picture.title} {look.model.name}",
            png=lambda: sheet([("What it saw", seen), *pictures], SHEET_COLUMNS), npz=lambda: found,
        )  # fmt: skip


def _each(row: Sequence[Look], results: Sequence[Any], draw: Callable[[Look, Any], None]) -> None:
    """A column for each network."""
    for column, look, result in zip(st.columns(len(row)), row, results, strict=True):
        with column:
            if look.width > 1:
                st.markdown(f"**{plain(look.model.title)}**")
            draw(look, result)


def _class_of(look: Look) -> int:
    """The class to explain: the lens's, or what the network predicts."""
    return int(prediction_views.probabilities_of(look).argmax()) if look.target is None else look.target


_SHOW: dict[str, Callable[[Sequence[Look], Chosen], list[Answer]]] = {
    "one": _one, "many": _many, "layers": _layers, "epochs": _epochs, "contrast": _contrast,
}  # fmt: skip
