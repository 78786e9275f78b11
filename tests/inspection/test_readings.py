"""Readings of networks whose answer is known."""

import math

import numpy as np
import pytest
import torch

from alexnet_explorer.data.packed import DataError
from alexnet_explorer.inspection import readings
from alexnet_explorer.inspection.evaluate import centre_view, evaluate, ten_crops
from alexnet_explorer.inspection.neighbours import last_hidden
from alexnet_explorer.inspection.readings import neighbours, ten_crop, tower_colour
from alexnet_explorer.weights import load_weights


@pytest.fixture
def loaded(trained, monkeypatch):
    """A network with two towers, and the set that it was trained on."""
    from alexnet_explorer.data.packed import find_set

    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(trained.data))
    return load_weights(trained.relu.weights_file()), find_set("colours")


def test_ten_crops_are_compared_with_the_one_on_the_same_images(loaded):
    from PIL import Image

    network, packed = loaded
    pictures = [(Image.fromarray(i), int(y)) for i, y in zip(packed.images("test"), packed.labels("test"), strict=True)]
    expected = tuple(evaluate(network, pictures, views).top1_error for views in (ten_crops, centre_view))
    assert ten_crop(network, packed) == expected  # all 45 test images are fewer than are drawn


def test_images_are_drawn_once_for_all(loaded, monkeypatch):
    monkeypatch.setattr(readings, "IMAGES", 20)
    assert readings._some(loaded[1]) == readings._some(loaded[1]) and len(readings._some(loaded[1])) == 20


def test_neighbours_are_counted_as_a_plain_loop_counts_them(loaded):
    network, packed = loaded
    x = network.preprocessing.normalise(torch.from_numpy(packed.images("test").copy()))
    with torch.inference_mode():
        network.model(x)
        h = network.model.get_submodule(last_hidden(network))
        kept = {}
        handle = h.register_forward_hook(lambda module, inputs, output: kept.update(out=output))
        network.model(x)
        handle.remove()
    labels = packed.labels("test")
    for vectors, found in zip(
        (packed.images("test").reshape(45, -1).astype(float), kept["out"].numpy().astype(float)),
        neighbours(network, packed), strict=True,
    ):  # fmt: skip
        hits = 0
        for number, vector in enumerate(vectors):
            distances = np.linalg.norm(vectors - vector, axis=1)
            distances[number] = math.inf
            hits += (labels[np.argsort(distances, kind="stable")[:5]] == labels[number]).sum()
        assert found == pytest.approx(hits / (45 * 5), abs=0.01)  # ties at 0, where ReLUs are silent


def test_towers_of_grey_and_of_colour_are_farther_apart_than_chance(loaded):
    network, packed = loaded
    weights = network.model.get_submodule("conv1").weight
    with torch.no_grad():
        weights[:3] = 0.5  # grey
        weights[3:] = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1)
    found = tower_colour(network, packed)
    assert found.other == pytest.approx(1, abs=1e-5) and found.baseline < 0.5
    with torch.no_grad():
        weights[:] = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1)
    assert tower_colour(network, packed) == pytest.approx((0, 0), abs=1e-5)


def test_what_cannot_be_read_says_why(loaded, pack, data_root, trained):
    network, _ = loaded
    with pytest.raises(DataError, match="no test images"):
        ten_crop(network, pack("without", test=0))
    one = network.model.config.model_copy(update={"towers": 1})
    network.model.config = one
    with pytest.raises(DataError, match=r"set model\.towers=2"):
        tower_colour(network, loaded[1])
