"""How a machine computes. What only a GPU can do is told by what PyTorch is asked for."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F

from alexnet_explorer.config import RunConfig, preset_config
from alexnet_explorer.model import AlexNet
from alexnet_explorer.training import engine
from alexnet_explorer.training.engine import Engine, bf16_pays, choose_engine, compiling_pays, in_words


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
    config = RunConfig().with_settings({"train.compile": "off"})
    assert choose_engine(config).precision == "bf16"
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


# Compiled steps

needs_a_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("g++"), reason="torch.compile needs a C++ compiler"
)


def losses_and_gradients(config, x):
    """Of the model as it is, and of what is compiled of it: the loss of a training step and all gradients."""
    torch.manual_seed(0)
    model = AlexNet(config.model).to(memory_format=torch.channels_last)
    found = []
    for forward in (model, Engine("cpu", "fp32", 1, "a CPU", compiled=True).forward_of(model)):
        model.zero_grad()
        torch.manual_seed(1)  # of dropout
        loss = F.cross_entropy(forward(x), torch.arange(len(x)) % 10)
        loss.backward()
        found.append((loss.detach(), *(parameter.grad for parameter in model.parameters())))
    return found


@needs_a_compiler
@pytest.mark.timeout(500)  # a compiler takes its time on a busy machine
@pytest.mark.parametrize(
    "lrn", [{"model.lrn_kind": "within-map"}, {"model.lrn_kind": "across-maps", "model.towers": 2}], ids=["map", "maps"]
)
def test_a_compiled_step_has_the_loss_and_the_gradients_of_the_network_as_it_is(lrn):
    """Both kinds of pooling, whose last windows reach over the edge, dropout, and gradients that all say something."""
    small = {"model.input_size": 16, "model.widths": [4, 4, 4], "model.fc_widths": [8], "model.dropout": 0.5}
    strong = {"model.lrn_alpha": 0.1, "model.init": "modern", "model.activation": "tanh"}
    config = preset_config("convnet-2012").with_settings({**small, **strong, **lrn})
    plain, compiled = losses_and_gradients(config, torch.randn(6, 3, 16, 16).to(memory_format=torch.channels_last))
    assert all(gradient.norm() > 1e-6 for gradient in plain)
    for ours, theirs in zip(plain, compiled, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-6)


@pytest.fixture
def steps(monkeypatch):
    """Pairs to fill in: the seconds that each next step takes, and the number that all its gradients are."""
    given = []

    def step_seconds(model, images, device, bf16, forward=None):
        seconds, gradient = given.pop(0)
        if isinstance(seconds, Exception):
            raise seconds
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        return seconds

    monkeypatch.setattr(engine, "_step_seconds", step_seconds)
    monkeypatch.setattr(engine, "_compiled", lambda model: model)
    return given


def test_compiling_pays_where_the_training_is_long_enough(steps):
    steps += [(0.01, 1.0), (0.005, 1.01)]
    assert compiling_pays(RunConfig(), "cpu", 40_000)
    steps += [(0.01, 1.0), (0.011, 1.0)]
    assert not compiling_pays(RunConfig(), "cpu", 40_000)


def test_for_a_short_training_nothing_is_compiled(steps):
    steps += [(0.01, 1.0)]
    assert not compiling_pays(RunConfig(), "cpu", 20_000)


def test_a_compiler_that_fails_or_is_wrong_is_not_used(steps):
    steps += [(0.01, 1.0), (RuntimeError("no triton"), 1.0)]
    with pytest.warns(UserWarning, match="no triton"):
        assert not compiling_pays(RunConfig(), "cpu", 40_000)
    steps += [(0.01, 1.0), (0.005, 1.2)]
    assert not compiling_pays(RunConfig(), "cpu", 40_000)


@pytest.mark.parametrize(
    ("precision", "wanted", "compiled"),
    [("bf16", "auto", True), ("fp32", "auto", False), ("bf16", "off", False), ("fp32", "on", True)],
)
def test_a_gpu_compiles_where_it_pays_and_fp32_stays_exact(asked, monkeypatch, precision, wanted, compiled):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(engine, "compiling_pays", lambda config, device, steps: steps == 1000)
    config = RunConfig().with_settings({"train.precision": precision, "train.compile": wanted})
    assert choose_engine(config, steps=1000).compiled is compiled


@pytest.mark.parametrize(("wanted", "compiled"), [("auto", False), ("on", True), ("off", False)])
def test_a_cpu_compiles_where_it_is_told_to(wanted, compiled):
    config = RunConfig().with_settings({"train.precision": "bf16", "train.compile": wanted, "train.device": "cpu"})
    assert choose_engine(config, steps=10**9).compiled is compiled


def test_a_missing_compiler_is_told_in_a_line():
    from torch._inductor.exc import InvalidCxxCompiler

    message = in_words(InvalidCxxCompiler())
    assert "No working C++ compiler" in message and "take train.compile=off" in message
    assert "\n" not in message


# Memory


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_one_kind_of_work_has_freed_is_given_back():
    source = """
        import torch
        from alexnet_explorer.training.engine import _keep_freed_memory, give_back_freed_memory

        def own():
            with open("/proc/self/status", encoding="ascii") as lines:
                return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon:"))

        _keep_freed_memory()
        before = own()
        blocks = [torch.ones(1 << 20) for _ in range(50)]
        last = torch.ones(1000)  # above them
        del blocks
        kept = own()
        give_back_freed_memory()
        print(kept - before, own() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 190 and left < 20
