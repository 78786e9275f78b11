"""Which runs the table shows, and how: the controls above it. What they say is written in the page's link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from alexnet_explorer.listing import Row
from alexnet_explorer.ui import run_fields
from alexnet_explorer.ui.run_fields import METRICS, OPERATORS, OWN, config_fields, find_field, short, title

TOGGLES = ("model.activation", "model.pooling", "model.lrn", "model.dropout", "data.augmentation")
MOST_VALUES = 100  # of a field, to choose among
MOST_LOOKED_AT = 1000  # runs, to find them; others can be written

_REMEMBERED = "runs_view"  # for the way back from another page
_FILTER, _SORT, _DOWN, _GROUP, _METRIC, _ARCHIVED, _SHIPPED, _COLUMNS = (
    "runs_filter", "runs_sort", "runs_down", "runs_group", "runs_metric", "runs_archived", "runs_shipped",
    "runs_columns"
)  # fmt: skip
# What the link calls them.
_NAMES = {_FILTER: "filter", _SORT: "sort", _DOWN: "down", _GROUP: "group", _METRIC: "metric", _ARCHIVED: "archived",
          _SHIPPED: "shipped", _COLUMNS: "columns"}  # fmt: skip
_DEFAULTS: dict[str, Any] = {_FILTER: "", _SORT: "", _DOWN: False, _GROUP: "", _METRIC: "best", _ARCHIVED: False,
                             _SHIPPED: False, _COLUMNS: list(TOGGLES)}  # fmt: skip


@dataclass(frozen=True)
class View:
    """What is chosen: see `run_fields` for the filter's words."""

    words: str = ""
    sort: str = ""
    descending: bool = False
    group: str = ""
    metric: str = "best"
    archived: bool = False
    shipped: bool = False  # whether the runs on which the ledger rests are shown
    columns: tuple[str, ...] = TOGGLES

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """The runs that are shown, in order."""
        there = [row for row in rows
                 if (self.archived or not row.notes.archived) and (self.shipped or not row.is_evidence)]  # fmt: skip
        return run_fields.ordered(run_fields.matching(there, self.words), self.sort, self.descending)


def choose(rows: Sequence[Row]) -> View:
    """Draw the controls; gives back what they say."""
    _recall()
    fields = [*OWN, *config_fields()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Filter", key=_FILTER, placeholder="tanh done  best<20  tag=paired", width="stretch",
                      help="Words of title, state, id or tags, and conditions on any field: `activation=tanh`, "
                           "`best<20`, `seed!=0`. A run is shown where all of them hold.")  # fmt: skip
        with st.popover("Condition", icon=":material/filter_alt:"):
            _condition(rows, fields)
        st.selectbox("Sort by", ["", *fields], key=_SORT, format_func=_field_or("newest first"), width=190)
        st.toggle("Highest first", key=_DOWN, disabled=not st.session_state[_SORT])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Group by", ["", *(field for field in fields if field not in METRICS)], key=_GROUP,
                     format_func=_field_or("no groups"), width=190)  # fmt: skip
        if st.session_state[_GROUP]:
            st.selectbox("Metric of the groups", list(METRICS), key=_METRIC, format_func=title, width=230)
        with st.popover("Columns", icon=":material/view_column:"):
            st.multiselect("Settings as columns", config_fields(), key=_COLUMNS, format_func=title,
                           help="Other settings in which the shown runs differ are added by themselves.")  # fmt: skip
        if archived := sum(row.notes.archived for row in rows):
            st.toggle(f"Show {archived:,} archived", key=_ARCHIVED)
        if shipped := sum(row.is_evidence for row in rows):
            st.toggle(f"Show {shipped:,} of the ledger", key=_SHIPPED,
                      help="They ship with the project: the verdicts of the page Studies rest on them.")  # fmt: skip
    _remember()
    now = st.session_state
    return View(now[_FILTER], now[_SORT], now[_DOWN], now[_GROUP], now[_METRIC], now[_ARCHIVED], now[_SHIPPED],
                tuple(now[_COLUMNS]))  # fmt: skip


def narrow(field: str, text: str) -> None:
    """Show one group alone. Only in a callback, before the controls are drawn."""
    _add(field, "=", text)
    st.session_state[_GROUP] = ""


def _add(field: str, operator: str, text: str) -> None:
    words, word = st.session_state[_FILTER], run_fields.write(field, operator, text)
    if f" {word} " not in f" {words} ":  # a second click comes before the table is gone
        st.session_state[_FILTER] = f"{words} {word}".strip()


def _condition(rows: Sequence[Row], fields: Sequence[str]) -> None:
    """A condition by choice: it is added to the filter's words."""
    field = st.selectbox("Field", fields, index=fields.index("model.activation"), format_func=title,
                         key="runs_condition_field")  # fmt: skip
    operator = st.segmented_control("Operator", OPERATORS, default="=", required=True, key="runs_condition_operator",
                                    label_visibility="collapsed")  # fmt: skip
    values = run_fields.values_of(rows[:MOST_LOOKED_AT], field, MOST_VALUES)
    text = st.selectbox("Value", values, key=f"runs_condition_{field}", accept_new_options=True,
                        placeholder="Choose or write one")  # fmt: skip
    st.button("Add to the filter", icon=":material/add:", key="runs_condition_add", disabled=not text,
              on_click=partial(_add, field, operator or "=", text or ""))  # fmt: skip


def _field_or(nothing: str) -> Any:
    return lambda field: title(field) if field else nothing


def _recall() -> None:
    """The link's choices, else those of this session's last visit, where the widgets are new."""
    before = st.session_state.get(_REMEMBERED, {})
    for key, default in _DEFAULTS.items():
        if key not in st.session_state:
            given = st.query_params.get(_NAMES[key])
            st.session_state[key] = _read(key, given) if given is not None else before.get(key, default)
        else:
            st.session_state[key] = st.session_state[key]  # also of a control that is not drawn this time


def _read(key: str, text: str) -> Any:
    """A choice as the link has it; what is not well-formed counts as not given."""
    if key == _FILTER:
        return text
    if key in (_DOWN, _ARCHIVED, _SHIPPED):
        return text == "1"
    if key == _COLUMNS:
        found = [find_field(name) for name in text.split(",")]
        return [field for field in dict.fromkeys(found) if field in config_fields()]
    field = find_field(text)
    known = METRICS if key == _METRIC else {*OWN, *config_fields()} - (set(METRICS) if key == _GROUP else set())
    return field if field in known else _DEFAULTS[key]


def _remember() -> None:
    """Write the choices into the link; what is as it was at first is left out."""
    now = {key: st.session_state[key] for key in _DEFAULTS}
    st.session_state[_REMEMBERED] = now
    for key, name in _NAMES.items():
        if now[key] == _DEFAULTS[key]:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != _written(now[key]):
            st.query_params[name] = _written(now[key])


def _written(found: Any) -> str:
    if isinstance(found, list):
        return ",".join(map(short, found))
    if isinstance(found, bool):
        return "1"
    return short(found) if found in config_fields() else str(found)
