"""How this machine computes: device, precision, threads. Chosen once a run and written to its env.json."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import __version__
from ..config import MOST_THREADS, ConfigError, RunConfig
from ..model import AlexNet
from .code import code_digest

PROBE_IMAGES, PROBE_SECONDS = 8, 0.05  # of a step that measures the precision
LEAST_SECONDS = 300.0  # of a training; compiling would take longer than it saves in a shorter one
ROUNDING = 0.05  # of a gradient's norm

Forward = Callable[[Tensor], Tensor]

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "numpy")}
    return {"alexnet_explorer": __version__, "python": platform.python_version(), **packages}


@dataclass(frozen=True)
class Engine:
    """Where and how the network is computed."""

    device: str
    precision: str  # fp32, or bf16 for activations with fp32 weights
    threads: int
    hardware: str
    compiled: bool = False  # training steps by torch.compile, on a GPU as CUDA graphs
    versions: dict[str, str] = field(default_factory=_versions)
    code: str = field(default_factory=code_digest)

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def set_up(self) -> None:
        """Make this process compute so."""
        torch.set_num_threads(self.threads)
        _keep_freed_memory()
        if self.device == "cuda":
            _take_fp32_at_its_word()
        if self.precision == "fp32" and self.device == "cuda":
            # What is used here repeats on a CPU as it is, and the switch takes seconds to import.
            torch.use_deterministic_algorithms(True, warn_only=True)

    def autocast(self) -> torch.autocast:
        """The context in which the forward pass runs."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def forward_of(self, model: AlexNet) -> Forward:
        """The model's forward pass in training: the model itself, or what is compiled of it when it is first called."""
        return _compiled(model) if self.compiled else model

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class DeviceError(ConfigError):
    """The device asked for is not there."""


def choose_device(config: RunConfig) -> str:
    """`cpu` or `cuda`. Raises DeviceError where a GPU is asked for and there is none."""
    wanted = config.train.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceError("train.device=cuda: no CUDA GPU is seen here; take train.device=auto or cpu")
    return "cuda" if torch.cuda.is_available() and wanted != "cpu" else "cpu"


def choose_engine(config: RunConfig, most: int = 0, steps: int = 0) -> Engine:
    """Settle everything that is `auto` for a training of so many steps. Raises DeviceError.

    most: threads at most, if it is not 0.
    """
    device = choose_device(config)
    if device == "cuda":
        _take_fp32_at_its_word()  # before the probe makes the first product
    threads = config.train.threads or torch.get_num_threads()
    torch.set_num_threads(min(threads, most or threads))
    precision = config.train.precision
    if precision == "auto":
        precision = "bf16" if bf16_pays(config, device) else "fp32"
    compiled = config.train.compile == "on"
    if config.train.compile == "auto" and (device, precision) == ("cuda", "bf16"):  # fp32 is for exact repeats
        compiled = compiling_pays(config, device, steps)
    hardware = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return Engine(device, precision, torch.get_num_threads(), hardware, compiled)


def most_threads() -> int:
    """How many threads the queue that started this process leaves it; 0 where it says nothing."""
    return int(os.environ.get(MOST_THREADS, "0"))


def noted(sessions: Sequence[dict[str, Any]], facts: Mapping[str, Any], step: int) -> dict[str, Any]:
    """What env.json says once a process with these facts goes on from `step`: they, and the sessions so far and now.

    A session has the facts, and the step `from_step` that it began at; one after the other with the same facts are one.
    """
    known = [part for part in sessions if part["from_step"] < step]  # what others did was lost
    if not known or {**known[-1], **facts} != known[-1]:
        known.append({**facts, "from_step": step})
    return {**facts, "sessions": known}


def in_words(error: Exception) -> str:
    """What to say where memory ran out or steps cannot be compiled; empty where an error means something else."""
    if isinstance(error, torch.OutOfMemoryError):
        return "not enough memory on the GPU: take a smaller train.batch_size"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # PyTorch has no type for it on a CPU
        return "not enough memory: take a smaller train.batch_size"
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        why = str(error).strip().splitlines()[0]
        return f"torch.compile does not work here ({why}): take train.compile=off, in a new run if this one has begun"
    return ""


def bf16_pays(config: RunConfig, device: str) -> bool:
    """Whether a few training steps of this network run faster in bf16 than in fp32 on this device: it is measured.

    With as many images as the batch has, or on a CPU as a step of `PROBE_SECONDS` takes: with a few only, what the
    casts cost would hide what the products gain.
    """
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return False
    model = AlexNet(config.model).to(device).to(memory_format=torch.channels_last)
    images = config.train.batch_size
    if device == "cpu":
        few = min(PROBE_IMAGES, images)
        images = min(images, max(few, int(few * PROBE_SECONDS / _step_seconds(model, few, device, False))))
    return _step_seconds(model, images, device, True) < _step_seconds(model, images, device, False)


def compiling_pays(config: RunConfig, device: str, steps: int) -> bool:
    """Whether so many bf16 steps take longer as they are than compiled, compiling included: it is measured.

    Where steps cannot be compiled, for want of a C++ compiler, say, or get other gradients, it does not.
    """
    model = AlexNet(config.model).to(device).to(memory_format=torch.channels_last)
    images = config.train.batch_size
    as_it_is = steps * _step_seconds(model, images, device, True)
    if as_it_is < LEAST_SECONDS:
        return False
    right = [parameter.grad for parameter in model.parameters()]
    start = time.perf_counter()
    try:
        compiled = steps * _step_seconds(model, images, device, True, _compiled(model))
    except Exception as error:  # a compiler may fail in any way, and the training can do without
        warnings.warn(f"steps are not compiled: {error}", stacklevel=2)
        return False
    pays = time.perf_counter() - start + compiled < as_it_is
    return pays and all(map(_agree, right, (parameter.grad for parameter in model.parameters())))


def _agree(right: Tensor | None, other: Tensor | None) -> bool:
    """Whether two gradients are the same but for rounding in bf16."""
    assert right is not None and other is not None
    return bool((other - right).norm() <= ROUNDING * right.norm())


def _compiled(model: AlexNet) -> Forward:
    on_gpu = next(model.parameters()).is_cuda
    # Dropout draws the masks that it draws when it is not compiled.
    forward: Forward = torch.compile(
        model, dynamic=False, options={"fallback_random": True, "triton.cudagraphs": on_gpu}
    )

    def begin_step(x: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # what the last step left may be written over
        return forward(x)

    return begin_step if on_gpu else forward


def _step_seconds(model: AlexNet, images: int, device: str, bf16: bool, forward: Forward | None = None) -> float:
    """Of the faster one of two training steps, without the update; the model keeps the last one's gradients.

    `forward`: the model's, if it is not its own.
    """
    size, step = model.config.input_size, model if forward is None else forward
    torch.manual_seed(0)
    x = torch.rand(images, model.config.in_channels, size, size).to(device).to(memory_format=torch.channels_last)
    y = torch.zeros(images, dtype=torch.long, device=device)
    times = []
    for _ in range(3 if forward is None else 5):  # the first one also sets up the kernels; graphs take two more
        model.zero_grad()
        torch.manual_seed(0)
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            logits = step(x.bfloat16() if bf16 else x)
        F.cross_entropy(logits.float(), y).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[-2:])


def _take_fp32_at_its_word() -> None:
    """On a GPU: no TF32, which has 10 bits of mantissa, and products that sum in one order.

    cuBLAS reads the variable when it makes its first product.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: each step wants the same large blocks again, which would be zeroed page by page."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL("libc.so.6").mallopt
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Let the system have what `_keep_freed_memory` kept: blocks of one kind of work do not fit another one."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 (not a file of ours)
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
