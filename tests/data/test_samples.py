import socket
import subprocess
import sys

import numpy as np
import pytest

from alexnet_explorer.data.samples import SAMPLES, load_sample, places, sample_names


def no_network(*args, **kwargs):
    raise AssertionError("a sample must not need the network")


@pytest.mark.parametrize("name", sample_names())
def test_a_sample_is_a_colour_photograph_that_needs_no_network(name, monkeypatch):
    monkeypatch.setattr(socket, "socket", no_network)
    image = load_sample(name)
    assert image.mode == "RGB"
    assert min(image.size) >= 256
    assert np.asarray(image).std(axis=(0, 1)).min() > 20
    assert SAMPLES[name].title
    assert SAMPLES[name].description.count("; by ") == 1 or name == "motorcycle"


def test_the_pixels_are_those_that_the_packages_give():
    from skimage import data
    from sklearn.datasets import load_sample_image

    assert np.array_equal(np.asarray(load_sample("cat")), data.chelsea())
    assert np.array_equal(np.asarray(load_sample("motorcycle")), data.stereo_motorcycle()[0])
    assert np.array_equal(np.asarray(load_sample("flower")), load_sample_image("flower.jpg"))


def test_neither_package_is_imported():
    code = (
        "import sys; from alexnet_explorer.data.samples import load_sample; load_sample('cat'); load_sample('china');"
        "print([name for name in ('skimage', 'sklearn', 'torch') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


IMAGENET = [
    "tiger cat",
    "Egyptian cat",
    "tabby",
    "espresso",
    "cup",
    "coffee mug",
    "motor scooter",
    "crane",
    "catamaran",
]


@pytest.mark.parametrize(
    ("name", "classes", "folders", "found", "kin"),
    [
        ("cat", IMAGENET, (), [2], [0, 1]),
        ("cat", ["aeroplane", "Cat"], (), [1], []),
        ("cat", ["a", "b", "c"], ["n02123045", "n02124075", "n01443537"], [0], [1]),
        ("cat", ["tabby, tabby cat", "Persian_cat"], (), [0], [1]),
        ("coffee", IMAGENET, (), [3, 4], [5]),
        ("motorcycle", IMAGENET, (), [], [6]),
        ("rocket", IMAGENET, (), [], []),
    ],
)
def test_what_a_sample_shows_is_found_among_a_networks_classes(name, classes, folders, found, kin):
    truth = SAMPLES[name].truth
    assert places(truth.classes, classes, folders) == found
    assert places(truth.kin, classes, folders) == kin


def test_nothing_is_what_a_sample_shows_and_only_near_it():
    for sample in SAMPLES.values():
        assert sample.truth.classes and not sample.truth.classes & sample.truth.kin
