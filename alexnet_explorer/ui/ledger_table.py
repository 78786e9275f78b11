"""The table of studies: a row for each comparison, with its claim, what was measured, and the way to its runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from alexnet_explorer.studies.forecast import ledger_hours
from alexnet_explorer.studies.ledger import shipped
from alexnet_explorer.studies.results import Results, Row
from alexnet_explorer.studies.statistics import Estimate
from alexnet_explorer.studies.study import Study
from alexnet_explorer.ui import lens, surveying

ROW_HEIGHT = 80  # four lines of text
HEIGHT = 520  # six rows; the table has more than anyone wants to scroll past

_TABLE = "studies_table"
_TAKEN = "studies_row"  # the selection that was followed last

COLUMNS = {
    "study": st.column_config.TextColumn("Study", width=165, pinned=True),
    "verdict": st.column_config.TextColumn("Verdict", width=125),
    "comparison": st.column_config.TextColumn("Compared", width=215),
    "claim": st.column_config.TextColumn("The claim, in the paper's terms", width=365),
    "estimate": st.column_config.TextColumn("Estimate", width=95),
    "interval": st.column_config.TextColumn("95 % interval", width=110),
    "n": st.column_config.NumberColumn("Pairs", width=55, help="Of runs with the same seed that are done"),
    "link": st.column_config.LinkColumn(
        "Its runs", width=75, display_text="Compare",
        help=f"The runs of this row on the page Compare, {lens.MOST_COMPARED} at most",
    ),
    "data": st.column_config.TextColumn("Measured on", width=280),
    "runs": st.column_config.TextColumn("Runs done", width=85, help="Of the whole study"),
    "section": st.column_config.TextColumn("Section", width=100),
    "reason": st.column_config.TextColumn("In words", width=400),
    "command": st.column_config.TextColumn("Repeated by", width=400),
}  # fmt: skip


def show(found: Sequence[Results], choose: Callable[[str], None]) -> None:
    """The table, and what all of the ledger takes. `choose` is told the id of the study whose row is clicked."""
    lines = [(results, line) for results in found for line in shown(results)]

    st.dataframe(
        [row(results, line) for results, line in lines], key=_TABLE, hide_index=True, placeholder="", alt="Studies",
        column_config=COLUMNS, on_select="rerun", selection_mode="single-row", row_height=ROW_HEIGHT, height=HEIGHT,
    )  # fmt: skip
    rows = list(st.session_state[_TABLE]["selection"]["rows"])
    if rows != st.session_state.get(_TAKEN, []):  # else a row would stand against the list of studies
        st.session_state[_TAKEN] = rows
        for place in rows:
            choose(lines[place][0].study.id)
    ledger = [results.survey for results in found if results.study.id in shipped()]
    hours, done = ledger_hours(ledger)
    st.caption(
        "A click on the left of a row opens its study below. By a few measured steps, all of the ledger takes "
        f"{hours:.1f} hours of two cores at most; what is not done yet, {hours - done:.1f} at most."
    )


def shown(results: Results) -> list[Row]:
    """The first row of a study, and those of the others that wait for no run."""
    first, *others = results.rows
    return [first, *(line for line in others if line.verdict.word != "not run yet")]


def row(results: Results, line: Row) -> dict[str, Any]:
    """One comparison in the table's columns."""
    study, found = results.study, line.estimate
    counted = found if found and found.n else None
    return {
        "study": study.title or study.id,
        "verdict": line.verdict.word,
        "comparison": compared(study, line),
        "claim": claimed(study, line),
        "estimate": _estimate(counted.value, line.unit) if counted else None,
        "interval": _interval(counted) if counted else None,
        "n": counted.n if counted else 0,
        "link": surveying.compare_link(study, line.runs) if len(line.runs) > 1 else None,
        "data": measured_on(study, line),
        "runs": f"{results.survey.count('done')} of {study.count()}",
        "section": study.claim.section if study.claim else "",
        "reason": line.verdict.reason,
        "command": command(study),
    }


def claimed(study: Study, line: Row) -> str:
    """What the paper says of a row: the claim, or the other part of it that this row is about."""
    if study.claim is None:
        return study.question
    parts = (aspect.says for aspect in study.claim.aspects if line.name.startswith(aspect.says.rstrip(".")))
    return next(parts, study.claim.says)


def compared(study: Study, line: Row) -> str:
    """What a row sets against what, without the part of the claim that it is about."""
    rest = line.name.removeprefix(claimed(study, line).rstrip("."))
    return line.name if rest == line.name else rest.strip(" ()")


def measured_on(study: Study, line: Row) -> str | None:
    """'test/top1_error of convnet-2012 on CIFAR-10 (JPEG copy)'; nothing for what cannot be tested here."""
    if line.verdict.word == "not testable here":
        return None
    aspects = study.claim.aspects if study.claim else ()
    measures = (aspect.measure for aspect in aspects if line.id == f"{study.id}/{aspect.id}")
    measure = next(measures, None) or study.measure
    return f"{measure.name} of {study.base.preset} on {study.base.data}"


def command(study: Study) -> str:
    """What trains a study's runs and says its verdict, in a terminal."""
    return f"python -m alexnet_explorer study run {study.id}"


def _estimate(value: float | None, unit: str) -> str:
    """'+3.00 points'; '4.10 ×'."""
    if value is None:
        return "not reached"
    if unit.startswith("times"):
        return f"{value:.2f} ×"
    return f"{value:+.2f}{' points' if unit else ''}"


def _interval(found: Estimate) -> str | None:
    """None where neither end is known, as of one pair; a ratio has none below 0."""
    if math.isinf(found.high) and found.low in (0.0, -math.inf):
        return None
    return f"[{_end(found.low)}, {_end(found.high)}]"


def _end(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "open"
