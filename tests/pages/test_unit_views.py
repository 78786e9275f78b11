"""Below a unit's map: its strongest patches, and the picture formed for it."""

import time

import numpy as np
import pytest

from alexnet_explorer.catalogue import DEFAULT_MODEL
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights import load_weights, save_weights

SEVEN = "in the 7 pictures"  # the samples


@pytest.fixture(autouse=True)
def fresh_server():
    """Nothing computed for an earlier test."""
    import streamlit as st

    st.cache_resource.clear()


def patches_of(visitor):
    """The lines under the patches."""
    return [caption for caption in visitor.captions if " · " in caption and not caption.startswith("Unit")]


def wait(visitor, words):
    """Look again until the page has these words."""
    for _ in range(300):
        if visitor.says(words):
            return visitor
        time.sleep(0.1)
        visitor.run()
    raise AssertionError(f"no {words!r} in {visitor.captions}")


def test_the_samples_are_searched_without_being_asked(visit, make_run):
    visitor = visit("activations", models=make_run().id, layer="conv2", unit=3)
    wait(visitor, SEVEN)
    lines = patches_of(visitor)
    assert len(lines) == 7
    values = [float(line.rpartition("· ")[2].replace("\\", "")) for line in lines]
    assert values == sorted(values, reverse=True)
    assert visitor.says("Unit 3 of conv2 in the 7 pictures. It sees ")
    assert "unit_view" not in visitor.link and "whole" not in visitor.link


def test_whole_pictures_stand_beside_them_and_are_in_the_link(visit, make_run):
    visitor = wait(visit("activations", models=make_run().id, layer="conv2"), SEVEN)
    assert len(patches_of(visitor)) == 7
    visitor.toggle(key="patches_whole").set_value(True).run()
    assert len(patches_of(visitor)) == 14
    assert visitor.link["whole"] == "on"
    again = wait(visit("activations", **visitor.link), SEVEN)
    assert len(patches_of(again)) == 14


def test_a_fully_connected_unit_has_whole_pictures(visit, make_run):
    visitor = wait(visit("activations", models=make_run().id, layer="fc5", unit=1), SEVEN)
    assert visitor.says(plain("Unit 1 of fc5 (green *and* more)") + " in the 7 pictures. It sees the whole picture.")
    assert len(patches_of(visitor)) == 7


def test_a_unit_that_nothing_fires_says_so(visit, make_run):
    run = make_run(epochs=(1,))
    loaded = load_weights(run.weights_file())
    loaded.model.conv1.bias[2] = -1e4
    save_weights(run.weights_file(), loaded.model, loaded.preprocessing, loaded.classes, loaded.config)
    visitor = visit("activations", models=run.id, layer="relu1", unit=2)
    for _ in range(100):
        if any("fires in none" in info.value for info in visitor.info):
            break
        time.sleep(0.1)
        visitor.run()
    assert any(info.value.startswith("Unit 2 of relu1 fires in none of the 7 pictures") for info in visitor.info)


def test_a_data_set_is_searched_on_request_and_found_again(visit, make_run, packed):
    link = {"models": make_run().id, "layer": "conv2", "pictures": packed.digest}
    visitor = visit("activations", **link)
    visitor.button(key="patches_begin").click().run()
    wait(visitor, "in the 45 pictures")
    lines = patches_of(visitor)
    assert len(lines) == 9 and all(line.partition(" ")[0] in packed.classes for line in lines)
    import streamlit as st

    st.cache_resource.clear()  # as on another day: from the disk
    later = visit("activations", **link)
    assert patches_of(later) == lines and "patches_begin" not in [button.key for button in later.button]


def test_two_networks_are_searched_together(visit, make_run):
    names = [make_run().id, make_run(model__activation="tanh", model__in_channels=1).id]
    visitor = visit("activations", models=",".join(names), layer="relu2", unit=1)
    wait(visitor, "Unit 1 of tanh2 in the 7")
    assert visitor.says("Unit 1 of relu2 in the 7") and visitor.complaints == []


def formed(visitor):
    """The lines under the pictures that were formed."""
    return [caption for caption in visitor.captions if "on average under shifts" in caption]


def form(visitor):
    """Click the button, and wait for the picture."""
    visitor.button(key="ascent_begin").click().run()
    return wait(visitor, "on average under shifts")


def test_a_picture_is_formed_with_plain_ascent_beside_it(visit, make_run):
    visitor = visit("activations", models=make_run().id, layer="pool1", unit=2, unit_view="ascent", steps=32)
    assert visitor.button(key="ascent_begin").label.startswith("Form it: about ")
    form(visitor)
    assert visitor.says("Unit 2 of pool1: ") and visitor.says("The response is that of conv1, in the middle of its map")
    assert not visitor.says("Plain ascent: ")
    assert "ascent_begin" not in [button.key for button in visitor.button]
    visitor.toggle(key="ascent_plain").set_value(True).run()
    visitor.button(key="ascent_begin").click().run()
    wait(visitor, "Plain ascent: ")
    assert visitor.link["plain"] == "on" and visitor.link["steps"] == "32" and "seed" not in visitor.link
    visitor.number_input(key="ascent_seed").set_value(5).run()
    assert visitor.link["seed"] == "5" and not visitor.says("on average under shifts")
    assert visitor.button(key="ascent_begin").label.startswith("Form 2 pictures: about ")


def test_a_dead_unit_has_no_picture_to_form(visit, make_run):
    run = make_run(epochs=(1,))
    loaded = load_weights(run.weights_file())
    loaded.model.conv2.weight[2] = 0
    save_weights(run.weights_file(), loaded.model, loaded.preprocessing, loaded.classes, loaded.config)
    visitor = visit("activations", models=run.id, layer="conv2", unit=2, unit_view="ascent", steps=32)
    visitor.button(key="ascent_begin").click().run()
    wait(visitor, "the unit is dead, or what feeds it is")


def test_each_network_of_a_row_has_its_picture(visit, make_run):
    names = [make_run(model__in_channels=1).id, make_run(model__activation="tanh").id]
    visitor = visit("activations", models=",".join(names), layer="fc5", unit=0, unit_view="ascent", steps=32)
    assert visitor.button(key="ascent_begin").label.startswith("Form 2 pictures")
    visitor.button(key="ascent_begin").click().run()
    for _ in range(300):
        if len(formed(visitor)) == 2:
            break
        time.sleep(0.1)
        visitor.run()
    assert len(formed(visitor)) == 2
    assert visitor.complaints == []


@pytest.mark.parametrize(
    ("query", "steps"), [({"steps": "33"}, 64), ({"steps": "128"}, 128), ({"steps": "x", "seed": "-3"}, 64)]
)
def test_a_link_that_is_not_well_formed_has_the_usual_settings(visit, query, steps):
    visitor = visit("activations", models=DEFAULT_MODEL, unit_view="ascent", **query)
    assert visitor.selectbox(key="ascent_steps").value == steps
    assert visitor.number_input(key="ascent_seed").value == 0


def test_a_picture_no_wider_than_its_place():
    from alexnet_explorer.ui.unit_views import _fitted

    for side in (1, 5, 43, 69, 71, 140, 163, 227):
        picture = np.zeros((side, side, 3), np.uint8)
        assert _fitted(picture, 140).shape[1] in range(100, 141)
