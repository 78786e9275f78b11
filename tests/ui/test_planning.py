"""What would be trained: the table of layers, the towers that fit."""

import pytest

from alexnet_explorer.config import MODEL_PRESETS, ConfigError, preset_config
from alexnet_explorer.model import AlexNet
from alexnet_explorer.ui.chosen import planned
from alexnet_explorer.ui.planning import layer_table
from alexnet_explorer.ui.training import fitting_towers


@pytest.mark.parametrize("preset", ["alexnet", "alexnet-32", "convnet-2012"])
def test_the_table_has_every_layer_and_every_parameter(preset):
    model = MODEL_PRESETS[preset]
    table = layer_table(model)
    assert [row["layer"] for row in table] == [layer.name for layer in model.layers()]
    assert sum(row["parameters"] or 0 for row in table) == model.parameters()


def test_the_table_agrees_with_the_network_itself():
    rows = {row["layer"]: row for row in layer_table(MODEL_PRESETS["alexnet-32"])}
    network = AlexNet(MODEL_PRESETS["alexnet-32"])
    for name in ("conv1", "conv4", "fc8"):
        counted = sum(weights.numel() for key, weights in network.named_parameters() if f"{name}." in f"{key}.")
        assert rows[name]["parameters"] == counted > 0
    assert (rows["conv1"]["kernel"], rows["conv1"]["output"]) == ("5×5", "32×32×32")
    assert (rows["pool2"]["kernel"], rows["pool2"]["parameters"]) == ("", None)


def test_the_towers_that_fit_are_those_that_the_config_takes():
    fitting = fitting_towers(preset_config("alexnet-64"))
    assert fitting == [1, 2, 4, 8]
    with pytest.raises(ConfigError):
        preset_config("alexnet-64").with_settings({"model.towers": 3})


def test_a_plan_counts_an_output_for_each_class(packed):
    config = planned(preset_config("alexnet-32", packed.name), packed)
    assert config.model.num_classes == 3
    assert config.data.digest == packed.digest
    assert planned(preset_config("alexnet", "cifar10"), None).model.num_classes == 10
