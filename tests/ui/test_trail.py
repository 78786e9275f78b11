"""The way through a network's numbers, and the link that reopens it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from alexnet_explorer.config import ModelConfig
from alexnet_explorer.inspection.steps import PIXELS, Place
from alexnet_explorer.ui import lens, own_link, trail
from alexnet_explorer.ui.trail import NAMES, Trail


class Network:
    """What the trail knows of a network: the names and shapes of its layers."""

    def __init__(self, **fields):
        self.layers = {layer.name: layer for layer in ModelConfig(**fields).layers()}


MODEL = Network(towers=2)
OUTPUTS = {name: np.zeros(layer.output, np.float32) for name, layer in MODEL.layers.items()}
OUTPUTS["pool1"][5, 3, 9] = 2.0  # the strongest of unit 5

POOL, LRN, RELU = Place("pool1", 5, 6, 7), Place("lrn1", 5, 12, 15), Place("relu1", 5, 12, 15)
TRAILS = [
    Trail(POOL, chosen=True),
    Trail(Place("pool1", 5, 3, 9)),
    Trail(RELU, chosen=True, via=(POOL, LRN)),
    Trail(Place("conv2", 40, 0, 15), chosen=True, map=31),
    Trail(Place("conv1", 2, 0, 15), chosen=True, pixel=Place(PIXELS, 2, 1, 14)),
    Trail(Place("fc7", 200), via=(Place("fc8", 3), Place("drop7", 200), Place("relu7", 200))[2:]),
]


def read(query, place):
    return trail.read(query, MODEL, OUTPUTS, place.layer, place.unit)


@pytest.mark.parametrize("one", TRAILS, ids=lambda one: one.place.layer)
def test_a_link_reopens_its_trail(one):
    assert read(trail.write(one), one.place) == one


def test_without_a_position_the_strongest_is_taken():
    assert read({}, POOL) == Trail(Place("pool1", 5, 3, 9))


@pytest.mark.parametrize("at", ["16,0", "0,16", "-1,0", "1", "1,2,3", "a,b", "1;2", "1, 2", "9999999,0"])
def test_a_position_that_is_not_there_counts_as_not_given(at):
    assert read({"at": at}, POOL) == Trail(Place("pool1", 5, 3, 9))


@pytest.mark.parametrize(
    "via",
    [
        "pool1:5:6:7",  # lrn1 is missing between it and relu1
        "lrn1:5:12:15,pool1:5:6:7",  # the wrong way round
        "lrn1:99:12:15",  # no such unit
        "lrn9:5:12:15",
        "nonsense",
    ],
)
def test_a_way_that_does_not_lead_here_counts_as_not_given(via):
    assert read({"at": "12,15", "via": via}, RELU) == Trail(RELU, chosen=True)


@given(
    some.fixed_dictionaries({}, optional={name: some.text("0123456789,:abconvplurx-", max_size=30) for name in NAMES})
)
def test_any_link_is_read(query):
    found = read(query, POOL)
    assert found.place.layer == "pool1" and found.place.unit == 5
    assert trail.read(trail.write(found), MODEL, OUTPUTS, "pool1", 5) == found


# In the session


@pytest.fixture
def visitor(session, monkeypatch):
    """A session, and the address bar."""
    link = {}
    monkeypatch.setattr(own_link.st, "query_params", link)
    lens.change(layer="pool1", unit=5)
    return link


def current(model=MODEL):
    now = lens.current()
    return trail.current(model, OUTPUTS, now.layer, now.unit)


def arrive(link, **query):
    link.update(query)
    own_link.st.session_state.pop("own_link_page", None)
    own_link.arrive("arithmetic")


def test_on_and_on_and_back(visitor):
    first = current()
    assert first == Trail(Place("pool1", 5, 3, 9)) and visitor == {}
    trail.go(first, Place("lrn1", 5, 7, 19))
    assert lens.current().layer == "lrn1"
    second = current()
    assert second == Trail(Place("lrn1", 5, 7, 19), chosen=True, via=(first.place,))
    assert visitor == {"at": "7,19", "via": "pool1:5:3:9"}
    trail.go(second, Place("relu1", 3, 7, 19))
    third = current()
    assert lens.current().unit == 3 and third.via == (first.place, second.place)
    trail.back(third, 1)
    assert current() == second
    trail.go(second, Place("relu1", 3, 7, 19))
    trail.back(current(), 2)
    assert current() == Trail(first.place, chosen=True) and visitor == {"at": "3,9"}


def test_another_unit_is_looked_at_in_the_same_position(visitor):
    trail.move(current(), 6, 7)
    trail.go(current(), LRN)
    lens.change(unit=8)
    assert current() == Trail(Place("lrn1", 8, 12, 15), chosen=True) and visitor == {"at": "12,15"}


def test_another_layer_is_looked_at_where_it_is_strongest(visitor):
    trail.move(current(), 6, 7)
    lens.change(layer="conv2")
    assert current() == Trail(Place("conv2", 5)) and visitor == {}
    lens.change(layer="pool1")
    assert current() == Trail(Place("pool1", 5, 3, 9))


def test_a_move_begins_anew(visitor):
    trail.go(current(), LRN)
    trail.move(current(), 1, 2)
    assert current() == Trail(Place("lrn1", 5, 1, 2), chosen=True)


def test_a_link_that_is_followed_later_has_its_way(visitor):
    trail.move(current(), 1, 2)
    arrive(visitor, at="6,7")
    assert current().place == POOL
    arrive(visitor, at="6,8")
    assert current().place == Place("pool1", 5, 6, 8)


def test_a_smaller_network_forgets_what_it_does_not_have(visitor):
    trail.move(current(), 15, 15)
    small = Network(input_size=16)
    outputs = {name: np.zeros(layer.output, np.float32) for name, layer in small.layers.items()}
    assert trail.current(small, outputs, "pool1", 5) == Trail(Place("pool1", 5))
