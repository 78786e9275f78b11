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


@pytest.mark.parametrize(("text", "begins"), [("", "epoch"), ("step", "step"), ("sideways", "epoch")])
def test_the_link_says_what_a_control_begins_with_unless_it_is_nonsense(link, text, begins):
    link["axis"] = text
    own_link.arrive("compare")
    assert start() == begins


def test_while_the_visitor_stays_the_link_only_follows(link):
    link["axis"] = "step"
    own_link.arrive("compare")
    start("widget")
    st.session_state["widget"] = "epoch"
    own_link.write("axis", "epoch")
    assert link == {"axis": "epoch"}
    link["axis"] = "step"  # as a browser sends it that has not heard of the change yet
    own_link.arrive("compare")
    start("widget")
    assert st.session_state["widget"] == "epoch"
    own_link.write("axis", None)
    assert link == {}


def test_a_link_that_is_followed_later_has_its_way(link):
    own_link.arrive("compare")
    st.session_state["widget"] = "epoch"
    own_link.arrive("runs")
    link["axis"] = "step"
    own_link.arrive("compare")
    assert start("widget") == "step" and "widget" not in st.session_state


def test_a_link_to_one_page_sets_nothing_on_another(link):
    link["axis"] = "step"
    own_link.arrive("compare")
    assert start() == "step"
    link.clear()
    own_link.arrive("runs")
    assert start() == "epoch"
    own_link.arrive("compare")
    assert start() == "step"


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
