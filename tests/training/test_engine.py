"""How a machine computes. What only a GPU can do is told by what PyTorch is asked for."""

import os

import pytest
import torch

from alexnet_explorer.config import RunConfig
from alexnet_explorer.training import engine
from alexnet_explorer.training.engine import Engine, bf16_pays, choose_engine


@pytest.fixture
def asked(monkeypatch):
    """What is asked of CUDA; tf32 is on, as by PyTorch's default for convolutions."""
    asked = []
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda on, warn_only: asked.append((on, warn_only)))
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield asked
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def tf32():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_fp32_on_a_gpu_is_fp32_and_repeats(asked):
    Engine("cuda", "fp32", 1, "a GPU").set_up()
    assert asked == [(True, True)] and tf32() == (False, False)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_bf16_on_a_gpu_takes_its_fast_ways(asked):
    Engine("cuda", "bf16", 1, "a GPU").set_up()
    assert asked == []


def test_on_a_cpu_nothing_is_set_for_gpus(asked):
    Engine("cpu", "fp32", 1, "a CPU").set_up()
    assert asked == [] and tf32() == (True, True) and "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_a_users_own_workspace_for_cublas_stays(asked, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    Engine("cuda", "fp32", 1, "a GPU").set_up()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_the_probe_of_a_gpu_comes_after_what_makes_its_products_repeat(asked, monkeypatch):
    seen = []

    def probe(config, device):
        seen.append((device, tf32(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")))
        return True

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(engine, "bf16_pays", probe)
    assert choose_engine(RunConfig()).precision == "bf16"
    assert seen == [("cuda", (False, False), ":4096:8")]


@pytest.mark.parametrize("bf16_is_faster", [True, False])
def test_a_gpu_is_timed_and_waited_for(monkeypatch, bf16_is_faster):
    """The seconds pass in `synchronize`, as they do where a GPU runs ahead of Python's back."""
    clock = [0.0]
    monkeypatch.setattr(engine.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: not including_emulation)
    # Here the GPU is a CPU.
    real_autocast, real_to, real_zeros, steps = torch.autocast, torch.Tensor.to, torch.zeros, []

    def autocast(device, dtype=None, enabled=True):
        if device == "cuda":  # the normalisation layers switch it off where they are
            steps.append(enabled)
        return real_autocast("cpu", dtype, enabled=enabled)

    def synchronize():
        clock[0] += 1.0 if steps[-1] == bf16_is_faster else 2.0

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *args, **kwargs: self)
    monkeypatch.setattr(torch.Tensor, "to", lambda x, *args, **kw: x if args == ("cuda",) else real_to(x, *args, **kw))
    monkeypatch.setattr(torch, "zeros", lambda *size, device=None, **kwargs: real_zeros(*size, **kwargs))
    config = RunConfig().with_settings({"train.batch_size": 4})
    assert bf16_pays(config, "cuda") is bf16_is_faster
    assert steps == [True] * 3 + [False] * 3


def test_bf16_that_a_gpu_only_emulates_does_not_pay(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert bf16_pays(RunConfig(), "cuda") is False


@pytest.mark.parametrize(("seconds_of_eight", "images"), [(0.001, 100), (0.01, 40), (0.2, 8)])
def test_a_cpu_is_timed_with_as_many_images_as_a_short_step_takes(monkeypatch, seconds_of_eight, images):
    """In fp32 a step takes its time by the number of images; in bf16 it gains where they are many."""
    asked = []

    def step(model, count, device, bf16):
        asked.append((count, bf16))
        fp32 = seconds_of_eight * count / 8
        return 0.6 * fp32 + 0.004 if bf16 else fp32

    monkeypatch.setattr(engine, "_step_seconds", step)
    pays = bf16_pays(RunConfig().with_settings({"train.batch_size": 100}), "cpu")
    assert asked == [(8, False), (images, True), (images, False)]
    assert pays == (0.4 * seconds_of_eight * images / 8 > 0.004)
