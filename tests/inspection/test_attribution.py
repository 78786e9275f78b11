from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet_explorer.config import ConfigError
from alexnet_explorer.inspection.attribution import NotApplicable, attribute, private
from alexnet_explorer.inspection.methods import METHODS, Settings

# Captum announces its hooks; that they are gone afterwards is tested here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks"),
]

PLAIN = {"lrn": False, "pooling": "non-overlapping"}  # a network that every method says something about


def seeded(layer):
    nn.init.normal_(layer.weight, 0, 0.1, generator=torch.Generator().manual_seed(0))
    return layer


@pytest.fixture
def linear(wrap):
    """logits = W x, for which every method's answer is known."""
    return wrap(nn.Sequential(nn.Flatten(), seeded(nn.Linear(3 * 16 * 16, 5, bias=False))))


@pytest.fixture
def weight(linear):
    return linear.model[1].weight[2].reshape(3, 16, 16)


def test_saliency_of_a_linear_model_is_its_largest_weight(linear, weight, picture):
    result = attribute(linear, picture, "saliency", target=2)
    np.testing.assert_allclose(result.map, weight.abs().amax(0), rtol=1e-6)
    assert result.map.dtype == np.float32 and (result.method, result.target) == ("saliency", 2)


def test_integrated_gradients_of_a_linear_model_are_weight_times_input(linear, weight, picture):
    x = linear.preprocessing(picture)[0]
    result = attribute(linear, picture, "integrated-gradients", target=2)
    np.testing.assert_allclose(result.map, (weight * x).sum(0), atol=1e-6)
    assert result.map.sum() == pytest.approx(float(linear.model(x[None])[0, 2]), abs=1e-5)


def test_occlusion_of_a_linear_model_is_the_sum_under_the_window(linear, weight, picture):
    share = (weight * linear.preprocessing(picture)[0]).sum(0)
    blocks = share.reshape(4, 4, 4, 4).sum((1, 3)).repeat_interleave(4, 0).repeat_interleave(4, 1)
    result = attribute(linear, picture, "occlusion", target=2, settings=Settings(window=4, stride=4))
    np.testing.assert_allclose(result.map, blocks, atol=1e-5)


def test_overlapping_windows_are_averaged(linear, weight, picture):
    share = (weight * linear.preprocessing(picture)[0]).sum(0)
    total, count = torch.zeros(16, 16), torch.zeros(16, 16)
    for top in range(0, 15, 2):
        for left in range(0, 15, 2):
            window = np.s_[top : top + 3, left : left + 3]  # cut off at the border
            total[window] += share[window].sum()
            count[window] += 1
    result = attribute(linear, picture, "occlusion", target=2, settings=Settings(window=3, stride=2))
    np.testing.assert_allclose(result.map, total / count, atol=1e-5)


def test_occlusion_by_default_takes_a_seventh_of_the_picture_in_steps_of_half_a_window(tiny, picture):
    loaded = tiny(input_size=32)
    default = attribute(loaded, picture, "occlusion")
    explicit = attribute(loaded, picture, "occlusion", settings=Settings(window=4, stride=2))
    np.testing.assert_array_equal(default.map, explicit.map)
    assert default.map.shape == (32, 32)


def test_guided_backpropagation_drops_negative_gradients_at_each_relu(wrap, picture):
    loaded = wrap(nn.Sequential(nn.Flatten(), seeded(nn.Linear(768, 20)), nn.ReLU(), seeded(nn.Linear(20, 5))))
    _, first, _, second = loaded.model
    active = first(loaded.preprocessing(picture).flatten(1))[0] > 0
    expected = (first.weight.T @ (active * second.weight[1].clamp(min=0))).reshape(3, 16, 16).abs().amax(0)
    np.testing.assert_allclose(attribute(loaded, picture, "guided-backprop", 1).map, expected, rtol=1e-4, atol=1e-6)


def grad_cam(loaded, picture, layer, target):
    """Equations 1 and 2 of the paper, by autograd alone."""
    model, x = loaded.model, loaded.preprocessing(picture).requires_grad_()
    kept = []
    with model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: kept.append(output)):
        logit = model(x)[0, target]
    (gradient,) = torch.autograd.grad(logit, kept[0])
    coarse = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu()
    return F.interpolate(coarse, (16, 16), mode="bilinear", align_corners=False)[0, 0].detach()


@pytest.mark.parametrize("layer", [None, "conv2", "relu1", "pool3"])
def test_grad_cam_is_the_papers_formula(tiny, picture, layer):
    loaded = tiny()
    result = attribute(loaded, picture, "grad-cam", target=3, settings=Settings(layer=layer))
    assert result.layer == (layer or "relu3")
    assert np.ptp(result.map) > 0 and result.map.min() >= 0
    np.testing.assert_allclose(result.map, grad_cam(loaded, picture, result.layer, 3), rtol=1e-4, atol=1e-7)


def test_grad_cam_takes_the_last_convolution_that_is_there(tiny, picture):
    assert attribute(tiny(convolutions=(1, 2)), picture, "grad-cam").layer == "relu2"
    assert attribute(tiny(activation="tanh"), picture, "grad-cam").layer == "tanh3"
    assert attribute(tiny(activation="tanh"), picture, "grad-cam", settings=Settings(layer="relu1")).layer == "tanh1"


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_integrated_gradients_are_complete_on_the_whole_network(tiny, picture, activation):
    loaded = tiny(activation=activation)
    x = loaded.preprocessing(picture)
    with torch.no_grad():
        rises = (loaded.model(x) - loaded.model(torch.zeros_like(x)))[0]
    target = int(rises.abs().argmax())
    result = attribute(loaded, picture, "integrated-gradients", target, settings=Settings(steps=200))
    assert result.map.sum() == pytest.approx(float(rises[target]), rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_the_predicted_class_at_the_size_of_the_input(tiny, picture, method):
    loaded = tiny(**PLAIN)
    predicted = int(loaded.model(loaded.preprocessing(picture)).argmax())
    result = attribute(loaded, picture, method)
    assert result.target == predicted and result.map.shape == (16, 16) and result.seconds > 0
    assert result.signed == METHODS[method].signed and (result.map.min() < 0) == result.signed
    assert (result.layer is not None) == METHODS[method].needs_layer
    np.testing.assert_array_equal(result.map, attribute(loaded, picture, method, target=predicted).map)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_of_all_visitors_is_not_touched(tiny, picture, hooks_of, method):
    loaded = tiny(**PLAIN)
    before = {name: (weight.clone(), weight._version) for name, weight in loaded.model.named_parameters()}
    shared = {*loaded.model.modules()}
    seen = []
    watching = nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: seen.append(module in shared or hooks_of(loaded.model) > 0)
    )
    with watching:
        attribute(loaded, picture, method)
    assert seen and not any(seen)
    assert not any(p.requires_grad or p.grad is not None for p in loaded.model.parameters())
    for name, weight in loaded.model.named_parameters():
        # Written to with its own values, a weight would still end the other visitors' passes back.
        assert torch.equal(weight, before[name][0]) and weight._version == before[name][1]


def test_a_private_network_shares_its_weights(tiny):
    loaded = tiny()
    mine = private(loaded)
    assert mine is not loaded.model and not {*mine.modules()} & {*loaded.model.modules()}
    assert all(own is shared for own, shared in zip(mine.parameters(), loaded.model.parameters(), strict=True))


def test_a_copy_waits_until_nobody_has_hooks_on_the_network(tiny):
    loaded = tiny()
    with ThreadPoolExecutor() as threads:
        with loaded.lock:
            copied = threads.submit(private, loaded)
            assert not wait([copied], timeout=0.1).done
        assert copied.result(timeout=5) is not loaded.model


@pytest.mark.parametrize("method", [method.key for method in METHODS.values() if method.slow])
def test_slow_methods_tell_how_far_they_are(tiny, picture, method):
    shares = []
    attribute(tiny(widths=(6, 8, 64)), picture, method, progress=shares.append)
    assert len(shares) > 2 and shares == sorted(shares) and shares[0] < 0.5 and shares[-1] == 1


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_guided_backpropagation_says_where_it_does_not_apply(tiny, picture, activation):
    with pytest.raises(
        NotApplicable, match=r"this network has none: its map is the plain gradient's .*difference 0 of"
    ):
        attribute(tiny(activation=activation), picture, "guided-backprop")


def test_grad_cam_says_where_it_does_not_apply(tiny, picture):
    with pytest.raises(NotApplicable, match="fc4 has single units"):
        attribute(tiny(), picture, "grad-cam", settings=Settings(layer="fc4"))


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("magic", {}, "method='magic': allowed are saliency, "),
        ("saliency", {"target": 5}, "target=5: allowed are classes 0 to 4"),
        ("saliency", {"target": -1}, "target=-1"),
        ("integrated-gradients", {"steps": 0}, "steps=0"),
        ("integrated-gradients", {"baseline": "pink"}, "baseline='pink': allowed are mean, black"),
        ("occlusion", {"window": 17}, "window=17: allowed are numbers 1 to 16"),
        ("occlusion", {"window": 4, "stride": 5}, "stride=5: allowed are numbers 1 to 4"),
        ("occlusion", {"window": 4, "stride": 0}, "stride=0"),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(tiny, picture, method, settings, message):
    target = settings.pop("target", None)
    with pytest.raises(ConfigError, match=message):
        attribute(tiny(), picture, method, target, Settings(**settings))


def test_two_visitors_at_once_get_the_maps_of_one_alone(tiny, picture):
    loaded = tiny(towers=1, widths=(16, 16, 16))
    methods = ("saliency", "guided-backprop")
    alone = {method: attribute(loaded, picture, method, target=0).map for method in methods}
    assert not np.array_equal(alone["saliency"], alone["guided-backprop"])
    with ThreadPoolExecutor(2) as threads:
        for _ in range(30):
            both = {method: threads.submit(attribute, loaded, picture, method, target=0) for method in methods}
            for method, future in both.items():
                np.testing.assert_array_equal(future.result().map, alone[method])
