"""A link gives back what was looked at; whatever else is written into one does no harm."""

import string
from urllib.parse import parse_qsl, urlencode

import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as some

from alexnet_explorer.ui import lens
from alexnet_explorer.ui.lens import MOST_COMPARED, MOST_MODELS, Lens, read, write

words = some.text(some.characters(codec="utf-8"), min_size=1, max_size=40)
names = some.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,29}", fullmatch=True)
small_numbers = some.none() | some.integers(0, 999_999)
lenses = some.builds(
    Lens,
    picture=words,
    models=some.lists(names, min_size=1, max_size=MOST_MODELS, unique=True).map(tuple),
    compared=some.lists(names, max_size=MOST_COMPARED, unique=True).map(tuple),
    beside=some.lists(names, max_size=MOST_MODELS, unique=True).map(tuple),
    epoch=small_numbers,
    layer=some.none() | words,
    unit=small_numbers,
    target=small_numbers,
)
fields = some.sampled_from([*vars(Lens()), "run", ""])


def through_a_link(query):
    """What comes out of an address bar."""
    return dict(parse_qsl(urlencode(query), keep_blank_values=True))


@given(lenses)
def test_a_link_reopens_what_was_looked_at(looked_at):
    assert read(through_a_link(write(looked_at))) == looked_at


@given(some.dictionaries(fields, some.text() | some.text(string.digits + "-,. ") | words))
def test_any_query_is_a_lens(query):
    found = read(query)
    assert found.picture
    assert 1 <= len(found.models) <= MOST_MODELS and all(found.models) and len(set(found.models)) == len(found.models)
    assert all(number is None or 0 <= number < 10**6 for number in (found.epoch, found.unit, found.target))
    assert read(write(found)) == found


@pytest.mark.parametrize("junk", ["", "-1", "1.5", "1e3", " 7", "²", "None", "9999999", "7" * 5000, "conv1"])
def test_what_is_no_small_number_counts_as_not_given(junk):
    assert read({"epoch": junk, "unit": junk, "target": junk}) == Lens()


def test_of_many_networks_the_first_four_are_shown_once_each():
    assert read({"models": "a,b,,a,c,d,e"}).models == ("a", "b", "c", "d")
    assert read({"models": ",,"}).models == Lens().models


def test_a_comparison_has_more_of_which_four_stand_side_by_side():
    many = [f"run{number}" for number in range(MOST_COMPARED + 5)]
    found = read({"compared": ",".join(many), "beside": ",".join(many)})
    assert found.compared == tuple(many[:MOST_COMPARED]) and found.beside == tuple(many[:MOST_MODELS])


def test_a_link_can_make_a_page_say_nothing_of_its_own():
    assert read({"models": "![](//evil.org/eye.png),../../etc/passwd,mine"}).models == ("mine",)


def test_the_link_fills_the_lens_once_and_changes_stay(session, monkeypatch):
    monkeypatch.setattr(st, "query_params", {"picture": "coffee", "unit": "3"})
    assert lens.current() == Lens(picture="coffee", unit=3)
    lens.change(picture="rocket")
    monkeypatch.setattr(st, "query_params", {"picture": "coffee"})
    assert lens.current() == Lens(picture="rocket", unit=3)
