"""Attribution over a set of pictures: do the methods agree, which is the most faithful, where do two part most?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from alexnet_explorer.document import Column, Table
from alexnet_explorer.figures import correlations
from alexnet_explorer.inspection.methods import METHODS
from alexnet_explorer.ui import clickable, downloads, lens, maps, networks, own_link, picture_sets, thumbnails
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import Look

if TYPE_CHECKING:
    from alexnet_explorer.inspection.agreement import Survey
    from alexnet_explorer.inspection.agreement_tables import Agreement
    from alexnet_explorer.inspection.picture_sets import PictureSet

USUAL = ["saliency", "input-x-gradient", "guided-backprop", "grad-cam", "layer-cam"]
COUNTS = (10, 25, 50, 100)
WORST, TILE = 6, 128  # pictures, pixels
SHOWN = ("Method", "Maps", "Insertion less deletion", "Better than a random order by", "Better than the centre by",
         "Median time (s)")  # fmt: skip
_ROW_PIXELS = 44


def show(row: Sequence[Look]) -> None:
    """Which pictures and methods, the work, and what came of it, for the first network."""
    look = row[0]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        with st.container(width=320):
            pictures = picture_sets.choose("agreement_pictures")
        count = _choose_count()
    methods = _choose_methods()
    if len(methods) < 2:
        st.info("Choose two methods or more, to be compared.")
        return
    if len(row) > 1:
        st.caption(f"Of {plain(look.model.title)}, the first of the networks.")
    key = ("survey", look.model.digest, pictures.key, tuple(methods), count, look.target)
    found = _find(look, pictures, methods, count, key)
    if found is None or not found.count:
        st.caption(
            "Of each picture every method explains the same class; the maps are compared by the ranks of their pixels, "
            "and judged by how soon the class's probability falls when the pixels go in their order, and rises when "
            "they come."
        )
        return
    if found.count < min(count, pictures.count):
        st.info(f"So far {found.count:,} of {min(count, pictures.count):,} pictures.")
    _draw(look, found, pictures)


def _choose_count() -> int:
    start = own_link.start("most", COUNTS[-1], _count, "agreement_count")
    count = st.segmented_control("How many at most", COUNTS, default=start, key="agreement_count", required=True,
                                 persist_state="session") or COUNTS[-1]  # fmt: skip
    own_link.write("most", None if count == COUNTS[-1] else str(count))
    return count


def _count(text: str) -> int | None:
    return int(text) if text in map(str, COUNTS) else None


def _choose_methods() -> list[str]:
    start = own_link.start("compared_methods", USUAL, own_link.some_of(METHODS), "agreement_methods")
    picked = st.multiselect(
        "Methods", list(METHODS), start, format_func=lambda key: METHODS[key].title, key="agreement_methods",
        persist_state="session",
    )  # fmt: skip
    own_link.write("compared_methods", None if picked == USUAL else own_link.listed(picked))
    return [key for key in METHODS if key in picked]


def _find(look: Look, pictures: PictureSet, methods: Sequence[str], count: int, key: Hashable) -> Agreement | None:
    """What came of the work, in the background and on the disk; what is known so far where it is not at its end."""
    from alexnet_explorer.inspection.agreement import Survey
    from alexnet_explorer.inspection.attribution import NotApplicable

    store = networks.results()
    known: Agreement | None = store.find(key)
    if known:
        return known
    try:
        survey = Survey(look.model, pictures, methods, target=look.target, most=count)
    except NotApplicable as reason:
        st.info(plain(str(reason)), icon=":material/block:")
        return None
    plan = survey.plan()
    if not plan.maps:
        return store.get(key, survey.run)

    def compute(report: maps.Share) -> Agreement:
        return survey.run(lambda share, text: report(share))

    title = f"{plan.pictures} pictures, {len(methods)} methods"
    button = f"Explain {plan.pictures} pictures by {len(methods)} methods"
    (found,) = maps.results_of([maps.Job(key, title, compute, lambda: plan.seconds)], "agreement", button, at_once=0)
    return found or _so_far(survey)


def _so_far(survey: Survey) -> Agreement | None:
    found = survey.so_far()
    return found if found.count else None


def _draw(look: Look, found: Agreement, pictures: PictureSet) -> None:
    st.markdown(f"**{plain(found.verdict)}**")
    st.subheader("How far they agree")
    keys = list(found.methods)
    means = [[found.agreement(a, b).value for b in keys] for a in keys]
    titles = [METHODS[key].title for key in keys]
    chart = correlations([[float("nan") if value is None else value for value in line] for line in means], titles)
    chart.update_layout(height=140 + _ROW_PIXELS * len(keys))
    pairs = found.pair_table()
    told = [f"{line[0]} and {line[1]} {line[3]:.2f}" for line in pairs.rows if isinstance(line[3], float)]
    st.plotly_chart(
        chart, key="agreement_chart", config={"displayModeBar": False},
        alt="Mean rank correlation of the maps of each two methods, those that agree least first: " + "; ".join(told),
    )  # fmt: skip
    st.caption("Mean rank correlation of the |maps|: 1 for the same order of the pixels, 0 for nothing in common.")
    downloads.offer("agreement_pairs", f"agreement {look.model.name}", csv=pairs.to_csv,
                    npz=lambda: {f"{a} {b}": values for (a, b), values in found.correlations.items()})  # fmt: skip
    st.subheader("How faithful they are")
    table = found.method_table()
    st.dataframe(_shown(table), hide_index=True, alt=f"{table.title}: {plain(found.verdict)}")
    st.caption(
        "The best first. Insertion less deletion: the area under the curve of the class's probability while the pixels "
        "come, less that while they go, in the order of the map; 0 for an order that tells nothing."
    )
    downloads.offer("agreement_methods", f"faithfulness {look.model.name}", csv=table.to_csv)
    _draw_worst(found, pictures)


def _shown(table: Table) -> dict[str, list[str]]:
    """The columns that find room, as people read them."""
    places = [[column.title for column in table.columns].index(title) for title in SHOWN]
    columns: list[Column] = [table.columns[place] for place in places]
    return {
        column.title: [column.shown(line[place]) for line in table.rows]
        for column, place in zip(columns, places, strict=True)
    }


def _draw_worst(found: Agreement, pictures: PictureSet) -> None:
    """The pictures on which two methods part most; a click shows all the methods' maps of one."""
    ranked = sorted(
        (float(found.correlations[pair][number]), number, pair) for pair in found.pairs for number in found.worst(*pair)
    )
    worst: dict[int, tuple[float, tuple[str, str]]] = {}
    for value, number, pair in ranked:
        worst.setdefault(number, (value, pair))
    numbers = list(worst)[:WORST]
    if not numbers:
        return
    st.subheader("Where they part most")
    told = []
    for number in numbers:
        value, (a, b) = worst[number]
        named = found.labels[number] or f"picture {number}"
        told.append(f"{named}: {METHODS[a].title} and {METHODS[b].title} {Column('', '+.2f').shown(value)}")
    clickable.tiles(
        thumbnails.sheet([pictures.picture(number) for number in numbers], TILE, len(numbers)),
        clickable.Grid(len(numbers), len(numbers), TILE, TILE, thumbnails.GAP), "agreement_worst",
        f"The pictures on which two methods part most. {'; '.join(told)}", None,
        lambda tile: f"{told[tile]}. Click to see their maps", lambda tile: _look_at(found.links[numbers[tile]]),
        photographs=True,
    )  # fmt: skip
    st.caption(" · ".join(map(plain, told)))
    downloads.offer("agreement_worst", "disagreements", csv=found.disagreement_table().to_csv)


def _look_at(picture: str) -> None:
    """Show many methods' maps of a picture."""
    lens.change(picture=picture, target=None)
    st.session_state["saliency_mode"] = "many"
