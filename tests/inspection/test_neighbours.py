"""Neighbours, against plain loops and closed forms."""

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.inspection.neighbours import (
    distances,
    feature_rows,
    features,
    last_hidden,
    nearest,
    pixel_rows,
    pixels,
    same_class_share,
)
from alexnet_explorer.inspection.picture_sets import of_packed


def preprocessing(size, channels=3):
    shade = torch.full((channels, 1, 1), 127.5)
    return Preprocessing(size, size, shade, shade)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("width", [3, 150_000])  # rows of which one is computed at once
def test_distances_are_euclids(kind, width):
    rows = np.random.default_rng(0).integers(0, 255, (4, width)).astype(kind)
    expected = [np.linalg.norm(row.astype(float) - rows[2].astype(float)) for row in rows]
    assert distances(rows, rows[2]) == pytest.approx(expected, rel=1e-5)
    assert distances(rows, rows[2])[2] == 0


def test_the_nearest_come_first_and_what_is_left_out_does_not():
    apart = np.array([3.0, 0.0, 2.0, 2.0, 9.0])
    assert nearest(apart, 3).numbers.tolist() == [1, 2, 3]
    found = nearest(apart, 9, apart == 0)
    assert found.numbers.tolist() == [2, 3, 0, 4] and found.distances.tolist() == [2, 2, 3, 9]


@pytest.mark.parametrize("layer", ["conv2", "pool3", "relu4", "fc5"])
def test_a_sets_rows_are_those_of_its_pictures(tiny, packed, layer):
    loaded, pictures = tiny(), of_packed(packed)
    rows = np.concatenate(list(feature_rows(loaded, pictures, layer)))
    assert len(rows) == pictures.count
    for number in (0, 31, 32, 44):
        expected = features(loaded, pictures.picture(number), layer)
        np.testing.assert_allclose(rows[number], expected, rtol=1e-4, atol=1e-5)
    later = np.concatenate(list(feature_rows(loaded, pictures, layer, start=40)))
    np.testing.assert_allclose(later, rows[40:], rtol=1e-4, atol=1e-5)


def test_pixels_are_what_the_network_sees(packed):
    pictures = of_packed(packed)
    rows = np.concatenate(list(pixel_rows(preprocessing(16), pictures)))
    np.testing.assert_array_equal(rows, packed.images("test").reshape(45, -1))
    np.testing.assert_array_equal(np.concatenate(list(pixel_rows(preprocessing(16), pictures, 40))), rows[40:])


def test_pixels_of_a_network_without_colours_are_grey(picture):
    row = pixels(preprocessing(16, channels=1), picture)
    luma = np.asarray(picture) @ [0.299, 0.587, 0.114]
    assert row.shape == (256,) and np.abs(row - luma.ravel()).max() <= 1


def test_many_pixels_are_averaged_down():
    blocks = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    large = Image.fromarray(blocks.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(pixels(preprocessing(128), large), blocks.ravel())


def test_the_share_of_ones_own_class():
    rows = np.array([[0.0], [1.0], [2.5], [10.0], [11.0], [12.5]], dtype=np.float32)
    assert same_class_share(rows, np.array([0, 0, 0, 1, 1, 1]), 2) == 1
    assert same_class_share(rows, np.array([0, 1, 0, 1, 0, 1]), 1) == pytest.approx(0)
    assert same_class_share(rows.astype(np.uint8), np.array([0, 0, 1, 1, 1, 1]), 1) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("fields", "name"),
    [({}, "relu4"), ({"activation": "tanh"}, "tanh4"), ({"fc_widths": (12, 9)}, "relu5"), ({"fc_widths": ()}, "relu3")],
)
def test_the_last_hidden_layer(tiny, fields, name):
    assert last_hidden(tiny(**fields)) == name
