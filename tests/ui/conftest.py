"""A session for code that is called without a page."""

import pytest
import streamlit as st


@pytest.fixture
def session(monkeypatch):
    """The state of a fresh session."""
    state = {}
    monkeypatch.setattr(st, "session_state", state)
    return state
