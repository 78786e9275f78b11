import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.inspection.activations import activations, strongest_place, walk
from alexnet_explorer.inspection.attribution import NotApplicable
from alexnet_explorer.inspection.deconvnet import deconvnet
from alexnet_explorer.inspection.receptive import window


def kernel_at(loaded, unit, row, column):
    """A kernel of conv1 (3×3, padding 1) laid at a position of its map, in an empty picture."""
    kernel = loaded.model.get_parameter("conv1.weight")[unit].numpy()
    size = loaded.preprocessing.size
    padded = np.zeros((len(kernel), size + 2, size + 2), np.float32)
    padded[:, row : row + 3, column : column + 3] = kernel
    return padded[:, 1:-1, 1:-1]


@pytest.mark.parametrize("layer", ["conv1", "relu1", "lrn1"])
@pytest.mark.parametrize("unit", [0, 5])
def test_of_one_convolution_it_is_the_kernel_times_the_response(tiny, picture, layer, unit):
    loaded = tiny()
    values = activations(loaded, picture, layer)[unit]
    row, column = strongest_place(values)
    found = deconvnet(loaded, picture, layer, unit)
    assert (found.row, found.column, found.value) == (row, column, pytest.approx(values.max()))
    np.testing.assert_allclose(found.pixels, values.max() * kernel_at(loaded, unit, row, column), atol=1e-6)


def test_max_pooling_sends_it_to_the_place_that_won_alone(tiny, picture):
    loaded = tiny(lrn=False)
    before, after = (activations(loaded, picture, name)[2] for name in ("relu1", "pool1"))
    row, column = strongest_place(after)
    part = before[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
    won = np.add(strongest_place(part), (2 * row, 2 * column))
    expected = after.max() * kernel_at(loaded, 2, *won)
    np.testing.assert_allclose(deconvnet(loaded, picture, "pool1", 2).pixels, expected, atol=1e-6)


def test_mean_pooling_spreads_it_evenly(tiny, picture):
    loaded = tiny(lrn=False, pooling="non-overlapping", pool_kinds=("avg", "max"))
    values = activations(loaded, picture, "pool1")[1]
    row, column = strongest_place(values)
    places = [(2 * row + down, 2 * column + right) for down in (0, 1) for right in (0, 1)]
    expected = sum(values.max() / 4 * kernel_at(loaded, 1, *place) for place in places)
    np.testing.assert_allclose(deconvnet(loaded, picture, "pool1", 1).pixels, expected, atol=1e-6)


@pytest.mark.parametrize("layer", ["relu2", "pool3", "relu4", "fc5"])
@pytest.mark.parametrize("fields", [{}, {"in_channels": 1, "dropout_place": "before-fc", "pool_kinds": ("avg", "max")}])
def test_without_lrn_it_is_captums_times_the_response(tiny, picture, layer, fields):
    from captum.attr import NeuronDeconvolution

    loaded = tiny(lrn=False, **fields)
    values = activations(loaded, picture, layer)
    unit = int(values.reshape(len(values), -1).max(axis=1).argmax())
    found = deconvnet(loaded, picture, layer, unit)
    place = (unit, found.row, found.column) if values.ndim == 3 else (unit,)
    oracle = NeuronDeconvolution(loaded.model, loaded.model.get_submodule(layer))
    with pytest.warns(UserWarning, match="backward hooks"):
        theirs = oracle.attribute(loaded.preprocessing(picture).requires_grad_(), place)
    assert found.pixels.any() and found.pixels.shape == (loaded.model.config.in_channels, 16, 16)
    np.testing.assert_allclose(found.pixels, found.value * theirs[0].numpy(), rtol=1e-4, atol=1e-6)


def test_nothing_lies_outside_of_the_receptive_field(tiny, picture):
    loaded = tiny()
    found = deconvnet(loaded, picture, "relu2", 3)
    seen = window(loaded.model.config, "relu2", found.row, found.column)
    inside = np.zeros((16, 16), bool)
    inside[seen.top : seen.bottom, seen.left : seen.right] = True
    assert found.pixels[:, inside].any() and not found.pixels[:, ~inside].any()


def test_it_leaves_the_network_as_it_was_and_holds_its_lock(tiny, picture, watch, hooks_of):
    loaded = tiny()
    held = watch(loaded)
    deconvnet(loaded, picture, "fc5", 1 + int(activations(loaded, picture, "fc5")[1:].argmax()))
    assert held == [True, True] and hooks_of(loaded.model) == 1  # the test's own
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_what_a_walk_found_saves_another_pass(tiny, picture, watch):
    loaded = tiny()
    outputs = walk(loaded, picture)
    held = watch(loaded)
    found = deconvnet(loaded, picture, "relu2", 3, outputs)
    assert held == []
    np.testing.assert_array_equal(found.pixels, deconvnet(loaded, picture, "relu2", 3).pixels)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_without_relu_it_says_that_it_does_not_apply(tiny, picture, activation):
    with pytest.raises(NotApplicable, match=f"this network has {activation}"):
        deconvnet(tiny(activation=activation), picture, "conv1", 0)


def test_a_unit_that_does_not_respond_has_nothing_to_take_back(tiny):
    loaded = tiny()
    loaded.model.get_parameter("conv1.bias").fill_(-100)
    for layer in ("conv1", "relu1"):
        with pytest.raises(NotApplicable, match="is nowhere above zero"):
            deconvnet(loaded, Image.new("RGB", (16, 16)), layer, 4)


def test_what_is_not_there(tiny, picture):
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        deconvnet(tiny(), picture, "conv9", 0)
    with pytest.raises(IndexError):
        deconvnet(tiny(), picture, "conv1", 6)
