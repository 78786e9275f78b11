"""The table of a network against the paper's figures, and against the network as PyTorch builds and runs it."""

import pytest
import torch
from torch import nn

from alexnet_explorer.config import MODEL_PRESETS, ModelConfig
from alexnet_explorer.inspection.hooks import record
from alexnet_explorer.inspection.summary import summary, totals


@pytest.mark.parametrize(
    ("preset", "expected"),
    [("alexnet", (60_965_224, 724_406_816)), ("alexnet-torchvision", (61_100_840, 714_188_480))],
)
def test_totals_are_the_published_ones(preset, expected):
    assert totals(summary(MODEL_PRESETS[preset])) == expected


def test_the_first_layer_of_2012():
    conv1, relu1, lrn1, pool1 = summary(MODEL_PRESETS["alexnet"])[:4]
    assert (conv1.kernel, conv1.stride, conv1.padding, conv1.groups) == (11, 4, 0, 1)
    assert conv1.output == (96, 55, 55) and conv1.parameters == 96 * (11 * 11 * 3 + 1)
    assert conv1.multiply_adds == 96 * 55 * 55 * 11 * 11 * 3
    assert (relu1.kernel, lrn1.kernel, lrn1.multiply_adds) == (None, None, 0)
    assert (pool1.kernel, pool1.stride, pool1.output) == (3, 2, (96, 27, 27))
    assert [row.receptive_field for row in (conv1, relu1, lrn1, pool1)] == [11, 11, 11, 19]


@pytest.mark.parametrize(
    "fields",
    [{}, {"pooling": "non-overlapping"}, {"convolutions": (1, 3)}, {"in_channels": 1, "towers": 1}, {"lrn": False}],
)
def test_every_row_is_the_layer_that_is_built(tiny, fields):
    model = tiny(**fields).model
    rows = summary(model.config)
    assert [row.name for row in rows] == [name for name, _ in model.named_children()]
    with record(model, [row.name for row in rows]) as outputs:
        model(torch.zeros(1, model.config.in_channels, 16, 16))
    for row in rows:
        module = model.get_submodule(row.name)
        assert tuple(outputs[row.name].shape[1:]) == row.output
        assert row.parameters == sum(parameter.numel() for parameter in module.parameters())
        if isinstance(module, nn.Conv2d):
            assert (row.kernel, row.stride, row.padding) == (
                module.kernel_size[0], module.stride[0], module.padding[0],
            )  # fmt: skip
            # Every output is a sum over one kernel.
            assert row.multiply_adds == outputs[row.name].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            assert row.multiply_adds == module.weight.numel()
        elif row.kind == "pool":
            assert (row.kernel, row.stride) == (module.kernel_size, module.stride)


def test_the_totals_are_sums():
    rows = summary(ModelConfig())
    assert totals(rows) == (sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows))
    assert totals(rows)[0] == ModelConfig().parameters()
