"""Units of several networks matched to those of the first, and how alike their layers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from alexnet_explorer.figures import likeness
from alexnet_explorer.files import csv_text
from alexnet_explorer.runs import RunError
from alexnet_explorer.ui import downloads, networks, own_link, picture_sets, working
from alexnet_explorer.ui.text import plain, shorten
from alexnet_explorer.ui.views import Look

if TYPE_CHECKING:
    from alexnet_explorer.inspection.matching import Likeness, Match
    from alexnet_explorer.inspection.picture_sets import PictureSet

FEW = 100  # pictures below which what is measured is called rough
SLOT = "matching"
_KEY, _OF = "filters_match", "matching_of"
CHART_HEIGHT, CHART_WIDTH = 560, 660  # pixels
Likenesses = dict[str, "Likeness"]  # with the first network, by the others' names


def choose(row: Sequence[Look]) -> bool:
    """The switch; it is there where there are several networks."""
    if len(row) < 2:
        return False
    begin = own_link.start("match", False, lambda text: text == "1", _KEY)
    wanted = st.toggle(
        "Match units", begin, key=_KEY, persist_state="session",
        help="Unit 17 of one network is not unit 17 of another: each unit of the first gets the partner that answers "
        "most like it to the same pictures.",
    )  # fmt: skip
    own_link.write("match", "1" if wanted else None)
    if not wanted:  # what is under way is not wanted either
        working.forget(SLOT)
        _forget()
    return wanted


def ask(row: Sequence[Look]) -> Likenesses:
    """What is known of the networks of the row, on pictures of the visitor's choice; computed in the background."""
    if partial := [look for look in row if look.kept is not None]:
        st.info(
            f"To match units, networks have to look at pictures; of epoch {partial[0].epoch} only {partial[0].layer} "
            "was kept. Choose an epoch of which the whole network was kept, the last one always."
        )
        return {}
    pictures = picture_sets.choose("filters_pictures", "Pictures to match on")
    store = networks.results()
    keys = {look.model.name: ("likeness", row[0].model.digest, look.model.digest, pictures.key) for look in row[1:]}
    missing = [look for look in row[1:] if keys[look.model.name] not in store]
    if missing:
        wanted = tuple(keys.values())
        if st.session_state.get(_OF) != wanted or not working.kept(SLOT):
            st.session_state[_OF] = wanted
            working.begin(SLOT, lambda progress: _compute(row, missing, pictures, store, keys, progress))
        work = working.finished(SLOT)
        if work is None:
            return {}
        if any(keys[look.model.name] not in store for look in missing):
            st.info(plain(work.message))
            st.button("Match again", icon=":material/refresh:", key="match_again", on_click=_forget)
            return {}
    found = {name: _known(store, key) for name, key in keys.items()}
    few = " These are few, so that the numbers are rough: choose a data set." if pictures.count < FEW else ""
    st.caption(f"Compared on {pictures.count:,} pictures: {plain(pictures.name)}.{few}")
    return found


def _forget() -> None:
    st.session_state.pop(_OF, None)


def _known(store: networks.Results, key: tuple[str, ...]) -> Likeness:
    def gone() -> Likeness:
        raise RunError("The store of results was full meanwhile: choose 'Match units' once more.")

    return store.get(key, gone)


def _compute(
    row: Sequence[Look], missing: Sequence[Look], pictures: PictureSet, store: networks.Results,
    keys: Mapping[str, tuple[str, ...]], progress: working.Progress,
) -> None:  # fmt: skip
    from alexnet_explorer.inspection.matching import compare

    for number, look in enumerate(missing):

        def hear(share: float, number: int = number, title: str = look.model.title) -> None:
            progress((number + share) / len(missing), f"{row[0].model.title} and {title} look at the pictures")

        store.get(
            keys[look.model.name],
            lambda look=look, hear=hear: compare(row[0].model, look.model, pictures, hear),  # type: ignore[misc]
        )


def matches(row: Sequence[Look], found: Likenesses) -> dict[str, Match]:
    """The partners of the first network's units of its layer, by the names of the other networks that have it."""
    layer = row[0].layer
    return {name: one.matches[layer] for name, one in found.items() if layer in one.matches}


def show(row: Sequence[Look], found: Likenesses) -> None:
    """How well units were matched, pair by pair, and how alike all layers are."""
    first = row[0]
    st.subheader("How alike they are")
    for look in row[1:]:
        one = found[look.model.name]
        names = plain(first.model.title), plain(look.model.title)
        if first.layer in one.matches:
            _pairs(first, look, one.matches[first.layer])
        else:
            st.info(f"**{names[1]}** has no {first.layer}: there is nothing to match.")
        figure = likeness(one.cka, one.layers, one.others, shorten(first.model.title), shorten(look.model.title))
        figure.update_layout(height=CHART_HEIGHT)
        best = {layer: one.others[int(np.nanargmax(row))] for layer, row in zip(one.layers, one.cka, strict=True)
                if np.isfinite(row).any()}  # fmt: skip
        same = float(np.mean([layer == other for layer, other in best.items()]))
        st.plotly_chart(
            figure, key=f"cka {look.model.name}", config={"displayModeBar": False}, width=CHART_WIDTH,
            alt=f"CKA of each layer of {first.model.title} with each of {look.model.title}, as a heat map; "
            f"{same:.0%} of the layers are most like the one of their own name",
        )  # fmt: skip
        st.caption(
            f"Linear CKA of every layer of {names[0]} (rows) with every layer of {names[1]} (columns), the unbiased "
            "estimate, batch by batch: 1 is the same but for a rotation and a factor, 0 nothing in common. Untrained "
            "networks are not at 0, as they see the same pictures."
        )
        downloads.offer(f"likeness {look.model.name}", f"CKA {first.model.title} {look.model.title}",
                        csv=lambda one=one: _table_of_layers(one),  # type: ignore[misc]
                        npz=lambda one=one: {"cka": one.cka})  # type: ignore[misc]  # fmt: skip


def _pairs(first: Look, look: Look, found: Match) -> None:
    paired = np.flatnonzero(found.partners >= 0)
    pooled = (" Their maps differ in size, so that a unit's answer to a picture is the mean of its map."
              if found.pooled else "")  # fmt: skip
    alone = len(found.partners) - len(paired)
    st.markdown(
        f"**{first.layer}: {plain(first.model.title)} and {plain(look.model.title)}.** The answers of the "
        f"{len(paired)} pairs correlate by **{found.mean:.2f}** on average. A random assignment has "
        f"{found.chance:.2f}; the best one between answers to different pictures, which is luck, {found.luck:.2f}."
        + (f" {alone} units of the first network have no partner." if alone else "")
        + pooled
    )
    order = paired[np.argsort(-found.correlations[paired], kind="stable")]
    rows = [
        {"unit": int(unit), "partner": int(found.partners[unit]), "correlation": float(found.correlations[unit])}
        for unit in order
    ]
    with st.expander(f"The {len(paired)} pairs, the most alike first"):
        bar = st.column_config.ProgressColumn("correlation", min_value=-1.0, max_value=1.0, format="%.2f")
        st.dataframe(
            rows, key=f"pairs {look.model.name}", hide_index=True, height=240, column_config={"correlation": bar},
            alt=f"Units of {first.model.title}, their partners in {look.model.title}, and their correlation",
        )  # fmt: skip
        downloads.offer(f"pairs {look.model.name}", f"{first.layer} {first.model.title} {look.model.title}",
                        csv=lambda: csv_text([rows[0], *(row.values() for row in rows)]),
                        npz=lambda: {"partners": found.partners, "correlations": found.correlations})  # fmt: skip


def _table_of_layers(one: Likeness) -> str:
    rows = [[layer, *(f"{value:.4f}" for value in values)] for layer, values in zip(one.layers, one.cka, strict=True)]
    return csv_text([["layer", *one.others], *rows])
