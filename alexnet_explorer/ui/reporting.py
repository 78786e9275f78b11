"""The report of a comparison, to take along; it is made when its button is pressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from alexnet_explorer.runs import Run

_HTML, _ZIP = ".html", ".zip"


def show(runs: Sequence[Run], named: Mapping[str, str]) -> None:
    """A button for each form of the report; `named`: what the page calls each run, by its id."""
    made = partial(_made, list(runs), dict(named))
    with st.container(horizontal=True):
        st.download_button(
            "Download the report", partial(made, _HTML), "comparison.html", "text/html", key="report_html",
            icon=":material/download:", on_click="ignore", help="One HTML file: it opens in any browser, offline",
        )  # fmt: skip
        st.download_button(
            "Markdown and CSV", partial(made, _ZIP), "comparison.zip", "application/zip", key="report_zip",
            icon=":material/folder_zip:", on_click="ignore",
            help="The same as Markdown, a CSV file of each table and chart, and the configs",
        )  # fmt: skip


def _made(runs: list[Run], named: dict[str, str], suffix: str) -> bytes:
    from alexnet_explorer.report import comparison

    return comparison(runs, named).to_file(suffix)
