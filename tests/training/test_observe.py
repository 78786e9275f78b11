"""Gradient norms, silent units and mistakes, on networks whose answers are known."""

import pytest
import torch
import torch.nn.functional as F

from alexnet_explorer.config import ModelConfig
from alexnet_explorer.model import AlexNet
from alexnet_explorer.training.group import ALONE
from alexnet_explorer.training.observe import FLAT, WORST, Mistakes, UnitWatch, gradient_norms


@pytest.fixture
def network():
    def build(**fields):
        torch.manual_seed(0)
        return AlexNet(ModelConfig(widths=(4, 6, 6, 6, 4), fc_widths=(8, 8), lrn=False, dropout=0.0, **fields))

    return build


def test_a_layers_gradient_is_that_of_its_weights_and_biases_together(network):
    model = network()
    F.cross_entropy(model(torch.randn(5, 3, 32, 32)), torch.arange(5)).backward()
    found = gradient_norms(model)
    assert list(found) == [
        *(f"gradient/conv{n}" for n in range(1, 6)), "gradient/fc6", "gradient/fc7", "gradient/fc8",
    ]  # fmt: skip
    for name in ("conv2", "fc8"):
        layer = model.get_submodule(name)
        whole = torch.cat([layer.weight.grad.flatten(), layer.bias.grad])
        assert found[f"gradient/{name}"] == pytest.approx(whole.norm().item(), rel=1e-5)


def test_dead_relus_are_those_that_no_image_wakes(network):
    model = network()
    with torch.no_grad():
        model.conv2.bias[:3] = -1e6  # of six maps, three never fire
        model.fc6.bias[:2] = -1e6
    watch = UnitWatch(model)
    x = torch.randn(40, 3, 32, 32)
    with watch.watching(), torch.no_grad():
        model(x[:20]), model(x[20:])
    shares = watch.shares(ALONE)
    assert shares["dead/relu2"] == 0.5 and shares["dead/relu6"] >= 0.25 and shares["dead/relu1"] == 0
    assert not any(module._forward_hooks for module in model.modules())
    # A unit that one image of the second batch wakes is not dead.
    seen = UnitWatch(model)
    with seen.watching(), torch.no_grad():
        model(x)
    assert seen.shares(ALONE) == shares


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_saturation_counts_responses_where_the_curve_is_flat(network, activation):
    model = network(activation=activation)
    name, outputs = f"{activation}1", []
    model.get_submodule(name).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    watch = UnitWatch(model)
    with watch.watching(), torch.no_grad():
        model(4 * torch.randn(6, 3, 32, 32))
        model(torch.randn(6, 3, 32, 32))
    both = torch.cat(outputs)
    slope = 1 - both**2 if activation == "tanh" else 4 * both * (1 - both)  # as a share of the steepest
    assert watch.shares(ALONE)[f"saturated/{name}"] == pytest.approx((slope < 1 - FLAT**2).float().mean().item())


def test_hooks_are_released_when_a_pass_fails(network):
    model = network()
    with pytest.raises(RuntimeError), UnitWatch(model).watching():
        model(torch.randn(1, 1, 32, 32))
    assert not any(module._forward_hooks for module in model.modules())


def test_mistakes_are_counted_and_the_worst_come_first():
    mistakes = Mistakes()
    logits = torch.tensor([[9.0, 0, 0], [0, 1, 0], [5, 0, 0], [0, 0, 2], [3, 0, 0]])
    y, index = torch.tensor([0, 1, 1, 2, 2]), torch.tensor([10, 11, 12, 13, 14])
    mistakes.add(logits[:3], y[:3], index[:3])
    mistakes.add(logits[3:], y[3:], index[3:])
    found = mistakes.to_json(ALONE)
    assert found["confusion"] == [[0, 0, 1], [1, 0, 1], [1, 1, 1], [2, 0, 1], [2, 2, 1]]
    assert [(one["image"], one["true"], one["predicted"]) for one in found["worst"]] == [(12, 1, 0), (14, 2, 0)]
    p = logits[2].softmax(0)
    assert found["worst"][0]["probability"] == pytest.approx(p[0].item())
    assert found["worst"][0]["probability_of_true"] == pytest.approx(p[1].item())


def test_every_answer_is_kept_in_the_order_of_the_images_whichever_process_gave_it(monkeypatch):
    first, second = Mistakes(), Mistakes()
    second.add(torch.eye(3), torch.tensor([0, 0, 0]), torch.tensor([1, 4, 9]))
    first.add(torch.eye(3), torch.tensor([2, 1, 0]), torch.tensor([3, 5, 7]))

    class Both:
        def gather(self, value):
            return [value, (second.confused, second.worst, second.answers)]

    found = first.to_json(Both())
    assert found["true"] == [0, 2, 0, 1, 0, 0] and found["predicted"] == [0, 0, 1, 1, 2, 2]
    monkeypatch.setattr("alexnet_explorer.training.observe.MOST_ANSWERS", 5)
    assert first.to_json(Both())["predicted"] == [] and first.to_json(ALONE)["predicted"] == [0, 1, 2]


def test_only_so_many_mistakes_are_kept():
    mistakes = Mistakes()
    for start in (0, 100):
        logits = torch.zeros(100, 2)
        logits[:, 1] = torch.linspace(0.1, 5, 100) + start / 10_000
        mistakes.add(logits, torch.zeros(100, dtype=torch.long), torch.arange(start, start + 100))
    worst = mistakes.to_json(ALONE)["worst"]
    assert len(worst) == WORST and worst[0]["image"] == 199 and worst[1]["image"] == 99
    assert sum(count for *_, count in mistakes.to_json(ALONE)["confusion"]) == 200
