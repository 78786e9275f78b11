"""What a page's controls say in its link."""

import pytest
import streamlit as st

from alexnet_explorer.ui import own_link


@pytest.fixture
def link(session, monkeypatch):
    """The parameters in the address bar of a session."""
    found = {}
    monkeypatch.setattr(st, "query_params", found)
    return found


def start(*keys):
    return own_link.start("axis", "epoch", own_link.one_of(["epoch", "step"]), *keys)


def test_the_link_says_what_a_control_begins_with_unless_it_is_nonsense(link):
    assert start() == "epoch"
    link["axis"] = "step"
    assert start() == "step"
    link["axis"] = "sideways"
    assert start() == "epoch"


def test_what_the_page_wrote_itself_begins_nothing_anew(link):
    link["axis"] = "step"
    start()
    own_link.write("axis", "epoch")
    assert link == {"axis": "epoch"} and start() == "step"  # the widget keeps its own value meanwhile
    own_link.write("axis", None)
    assert link == {} and start() == "step"


def test_a_link_that_is_followed_later_has_its_way(link):
    st.session_state["widget"] = "epoch"
    own_link.write("axis", None)
    link["axis"] = "step"
    assert start("widget") == "step" and "widget" not in st.session_state


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (own_link.some_of("abc"), "c,x,a", ["c", "a"]),
        (own_link.some_of("abc"), "x", None),
        (own_link.number(0, 1), "0.5", 0.5),
        (own_link.number(0, 1), "2", None),
        (own_link.number(0, 1), "nan", None),
        (own_link.number(0, 1), "half", None),
    ],
)
def test_words_and_numbers_are_read_within_bounds(read, text, value):
    assert read(text) == value
