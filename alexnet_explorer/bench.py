"""Speed, always against something, in one run on one machine.

`training` measures our loop, the loop that a textbook would write, and the network alone on one fixed batch: the
ceiling that an input pipeline can reach. `listing` measures the list of runs with its index, and without, `reading`
the metrics of a long run, whole and where it was left off.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from .comparing import Track
from .config import ModelConfig, RunConfig, preset_config
from .data.batches import TrainingData
from .data.packed import PackedSet
from .listing import Listing, read_row
from .model import AlexNet, LocalResponseNorm
from .runs import GALLERY, Run, Status, list_runs, new_run
from .training.engine import Engine, choose_engine
from .training.loop import train
from .training.optimiser import optimiser_for

BATCH = 128
REPEATS = 3
SECONDS = 5.0  # of each measurement, after its warm-up
WARM_UP = 3  # batches
FILES = 10_000  # images that the textbook loop reads over and over
PRESETS = ("convnet-2012", "alexnet-32")

Say = Callable[[str], None]
Step = Callable[[], int]  # one training step; the number of images in it


@dataclass(frozen=True)
class TrainingResult:
    """Images a second, medians over the repeats."""

    preset: str
    img_per_s: float
    textbook_img_per_s: float
    fixed_batch_img_per_s: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def training(packed: PackedSet, say: Say = lambda text: None, seconds: float = SECONDS) -> Iterator[TrainingResult]:
    """Measure each of `PRESETS` on a packed set, in `REPEATS` rounds of all three loops.

    Both loops use batches of 128, mirror, crop and PCA colour, and the normalisation layers. Ours runs as it always
    does, with its log, its status and its precision chosen by the probe; validation is not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "images"
        say(f"writing {min(FILES, packed.count('train'))} image files for the textbook loop")
        _write_files(packed, files)
        for preset in PRESETS:
            config = preset_config(preset, packed.name, len(packed.classes)).with_settings(
                {
                    "data.augmentation": "flip,crop,pca-colour",
                    "model.lrn": True,
                    "train.batch_size": BATCH,
                    "train.threads": torch.get_num_threads(),
                    "train.epochs": 1000,
                    "train.learning_rate": 1e-3,  # no loss has to fall, and none may diverge
                }
            )
            yield _compare(config, packed, files, Path(folder) / preset, say, seconds)


def _compare(config: RunConfig, packed: PackedSet, files: Path, root: Path, say: Say, seconds: float) -> TrainingResult:
    root.mkdir()
    engine = choose_engine(config, steps=config.train.epochs * packed.count("train") // BATCH)
    # Chosen once: the run and the fixed batch, its ceiling, are computed in the same way.
    chosen = {"train.precision": engine.precision, "train.compile": "on" if engine.compiled else "off"}
    run = new_run(config.with_settings(chosen), packed, root)
    workers = _best_workers(files, run.config, packed, seconds / 4)
    how = f"{engine.precision}, {'compiled, ' if engine.compiled else ''}{engine.threads} threads"
    say(f"{config.model.preset}: {how}; textbook: {workers} workers")
    found: dict[str, list[float]] = {"ours": [], "textbook": [], "fixed": []}
    for _ in range(REPEATS):
        found["ours"].append(_ours(run, seconds))
        engine.set_up()
        found["fixed"].append(_rate(_fixed_batch(run.config, packed, engine), seconds))
        found["textbook"].append(_rate(_textbook(files, run.config, packed, workers), seconds))
        say("  ".join(f"{name} {rates[-1]:.0f}" for name, rates in found.items()) + " img/s")
    medians = {name: round(statistics.median(rates), 1) for name, rates in found.items()}
    return TrainingResult(config.model.preset, medians["ours"], medians["textbook"], medians["fixed"])


def _rate(step: Step, seconds: float) -> float:
    for _ in range(WARM_UP):
        step()
    images, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        images += step()
    return images / spent


def _ours(run: Run, seconds: float) -> float:
    """The run goes on for that long; its own rows of metrics tell how fast, from the second one on."""
    rows: list[dict[str, float]] = []

    def report(status: Status, row: dict[str, float] | None) -> None:
        if row and "train/loss" in row:
            rows.append(row)
            if len(rows) > 2 and row["seconds"] - rows[0]["seconds"] > seconds:
                run.request_stop()

    train(run, report)
    images = spent = 0.0
    for before, after in pairwise(rows):
        if math.floor(before["epoch"]) == math.floor(after["epoch"]):  # no validation in between
            images += after["images"] - before["images"]
            spent += after["seconds"] - before["seconds"]
    return images / spent


def _fixed_batch(config: RunConfig, packed: PackedSet, engine: Engine) -> Step:
    device = torch.device(engine.device)
    model = AlexNet(config.model).to(device).to(memory_format=torch.channels_last)
    forward, optimiser = engine.forward_of(model), optimiser_for(model, config.train)
    batch = next(TrainingData(packed, config, device, engine.dtype).training(0))

    def step() -> int:
        with engine.autocast():
            logits = forward(batch.x)
        F.cross_entropy(logits.float(), batch.y).backward()
        optimiser.step(config.train.learning_rate)
        if engine.device == "cuda":
            torch.cuda.synchronize()
        return len(batch.y)

    return step


# The list of runs


@dataclass(frozen=True)
class ListingResult:
    """Seconds for the list of so many runs: of the first two the medians over the repeats."""

    runs: int
    indexed_seconds: float  # in a process that asks for the first time
    again_seconds: float  # when it asks again
    files_seconds: float  # the same rows without an index, from every run's files
    rebuild_seconds: float  # the first time, or after the index was deleted

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def listing(runs: int, say: Say = lambda text: None) -> ListingResult:
    """List copies of a run of the gallery with other seeds and toggles, without their weights."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        say(f"writing {runs:,} runs")
        _write_runs(root, runs)
        gc.collect()
        gc.freeze()  # PyTorch's objects, which a list does not need, are not looked through each time
        rebuild = _seconds(Listing(root).rows)
        files = _seconds(lambda: [read_row(run) for run in list_runs(root)])
        indexed, again = [], []
        for _ in range(REPEATS):
            fresh = Listing(root)
            indexed.append(_seconds(fresh.rows))
            again.append(_seconds(fresh.rows))
            say(f"indexed {indexed[-1]:.3f}  again {again[-1]:.3f}  files {files:.3f} s")
        figures = (statistics.median(indexed), statistics.median(again), files, rebuild)
        return ListingResult(runs, *(round(seconds, 4) for seconds in figures))


def _line_by_line(file: Path) -> list[dict[str, float]]:
    with file.open("rb") as lines:
        return [json.loads(line) for line in lines]


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _write_runs(root: Path, count: int) -> None:
    model = Run(GALLERY / "alexnet-32-relu")
    for number in range(count):
        folder = root / f"20260101-{number:06d}-alexnet-32-digits-{number:04x}"
        folder.mkdir()
        for name in ("env.json", "status.json", "metrics.jsonl"):
            (folder / name).write_bytes((model.path / name).read_bytes())
        settings = {"train.seed": number % 5, "model.activation": ("relu", "tanh")[number % 2]}
        (folder / "config.json").write_text(model.config.with_settings(settings).to_json())


# The metrics of a run


ADDED_ROWS = 1000  # written while someone looks


@dataclass(frozen=True)
class ReadingResult:
    """Seconds for the curves of a run with so many rows of metrics, medians over the repeats."""

    rows: int
    cold_seconds: float  # all of them
    added_seconds: float  # `ADDED_ROWS` more, by whoever has read the others
    line_by_line_seconds: float  # all of them, as json.loads reads them

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reading(rows: int, say: Say = lambda text: None) -> ReadingResult:
    """Read the metrics of a run of the gallery, written over and over, as the page Compare does."""
    source = Run(GALLERY / "alexnet-32-relu")
    lines = (source.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    found: dict[str, list[float]] = {"cold": [], "added": [], "line by line": []}
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            run, file = Run(Path(folder)), Path(folder) / "metrics.jsonl"
            file.write_bytes(b"".join(islice(cycle(lines), rows)))
            found["line by line"].append(_seconds(partial(_line_by_line, file)))
            gc.collect()
            track, start = Track(), time.perf_counter()
            read, offset = run.metrics()
            track.add(read)
            found["cold"].append(time.perf_counter() - start)
            with file.open("ab") as more:
                more.writelines(islice(cycle(lines), ADDED_ROWS))
            start = time.perf_counter()
            track.add(run.metrics(offset)[0])
            found["added"].append(time.perf_counter() - start)
        say("  ".join(f"{name} {seconds[-1]:.3f}" for name, seconds in found.items()) + " s")
    cold, added, by_line = (round(statistics.median(seconds), 4) for seconds in found.values())
    return ReadingResult(rows, cold, added, by_line)


# The textbook


class PCAColour:
    """Adds a multiple of the principal components of the set's RGB pixels to a (3, H, W) tensor in 0–1 [4.1]."""

    def __init__(self, covariance: np.ndarray) -> None:
        values, vectors = np.linalg.eigh(covariance)
        self.components = torch.from_numpy(vectors * values).float()

    def __call__(self, x: Tensor) -> Tensor:
        return x + (self.components @ (torch.randn(3) * 0.1)).view(3, 1, 1)


def textbook_network(config: ModelConfig) -> nn.Sequential:
    """The same layers from PyTorch alone, its `nn.LocalResponseNorm` among them."""
    ours = AlexNet(config)
    modules: list[nn.Module] = []
    for layer, module in zip(ours.layers.values(), ours.children(), strict=True):
        if layer.kind == "fc" and not any(isinstance(earlier, nn.Flatten) for earlier in modules):
            modules.append(nn.Flatten())
        if isinstance(module, LocalResponseNorm):
            module = nn.LocalResponseNorm(module.size, module.alpha * module.size, module.beta, module.k)
        modules.append(module)
    return nn.Sequential(*modules)


def _textbook(files: Path, config: RunConfig, packed: PackedSet, workers: int) -> Step:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = textbook_network(config.model).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=config.train.learning_rate, momentum=0.9, weight_decay=5e-4)
    batches = _forever(_loader(files, config, packed, workers))

    def step() -> int:
        x, y = next(batches)
        x, y = x.to(device), y.to(device)
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        loss.item()
        return len(y)

    return step


def _loader(
    files: Path, config: RunConfig, packed: PackedSet, workers: int
) -> torch.utils.data.DataLoader[tuple[Tensor, Tensor]]:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    size = config.model.input_size
    steps = [
        *([transforms.Resize((size, size))] if packed.size != size else []),
        transforms.RandomHorizontalFlip(),
        transforms.RandomCrop(size, padding=size // 8),
        transforms.ToTensor(),
        PCAColour(packed.colour_covariance),
        transforms.Normalize((packed.mean / 255).tolist(), (packed.std / 255).tolist()),
    ]
    return torch.utils.data.DataLoader(
        ImageFolder(str(files), transforms.Compose(steps)), batch_size=BATCH, shuffle=True, num_workers=workers,
        drop_last=True, persistent_workers=workers > 0,
    )  # fmt: skip


def _forever(loader: torch.utils.data.DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def _best_workers(files: Path, config: RunConfig, packed: PackedSet, seconds: float) -> int:
    """The number of the loader's processes with which the textbook loop is fastest: 0, 1, 2, 4, … up to the cores."""
    cores = torch.get_num_threads()
    counts = [0, *(1 << power for power in range(cores.bit_length()))]
    rates = [_rate(_textbook(files, config, packed, count), seconds) for count in counts]
    return counts[rates.index(max(rates))]


def _write_files(packed: PackedSet, folder: Path) -> None:
    """Class folders of PNG files."""
    images, labels = packed.images("train"), packed.labels("train")
    for number in range(len(packed.classes)):
        (folder / f"{number:04d}").mkdir(parents=True)
    for place in np.linspace(0, len(labels) - 1, min(FILES, len(labels))).astype(int):  # of every class
        Image.fromarray(images[place]).save(folder / f"{labels[place]:04d}" / f"{place}.png", compress_level=1)
