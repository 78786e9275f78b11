"""Which layer a page shows, whatever network the visitor comes from."""

import pytest

from alexnet_explorer.config import MODEL_PRESETS
from alexnet_explorer.ui import frame, lens
from alexnet_explorer.ui.frame import PAGES, layer_for, same_place
from alexnet_explorer.ui.lens import Lens

pages = {page.name: page for page in PAGES}
with_layers = [page for page in PAGES if "layer" in page.uses]


@pytest.fixture
def at(session):
    """Puts a layer into the lens."""
    return lambda layer: session.update(lens=Lens(layer=layer))


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("relu1", "tanh1", True),
        ("sigmoid12", "relu12", True),
        ("relu1", "tanh12", False),
        ("relu1", "conv1", False),
        ("pool1", "lrn1", False),
        ("conv1", "conv1", False),
    ],
)
def test_the_same_place_is_the_activation_of_the_same_number(name, other, same):
    assert same_place(name, other) is same
    assert same_place(other, name) is same


def test_a_layer_follows_the_visitor_to_a_network_with_another_activation(at):
    at("relu3")
    assert layer_for(pages["activations"], ["conv1", "tanh1", "conv3", "tanh3"]) == "tanh3"


def test_a_layer_that_is_not_there_gives_way_to_the_pages_first(at):
    at("pool5")
    assert layer_for(pages["activations"], ["conv1", "sigmoid1", "fc2"]) == "sigmoid1"
    assert layer_for(pages["filters"], ["conv1", "conv2"]) == "conv1"
    at("no such layer")
    assert layer_for(pages["activations"], ["conv2", "fc3"]) == "conv2"


@pytest.mark.parametrize("page", with_layers, ids=lambda page: page.name)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_every_network_has_a_layer_for_every_page(at, page, activation, preset):
    model = MODEL_PRESETS[preset].model_copy(update={"activation": activation})
    layers = {layer.name: layer for layer in model.layers() if layer.kind in page.layer_kinds}
    deepest = [name for name, layer in layers.items() if layer.kind == "activation"][-1:]
    own = {"filters": "conv1", "arithmetic": "conv1", "neighbours": "".join(deepest)}
    for wanted, expected in (
        (None, own.get(page.name, f"{activation}1")),
        ("conv3", "conv3"),
        ("relu2", "conv1" if page.name == "filters" else f"{activation}2"),
    ):
        at(wanted)
        assert layer_for(page, layers) == expected


def test_every_page_has_a_file():
    assert {frame.file_of(page.name) for page in PAGES} == set(frame.PAGES_FOLDER.glob("*.py"))
    assert max(page.least_models for page in PAGES) <= lens.MOST_MODELS
