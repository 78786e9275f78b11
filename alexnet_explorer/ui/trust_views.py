"""Whether to believe a map: its trust figures, each with a reading, a verdict, and what that rests on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import streamlit as st

from alexnet_explorer.document import Column, Table
from alexnet_explorer.figures import BASELINE_COLOUR, RunCurve, colour_of, curves
from alexnet_explorer.inspection.verdicts import ALL, FIGURES
from alexnet_explorer.ui import downloads, maps, networks
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import Look

if TYPE_CHECKING:
    from alexnet_explorer.inspection.attribution import Attribution
    from alexnet_explorer.inspection.perturbing import Reference
    from alexnet_explorer.inspection.verdicts import Figure

# After the map's own line: colour and dash of what it is compared with.
STYLES = ((BASELINE_COLOUR, "solid"), (colour_of(1), "dash"), (colour_of(2), "longdash"))
CHART_HEIGHT = 260  # pixels
KINDS: tuple[Literal["deletion", "insertion"], ...] = ("deletion", "insertion")
AT_ONCE = ("completeness",)  # two pictures that the network looks at
BADGES: dict[str, tuple[str, Literal["green", "orange", "red", "grey"]]] = {
    "holds": (":material/check_circle:", "green"),
    "doubtful": (":material/help:", "orange"),
    "fails": (":material/cancel:", "red"),
    "says nothing": (":material/do_not_disturb_on:", "grey"),
}
"""The icon and the colour of each verdict, which stands beside them in words."""


def show(row: Sequence[Look], answers: Sequence[maps.Answer]) -> None:
    """The figures of each map that is there, a network beside the other."""
    there = [(look, found) for look, found in zip(row, answers, strict=True)
             if found is not None and not isinstance(found, str)]  # fmt: skip
    if not there:
        return
    st.subheader("Can this map be trusted?")
    maps.results_of([_job(look, found, key) for look, found in there for key in AT_ONCE], "trust_at_once", "")
    others = [_job(look, found, key) for look, found in there for key in ALL if key not in AT_ONCE]
    maps.results_of(others, "trust", "Check this map" if len(there) == 1 else "Check these maps", at_once=0)
    for column, (look, found) in zip(st.columns(len(there)), there, strict=True):
        with column:
            if look.width > 1:
                st.markdown(f"**{plain(look.model.title)}**")
            known = [figure for key in ALL if (figure := networks.results().find(_key(look, found, key)))]
            _draw_all(look, known)
            if len(known) == len(ALL):
                _offer(look, found, known)


def _job(look: Look, found: Attribution, figure: str) -> maps.Job:
    """A trust figure of a map."""
    store = networks.results()

    def compute(report: maps.Share) -> Figure:
        from alexnet_explorer.inspection.trust import reference, trust

        image, begun = look.picture.image, 0.0
        references: dict[str, Reference] = {}
        for kind in KINDS:
            if kind == figure:  # the same for all methods
                key = ("reference", kind, look.model.digest, look.picture.key)
                begun = 0.0 if key in store else 0.7
                hear = partial(_report_part, report, begun)
                references[figure] = store.get(key, partial(reference, look.model, image, kind, hear))
        return trust(
            look.model, image, found, lambda share: report(begun + (1 - begun) * share), (figure,), references
        ).figures[figure]

    def seconds() -> float:
        from alexnet_explorer.inspection.trust import cost

        return cost(look.model.model, figure).seconds(found.seconds, maps.pass_seconds(look)[0])

    return maps.Job(_key(look, found, figure), f"{FIGURES[figure].title}, {look.model.title}", compute,
                    None if figure in AT_ONCE else seconds)  # fmt: skip


def _report_part(report: maps.Share, part: float, share: float) -> None:
    report(part * share)


def _key(look: Look, found: Attribution, figure: str) -> Hashable:
    return ("trust", figure, found.method, found.settings, found.target, look.model.digest, look.picture.key)


def _draw_all(look: Look, figures: Sequence[Figure]) -> None:
    """Two in a row where there is room."""
    places = st.columns(2) if look.width == 1 and len(figures) > 1 else [st.container()]
    for number, figure in enumerate(figures):
        with places[number % len(places)]:
            _draw(look, figure)


def _draw(look: Look, figure: Figure) -> None:
    about = FIGURES[figure.key]
    icon, colour = BADGES[figure.verdict]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{about.title}**", width="content")
        st.badge(figure.verdict, icon=icon, color=colour)
    st.markdown(plain(figure.reading))
    if figure.curves:
        _chart(look, figure)
    with st.expander("What this rests on"):
        st.markdown(f"{plain(figure.because)} {about.explanation} _{about.paper}_")


def _chart(look: Look, figure: Figure) -> None:
    """Its curves, with the band where there is one."""
    names = [str(x) for x in figure.curves[0].x] if isinstance(figure.curves[0].x[0], str) else []
    lines = []
    for number, curve in enumerate(figure.curves):
        colour, dash = (look.colour, "solid") if number == 0 else STYLES[(number - 1) % len(STYLES)]
        x = list(range(len(curve.x))) if names else [float(one) for one in curve.x]
        y = [float("nan") if value is None else value for value in curve.y]
        lines.append(RunCurve(curve.title, colour, x, y, dash, curve.low, curve.high))
    drawn = curves(lines, figure.y_title, figure.x_title)
    drawn.update_layout(height=CHART_HEIGHT)
    if names:
        drawn.update_xaxes(tickvals=list(range(len(names))), ticktext=names)
    else:
        drawn.update_xaxes(tickformat=".0%")
    ends = "; ".join(f"{line.name} from {line.y[0]:.2f} to {line.y[-1]:.2f}" for line in lines)
    st.plotly_chart(drawn, key=f"trust {figure.key} {look.model.name}", config={"displayModeBar": False},
                    alt=f"{figure.title}: {figure.y_title} by {figure.x_title}: {ends}")  # fmt: skip


def _offer(look: Look, found: Attribution, figures: Sequence[Figure]) -> None:
    rows = [[FIGURES[one.key].title, key, value, one.verdict, one.reading]
            for one in figures for key, value in one.values.items()]  # fmt: skip
    table = Table("Trust", [Column(title) for title in ("figure", "value of", "value", "verdict", "reading")], rows)
    downloads.offer(f"trust_{look.model.name}", f"trust {found.method} {look.picture.title} {look.model.name}",
                    csv=table.to_csv)  # fmt: skip
