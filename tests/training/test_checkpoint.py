"""The one file that a run goes on from."""

import errno
import os

import pytest
import safetensors.torch
import torch

from alexnet_explorer.config import ModelConfig
from alexnet_explorer.model import AlexNet
from alexnet_explorer.training.checkpoint import Progress, load_state, save_state
from alexnet_explorer.training.optimiser import MomentumSGD

CONFIG = ModelConfig(input_size=16, widths=(4, 4), kernels=(3, 3), strides=(1, 1), paddings=(1, 1),
                     convolutions=(1, 2), fc_widths=(8,), pool_after=(1,), pool_kinds=("max",), towers=2)  # fmt: skip
PROGRESS = Progress(
    epoch=3, batch=2, step=17, seconds=1.25, images=300, loss=0.1 + 0.2, errors=5, images_logged=10, loss_logged=1 / 3,
    errors_logged=4, metrics_bytes=999, validation_losses=[1.5, 0.1 + 0.7],
)  # fmt: skip


@pytest.fixture
def trained():
    """A network in channels-last order and its optimiser, after a step."""

    def build(steps=1):
        model = AlexNet(CONFIG).to(memory_format=torch.channels_last)
        optimiser = MomentumSGD(model.parameters(), 0.9, 5e-4)
        for _ in range(steps):
            model(torch.randn(2, 3, 16, 16)).square().sum().backward()
            optimiser.step(0.01)
        return model, optimiser

    return build


def test_weights_velocities_and_counters_come_back_to_the_bit(tmp_path, trained):
    path = tmp_path / "state.safetensors"
    model, optimiser = trained()
    save_state(path, model, optimiser, PROGRESS)
    other, its_optimiser = trained(2)
    assert load_state(path, other, its_optimiser) == PROGRESS
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two) and one.stride() == two.stride(), name
    for one, two in zip(optimiser.velocity, its_optimiser.velocity, strict=True):
        assert torch.equal(one, two) and one.count_nonzero() and one.stride() == two.stride()


def test_the_file_holds_plain_tensors_by_the_papers_names(tmp_path, trained):
    path = tmp_path / "state.safetensors"
    model, optimiser = trained()
    save_state(path, model, optimiser, PROGRESS)
    tensors = safetensors.torch.load_file(path)
    names = [f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc3", "fc4") for kind in ("weight", "bias")]
    assert set(tensors) == {f"{part}.{name}" for part in ("model", "velocity") for name in names}
    assert torch.equal(tensors["model.conv1.weight"], model.conv1.weight)


def test_a_write_that_fails_leaves_the_last_checkpoint_and_nothing_else(tmp_path, trained, monkeypatch):
    path = tmp_path / "state.safetensors"
    model, optimiser = trained()
    save_state(path, model, optimiser, PROGRESS)
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_state(path, *trained(3), Progress())
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
