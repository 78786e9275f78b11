import numpy as np
import pytest

from alexnet_explorer.inspection.activations import (
    LayerStatistics,
    activations,
    block,
    dead_over,
    statistics,
    strength,
    strongest_first,
    strongest_place,
    thumbnail,
    walk,
)
from alexnet_explorer.inspection.mosaic import colour_table
from alexnet_explorer.inspection.picture_sets import of_pictures
from alexnet_explorer.inspection.predict import probabilities


def test_every_layer_is_there_with_the_shape_of_the_config(tiny, picture):
    loaded = tiny()
    outputs = walk(loaded, picture)
    assert {name: values.shape for name, values in outputs.items()} == {
        name: layer.output for name, layer in loaded.model.layers.items()
    }
    assert all(values.dtype == np.float32 for values in outputs.values())


def test_one_pass_gives_the_same_as_one_layer_at_a_time(tiny, picture, watch, hooks_of):
    loaded = tiny()
    held = watch(loaded)
    outputs = walk(loaded, picture, ["conv2", "relu3", "fc4"])
    assert held == [True] and hooks_of(loaded.model) == 1  # the test's own
    assert list(outputs) == ["conv2", "relu3", "fc4"]
    for name, values in outputs.items():
        np.testing.assert_array_equal(activations(loaded, picture, name), values)


def test_the_last_layer_is_what_the_prediction_comes_from(tiny, picture):
    loaded = tiny()
    logits = activations(loaded, picture, "fc5")
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), probabilities(loaded, picture), rtol=1e-5)


def test_an_unknown_layer_is_named(tiny, picture):
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        activations(tiny(), picture, "conv9")


def test_statistics_of_maps():
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0, 0] = [1, -3]
    maps[2, 1, 1] = 8
    expected = LayerStatistics(maps=3, dead=1, zeros=0.75, minimum=-3, maximum=8, mean=0.5, std=(71 / 12) ** 0.5)
    assert statistics(maps) == expected


def test_statistics_of_units():
    assert statistics(np.array([0, 2, 0, 6], np.float32)) == LayerStatistics(4, 2, 0.5, 0, 6, 2, 6**0.5)


def test_strength_is_the_largest_value_not_the_largest_magnitude():
    maps = np.array([[[0, -9], [1, 0]], [[3, 0], [0, 0]], [[-2, -1], [-3, -4]], [[0, 3], [0, 0]]], np.float32)
    assert strength(maps).tolist() == [1, 3, -1, 3]
    assert strongest_first(maps).tolist() == [1, 3, 0, 2]
    assert strongest_first(maps[:, 0, 1]).tolist() == [3, 1, 2, 0]
    assert [strongest_place(one) for one in maps] == [(1, 0), (0, 0), (0, 1), (0, 1)]
    assert strongest_place(maps[0, 0, 0]) == (0, 0)


@pytest.mark.parametrize(
    ("fields", "layer", "steps"),
    [
        ({}, "pool1", ["conv1", "relu1", "lrn1", "pool1"]),
        ({}, "conv2", ["conv2", "relu2", "lrn2"]),
        ({"lrn_place": "after-pool", "activation": "tanh"}, "tanh1", ["conv1", "tanh1", "pool1", "lrn1"]),
        ({}, "relu4", ["fc4", "relu4"]),
        ({"dropout_place": "before-fc"}, "fc4", ["fc4", "relu4"]),
        ({}, "fc5", ["fc5"]),
        ({"convolutions": (1, 2)}, "pool3", ["lrn2", "pool3"]),
    ],
)
def test_the_steps_of_a_block(tiny, fields, layer, steps):
    assert block(tiny(**fields).model.layers, layer) == steps


def test_a_unit_is_dead_over_pictures_where_none_of_them_wakes_it(tiny, picture):
    loaded = tiny()
    pictures = {name: picture.rotate(angle) for name, angle in (("a", 0), ("b", 90), ("c", 180))}
    loaded.model.get_parameter("conv1.bias")[3] = -100
    found = dead_over(loaded, of_pictures("three", {name: (name, one) for name, one in pictures.items()}), batch=2)
    assert list(found) == [layer.name for layer in loaded.model.layers.values() if layer.kind != "dropout"]
    for name, dead in found.items():
        alone = [walk(loaded, one, [name])[name] for one in pictures.values()]
        np.testing.assert_array_equal(
            dead, [not any(values[unit].any() for values in alone) for unit in range(len(dead))]
        )
    assert found["relu1"].tolist() == [False, False, False, True, False, False] and not found["conv1"].any()


@pytest.mark.parametrize("shape", [(96, 55, 55), (3, 1, 1), (1, 36, 36), (10,), (4096,), (9000,), (1,)])
def test_a_thumbnail_is_small_and_shows_the_strongest(shape):
    values = np.zeros(shape, np.float32)
    values[-1] = 1
    picture = thumbnail(values, 72)
    assert picture.dtype == np.uint8 and max(picture.shape[:2]) <= 72 and min(picture.shape[:2]) >= 18
    light, dark = colour_table("viridis")[[255, 0]]
    assert (picture == light).all(-1).any() or shape == (9000,)  # where dots are averaged
    if len(shape) == 3:
        assert (picture[:35, :35] == light).all()  # the first of the four
    assert shape in ((1,), (1, 36, 36)) or (picture == dark).all(-1).any()
