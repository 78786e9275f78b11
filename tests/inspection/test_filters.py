import numpy as np
import pytest
import torch

from alexnet_explorer.inspection.filters import filters, input_maps, kernels, norms
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
