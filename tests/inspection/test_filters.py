import colorsys
import math

import numpy as np
import pytest
import torch

from alexnet_explorer.inspection.filters import (
    arrange,
    colourfulness,
    connections,
    cosines,
    filters,
    hues,
    input_maps,
    kernels,
    map_norms,
    norms,
    orientations,
    sees_colours,
    tower_colour,
)
from alexnet_explorer.inspection.mosaic import as_colours


def test_one_scale_for_all_kernels_with_zero_in_the_middle(tiny):
    model = tiny().model
    weight = model.get_submodule("conv1").weight
    weight.zero_()
    weight[2, 0, 1, 1] = -0.4  # the largest: drawn black
    weight[3, 1, 0, 2] = 0.2  # half of it: three quarters of the way to white
    pictures = filters(model)
    assert pictures.shape == (6, 3, 3, 3) and pictures.dtype == np.float32
    assert pictures[2, 1, 1, 0] == 0 and pictures[3, 0, 2, 1] == pytest.approx(0.75)
    assert (pictures == 0.5).sum() == pictures.size - 2
    assert filters(model, "conv1", scale=0.8)[2, 1, 1, 0] == pytest.approx(0.25)


def test_kernels_of_zeros_are_grey(tiny):
    model = tiny().model
    model.get_submodule("conv1").weight.zero_()
    assert (filters(model) == 0.5).all()


def test_kernels_of_another_epoch_are_drawn_as_the_networks_own(tiny):
    model = tiny().model
    weights = model.get_submodule("conv1").weight.numpy()
    np.testing.assert_array_equal(as_colours(weights, 0.7), filters(model, "conv1", 0.7))


def test_a_network_of_grey_pictures_has_grey_filters(tiny):
    model = tiny(in_channels=1).model
    pictures = filters(model)
    assert pictures.shape == (6, 3, 3, 3)
    assert (pictures == pictures[..., :1]).all() and np.ptp(pictures) > 0


def test_only_what_sees_the_picture_has_colours(tiny):
    # Three maps go into conv2 here, and are no colours for that.
    with pytest.raises(ValueError, match="conv2 sees 3 maps"):
        filters(tiny(widths=(3, 8, 4), towers=1).model, "conv2")
    with pytest.raises(ValueError, match="conv1 sees 4 maps"):
        filters(tiny(in_channels=4).model)


@pytest.mark.parametrize("unit", [0, 3, 4, 7])
def test_a_unit_depends_on_the_maps_of_its_tower_alone(tiny, unit):
    model = tiny().model
    conv = model.get_submodule("conv2")
    maps = input_maps(model, "conv2", unit)
    x = torch.ones(1, 6, 8, 8)
    before = conv(x)[0, unit]
    for number in range(6):
        changed = x.clone()
        changed[0, number] = 2
        assert torch.equal(conv(changed)[0, unit], before) == (number not in maps)
    assert kernels(model, "conv2")[unit].shape == (len(maps), 3, 3)
    assert input_maps(model, "conv3", 2) == range(8)  # of no tower


def test_norms_are_those_of_pytorch(tiny):
    model = tiny().model
    expected = model.get_submodule("conv2").weight.flatten(1).norm(dim=1)
    np.testing.assert_allclose(norms(kernels(model, "conv2")), expected, rtol=1e-6)


def test_what_is_handed_out_is_a_copy(tiny):
    model = tiny().model
    kernels(model, "conv1")[:] = 0
    assert model.get_submodule("conv1").weight.abs().sum() > 0


def test_layers_without_kernels_are_refused(tiny):
    with pytest.raises(ValueError, match="fc4 has no kernels to show; the convolutions are conv1, conv2, conv3"):
        kernels(tiny().model, "fc4")


def test_norms_by_input_map_stand_where_a_unit_is_connected(tiny):
    model = tiny().model
    weights = kernels(model, "conv2")
    found = connections(model, "conv2", weights)
    assert found.shape == (8, 6)
    for unit in range(8):
        maps = list(input_maps(model, "conv2", unit))
        for number in range(6):
            if number in maps:
                expected = np.linalg.norm(weights[unit, maps.index(number)])
                assert found[unit, number] == pytest.approx(expected, rel=1e-6)
            else:
                assert np.isnan(found[unit, number])
    np.testing.assert_allclose(np.sqrt((map_norms(weights) ** 2).sum(1)), norms(weights), rtol=1e-6)


def test_cosines_are_those_of_pytorch():
    one, other = torch.randn(2, 5, 3, 3, 3)
    one[4] = 0
    expected = torch.nn.functional.cosine_similarity(one.flatten(1), other.flatten(1))
    np.testing.assert_allclose(cosines(one.numpy(), other.numpy()), expected, atol=1e-6)
    np.testing.assert_allclose(cosines(other.numpy(), -2 * other.numpy()), -1, rtol=1e-6)


def test_what_sees_the_pictures_colours(tiny):
    assert sees_colours(tiny().model, "conv1") and not sees_colours(tiny().model, "conv2")
    assert not sees_colours(tiny(in_channels=1).model, "conv1")


# Colour and orientation


def gabor(side, degrees, wavelength, phase=0.0):
    """Stripes that run in a direction, 0 horizontal, 45 rising to the right, under a bell: (side, side)."""
    down, right = np.mgrid[:side, :side] - (side - 1) / 2
    across = math.radians(degrees + 90)
    place = right * math.cos(across) - down * math.sin(across)
    bell = np.exp(-(down**2 + right**2) / (side / 2) ** 2 / 2)
    return (np.cos(2 * np.pi * place / wavelength + phase) * bell).astype(np.float32)


def coloured(pattern, colour):
    return np.float32(colour)[:, None, None] * pattern


def test_the_colour_of_kernels():
    grey, red, opponent = np.zeros((3, 3, 2, 2), dtype=np.float32)
    grey[:] = 0.7
    red[0] = 1.0
    opponent[0], opponent[1] = 1.0, -1.0
    assert colourfulness(np.stack([grey, red, opponent])) == pytest.approx([0, 2 / 3, 1], abs=1e-6)


@pytest.mark.parametrize("degrees", [0, 20, 60, 130, 180, 240, 300, 345])
@pytest.mark.parametrize("side", [3, 5, 11])
def test_a_kernel_of_one_colour_has_its_hue(degrees, side):
    red, green, blue = colorsys.hsv_to_rgb(degrees / 360, 1, 1)
    blob = gabor(side, 0, 1e9)
    (found,) = hues(coloured(blob, (red, green, blue))[None])
    # The hue of HSV goes along the sides of a hexagon, this one along a circle: they part by 1.1 degrees at most.
    assert abs((found - degrees + 180) % 360 - 180) < 1.2
    (with_grey,) = hues(coloured(blob, (red - 0.2, green - 0.2, blue - 0.2))[None])
    assert abs((with_grey - found + 180) % 360 - 180) < 1e-3


def test_of_a_colour_and_its_opposite_the_one_that_outweighs_the_other_counts():
    pattern = np.ones((4, 4), np.float32)
    pattern[:, 0] = -1
    assert hues(coloured(pattern, (0, 0, 1))[None]) == pytest.approx([240])
    assert hues(coloured(-pattern, (0, 0, 1))[None]) == pytest.approx([60])  # more yellow than blue


def test_grey_noise_and_many_colours_have_no_hue():
    rng = np.random.default_rng(0)
    several = np.zeros((3, 6, 6), np.float32)
    for channel in range(3):
        several[channel, 2 * channel : 2 * channel + 2] = 1
    none = [coloured(gabor(6, 30, 4), (1, 1, 1)), several, np.zeros((3, 6, 6), np.float32)]
    assert np.isnan(hues(np.stack(none))).all()
    assert np.isnan(hues(rng.normal(size=(500, 3, 11, 11)).astype(np.float32))).all()


@pytest.mark.parametrize("degrees", np.arange(0, 180, 15))
@pytest.mark.parametrize(("side", "wavelength", "most"), [(3, 3, 11), (5, 3.5, 4), (11, 5, 2)])
@pytest.mark.parametrize("colour", [(1, 1, 1), (1, -1, 0)])
def test_stripes_have_the_direction_in_which_they_run(degrees, side, wavelength, most, colour):
    for phase in (0, 1, np.pi / 2):
        (found,) = orientations(coloured(gabor(side, degrees, wavelength, phase), colour)[None])
        assert abs((found - degrees + 90) % 180 - 90) < most


def test_what_runs_in_no_direction_has_no_orientation():
    rng = np.random.default_rng(0)
    blob = gabor(7, 0, 1e9)
    cross = gabor(7, 0, 4) + gabor(7, 90, 4)
    board = (np.indices((7, 7)).sum(0) % 2).astype(np.float32)
    patterns = [blob, cross, board, np.zeros((7, 7), np.float32), np.ones((7, 7), np.float32)]
    assert np.isnan(orientations(np.stack([coloured(pattern, (1, 1, 1)) for pattern in patterns]))).all()
    assert np.isnan(orientations(rng.normal(size=(500, 3, 11, 11)).astype(np.float32))).all()


def test_kernels_stand_in_the_order_asked_for_and_those_without_an_angle_last():
    blob, grey = gabor(7, 0, 1e9), coloured(gabor(7, 100, 4), (1, 1, 1))
    weights = np.stack([
        2 * grey,
        coloured(blob, (0, 0, 1)),
        coloured(blob, (3, 0, 0)),
        coloured(gabor(7, 10, 4), (1, 1, 1)),
        coloured(blob, (0, 1, 0)),
    ]).astype(np.float32)  # fmt: skip
    assert list(arrange(weights, "number")) == [0, 1, 2, 3, 4]
    assert arrange(weights, "norm")[0] == 2 and (np.diff(norms(weights)[arrange(weights, "norm")]) <= 0).all()
    assert list(arrange(weights, "hue")) == [2, 4, 1, 0, 3]
    assert list(arrange(weights, "orientation")) == [3, 0, 1, 2, 4]
    with pytest.raises(ValueError, match="8 maps have no hue"):
        arrange(np.ones((2, 8, 3, 3), np.float32), "hue")


def test_towers_that_differ_in_colour_are_farther_apart_than_random_halves():
    rng = np.random.default_rng(1)
    grey, colour = rng.uniform(0, 0.2, 24), rng.uniform(0.7, 1, 24)
    found = tower_colour(np.concatenate([grey, colour]).astype(np.float32), 2)
    assert found.means == pytest.approx((grey.mean(), colour.mean()))
    assert found.apart == pytest.approx(colour.mean() - grey.mean()) and found.as_far == 0
    # The halves of n values with deviation s are apart by a normal deviate of deviation 2 s / sqrt(n - 1).
    both = np.concatenate([grey, colour])
    assert found.chance == pytest.approx(math.sqrt(2 / math.pi) * 2 * both.std() / math.sqrt(47), rel=0.1)


def test_towers_alike_are_as_near_as_chance_has_them():
    shares = np.tile(np.linspace(0, 1, 24, dtype=np.float32), 2)
    found = tower_colour(shares, 2)
    assert found.apart == pytest.approx(0, abs=1e-6) and found.as_far == 1
    assert len(tower_colour(shares, 4).means) == 4
