"""The command line of a config is read back as that config."""

import shlex

import pytest
from typer.testing import CliRunner

from alexnet_explorer import cli
from alexnet_explorer.catalogue import find_weights
from alexnet_explorer.commands import command_line, preset_base, repeat_command
from alexnet_explorer.config import MODEL_PRESETS, preset_config
from alexnet_explorer.runs import RunError, config_on
from alexnet_explorer.training.finetune import finetune_config
from alexnet_explorer.weights import parse_weights

TOGGLED = {
    "model.activation": "tanh",
    "model.pooling": "non-overlapping",
    "model.lrn": False,
    "model.dropout": 0.35,
    "model.init": "2012",
    "data.augmentation": ["pca-colour", "rotation"],
    "data.rotation": 7.0,
    "data.shift": 0.05,
    "data.zoom": 0.8,
    "data.scaling": "2012",
    "train.device": "cpu",
    "train.epochs": 3,
    "train.seed": 17,
    "train.optimiser": "muon",
    "train.learning_rate": 1e-05,
    "train.schedule": "plateau",
    "train.batch_size": 20,
    "train.momentum": 0.95,
    "train.weight_decay": 0.0,
    "train.warm_up": 0.4,
    "train.average": 0.5,
    "train.patience": 2,
    "train.precision": "bf16",
    "train.freeze": ["conv1", "conv3"],
    "data.val_fraction": 0.25,
    "train.snapshot_layers": ["conv1", "conv2"],
}


@pytest.fixture
def read_back(monkeypatch, tmp_path):
    """The config that our command line makes of a command."""

    def read(command, packed=None):
        configs = []

        def caught(config, packed, *given):
            configs.append(config_on(config, packed) if packed else config)
            raise RunError("this is as far as the test goes")

        monkeypatch.setattr(cli, "new_run", caught)
        monkeypatch.setattr("alexnet_explorer.training.finetune.new_finetune", caught)
        monkeypatch.setattr(cli, "_advise", lambda *given: None)
        monkeypatch.setattr("alexnet_explorer.data.sources.prepare", lambda *given, **named: packed)
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "alexnet_explorer"]
        CliRunner().invoke(cli.app, [*words[3:], "--runs", str(tmp_path)])
        return configs[0]

    return read


def as_command(config):
    """The command line of a config that began with a preset."""
    return command_line(config, preset_base(config.model.preset, config.data.name))


@pytest.mark.parametrize("preset", MODEL_PRESETS)
@pytest.mark.parametrize("data", ["digits", "cifar10", "CIFAR-10 (JPEG copy)", "it's $HOME; b"])
def test_a_preset_comes_back_from_its_command_line(read_back, preset, data):
    config = preset_config(preset, data)
    assert read_back(as_command(config)) == config


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_every_toggle_comes_back_from_the_command_line(read_back, preset):
    config = preset_config(preset, "cats & dogs").with_settings(TOGGLED)
    assert read_back(as_command(config)) == config


@pytest.mark.parametrize(
    "settings",
    [
        {"data.augmentation": []},
        {"model.towers": 2, "model.grouped": []},
        {"model.pool_kinds": ["avg", "max", "avg"], "model.lrn_alpha": 0.1},
        {"model.convolutions": [1, 2, 4, 5]},
    ],
)
def test_lists_come_back_from_the_command_line(read_back, settings):
    config = preset_config("alexnet-32", "cifar10").with_settings(settings)
    assert read_back(as_command(config)) == config


def test_the_command_line_says_what_differs_and_nothing_else():
    config = preset_config("alexnet-64").with_settings({"model.activation": "tanh", "train.seed": 3})
    assert as_command(config) == (
        "python -m alexnet_explorer train --preset alexnet-64 --data digits --set model.activation=tanh --seed 3"
    )


def test_what_the_data_decide_is_not_on_the_command_line():
    config = preset_config("alexnet-32").with_settings({"model.num_classes": 3, "data.digest": "0123456789abcdef"})
    assert as_command(config) == as_command(preset_config("alexnet-32"))


TUNED = {
    "as it comes": {},
    "frozen": {"train.freeze": ["conv1", "conv3"], "train.epochs": 7, "train.seed": 3},
    "toggled": {name: value for name, value in TOGGLED.items() if name != "model.init"},
}


@pytest.mark.parametrize("count", [30, 1500])
@pytest.mark.parametrize("settings", TUNED.values(), ids=TUNED)
def test_a_fine_tuning_comes_back_from_its_command_line(read_back, data_root, pack, tmp_path, settings, count):
    packed = pack("cats & dogs", count=count, test=0, classes=("cat", "dog"), size=16)
    source = parse_weights(find_weights("alexnet-32-relu", tmp_path)[0], "alexnet-32-relu", shown="alexnet-32-relu")
    base = finetune_config(source, packed)
    config = config_on(base.with_settings(settings), packed)
    command = command_line(config, base)
    assert command.startswith(f"python -m alexnet_explorer train --init alexnet-32-relu@{source.digest} --data 'cats")
    assert ("--freeze conv1,conv3" in command) == ("train.freeze" in settings)
    assert read_back(command, packed) == config
    assert read_back(repeat_command(config), packed) == config


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_a_run_of_a_preset_is_repeated_by_what_differs_from_it(preset):
    config = preset_config(preset, "cats & dogs").with_settings(TOGGLED)
    assert repeat_command(config) == as_command(config)


def test_a_network_of_no_preset_is_repeated_but_for_its_label(read_back, small):
    config = small()
    again = read_back(repeat_command(config))
    label = {"preset": "small", "num_classes": 3}
    assert again.model_copy(update={"model": again.model.model_copy(update=label)}) == config
