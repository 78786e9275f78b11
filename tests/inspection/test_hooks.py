import pytest
import torch

from alexnet_explorer.inspection.hooks import record


@pytest.fixture
def x():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_outputs_are_what_each_layer_computes(tiny, x):
    model = tiny().model
    with record(model, model.layers) as outputs:
        model(x)
    value = x
    for name, module in model.named_children():
        value = module(value.flatten(1) if model.layers[name].kind == "fc" else value)
        torch.testing.assert_close(outputs[name], value, rtol=0, atol=0)


def test_layers_are_found_and_kept_under_the_name_that_was_asked_for(tiny, x):
    model = tiny(activation="tanh").model
    with record(model, ["relu1", "tanh1"]) as outputs:
        model(x)
    assert set(outputs) == {"relu1", "tanh1"}
    torch.testing.assert_close(outputs["relu1"], outputs["tanh1"])


def test_outputs_hold_no_graph(tiny, x):
    model = tiny().model
    with record(model, ["conv1"]) as outputs:
        model(x.requires_grad_())
    assert not outputs["conv1"].requires_grad


def test_hooks_are_gone_after_the_block(tiny, x, hooks_of):
    model = tiny().model
    with record(model, ["conv1"]) as outer, record(model, ["conv1", "fc5"]) as inner:
        model(x)
        assert hooks_of(model) == 3
    assert hooks_of(model) == 0
    assert set(outer) == {"conv1"} and set(inner) == {"conv1", "fc5"}


def test_hooks_are_gone_after_a_failed_pass(tiny, hooks_of):
    model = tiny().model
    with pytest.raises(RuntimeError), record(model, ["conv1"]), record(model, ["conv2"]):
        model(torch.zeros(1, 7, 16, 16))
    assert hooks_of(model) == 0


def test_an_unknown_layer_is_named_and_leaves_no_hook(tiny, hooks_of):
    model = tiny().model
    with pytest.raises(KeyError, match="no layer 'conv9'"), record(model, ["conv1", "conv9"]):
        pass
    assert hooks_of(model) == 0
