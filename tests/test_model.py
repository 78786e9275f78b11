"""The network against the paper's numbers, PyTorch's own layers, and closed forms."""

import itertools

import pytest
import torch
from torch import nn

from alexnet_explorer.config import MODEL_PRESETS, ModelConfig
from alexnet_explorer.model import AlexNet, LocalResponseNorm, initialise

# What the paper states [3], as (channels, side): conv and pool outputs in order.
PAPER_MAPS = {
    "conv1": (96, 55), "pool1": (96, 27), "conv2": (256, 27), "pool2": (256, 13), "conv3": (384, 13),
    "conv4": (384, 13), "conv5": (256, 13), "pool5": (256, 6),
}  # fmt: skip
PAPER_NAMES = (
    "conv1 relu1 lrn1 pool1 conv2 relu2 lrn2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
    "fc6 relu6 drop6 fc7 relu7 drop7 fc8"
)


def on_meta(config):
    """The network without its memory: shapes, but no numbers."""
    with torch.device("meta"):
        return AlexNet(config)


def outputs(model, x):
    """What each layer gives, by name."""
    found = {}
    for name, module in model.named_children():
        x = torch.flatten(x, 1) if name.startswith(("fc", "drop")) else x
        if not (x.is_meta and isinstance(module, LocalResponseNorm)):  # autocast knows no meta device
            x = module(x)
        found[name] = x
    return found


def test_the_network_of_2012_has_the_papers_layers_and_parameters():
    model = on_meta(MODEL_PRESETS["alexnet"])
    assert sum(p.numel() for p in model.parameters()) == 60_965_224
    assert " ".join(name for name, _ in model.named_children()) == PAPER_NAMES
    shapes = {name: tuple(y.shape) for name, y in outputs(model, torch.zeros(1, 3, 227, 227, device="meta")).items()}
    assert {name: shapes[name] for name in PAPER_MAPS} == {n: (1, c, s, s) for n, (c, s) in PAPER_MAPS.items()}
    assert [shapes[name] for name in ("fc6", "fc7", "fc8")] == [(1, 4096), (1, 4096), (1, 1000)]
    kernels = {name: tuple(model.get_submodule(name).weight.shape) for name in shapes if name.startswith("conv")}
    assert kernels == {
        "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3),
        "conv5": (256, 192, 3, 3),
    }  # fmt: skip
    assert {name: layer.output for name, layer in model.layers.items()} == {n: s[1:] for n, s in shapes.items()}


def test_torchvisions_network_has_torchvisions_parameters_and_shapes():
    from torchvision.models import alexnet

    with torch.device("meta"):
        theirs = alexnet()
    ours = on_meta(MODEL_PRESETS["alexnet-torchvision"])
    assert sum(p.numel() for p in ours.parameters()) == 61_100_840
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    order = {nn.Conv2d: "conv", nn.ReLU: "relu", nn.MaxPool2d: "pool", nn.Dropout: "drop", nn.Linear: "fc"}
    kinds = [order[type(module)] for module in theirs.modules() if type(module) in order]
    assert [name.rstrip("12345678") for name, _ in ours.named_children()] == kinds


TOGGLES = [
    dict(zip(("activation", "pooling", "lrn", "dropout", "towers"), values, strict=True))
    for values in itertools.product(
        ("relu", "tanh"), ("overlapping", "non-overlapping"), (True, False), (0, 0.5), (1, 2)
    )
]


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_the_sizes_that_a_config_states_are_those_of_the_network(preset):
    for toggles in TOGGLES:
        config = ModelConfig(**{**dict(MODEL_PRESETS[preset]), **toggles})
        model = on_meta(config)
        assert config.parameters() == sum(p.numel() for p in model.parameters())
        x = torch.zeros(2, config.in_channels, config.input_size, config.input_size, device="meta")
        found = {name: tuple(y.shape[1:]) for name, y in outputs(model, x).items()}
        assert found == {layer.name: layer.output for layer in config.layers()}


def test_dropping_a_convolution_keeps_the_others_names_and_changes_what_they_see():
    config = ModelConfig(convolutions=(1, 2, 4, 5))
    model = AlexNet(config)
    assert "conv3" not in model.layers and "relu3" not in model.layers and "pool5" in model.layers
    assert model.conv4.weight.shape == (96, 64, 3, 3)
    assert config.parameters() == sum(p.numel() for p in model.parameters())
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert "lrn2" not in AlexNet(ModelConfig(convolutions=(1, 3, 4, 5))).layers


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_the_pooling_toggle_changes_no_size(kind):
    def config(pooling, size):
        return ModelConfig(
            input_size=size, widths=(4, 4), kernels=(3, 3), strides=(1, 1), paddings=(1, 1), convolutions=(1, 2),
            fc_widths=(), pool_after=(1, 2), pool_kinds=(kind, kind), pooling=pooling, lrn=False,
        )  # fmt: skip

    models = {pooling: on_meta(config(pooling, 8)) for pooling in ("overlapping", "non-overlapping")}
    for size in range(8, 71):
        for pooling, model in models.items():
            x = torch.zeros(1, 3, size, size, device="meta")
            for name in ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2"):
                x = model.get_submodule(name)(x)
            assert tuple(x.shape[1:]) == config(pooling, size).layers()[-2].output == (4, size // 4, size // 4)


@pytest.mark.parametrize("pooling", ["overlapping", "non-overlapping"])
def test_pooling_is_the_largest_of_each_window(pooling):
    model = AlexNet(ModelConfig(pooling=pooling, input_size=33))
    x = torch.randn(2, 32, 33, 33)
    window = 3 if pooling == "overlapping" else 2
    y = model.get_submodule("pool1")(x)
    for row, column in ((0, 0), (3, 7), (15, 15)):
        expected = x[:, :, 2 * row : 2 * row + window, 2 * column : 2 * column + window].amax((2, 3))
        assert torch.equal(y[:, :, row, column], expected)


# Local response normalisation [3.3]


def lrn(channels, **fields):
    return LocalResponseNorm(channels, ModelConfig(**fields))


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("alpha", [1e-4, 0.3])
def test_lrn_is_pytorchs_with_alpha_times_n(size, alpha):
    x = torch.randn(3, 16, 5, 6) * 20
    expected = nn.LocalResponseNorm(size, alpha=size * alpha, beta=0.75, k=2.0)(x)
    torch.testing.assert_close(lrn(16, lrn_size=size, lrn_alpha=alpha)(x), expected, rtol=1e-5, atol=1e-5)


def test_lrn_looks_at_its_own_tower_alone():
    x = torch.randn(2, 16, 4, 4) * 30
    one = lrn(8, lrn_alpha=0.1)
    expected = torch.cat([one(x[:, :8]), one(x[:, 8:])], 1)
    torch.testing.assert_close(lrn(16, towers=2, lrn_alpha=0.1)(x), expected)
    assert not torch.allclose(lrn(16, lrn_alpha=0.1)(x), expected, atol=1e-3)


def test_lrn_within_a_map_sums_over_a_window_cut_off_at_the_border():
    x = torch.randn(2, 3, 5, 4, dtype=torch.double) * 10
    norm = lrn(3, lrn_kind="within-map", lrn_size=3, lrn_alpha=0.2, lrn_beta=0.6, lrn_k=1.0)
    expected = torch.empty_like(x)
    for row in range(5):
        for column in range(4):
            near = x[:, :, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            expected[:, :, row, column] = x[:, :, row, column] / (1 + 0.2 * near.square().sum((2, 3))) ** 0.6
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("kind", ["across-maps", "within-map"])
@pytest.mark.parametrize("towers", [1, 2])
def test_the_gradient_of_lrn_is_right(kind, towers):
    norm = lrn(6, towers=towers, lrn_kind=kind, lrn_size=3, lrn_alpha=0.3, lrn_k=1.5, grouped=())
    x = torch.randn(2, 6, 3, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))


def test_lrn_in_half_precision_does_not_lose_a_small_sum():
    # Beside k=2, α Σ a² = 0.005 is below bfloat16's resolution.
    x = torch.full((1, 5, 1, 1), 4.5, dtype=torch.bfloat16)
    y = lrn(5, lrn_beta=64.0)(x)
    exact = lrn(5, lrn_beta=64.0)(x.float())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact, rtol=0.005, atol=0)
    assert abs(exact[0, 2].item() / (4.5 / 2.0**64) - 1) > 0.1


# First weights [5]


def test_the_weights_of_2012_are_gaussian_and_some_biases_one():
    config = MODEL_PRESETS["alexnet"].model_copy(update={"fc_widths": (500, 500), "num_classes": 100})
    model = AlexNet(config)
    initialise(model, 1)
    for name, parameter in model.named_parameters():
        layer, _, kind = name.partition(".")
        if kind == "bias":
            one = layer in ("conv2", "conv4", "conv5", "fc6", "fc7")
            assert torch.equal(parameter, torch.full_like(parameter, float(one)))
        else:
            n = parameter.numel()
            assert abs(parameter.mean().item()) < 4 * 0.01 / n**0.5
            assert parameter.std().item() == pytest.approx(0.01, rel=4 / (2 * n) ** 0.5)
            # A normal distribution has 4.55 % of its draws beyond two deviations.
            assert (parameter.abs() > 0.02).float().mean().item() == pytest.approx(0.0455, abs=4 * (0.0455 / n) ** 0.5)


def test_deviations_by_layer_repeat_the_last_one():
    model = AlexNet(MODEL_PRESETS["convnet-2012"].model_copy(update={"init": "2012"}))
    initialise(model, 0)
    assert model.conv1.weight.std().item() == pytest.approx(1e-4, rel=0.1)
    for name in ("conv2", "conv3", "fc4"):
        assert model.get_submodule(name).weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert model.get_submodule(name).bias.count_nonzero() == 0


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2**0.5), ("tanh", 5 / 3), ("sigmoid", 1.0)])
def test_the_modern_weights_keep_the_variance(activation, gain):
    model = AlexNet(ModelConfig(activation=activation, towers=2))
    initialise(model, 0)
    for name, layer in model.layers.items():
        if layer.kind in ("conv", "fc"):
            weight = model.get_submodule(name).weight
            expected = (1.0 if name == "fc8" else gain) / weight[0].numel() ** 0.5
            assert weight.std().item() == pytest.approx(expected, rel=4 / (2 * weight.numel()) ** 0.5)
            assert model.get_submodule(name).bias.count_nonzero() == 0


def test_a_seed_repeats_the_weights_and_leaves_the_global_generator_alone():
    one, two = AlexNet(ModelConfig()), AlexNet(ModelConfig())
    before = torch.get_rng_state()
    initialise(one, 5)
    initialise(two, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    initialise(two, 6)
    assert not torch.equal(one.conv1.weight, two.conv1.weight)


def test_the_twins_of_a_comparison_start_from_the_same_draw_but_for_the_gain():
    relu, tanh = AlexNet(ModelConfig()), AlexNet(ModelConfig(activation="tanh"))
    initialise(relu, 3)
    initialise(tanh, 3)
    torch.testing.assert_close(relu.conv3.weight / 2**0.5, tanh.conv3.weight / (5 / 3))


# Names and towers


def test_a_layers_name_is_found_whatever_the_activation():
    model = AlexNet(ModelConfig(activation="tanh"))
    assert model.resolve("relu1") == model.resolve("sigmoid1") == model.resolve("tanh1") == "tanh1"
    assert model.resolve("conv3") == "conv3"
    for wrong in ("relu9", "conv6", "relu", "", "tanh1 "):
        with pytest.raises(KeyError, match="no layer"):
            model.resolve(wrong)


def test_towers_meet_at_conv3_and_nowhere_before():
    config = ModelConfig(
        input_size=67, widths=(8, 8, 8, 8, 8), kernels=(11, 5, 3, 3, 3), strides=(4, 1, 1, 1, 1),
        paddings=(0, 2, 1, 1, 1), fc_widths=(8, 8), towers=2, lrn_alpha=0.5,
    )  # fmt: skip
    model = AlexNet(config).eval()
    initialise(model, 0)
    x = torch.randn(1, 3, 67, 67)
    before = outputs(model, x)
    hook = model.conv1.register_forward_hook(lambda module, inputs, y: torch.cat([y[:, :4] + 1, y[:, 4:]], 1))
    after = outputs(model, x)
    hook.remove()
    for name in ("relu1", "lrn1", "pool1", "conv2", "relu2", "lrn2", "pool2"):
        assert torch.equal(before[name][:, 4:], after[name][:, 4:])
        assert not torch.equal(before[name][:, :4], after[name][:, :4])
    changed = (before["conv3"] != after["conv3"]).flatten(2).any(2)[0]
    assert changed.all()


def test_dropout_is_at_work_in_training_alone_and_where_the_config_puts_it():
    x = torch.randn(1, 3, 32, 32)
    model = AlexNet(ModelConfig(dropout_place="before-fc"))
    names = " ".join(name for name, _ in model.named_children())
    assert names.endswith("pool5 drop6 fc6 relu6 drop7 fc7 relu7 fc8")
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))
    assert not any(name.startswith("drop") for name in AlexNet(ModelConfig(dropout=0)).layers)


def test_no_layer_works_in_place():
    model = AlexNet(ModelConfig()).train()
    shared = []
    for module in model.children():
        module.register_forward_hook(lambda module, inputs, y: shared.append(inputs[0].data_ptr() == y.data_ptr()))
    model(torch.randn(2, 3, 32, 32))
    assert shared == [False] * len(model.layers)
