"""Reports to take along, of a comparison or a study; each is made when its button is pressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import streamlit as st

from alexnet_explorer.runs import Run
from alexnet_explorer.studies.results import Results


def show(runs: Sequence[Run], named: Mapping[str, str]) -> None:
    """The report of a comparison in either form; `named`: what the page calls each run, by its id."""
    with st.container(horizontal=True):
        _buttons("comparison", partial(_comparison, list(runs), dict(named)))


def show_study(results: Results) -> None:
    """The report of a study in either form."""
    _buttons(results.study.id, partial(_study, results))


def _buttons(name: str, made: Callable[[str], bytes]) -> None:
    st.download_button(
        "Download the report", partial(made, ".html"), f"{name}.html", "text/html", key="report_html",
        icon=":material/download:", on_click="ignore", help="One HTML file: it opens in any browser, offline",
    )  # fmt: skip
    st.download_button(
        "Markdown and CSV", partial(made, ".zip"), f"{name}.zip", "application/zip", key="report_zip",
        icon=":material/folder_zip:", on_click="ignore",
        help="The same as Markdown, a CSV file of each table and chart, and the configs",
    )  # fmt: skip


def _comparison(runs: list[Run], named: dict[str, str], suffix: str) -> bytes:
    from alexnet_explorer.report import comparison

    return comparison(runs, named).to_file(suffix)


def _study(results: Results, suffix: str) -> bytes:
    from alexnet_explorer.report import study

    return study(results).to_file(suffix)
