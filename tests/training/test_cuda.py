"""What only a GPU can show: the update's one kernel, steps that are replayed as CUDA graphs, whole trainings."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from alexnet_explorer.config import preset_config
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.runs import new_run
from alexnet_explorer.training.engine import Engine, compiling_pays
from alexnet_explorer.training.loop import train
from alexnet_explorer.training.optimiser import MomentumSGD

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

SMALL = {"model.input_size": 16, "model.widths": [8, 8, 8], "model.fc_widths": [16], "model.dropout": 0.5}


def network(**settings):
    model = AlexNet(preset_config("convnet-2012").with_settings({**SMALL, "model.init": "modern", **settings}).model)
    initialise(model, 0)
    return model.cuda().to(memory_format=torch.channels_last)


def test_the_one_kernel_makes_the_update_of_a_cpu():
    torch.manual_seed(0)
    ours = [torch.randn(size).requires_grad_() for size in ((5, 3), (7,))]
    theirs = [weight.detach().cuda().requires_grad_() for weight in ours]
    on_cpu, on_gpu = MomentumSGD(ours, 0.9, 5e-4), MomentumSGD(theirs, 0.9, 5e-4)
    for rate in (0.1, 0.0, 0.02, 0.3):
        for weight, other in zip(ours, theirs, strict=True):
            weight.grad = torch.randn_like(weight)
            other.grad = weight.grad.cuda()
        on_cpu.step(rate)
        on_gpu.step(rate)
        for weight, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(other.detach().cpu(), weight.detach())


@pytest.mark.timeout(500)
@pytest.mark.parametrize("lrn", ["within-map", "across-maps"])
def test_steps_that_are_replayed_see_each_batch_each_mask_and_each_weight(lrn):
    """Six steps, the last batch of each three smaller, with weights that change in between."""
    plain, compiled = network(**{"model.lrn_kind": lrn}), network(**{"model.lrn_kind": lrn})
    forward = Engine("cuda", "fp32", 1, "a GPU", compiled=True).forward_of(compiled)
    optimisers = [MomentumSGD(model.parameters(), 0.9, 5e-4) for model in (plain, compiled)]
    for step, size in enumerate([12, 12, 5] * 2):
        x = torch.randn(size, 3, 16, 16, device="cuda").to(memory_format=torch.channels_last)
        y = torch.randint(0, 10, (size,), device="cuda")
        losses = []
        for run, optimiser in zip((plain, forward), optimisers, strict=True):
            torch.manual_seed(step)
            loss = F.cross_entropy(run(x), y)
            loss.backward()
            optimiser.step(0.05)
            losses.append(loss.item())
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    for ours, theirs in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-2, atol=1e-4)


@pytest.mark.timeout(500)
def test_steps_can_be_compiled_for_the_probe():
    config = preset_config("convnet-2012").with_settings({"train.batch_size": 512})
    with warnings.catch_warnings(action="error", message="steps are not compiled"):
        compiling_pays(config, "cuda", 10**9)


@pytest.mark.timeout(500)
def test_a_compiled_training_learns_what_a_plain_one_learns(packed, small, tmp_path):
    losses = []
    for compiled in ("off", "on"):
        run = new_run(small(train__device="cuda", train__compile=compiled), packed, tmp_path / "runs")
        assert train(run).state == "done" and run.env()["compiled"] is (compiled == "on")
        losses.append(run.status().summary["val/loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
