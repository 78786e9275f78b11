"""The paper's update rule [5] in closed form, and the ways the rate falls."""

import math

import pytest
import torch

from alexnet_explorer.config import ModelConfig, TrainConfig
from alexnet_explorer.model import AlexNet
from alexnet_explorer.training.optimiser import (
    MomentumSGD,
    Muon,
    WeightMean,
    _fused_step,
    learning_rate,
    optimiser_for,
    orthogonalised,
    plateau_drops,
)


def parameters(*shapes):
    return [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]


def give_gradients(weights):
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    return [weight.grad.clone() for weight in weights]


def test_each_step_is_the_papers_formula_while_the_rate_changes():
    weights = parameters((4, 3), (4,))
    optimiser = MomentumSGD(weights, 0.9, 5e-4)
    w, v = [weight.detach().clone() for weight in weights], [torch.zeros_like(weight) for weight in weights]
    for rate in (0.01, 0.05, 0.001, 0.1):
        gradients = give_gradients(weights)
        optimiser.step(rate)
        for i, gradient in enumerate(gradients):
            v[i] = 0.9 * v[i] - 5e-4 * rate * w[i] - rate * gradient
            w[i] = w[i] + v[i]
            torch.testing.assert_close(weights[i].detach(), w[i])
            torch.testing.assert_close(optimiser.velocity[i], v[i])
        assert all(weight.grad is None for weight in weights)


def test_at_a_constant_rate_it_is_pytorchs_sgd():
    ours = parameters((5, 2), (5,))
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    optimiser = MomentumSGD(ours, 0.8, 0.01)
    reference = torch.optim.SGD(theirs, lr=0.03, momentum=0.8, weight_decay=0.01)
    for _ in range(5):
        for weight, gradient in zip(theirs, give_gradients(ours), strict=True):
            weight.grad = gradient
        optimiser.step(0.03)
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_the_one_kernel_of_a_gpu_is_the_papers_formula_too():
    """It has a form for CPUs."""
    weights = [weight.detach() for weight in parameters((4, 3), (4,))]
    v = [torch.zeros_like(weight) for weight in weights]
    ours, velocity = [weight.clone() for weight in weights], [torch.zeros_like(weight) for weight in weights]
    for rate in (0.01, 0.05, 0.0, 0.001, 0.1):
        gradients = [torch.randn_like(weight) for weight in weights]
        _fused_step(ours, [gradient.clone() for gradient in gradients], velocity, rate, 0.9, 5e-4)
        for i, gradient in enumerate(gradients):
            v[i] = 0.9 * v[i] - 5e-4 * rate * weights[i] - rate * gradient
            weights[i] = weights[i] + v[i]
            torch.testing.assert_close(ours[i], weights[i])
            torch.testing.assert_close(velocity[i], v[i])


@pytest.mark.parametrize("shape", [(1, 24, 60), (2, 24, 60), (3, 50, 20), (1, 16, 16)])
def test_orthogonalised_keeps_the_singular_vectors_and_evens_the_values(shape):
    matrices = torch.randn(shape, dtype=torch.double)
    u, values, v = torch.linalg.svd(matrices, full_matrices=False)
    seen = u.mT @ orthogonalised(matrices, steps=9) @ v.mT
    diagonal = seen.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(seen, torch.diag_embed(diagonal), atol=1e-9, rtol=0)
    assert diagonal.min() > 0.65 and diagonal.max() < 1.25
    assert values.max() / values.min() > 1.5


def test_muon_moves_the_inner_convolutions_by_whole_towers_and_the_rest_as_2012():
    model = AlexNet(ModelConfig(towers=2)).double()
    train = TrainConfig(optimiser="muon", momentum=0.9, weight_decay=0.01)
    optimiser = optimiser_for(model, train)
    assert isinstance(optimiser, Muon)
    names = [name for name, _ in model.named_parameters()]
    assert {names[place]: towers for place, towers in optimiser.inner.items()} == {
        "conv2.weight": 2, "conv3.weight": 1, "conv4.weight": 2, "conv5.weight": 2,
    }  # fmt: skip
    weights = dict(model.named_parameters())
    reference = [w.detach().clone().requires_grad_() for name, w in weights.items() if "conv" not in name]
    plain = MomentumSGD(reference, 0.9, 0.01)
    before = {name: w.detach().clone() for name, w in weights.items()}
    first = give_gradients(list(weights.values()))
    optimiser.step(0.1)
    after = {name: w.detach().clone() for name, w in weights.items()}
    second = give_gradients(list(weights.values()))
    optimiser.step(0.2)
    gradients = dict(zip(names, zip(first, second, strict=True), strict=True))
    # By hand, for one tower of conv2 and the whole of conv3.
    for name, rows in (("conv2.weight", slice(32, 64)), ("conv3.weight", slice(None))):
        one, two = (g[rows].flatten(1)[None] for g in gradients[name])
        start = before[name][rows].flatten(1)
        scale = max(1, one.shape[1] / one.shape[2]) ** 0.5
        moved = (1 - 0.01 * 0.1) * start - 0.1 * scale * orthogonalised(one + 0.9 * one)[0]
        torch.testing.assert_close(after[name][rows].flatten(1), moved)
        moved = (1 - 0.01 * 0.2) * moved - 0.2 * scale * orthogonalised(two + 0.9 * (0.9 * one + two))[0]
        torch.testing.assert_close(weights[name].detach()[rows].flatten(1), moved)
    for rate, place in ((0.1, 0), (0.2, 1)):
        for weight, name in zip(reference, (name for name in names if "conv" not in name), strict=True):
            weight.grad = gradients[name][place].clone()
        plain.step(rate)
    for weight, name in zip(reference, (name for name in names if "conv" not in name), strict=True):
        torch.testing.assert_close(weights[name].detach(), weight.detach())
    assert all(weight.grad is None for weight in weights.values())


def rates(schedule, steps=1000, **fields):
    train = TrainConfig(schedule=schedule, learning_rate=0.1, **fields)
    return [learning_rate(train, step / steps) for step in range(steps)]


def test_constant_stays():
    assert set(rates("constant")) == {0.1}


def test_step_falls_to_a_tenth_at_a_half_three_quarters_and_nine_tenths():
    found = rates("step")
    assert found[499] == 0.1
    for step, rate in ((500, 0.01), (749, 0.01), (750, 1e-3), (899, 1e-3), (900, 1e-4), (999, 1e-4)):
        assert found[step] == pytest.approx(rate)


def test_cosine_is_half_a_cosine_from_the_rate_to_nothing():
    found = rates("cosine")
    assert found[0] == 0.1
    assert found[250] == pytest.approx(0.05 * (1 + math.sqrt(0.5)))
    assert found[500] == pytest.approx(0.05)
    assert 0 < found[999] < 1e-5
    assert found == sorted(found, reverse=True)


def test_one_cycle_rises_for_a_quarter_then_falls_to_nothing_in_straight_lines():
    found = rates("one-cycle")
    assert found[:250] == sorted(found[:250]) and found[250:] == sorted(found[250:], reverse=True)
    assert found[0] == pytest.approx(0.004)  # not zero: the first steps are to learn too
    assert found[125] == pytest.approx(0.05)
    assert found[250] == 0.1
    assert found[625] == pytest.approx(0.05)
    assert 0 < found[999] < 2e-4
    early = rates("one-cycle", warm_up=0.1)
    assert early.index(max(early)) == 100 and early[550] == pytest.approx(0.05)


def test_plateau_waits_for_patience_then_drops_at_most_three_times():
    falling = [1.0, 0.9, 0.8]
    assert plateau_drops([], 2) == plateau_drops(falling, 2) == 0
    assert plateau_drops([*falling, 0.8], 2) == 0  # an equal loss is no progress, but one epoch is no plateau
    assert plateau_drops([*falling, 0.8, 0.81], 2) == 1
    assert plateau_drops([*falling, 0.85, 0.79, 0.85], 2) == 0  # a lower loss starts the count again
    assert plateau_drops([*falling, 0.9, 0.9, 0.9], 2) == 1  # and so does a drop
    assert plateau_drops([*falling, 0.9, 0.9, 0.9, 0.9], 2) == 2
    assert plateau_drops([1.0] * 100, 2) == 3
    train = TrainConfig(schedule="plateau", learning_rate=0.01, patience=2)
    found = [learning_rate(train, 0.5, [1.0] * epochs) for epochs in range(12)]
    assert found == pytest.approx([0.01] * 3 + [1e-3] * 2 + [1e-4] * 2 + [1e-5] * 5)


def test_the_mean_of_the_weights_is_that_of_the_steps_counted_and_is_put_in_their_place():
    weights = parameters((4, 3), (4,))
    mean = WeightMean(weights)
    with mean.in_place():  # there is none yet
        assert all(weight.abs().sum() > 0 for weight in weights)
    seen = []
    for _ in range(7):
        for weight in weights:
            weight.data.normal_()
        seen.append([weight.detach().clone() for weight in weights])
        mean.add()
    with mean.in_place():
        for place, weight in enumerate(weights):
            torch.testing.assert_close(weight.detach(), torch.stack([step[place] for step in seen]).mean(0))
    assert all(torch.equal(weight, last) for weight, last in zip(weights, seen[-1], strict=True))


def test_weights_that_do_not_move_are_their_mean_to_the_bit():
    weight = torch.randn(1000)
    mean = WeightMean([weight])
    for _ in range(100):
        mean.add()
    assert torch.equal(mean.mean[0], weight)
