"""Small networks with random weights, as the inspection functions take them."""

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_explorer.config import ModelConfig, RunConfig
from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.weights import LoadedModel

TINY = {
    "input_size": 16, "num_classes": 5, "widths": (6, 8, 4), "kernels": (3, 3, 3), "strides": (1, 1, 1),
    "paddings": (1, 1, 1), "convolutions": (1, 2, 3), "fc_widths": (12,), "grouped": (2,), "towers": 2,
    "pool_after": (1, 3), "pool_kinds": ("max", "max"), "bias_one": (),
}  # fmt: skip


def ready(model, size=16, channels=3):
    """The model as it is after loading; a picture's pixels reach it as numbers from −1 to 1."""
    half = torch.full((channels, 1, 1), 127.5)
    return LoadedModel(
        name="tiny",
        title="Tiny",
        trained_on="nothing",
        model=model.eval().requires_grad_(False),
        preprocessing=Preprocessing(size, size, half, half),
        classes=("ant", "bee", "cat", "dog", "elk"),
        config=RunConfig(),
        digest="",
    )


@pytest.fixture
def tiny():
    """Builds a small AlexNet (two towers, LRN, overlapping pooling) with some fields of its config changed."""

    def build(seed=0, **fields):
        model = AlexNet(ModelConfig(**{**TINY, **fields}))
        initialise(model, seed)
        return ready(model, model.config.input_size, model.config.in_channels)

    return build


@pytest.fixture
def wrap():
    """Makes a module of a test's own look like a loaded model."""
    return ready


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


@pytest.fixture
def hooks_of():
    """Counts all hooks on a module and what is in it."""

    def count(model):
        kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)

    return count


class WatchedLock:
    """A lock that knows whether somebody holds it."""

    depth = 0

    def __enter__(self):
        self.depth += 1

    def __exit__(self, *exception):
        self.depth -= 1


@pytest.fixture
def watch():
    """Gives the model a lock to watch; the list says, for every forward pass, whether it was held."""

    def start(loaded):
        loaded.lock = WatchedLock()
        held = []
        loaded.model.register_forward_pre_hook(lambda module, inputs: held.append(loaded.lock.depth > 0))
        return held

    return start
