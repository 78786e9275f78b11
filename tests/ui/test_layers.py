"""What the page shows of each layer of a run."""

import pytest

from alexnet_explorer.figures import depth_colours
from alexnet_explorer.ui.curves import Scales
from alexnet_explorer.ui.layers import chart, in_words, names

KEPT = {
    "run": "r",
    "train": [
        {"step": 1, "epoch": 0.5, "seconds": 1.0, "gradient/conv1": 0.25, "gradient/fc8": 2.0},
        {"step": 2, "epoch": 1.0, "seconds": 2.0, "gradient/fc8": 4.0},  # conv1's was not a number
    ],
    "val": [{"step": 2, "epoch": 1.0, "seconds": 2.5, "dead/relu1": 0.125, "dead/relu2": 0.0}],
}


def test_each_layer_has_a_line_and_one_missing_gradient_does_not_hide_it():
    figure = chart(KEPT, Scales("step", log=True), "gradient/", "norm of the gradient")
    assert [(line.name, list(line.x), list(line.y)) for line in figure.data] == [
        ("conv1", [1], [0.25]),
        ("fc8", [1, 2], [2.0, 4.0]),
    ]
    assert figure.layout.yaxis.type == "log"


def test_silent_units_are_percent_and_their_axis_begins_at_zero():
    figure = chart(KEPT, Scales(log=True), "dead/", "dead units (%)")
    assert [(line.name, list(line.y)) for line in figure.data] == [("relu1", [12.5]), ("relu2", [0.0])]
    assert figure.layout.yaxis.type is None and figure.layout.yaxis.rangemode == "tozero"


def test_layers_stand_in_their_order():
    assert names(KEPT["train"], "gradient/") == ["conv1", "fc8"]
    assert names(KEPT["val"], "saturated/") == names([], "dead/") == []


def test_layers_in_words():
    assert in_words(KEPT["train"], "gradient/", "norm").endswith("now: conv1 0.25, fc8 4")
    assert in_words(KEPT["val"], "dead/", "dead units (%)").endswith("now: relu1 12.5, relu2 0")


@pytest.mark.parametrize("count", [1, 2, 8])
def test_layers_get_lighter_with_depth(count):
    colours = [sum(bytes.fromhex(colour[1:])) for colour in depth_colours(count)]
    assert len(colours) == count and colours == sorted(set(colours))
