"""Which classes each run gets wrong, and which confusions come and go from one run to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from alexnet_explorer.comparing import Floats, class_errors, confusion_matrix, same_validation
from alexnet_explorer.figures import confusion_difference, dots
from alexnet_explorer.ui import answers, own_link
from alexnet_explorer.ui.comparison import Compared
from alexnet_explorer.ui.curves import draw
from alexnet_explorer.ui.mistakes import class_names
from alexnet_explorer.ui.text import plain

MOST_ROWS = 30  # classes that are drawn
MATRIX_HEIGHT = 520  # pixels


def show(runs: Sequence[Compared]) -> None:
    """Per-class errors of all runs that saw the baseline's validation images, and the confusions of one less its."""
    alike = [one for one in runs if same_validation(one.config, runs[0].config)]
    if others := [one.name for one in runs if one not in alike]:
        st.caption(
            f"Left out, as they are validated on other images than {plain(runs[0].name)}: {plain(', '.join(others))}."
        )
    found = answers.known(alike)
    if unknown := [one for one in alike if one.run.id not in found]:
        st.info("Not every run has noted what its classes are taken for: older ones did not, young ones have not come "
                "to the end of an epoch.")  # fmt: skip
        answers.ask_for(unknown)
    alike = [one for one in alike if one.run.id in found]
    if not alike:
        return
    classes = class_names(next((one.run for one in alike if one.run.weights_file()), alike[0].run))
    counts = {one.run.id: confusion_matrix(found[one.run.id], len(classes)) for one in alike}
    errors = {run_id: 100 * class_errors(matrix) for run_id, matrix in counts.items()}
    st.markdown("**Errors of the classes**")
    _errors(alike, classes, errors)
    if len(alike) > 1:
        st.markdown("**What is taken for what:** a run less the baseline")
        _confusions(alike, classes, counts)


def spread_order(errors: Sequence[Floats]) -> list[int]:
    """The classes, those first on which the runs differ most."""
    table = np.stack(errors)
    spread = table.max(axis=0) - table.min(axis=0)  # of a class without images: NaN, in all of them
    return [int(place) for place in np.argsort(-spread, kind="stable") if np.isfinite(spread[place])]


def class_table(
    runs: Sequence[Compared], classes: Sequence[str], errors: Mapping[str, Floats], order: Sequence[int]
) -> list[dict[str, Any]]:
    """A row a class: the baseline's error in percent, and what the others differ from it, in points."""
    base = errors[runs[0].run.id]
    return [
        {"class": classes[place], runs[0].name: float(base[place])}
        | {one.name: float(errors[one.run.id][place] - base[place]) for one in runs[1:]}
        for place in order
    ]


def _errors(runs: Sequence[Compared], classes: Sequence[str], errors: Mapping[str, Floats]) -> None:
    order = spread_order([errors[one.run.id] for one in runs])
    shown = order[:MOST_ROWS]
    rows = [(one.name, one.style, errors[one.run.id][shown]) for one in runs]
    figure = dots([classes[place] for place in shown], rows, "validation error (%)")
    draw(figure, "compare_class_errors", f"Validation error of {len(shown)} classes, a dot a run")
    if len(order) > len(shown):
        st.caption(f"The {len(shown)} of {len(order)} classes on which the runs differ most.")
    columns: dict[str, Any] = {"class": st.column_config.TextColumn(pinned=True)}
    columns[runs[0].name] = st.column_config.NumberColumn(f"{runs[0].name} (%)", format="%.1f", pinned=True)
    columns |= {one.name: st.column_config.NumberColumn(f"{one.name} (points)", format="%+.1f") for one in runs[1:]}
    st.dataframe(class_table(runs, classes, errors, order), hide_index=True, key="compare_class_table",
                 column_config=columns, alt="The validation error of each class, with differences")  # fmt: skip
    st.caption("A class of a hundred images moves by a whole point for one of them: small differences are chance.")


def _confusions(runs: Sequence[Compared], classes: Sequence[str], counts: Mapping[str, Any]) -> None:
    names = {one.run.id: one.name for one in runs[1:]}
    ids = list(names)
    begin = own_link.start("other", ids[0], own_link.one_of(ids), "compare_other")
    other = ids[0]
    if len(ids) > 1:
        other = st.selectbox("Run", ids, ids.index(begin), format_func=lambda name: names.get(name, name),
                             key="compare_other", persist_state="session", width=320)  # fmt: skip
    own_link.write("other", None if other == ids[0] else other)
    figure = confusion_difference(counts[other], counts[runs[0].run.id], classes)
    figure.update_layout(height=MATRIX_HEIGHT, uirevision=f"difference {other}")
    name, base = names[other], runs[0].name
    draw(figure, "compare_confusion", f"Confusions of {name} less those of {base}, in points of each class")
    st.caption(f"**How to read it:** a row is a true class. Red: {plain(name)} says this more often than "
               f"{plain(base)}, blue: less often. On the diagonal, where it is right, red is good.")  # fmt: skip
