"""Receptive fields against the gradient: of a network whose weights are all positive every pixel seen has one."""

import numpy as np
import pytest
import torch

from alexnet_explorer.config import MODEL_PRESETS, ModelConfig
from alexnet_explorer.inspection.receptive import Field, Window, fields, window
from alexnet_explorer.model import AlexNet


def narrow(preset, **fields):
    """A preset's geometry with few maps, and means where a maximum would have no gradient at most places."""
    config = MODEL_PRESETS[preset]
    count = len(config.widths)
    return ModelConfig(**{**config.model_dump(), "widths": (4,) * count, "num_classes": 3, "dropout": 0.3,
                          "fc_widths": (4,) * len(config.fc_widths),
                          "pool_kinds": ("avg",) * len(config.pool_after), **fields})  # fmt: skip


def seen_by_gradient(config, layer, row, column, side):
    """Which pixels change the sum of a layer's maps at a position: (size, size) of truth values.

    Of dropout, which passes on maps as one long list, the first map's number.
    """
    model = AlexNet(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0)
    x = torch.rand(1, config.in_channels, config.input_size, config.input_size, dtype=torch.float64) + 0.1
    x.requires_grad_()
    outputs = {}
    module = model.get_submodule(layer)
    module.register_forward_hook(lambda module, inputs, output: outputs.update(at=output))
    model(x)
    there = outputs["at"][0]
    if there.dim() == 3:
        target = there[:, row, column].sum()
    else:
        target = there[row * side + column] if isinstance(module, torch.nn.Dropout) else there.sum()
    (gradient,) = torch.autograd.grad(target, x)
    return (gradient[0] != 0).any(0).numpy()


CONFIGS = {
    "alexnet": narrow("alexnet"),
    "alexnet-torchvision": narrow("alexnet-torchvision"),
    "alexnet-64": narrow("alexnet-64"),
    "alexnet-32": narrow("alexnet-32", pooling="non-overlapping"),
    "convnet-2012": narrow("convnet-2012", lrn=True, lrn_kind="within-map", lrn_size=3),
    "odd size, no padding, grey": narrow("alexnet-32", input_size=45, in_channels=1, paddings=(0, 0, 0, 0, 0)),
    "two convolutions fewer": narrow("alexnet-64", convolutions=(1, 3, 5), lrn_place="after-pool"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_window_is_where_the_gradient_is(name):
    config = CONFIGS[name]
    rng = np.random.default_rng(0)
    for layer in config.layers():
        if layer.kind == "activation" and config.lrn_kind == "across-maps":
            continue  # sees what its convolution sees
        if layer.kind != "dropout":
            side = layer.output[1] if len(layer.output) == 3 else 1
        places = {(0, 0), (side - 1, side - 1), tuple(rng.integers(0, side, 2).tolist())}
        for row, column in places:
            seen = window(config, layer.name, row, column)
            expected = np.zeros((config.input_size, config.input_size), bool)
            expected[seen.top : seen.bottom, seen.left : seen.right] = True
            np.testing.assert_array_equal(seen_by_gradient(config, layer.name, row, column, side), expected, layer.name)


def test_the_fields_of_2012():
    """As they are known of AlexNet: 11, 51, 99, 131 and 163 pixels in the convolutions, 195 in the last pooling."""
    found = fields(MODEL_PRESETS["alexnet"])
    assert found["conv1"] == Field(11, 4, 0)
    assert [found[name].size for name in ("pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6")] == [
        19, 51, 67, 99, 131, 163, 195, 355,
    ]  # fmt: skip
    assert found["conv5"].stride == 16 and found["relu2"] == found["lrn2"] == found["conv2"]


def test_where_no_border_is_near_the_window_is_the_field():
    config = MODEL_PRESETS["alexnet"]
    field = fields(config)["conv3"]
    first = field.offset + 6 * field.stride
    end = first + field.size
    assert window(config, "conv3", 6, 6) == Window(first, first, end, end)


def test_lrn_within_a_map_sees_further_and_across_maps_it_does_not():
    within, across = (
        fields(narrow("alexnet-32", lrn=True, lrn_size=5, lrn_kind=kind)) for kind in ("within-map", "across-maps")
    )
    assert within["lrn1"].size == within["relu1"].size + 4 and within["lrn1"].offset == within["relu1"].offset - 2
    assert across["lrn1"] == across["relu1"]


def test_a_window_is_cut_out_of_a_picture():
    picture = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    np.testing.assert_array_equal(Window(1, 2, 4, 5).cut(picture), picture[1:4, 2:5])


def test_an_unknown_layer_is_named():
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        window(MODEL_PRESETS["alexnet"], "conv9")
