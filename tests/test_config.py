"""A run's config: what is written comes back, and what cannot be trained is refused by name."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_explorer.config import (
    MODEL_PRESETS,
    PRESET_NOTES,
    ConfigError,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    preset_config,
)

AUGMENTATIONS = ("flip", "crop", "pca-colour", "rotation", "shift")


@st.composite
def configs(draw):
    """Any choice of the toggles that the pages offer, over the small presets."""
    preset = MODEL_PRESETS[draw(st.sampled_from(["alexnet-32", "alexnet-64", "convnet-2012"]))]
    toggles = {
        "activation": st.sampled_from(["relu", "tanh", "sigmoid"]),
        "pooling": st.sampled_from(["overlapping", "non-overlapping"]),
        "lrn": st.booleans(),
        "lrn_kind": st.sampled_from(["across-maps", "within-map"]),
        "lrn_place": st.sampled_from(["before-pool", "after-pool"]),
        "dropout": st.floats(0, 0.95),
        "dropout_place": st.sampled_from(["after-fc", "before-fc"]),
        "towers": st.sampled_from([1, 2, 4]),
        "init": st.sampled_from(["2012", "modern"]),
        "num_classes": st.integers(2, 1000),
    }
    model = ModelConfig(**{**dict(preset), **{name: draw(values) for name, values in toggles.items()}})
    data = DataConfig(
        name=draw(st.text(min_size=1, max_size=40)),
        augmentation=draw(st.lists(st.sampled_from(AUGMENTATIONS), unique=True)),
        rotation=draw(st.floats(0, 30)),
        shift=draw(st.floats(0, 0.2)),
        scaling=draw(st.sampled_from(["standard", "2012"])),
    )
    train = TrainConfig(
        learning_rate=draw(st.floats(1e-6, 1)),
        optimiser=draw(st.sampled_from(["momentum", "muon"])),
        schedule=draw(st.sampled_from(["constant", "plateau", "step", "cosine", "one-cycle"])),
        seed=draw(st.integers(0, 2**31 - 1)),
        snapshot_layers=draw(st.lists(st.sampled_from(["conv1", "conv2"]), unique=True)),
    )
    return RunConfig(model=model, data=data, train=train)


@given(configs())
@settings(max_examples=60, deadline=None)
def test_a_config_survives_json_and_keeps_its_digest(config):
    again = RunConfig.from_json(config.to_json())
    assert again == config
    assert again.digest() == config.digest()
    assert RunConfig().with_settings(config.flat()) == config


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_every_preset_is_valid_and_has_a_note(preset):
    config = preset_config(preset, num_classes=7)
    assert config.model.preset == preset
    assert config.model.num_classes == 7
    assert ModelConfig.model_validate(MODEL_PRESETS[preset].model_dump()) == MODEL_PRESETS[preset]
    assert preset in PRESET_NOTES


def test_an_unknown_preset_is_answered_with_those_that_are_there():
    with pytest.raises(ConfigError, match=r"preset='vgg'.*alexnet-32"):
        preset_config("vgg")


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_digits_are_not_mirrored_by_default_and_photographs_are(preset):
    assert "flip" not in preset_config(preset, "digits").data.augmentation
    assert "flip" in preset_config(preset, "cifar10").data.augmentation


def test_the_digest_changes_with_every_field_and_not_with_the_order_of_the_augmentations():
    one = RunConfig(data=DataConfig(augmentation=("crop", "flip")))
    assert one.digest() == RunConfig(data=DataConfig(augmentation=("flip", "crop"))).digest()
    changed = {
        "model.preset": "x", "model.input_size": 40, "model.in_channels": 1, "model.num_classes": 11,
        "model.widths": "32,64,96,96,60", "model.kernels": "5,5,3,3,1", "model.strides": "1,1,1,1,2",
        "model.paddings": "2,2,1,1,2", "model.convolutions": "1,2,3,5", "model.fc_widths": "256",
        "model.activation": "tanh", "model.towers": 2, "model.grouped": "2", "model.groups": 2, "model.lrn": False,
        "model.lrn_after": "1",
        "model.lrn_kind": "within-map", "model.lrn_place": "after-pool", "model.lrn_size": 3, "model.lrn_alpha": 0.1,
        "model.lrn_beta": 0.5, "model.lrn_k": 1, "model.pooling": "non-overlapping", "model.pool_after": "1,2,4",
        "model.pool_kinds": "max,max,avg", "model.dropout": 0.4, "model.dropout_place": "before-fc",
        "model.init": "2012", "model.init_std": "0.02", "model.bias_one": "2",
        "data.name": "x", "data.digest": "x", "data.augmentation": "flip", "data.rotation": 14, "data.shift": 0.05,
        "data.zoom": 0.5,
        "data.scaling": "2012", "data.val_fraction": 0.2, "data.split_seed": 1,
        "train.epochs": 11, "train.batch_size": 64, "train.learning_rate": 0.02, "train.momentum": 0.8,
        "train.weight_decay": 0, "train.schedule": "step", "train.warm_up": 0.1,
        "train.patience": 4, "train.average": 0.5, "train.clean_passes": 2, "train.clean_images": 9, "train.until": 0.1,
        "train.until_metric": "clean/top1_error", "train.seed": 1, "train.device": "cpu",
        "train.optimiser": "muon", "train.precision": "fp32", "train.compile": "on", "train.threads": 1,
        "train.snapshot_layers": "conv1", "train.init": "alexnet-32-relu@0123456789abcdef", "train.freeze": "conv1",
    }  # fmt: skip
    assert set(changed) == set(one.flat())
    digests = {one.with_settings({name: value}).digest() for name, value in changed.items()}
    assert len(digests | {one.digest()}) == len(changed) + 1


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"model.towers": 3}, r"towers=3 does not divide the channels of conv1 \(3 in, 32 out\)"),
        ({"model.groups": 5}, r"groups=5 does not divide the channels of conv1 \(3 in, 32 out\)"),
        ({"model.towers": 2, "model.grouped": "1"}, r"towers=2 does not divide the channels of conv1 \(3 in, 32 out\)"),
        ({"model.input_size": 8, "model.pool_after": "1,2,3,4", "model.pool_kinds": "max,max,max,max"},
         r"pool4: the 1×1 map pools away to nothing"),
        ({"model.input_size": 8, "model.kernels": "5,5,9,3,3"}, "conv3: nothing is left of a 2×2 map"),
        ({"model.kernels": "5,5,3"}, "kernels has 3 entries, widths has 5"),
        ({"model.strides": "1"}, "strides has 1 entries, widths has 5"),
        ({"model.paddings": "2,2,1,1,1,1"}, "paddings has 6 entries, widths has 5"),
        ({"model.paddings": "2,2,-1,1,1"}, "padding"),
        ({"model.paddings": "100000,2,1,1,1"}, "conv1 would put out"),
        ({"model.fc_widths": "65536,65536"}, "it would have 4,363,110,090 parameters"),
        ({"model.widths": "65536,64,96,96,64", "model.input_size": 512}, "conv1 would put out 17,179,869,184 numbers"),
        ({"model.widths": "16384,64,96,96,64"}, "lrn1 has 16384 maps: allowed are 8192"),
        ({"model.pool_kinds": "max"}, "pool_kinds needs one entry for each"),
        ({"model.convolutions": "2,3"}, "convolutions: the first one has to stay"),
        ({"model.convolutions": "1,6"}, r"convolutions=\[1, 6\]: allowed are rising numbers from 1 to 5"),
        ({"model.lrn_after": "2,1"}, r"lrn_after=\[2, 1\]"),
        ({"model.pool_after": "0,2,5"}, r"pool_after=\[0, 2, 5\]"),
        ({"model.lrn_size": 4}, "lrn_size=4: allowed are odd numbers"),
        ({"model.widths": "32,64,0,96,64"}, "model.widths: every entry must be between 1"),
        ({"model.init_std": ""}, "model.init_std: needs at least one entry"),
        ({"model.init_std": "0"}, "model.init_std: needs at least one entry, each above 0"),
        ({"model.activation": "gelu"}, "model.activation='gelu': .*'relu', 'tanh' or 'sigmoid'"),
        ({"model.dropout": 1}, "model.dropout=1: .*0.95"),
        ({"model.lrn_alpha": "NaN"}, "model.lrn_alpha=nan: .*finite"),
        ({"model.lrn": "perhaps"}, "model.lrn='perhaps'"),
        ({"model.in_channels": 2}, "model.in_channels=2: allowed are 3"),
        ({"data.augmentation": "flip,spin"}, r"data.augmentation.1='spin': .*'flip', 'crop', 'pca-colour'"),
        ({"data.rotation": 31}, "data.rotation=31: .*30"),
        ({"data.val_fraction": 0}, "data.val_fraction=0"),
        ({"data.name": ""}, "data.name=''"),
        ({"train.epochs": 0}, "train.epochs=0: .*1"),
        ({"train.epochs": "many"}, "train.epochs='many': .*whole number"),
        ({"train.epochs": "2.5"}, "train.epochs=2.5: .*whole number"),
        ({"train.epochs": "null"}, "train.epochs: .*whole number"),
        ({"train.batch_size": "1e999"}, "train.batch_size=inf"),
        ({"train.schedule": "warm"}, "train.schedule='warm': .*'plateau'"),
        ({"train.snapshot_layers": "conv6"}, "train.snapshot_layers: there is no 'conv6'; allowed are conv1, .*fc8"),
        ({"train.lr": 0.1}, "train.lr: there is no such field"),
        ({"activation": "tanh"}, r"activation: there is no such field; did you mean model.activation\?"),
        ({"model": "tanh"}, "model: there is no such field"),
        ({"train.dropout": 0.1}, r"train.dropout: there is no such field; did you mean model.dropout\?"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_refused_in_one_line_that_names_it(settings_, said):
    with pytest.raises(ConfigError, match=said) as refusal:
        RunConfig().with_settings(settings_)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("model.activation", "tanh", "tanh"),
        ("model.lrn", "false", False),
        ("model.lrn", "off", False),
        ("model.lrn", "False", False),
        ("model.towers", "2", 2),
        ("model.dropout", ".3", 0.3),
        ("model.dropout", "0", 0.0),
        ("model.lrn_alpha", "5e-5", 5e-5),
        ("model.fc_widths", "128, 64", (128, 64)),
        ("model.fc_widths", "[128, 64]", (128, 64)),
        ("model.fc_widths", "", ()),
        ("model.pool_kinds", "max,avg,avg", ("max", "avg", "avg")),
        ("model.init_std", "1e-4,0.01", (1e-4, 0.01)),
        ("data.augmentation", "shift,flip", ("flip", "shift")),
        ("data.augmentation", '["flip", "crop"]', ("flip", "crop")),
        ("data.augmentation", "none", ()),
        ("data.name", "0", "0"),
        ("data.name", "CIFAR-10 (JPEG copy)", "CIFAR-10 (JPEG copy)"),
        ("train.epochs", "30", 30),
        ("train.learning_rate", "1e-2", 0.01),
        ("train.precision", "fp32", "fp32"),
        ("train.snapshot_layers", "conv1,fc8", ("conv1", "fc8")),
    ],
)
def test_text_of_the_command_line_becomes_the_field_s_own_type(field, text, value):
    config = RunConfig().with_settings({field: text})
    part, name = field.split(".")
    found = getattr(getattr(config, part), name)
    assert found == value
    assert type(found) is type(value)


def test_settings_go_together_where_one_alone_would_not_do():
    config = RunConfig().with_settings({"model.widths": "8,8", "model.kernels": "3,3", "model.strides": "1,1",
                                        "model.paddings": "1,1", "model.convolutions": "1,2", "model.pool_after": "2",
                                        "model.pool_kinds": "max"})  # fmt: skip
    assert [layer.name for layer in config.model.layers()][-1] == "fc5"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"model": {"widths": "x"}}', '{"train": {"epochs": 0}}', '{"extra": {}}']
)
def test_a_damaged_config_file_is_one_line(text):
    with pytest.raises(ConfigError) as refusal:
        RunConfig.from_json(text)
    assert len(str(refusal.value).splitlines()) == 1


def test_an_old_file_without_a_newer_field_gets_the_default():
    fields = json.loads(RunConfig().to_json())
    del fields["train"]["patience"]
    assert RunConfig.from_json(json.dumps(fields)) == RunConfig()


def test_caffes_groups_are_towers_to_look_at_and_one_for_lrn():
    caffe = MODEL_PRESETS["alexnet"].model_copy(update={"towers": 1, "groups": 2})
    assert (caffe.paths, MODEL_PRESETS["alexnet"].paths, MODEL_PRESETS["alexnet-torchvision"].paths) == (2, 2, 1)
    assert [layer.groups for layer in caffe.layers() if layer.kind == "conv"] == [1, 2, 1, 2, 2]
    assert caffe.parameters() == MODEL_PRESETS["alexnet"].parameters() == 60_965_224
