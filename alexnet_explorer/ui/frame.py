"""What stands around every page: navigation on top, the lens, the link in the address bar.

Picture, networks, epoch and class are chosen in the sidebar. The place in the network, its layer and unit, is chosen
at the head of what shows it, in a part of the page that is drawn again by itself: `live`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from alexnet_explorer.catalogue import DEFAULT_MODEL, TWINS, ModelEntry
from alexnet_explorer.config import ConfigError, Layer
from alexnet_explorer.data.images import ImageError
from alexnet_explorer.data.packed import DataError
from alexnet_explorer.data.samples import SAMPLES
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.runs import Run, RunError, find_run
from alexnet_explorer.ui import bringing, lens, networks, own_link, pictures, set_pictures, thumbnails
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError

PAGES_FOLDER = Path(__file__).parents[2] / "pages"
_AROUND = "frame_around"  # in the session: what the sidebar shows
_FRAMED: ContextVar[bool] = ContextVar("framed", default=False)  # whether this script run came through `run`

OWN_PREDICTION = -1  # in the list of classes: no class is fixed
NEWEST = -1  # in the list of epochs: the weights of the checkpoint
ALL_KINDS = ("conv", "activation", "lrn", "pool", "fc")


@dataclass(frozen=True)
class Page:
    """A page of the app and the parts of the lens that it looks through."""

    name: str
    title: str
    icon: str
    uses: frozenset[str] = frozenset()
    layer_kinds: tuple[str, ...] = ALL_KINDS
    first_layer: str = "conv1"  # where the lens names none; "": the last hidden one
    one_layer: bool = False  # the weights of the layer are enough, so that partial snapshots can be shown
    also_partial: str = ""  # one of its views needs this layer alone, so that epochs of which it was kept are offered
    least_models: int = 1  # with fewer in the lens, the gallery's are added

    @property
    def most_models(self) -> int:
        """How many can be chosen."""
        return lens.MOST_MODELS if self.models_field == "models" else lens.MOST_COMPARED

    @property
    def models_field(self) -> str:
        """The part of the lens with this page's networks: a page that needs several leaves the others theirs."""
        return "models" if self.least_models == 1 else "compared"


PAGES = (
    Page("home", "Home", "home"),
    Page("predict", "Predict", "image_search", frozenset({"picture", "models", "epoch"})),
    Page("filters", "Filters", "grid_view", frozenset({"models", "epoch", "layer", "unit"}), ("conv",),
         one_layer=True),
    Page("activations", "Activations", "layers", frozenset({"picture", "models", "epoch", "layer", "unit"}),
         first_layer="relu1"),
    Page("arithmetic", "Arithmetic", "calculate", frozenset({"picture", "models", "epoch", "layer", "unit"}),
         (*ALL_KINDS, "dropout")),
    Page("neighbours", "Neighbours", "hub", frozenset({"picture", "models", "epoch", "layer"}), first_layer=""),
    Page("saliency", "Saliency", "visibility", frozenset({"picture", "models", "epoch", "target"})),
    Page("train", "Train", "model_training"),
    Page("runs", "Runs", "list_alt"),
    Page("studies", "Studies", "science"),
    Page("compare", "Compare", "compare_arrows", frozenset({"picture", "models", "epoch", "layer", "target"}),
         first_layer="relu1", also_partial="conv1", least_models=2),
)  # fmt: skip


def page_of(name: str) -> Page:
    """What the frame knows of a page."""
    return next(page for page in PAGES if page.name == name)


def file_of(name: str) -> Path:
    """The file of a page, for links between pages."""
    return PAGES_FOLDER / f"{name}.py"


def run() -> None:
    """Draw the page that the visitor chose, with its frame."""
    _configure()
    lens.current()  # reads the link before the navigation clears it
    shown = _streamlit_pages()
    chosen = st.navigation(list(shown.values()), position="top")
    page = next(page for page in PAGES if shown[page.name] == chosen)
    framed = _FRAMED.set(True)
    try:
        with _looking():
            if page.uses:
                with st.sidebar:
                    choose(page)
            own_link.arrive(page.name)
            lens.write_link()
            chosen.run()
            Queue(runs_folder()).wake()
    finally:
        _FRAMED.reset(framed)
    networks.warm_up()


@contextmanager
def _looking() -> Iterator[None]:
    """Within it networks are looked up once, and what goes wrong is told."""
    try:
        with networks.looked_up_once():
            yield
    except (RunError, WeightsError, ImageError, ConfigError, DataError) as error:
        st.error(plain(str(error)), icon=":material/error:")


def live(page: Page, draw: Callable[[], None]) -> None:
    """Draw a part of the page that shows a place in the network, and is drawn again by itself when that changes.

    A click on a unit is then answered without the rest of the page, in two thirds of the time. Where the click changed
    what stands in the sidebar, too, all is drawn again.
    """

    @st.fragment
    def part() -> None:
        if st.session_state.get(_AROUND) != _around(page):
            st.rerun()
        with _looking():
            lens.write_link()
            draw()

    part()


def _around(page: Page) -> object:
    """What the sidebar shows of the lens."""
    found = models_for(page)
    epochs = shared_epochs(page, found, _layer_of(page, found[0])) if found and "epoch" in page.uses else []
    return replace(lens.current(), layer=None, unit=None), epochs


def _configure() -> None:
    # Streamlit draws an emoji itself; the icons of the pages it would fetch from the internet.
    st.set_page_config(page_title="AlexNet Explorer", page_icon="🧠", layout="wide")


def _streamlit_pages() -> dict[str, StreamlitPage]:
    return {
        page.name: st.Page(
            file_of(page.name), title=page.title, icon=f":material/{page.icon}:", url_path=page.name,
            default=page.name == "home",
        )
        for page in PAGES
    }  # fmt: skip


def take_over(name: str) -> None:
    """Put the frame around a page that Streamlit ran without it.

    The first visitor of a fresh server may come by a link to a page. Streamlit, which has not seen app.py's
    navigation yet, then runs the file in pages/ alone.
    """
    if not _FRAMED.get():
        _configure()
        query = st.query_params.to_dict()
        pages = _streamlit_pages()
        st.navigation(list(pages.values()), position="top")
        st.switch_page(pages[name], query_params=query)


def choose(page: Page) -> None:
    """The lens but for the place in the network: its controls, as far as the page uses them."""
    if "picture" in page.uses:
        _choose_picture()
    found = _choose_models(page)
    if found:
        if "epoch" in page.uses:
            _choose_epoch(shared_epochs(page, found, _layer_of(page, found[0])))
        if "target" in page.uses:
            _choose_target(networks.describe(found[0]).classes)
    st.session_state[_AROUND] = _around(page)


def choose_place(page: Page, unit: int = 0) -> None:
    """The place in the network: layer and unit, as far as the page uses them; `unit`: until one is chosen."""
    found = models_for(page)
    if not found or "layer" not in page.uses:
        return
    layers = _layers(page, found[0])
    name = _layer_of(page, found[0])
    with st.container(horizontal=True):
        titles = [f"{n}  ·  {'×'.join(map(str, layers[n].output))}" for n in layers]
        _select("Layer", "layer", list(layers), name, titles, width=300)
        if "unit" in page.uses:
            _choose_unit(layers[name].output[0], unit)


def _layers(page: Page, found: ModelEntry) -> dict[str, Layer]:
    return {layer.name: layer for layer in networks.describe(found).layers(page.layer_kinds)}


def _layer_of(page: Page, found: ModelEntry) -> str:
    return layer_for(page, _layers(page, found))


def models_for(page: Page) -> list[ModelEntry]:
    """The networks that a page shows: the lens's, and the gallery's where it needs more; of many the first few."""
    return _models_for(page, {entry.name: entry for entry in networks.entries()})


def _models_for(page: Page, entries: Mapping[str, ModelEntry]) -> list[ModelEntry]:
    found = [entries[name] for name in _names_for(page, entries) if name in entries]
    chosen = [entry for entry in found if entry.name in lens.current().beside]
    return (chosen if page.models_field == "compared" and chosen else found)[: lens.MOST_MODELS]


def names_for(page: Page) -> list[str]:
    """What a page compares: networks, and runs without weights, which have curves."""
    return _names_for(page, {entry.name: entry for entry in networks.entries()})


def _names_for(page: Page, entries: Mapping[str, ModelEntry]) -> list[str]:
    now = lens.current()
    wanted = getattr(now, page.models_field) or now.models
    if page.least_models > 1 and wanted == (DEFAULT_MODEL,):  # nothing was chosen yet
        wanted = TWINS
    names = [name for name in wanted if name in entries or (page.models_field == "compared" and _run_of(name))]
    others = [name for name in dict.fromkeys((*TWINS, *entries)) if name in entries and name not in names]
    return names + others[: max(0, page.least_models - len(names))]


def _run_of(name: str) -> Run | None:
    try:
        return find_run(name, runs_folder())
    except RunError:
        return None


def epochs_for(page: Page, found: ModelEntry, layer: str) -> dict[int, Path]:
    """The epochs of a network that a page can show, with their files."""
    return networks.snapshots(found, layer if page.one_layer else page.also_partial or None)


def shared_epochs(page: Page, found: Sequence[ModelEntry], layer: str) -> list[int]:
    """The epochs that its slider offers: those of any of the networks, and their newest weights where these differ."""
    found = [entry for entry in found if entry.kind != "imported"]
    kept = [epochs_for(page, entry, layer) for entry in found]
    epochs = sorted({epoch for one in kept for epoch in one})
    # A run that has not come to its end, or not as far as another, has newest weights of another epoch.
    ended = epochs and all(entry.path == one.get(epochs[-1]) for entry, one in zip(found, kept, strict=True))
    return epochs if ended else [*epochs, NEWEST]


def layer_for(page: Page, layers: Iterable[str]) -> str:
    """The lens's layer where this network has it (relu1 is tanh1 where tanh was chosen), else the page's own."""
    names = list(layers)
    for wanted in (lens.current().layer, page.first_layer):
        for name in names:
            if wanted and (name == wanted or same_place(name, wanted)):
                return name
    hidden = [name for name in names if _place(name)]
    return hidden[-1] if hidden and not page.first_layer else names[0]


def same_place(name: str, other: str) -> bool:
    """Whether two layer names mean the activation of the same number: relu1 and tanh1."""
    return _place(name) == _place(other) != ""


def _place(name: str) -> str:
    """The number of an activation; of another layer none."""
    return next((name[len(kind) :] for kind in ("relu", "tanh", "sigmoid") if name.startswith(kind)), "")


def _choose_picture() -> None:
    wanted = lens.current().picture
    picture = pictures.open_picture(wanted)
    if picture is None:
        where = "is of a data set that is not on this machine" if wanted.startswith("set-") else (
            "was uploaded in another session")  # fmt: skip
        st.info(f"The picture of this link {where}: here is a sample instead.")
        wanted = lens.change(picture=next(iter(SAMPLES))).picture
        picture = pictures.open_picture(wanted)
    names = pictures.names() | ({picture.name: picture.title} if picture else {})
    _select("Picture", "picture", list(names), wanted, list(names.values()))
    if picture:
        st.image(
            thumbnails.fitted(picture.image, 280, 200), alt=f"The chosen picture: {picture.title}", output_format="JPEG"
        )
    set_pictures.choose()
    bringing.show()


def _choose_models(page: Page) -> list[ModelEntry]:
    entries = {entry.name: entry for entry in networks.entries()}
    if not entries:
        st.warning("There is no network yet: train one on the page Train.")
        return []
    now = lens.current()
    several = page.models_field == "compared"
    wanted = {*now.models, *now.compared}
    titles = {
        name: networks.title(entry) for name, entry in entries.items() if not entry.archived or name in wanted
    }  # fmt: skip
    if several:
        titles |= {run.id: networks.run_label(run) for run in networks.runs_without_weights(entries)}
    models = tuple(name for name in now.models if name in entries)
    compared = tuple(name for name in now.compared if name in titles or _run_of(name))
    if missing := [name for name in dict.fromkeys((*now.models, *now.compared)) if name not in (*models, *compared)]:
        st.info(f"Not on this machine: {plain(', '.join(missing))}.")
    lens.change(models=models or (next(iter(entries)),), compared=compared)
    found = _models_for(page, entries)
    st.session_state["lens_models"] = _names_for(page, entries) if several else [entry.name for entry in found]
    st.multiselect(
        "Networks",
        list(titles),
        format_func=lambda name: titles.get(name, name),
        key="lens_models",
        max_selections=page.most_models,
        on_change=_take_models,
        args=(page.models_field, found[0].name if found else ""),
        help="As many as you like; the first one is the baseline. The other pages keep theirs." if several
        else "Up to four side by side; the first one is the baseline.",
    )  # fmt: skip
    return found


def _take_models(field: str, first: str) -> None:
    if chosen := tuple(st.session_state["lens_models"]):
        lens.change(**{field: chosen}, target=_same_class(lens.current().target, first, chosen[0]))


def _same_class(target: int | None, before: str, after: str) -> int | None:
    """The class of the same name in another network; None where it has none."""
    if target is None or before == after:
        return target
    try:
        names, others = (networks.describe(networks.entry(name)).classes for name in (before, after))
    except (RunError, WeightsError, OSError):
        return None
    return others.index(names[target]) if target < len(names) and names[target] in others else None


def _choose_epoch(epochs: Sequence[int]) -> None:
    if len(epochs) < 2:
        return
    wanted = lens.current().epoch
    st.session_state["lens_epoch"] = wanted if wanted in epochs else epochs[-1]
    st.select_slider(
        "Epoch", epochs, key="lens_epoch", on_change=_take_epoch, args=(epochs[-1],),
        format_func=lambda epoch: "newest" if epoch == NEWEST else str(epoch),
        help="The network as it was after this many passes over its training images.",
    )  # fmt: skip


def _take_epoch(last: int) -> None:
    chosen = st.session_state["lens_epoch"]
    lens.change(epoch=None if chosen == last else chosen)


def _choose_unit(count: int, usual: int) -> None:
    wanted = lens.current().unit
    st.session_state["lens_unit"] = min(usual if wanted is None else wanted, count - 1)
    st.number_input("Unit", 0, count - 1, key="lens_unit", on_change=_take, args=("unit", "lens_unit"), width=160)


def _choose_target(classes: Sequence[str]) -> None:
    wanted = lens.current().target
    st.session_state["lens_target"] = wanted if wanted is not None and wanted < len(classes) else OWN_PREDICTION
    names = {OWN_PREDICTION: "each network's own prediction", **dict(enumerate(classes))}
    st.selectbox("Class to explain", list(names), format_func=lambda index: names.get(index, ""), key="lens_target",
                 on_change=_take_target)  # fmt: skip


def _take_target() -> None:
    chosen = st.session_state["lens_target"]
    lens.change(target=None if chosen == OWN_PREDICTION else chosen)


def _select(
    label: str, field: str, options: Sequence[object], value: object, titles: Sequence[str],
    width: int | Literal["stretch"] = "stretch",
) -> None:  # fmt: skip
    shown = dict(zip(options, titles, strict=True))
    key = f"lens_{field}"
    st.session_state[key] = value if value in shown else options[0]
    st.selectbox(label, options, format_func=lambda option: shown.get(option, str(option)), key=key,
                 on_change=_take, args=(field, key), width=width)  # fmt: skip


def _take(field: str, key: str) -> None:
    lens.change(**{field: st.session_state[key]})
