"""From a packed set to batches on the device: one code path from digits to ImageNet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import DataConfig, RunConfig
from .augment import Draws, draw, generator, rotate_and_shift, soften, window, zoom_in
from .packed import SPLITS, DataError, PackedSet, Split
from .preprocess import Preprocessing, canvas_for

Part = Literal["train", "clean", "val", "test"]  # clean: training images, looked at as those of validation are
EVALUATION_BATCH = 256


@dataclass(frozen=True, eq=False)
class Batch:
    """x (B, C, size, size), y (B,) class indices, index (B,) in the packed set.

    It may be a part of a global batch of `total` images, from its image `first` on.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    first: int
    total: int


def preprocessing_for(packed: PackedSet, config: RunConfig) -> Preprocessing:
    """How pictures reach a network that is trained by `config` on `packed`."""
    size = config.model.input_size
    canvas = canvas_for(packed.size, size)
    if config.data.scaling == "2012":  # subtract the mean image, nothing else [2]
        image = torch.from_numpy(packed.mean_image()).permute(2, 0, 1)[None]
        if canvas != packed.size:
            image = F.interpolate(image, (canvas, canvas), mode="bilinear", antialias=True)
        edge = (canvas - size) // 2
        mean = image[0, :, edge : edge + size, edge : edge + size].contiguous()
        std = torch.ones(3, 1, 1)
    else:
        mean = torch.tensor(packed.mean, dtype=torch.float32).view(3, 1, 1)
        # A channel may be the same everywhere, as in microscopy: nothing is divided by zero.
        std = torch.tensor(packed.std, dtype=torch.float32).view(3, 1, 1).clamp(min=1)
    if config.model.in_channels == 1:
        luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        mean, std = (mean * luma).sum(0, keepdim=True), (std * luma).sum(0, keepdim=True)
    return Preprocessing(canvas, size, mean, std)


def split_indices(packed: PackedSet, config: DataConfig, clean_images: int = 0) -> dict[Part, Tensor]:
    """The places of the images of each part in their split of the packed set.

    The validation images are drawn from the training images by `split_seed` and `val_fraction`; of the others a
    clean pass sees `clean_images` (0: all), the same ones each time.
    Raises DataError where none is left to train on.
    """
    order = torch.randperm(packed.count("train"), generator=generator(config.split_seed, 0))
    held_out = max(1, round(len(order) * config.val_fraction))
    if held_out == len(order):
        raise DataError(f"The data set {packed.name!r} has a single training image, and one is kept for validation: "
                        "add pictures.")  # fmt: skip
    train = order[held_out:]
    some = torch.randperm(len(train), generator=generator(config.split_seed, 0, 10))[: clean_images or len(train)]
    return {
        "train": train.sort().values,
        "clean": train[some].sort().values,
        "val": order[:held_out].sort().values,
        "test": torch.arange(packed.count("test")),
    }


class TrainingData:
    """The training, validation and test images of one run.

    The validation images are drawn from the training images by `data.split_seed` and `data.val_fraction`.
    On a GPU the packed array is kept on the device when it takes at most half of the free memory; on a CPU it is
    read from the memory map, which the system caches.
    """

    def __init__(self, packed: PackedSet, config: RunConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.packed, self.config, self.device, self.dtype = packed, config, device, dtype
        self.preprocessing = preprocessing_for(packed, config)
        self.indices = split_indices(packed, config.data, config.train.clean_images)
        self._images = {split: self._open(split) for split in SPLITS if packed.count(split)}
        self._labels = {split: torch.tensor(packed.labels(split)).to(device) for split in self._images}

    def _open(self, split: Split) -> Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            images = torch.from_numpy(self.packed.images(split))
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if images.nbytes < free / 2:
                return images.to(self.device)
        return images

    def count(self, part: Part) -> int:
        return len(self.indices[part])

    def steps(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return -(-self.count("train") // self.config.train.batch_size)

    def training(
        self, epoch: int, first: int = 0, rows: Callable[[int], slice] = lambda count: slice(0, count)
    ) -> Iterator[Batch]:
        """One epoch in its own random order, from batch number `first` on; `rows` chooses those of a global batch."""
        seed, size = self.config.train.seed, self.config.train.batch_size
        order = torch.randperm(self.count("train"), generator=generator(seed, epoch, 0))
        draws = draw(
            self.config.data, seed, epoch, self.packed.count("train"), self.preprocessing.canvas,
            self.preprocessing.size, self.packed.colour_covariance,
        )  # fmt: skip
        for index in self.indices["train"][order].split(size)[first:]:
            yield self._batch("train", index, draws, rows(len(index)))

    def evaluation(self, part: Part, rank: int = 0, size: int = 1) -> Iterator[Batch]:
        """Every image once, in order, one centre view; of `size` processes, each takes its own batches."""
        split: Split = "test" if part == "test" else "train"
        edge = (self.preprocessing.canvas - self.preprocessing.size) // 2
        centre = torch.full((self.packed.count(split),), edge)
        for index in self.indices[part].split(EVALUATION_BATCH)[rank::size]:
            yield self._batch(split, index, Draws(centre, centre, *[None] * 6), slice(0, len(index)))

    def _batch(self, split: Split, whole: Tensor, draws: Draws, part: slice) -> Batch:
        images, labels = self._images[split], self._labels[split]
        index = whole[part]
        drawn = draws.of(index, images.device)
        rows = index.to(images.device)
        moved = drawn.angle is not None or drawn.shift is not None
        if moved or drawn.zoom is not None or self.preprocessing.canvas != self.packed.size:
            images = resize(images[rows], self.preprocessing.canvas)
            rows = torch.arange(len(index), device=images.device)
            if moved:
                images = rotate_and_shift(images, drawn.angle, drawn.shift)
            if drawn.zoom is not None:
                images = zoom_in(images, drawn.zoom)
        pixels = window(images, rows, drawn.top, drawn.left, drawn.flip, self.preprocessing.size).to(self.device)
        colour = None if drawn.colour is None else drawn.colour.to(self.device)
        x = self.preprocessing.normalise(pixels, colour, self.dtype)
        if drawn.blur is not None:
            x = soften(x, drawn.blur)
        return Batch(x, labels[index.to(self.device)], index, part.start, len(whole))


def resize(images: Tensor, side: int) -> Tensor:
    """(B, S, S, 3) uint8 → (B, side, side, 3) uint8, bilinear with anti-aliasing."""
    if images.shape[1] == side:
        return images
    pixels = images.permute(0, 3, 1, 2)
    if pixels.is_cuda:  # the uint8 form runs on CPUs only
        resized = F.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True).round().clamp(0, 255)
        return resized.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True).permute(0, 2, 3, 1).contiguous()
