"""The parts that every page has: what it is, what to notice, the code behind it."""

from __future__ import annotations

import streamlit as st

from alexnet_explorer.ui import frame


def head(name: str, explanation: str, title: str | None = None) -> frame.Page:
    """Title and explanation of the page; gives back what the frame knows of it."""
    frame.take_over(name)
    page = frame.page_of(name)
    st.title(title or page.title)
    st.markdown(explanation)
    return page


def foot(notice: str, code: str) -> None:
    """What to notice under a result, and the lines that compute it."""
    st.markdown(notice)
    with st.expander("Show the code", icon=":material/code:"):
        st.code(code, language="python")
