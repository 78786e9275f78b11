"""What a training will need on this machine, and how large its steps may be: measured by a few real steps.

Both are made for a process of their own, `python -m alexnet_explorer probe estimate|rate`: they set its threads, and
its memory is what is measured. No run is written; what a training would write goes to a folder that is removed.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
import torch.nn.functional as F

from ..config import RunConfig
from ..data.augment import seed_of
from ..data.batches import Batch, TrainingData
from ..data.packed import PackedSet
from ..model import AlexNet, initialise
from .checkpoint import Progress, save_state
from .engine import choose_engine, most_threads
from .finetune import begin_from
from .loop import DROPOUT_STREAM
from .optimiser import optimiser_for

WARM_UP = 2  # steps that also set up kernels and memory
LEAST_STEPS = 3  # that are timed
SECONDS = 3.0  # of timed steps, if they are short

RATE_STEPS = 100
LOWEST_RATE, HIGHEST_RATE = 1e-6, 10.0
SMOOTHING = 0.9  # share of the past in a smoothed loss
DIVERGED = 4.0  # times the lowest smoothed loss: the test ends
EARLY = 10  # points whose median is where the loss begins: the rates there are too low to move it
LOWERED = 0.95  # times that loss; a lowest loss above it is chance
SAFETY = 10  # the suggestion is the rate at which the loss turns, divided by this

ProgressReport = Callable[[float, float, float], None]  # the share that is done, the rate, the loss


@dataclass(frozen=True)
class Estimate:
    """What a training of a config needs. Times do not know what else the machine will be doing."""

    parameters: int
    img_per_s: float  # in training
    epoch_seconds: float  # with its validation, its clean passes and its checkpoint
    total_seconds: float
    memory_bytes: int  # highest of the training process, beside the memory map of the data, which can be let go
    gpu_memory_bytes: int  # 0 on a CPU
    device: str
    precision: str
    threads: int
    others: float  # cores that other processes of the machine kept busy meanwhile


class Point(NamedTuple):
    """One batch of the learning-rate range test."""

    rate: float
    loss: float


class _Trial:
    """A training as `loop.train` does it, that nobody will keep."""

    def __init__(self, config: RunConfig, packed: PackedSet, init: Path | None) -> None:
        self.config = config
        train = config.train
        self.engine = choose_engine(config, most_threads(), train.epochs * packed.count("train") // train.batch_size)
        self.engine.set_up()
        self.device = torch.device(self.engine.device)
        self.data = TrainingData(packed, config, self.device, self.engine.dtype)
        self.model = AlexNet(config.model)
        initialise(self.model, config.train.seed)
        if init is not None:
            self.data.preprocessing = begin_from(init, config.train.init, self.model, packed.classes)
        for layer in config.train.freeze:
            self.model.get_submodule(layer).requires_grad_(False)
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.forward = self.engine.forward_of(self.model)
        self.optimiser = optimiser_for(self.model, config.train)
        self.steps = 0

    def batches(self) -> Iterator[Batch]:
        """Epoch after epoch, without end."""
        for epoch in count():
            yield from self.data.training(epoch)

    def step(self, batch: Batch, rate: float) -> float:
        """One step of the training; the mean loss of the batch before it."""
        self.model.train()
        torch.manual_seed(seed_of(self.config.train.seed, self.steps, DROPOUT_STREAM))
        with self.engine.autocast():
            logits = self.forward(batch.x).float()
        loss = F.cross_entropy(logits, batch.y)
        loss.backward()
        self.optimiser.step(rate)
        self.steps += 1
        return loss.item()


def estimate(
    config: RunConfig, packed: PackedSet, stopping: Callable[[], bool] = lambda: False, init: Path | None = None
) -> Estimate:
    """Measure a few steps, a batch of validation and a checkpoint of a training; takes seconds.

    `stopping`: ends the steps early. `init`: the weights file of a fine-tuning. Raises DataError, DeviceError,
    WeightsError.
    """
    trial = _Trial(config, packed, init)
    data, model = trial.data, trial.model
    rate = config.train.learning_rate / 1000  # that of steps which none may diverge in
    batches = trial.batches()
    for _ in range(WARM_UP):
        trial.step(next(batches), rate)
    load = Load()
    images, steps, start = 0, 0, time.perf_counter()
    while steps < LEAST_STEPS or time.perf_counter() - start < SECONDS:
        batch = next(batches)
        trial.step(batch, rate)
        images, steps = images + len(batch.y), steps + 1
        if stopping():
            break
    img_per_s = images / (time.perf_counter() - start)
    others = load.of_others()

    model.eval()
    with torch.inference_mode(), trial.engine.autocast():
        batch = next(data.evaluation("val"))
        model(batch.x)
        start = time.perf_counter()
        model(batch.x).sum().item()
        validation = (time.perf_counter() - start) / len(batch.y)

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        save_state(Path(folder) / "state.safetensors", model, trial.optimiser, Progress())
        checkpoint = time.perf_counter() - start

    looked_at = data.count("val") + config.train.clean_passes * data.count("clean")
    epoch = data.count("train") / img_per_s + looked_at * validation + checkpoint
    return Estimate(
        parameters=config.model.parameters(),
        img_per_s=img_per_s,
        epoch_seconds=epoch,
        total_seconds=epoch * config.train.epochs + data.count("test") * validation,
        memory_bytes=peak_memory(),
        gpu_memory_bytes=torch.cuda.max_memory_reserved() if trial.engine.device == "cuda" else 0,
        device=trial.engine.device,
        precision=trial.engine.precision,
        threads=trial.engine.threads,
        others=others,
    )


class Load:
    """What other processes ask of the machine's cores, from its making on."""

    def __init__(self) -> None:
        self._start = self._seen()

    def of_others(self) -> float:
        """The cores that they kept busy, on the average."""
        seconds, busy, own = (now - then for now, then in zip(self._seen(), self._start, strict=True))
        return max(0.0, (busy - own) / seconds)

    @staticmethod
    def _seen() -> tuple[float, float, float]:
        """Seconds of the clock, of all busy cores, of this process."""
        cores, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle = cores.idle + getattr(cores, "iowait", 0.0)
        guests = getattr(cores, "guest", 0.0) + getattr(cores, "guest_nice", 0.0)  # in user and nice, too
        return time.perf_counter(), sum(cores) - idle - guests, own.user + own.system


def peak_memory() -> int:
    """The most memory that this process has held at once, in bytes."""
    if sys.platform == "linux":
        # `ru_maxrss` also counts what the process that started this one held.
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def find_rate(
    config: RunConfig,
    packed: PackedSet,
    progress: ProgressReport = lambda done, rate, loss: None,
    stopping: Callable[[], bool] = lambda: False,
    init: Path | None = None,
) -> list[Point]:
    """The learning-rate range test of Smith, 2015 (arXiv:1506.01186): the rate grows with every batch.

    Starts from the first weights, with the config's data, augmentation, dropout and optimiser, and takes
    `RATE_STEPS` batches from `LOWEST_RATE` to `HIGHEST_RATE`. Ends early where the smoothed loss is `DIVERGED`
    times its lowest, or no number, which is then no point, or where `stopping` says so. Raises as `estimate` does.
    """
    trial = _Trial(config, packed, init)
    growth = (HIGHEST_RATE / LOWEST_RATE) ** (1 / (RATE_STEPS - 1))
    points: list[Point] = []
    for number, batch in zip(range(RATE_STEPS), trial.batches(), strict=False):
        rate = LOWEST_RATE * growth**number
        loss = trial.step(batch, rate)
        if not math.isfinite(loss):
            break
        points.append(Point(rate, loss))
        progress((number + 1) / RATE_STEPS, rate, loss)
        curve = smoothed([point.loss for point in points])
        if curve[-1] > DIVERGED * min(curve) or stopping():
            break
    return points


def smoothed(losses: Sequence[float]) -> list[float]:
    """The exponential mean of the losses so far, each weight `SMOOTHING` times that of the one after it."""
    curve: list[float] = []
    total = weight = 0.0
    for loss in losses:
        total, weight = SMOOTHING * total + loss, SMOOTHING * weight + 1
        curve.append(total / weight)
    return curve


def turning_rate(points: Sequence[Point]) -> float | None:
    """The rate at which the loss has lost half of what it had gained, or the highest one tried, if it never has.

    None where no rate lowers the loss.
    """
    curve = smoothed([point.loss for point in points])
    if len(curve) <= EARLY:
        return None
    begin, lowest = statistics.median(point.loss for point in points[:EARLY]), min(curve)
    if lowest > LOWERED * begin:
        return None
    after = range(curve.index(lowest), len(curve))
    turned = (place for place in after if curve[place] > (begin + lowest) / 2)
    return points[next(turned, len(points) - 1)].rate


def suggest(points: Sequence[Point]) -> float | None:
    """A rate to train with, of two digits: a tenth of that at which the loss turns upwards (`turning_rate`).

    A tenth, as the test passes each rate in a few steps, and a training stays there for thousands, with a momentum
    that has gathered. None where no rate lowers the loss.
    """
    turning = turning_rate(points)
    return None if turning is None else float(f"{turning / SAFETY:.2g}")
