"""Deletion and insertion: what a network makes of a picture while its pixels go, or come, in the order of a map.

Petsiuk, Das, Saenko: RISE, 2018, arXiv:1806.07421, section 4.2. Deletion goes from the picture to the training set's
mean, insertion from a blurred picture to the picture, in `STEPS` steps of equally many pixels, all colours at once.
Pixels of equal value, of which maps of patches have many, come in a random order of their own, the same every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .attribution import BATCH, Progress

Kind = Literal["deletion", "insertion"]

STEPS = 28  # 29 pictures a curve: two batches; against 112 steps, areas of the shipped networks differ by 0.003
RANDOM_ORDERS = 8
TIES = 0  # the seed of the order of equal pixels
_SEED = 1000  # of the first random order


@dataclass(frozen=True, eq=False)
class Reference:
    """What random orders and the one from the centre outwards do to a picture: no map is in it, and no class.

    So it is worked out once for a picture and a network, for all methods and all classes.
    """

    kind: Kind
    random: NDArray[np.float32]  # (RANDOM_ORDERS, STEPS + 1, classes): probabilities
    centre: NDArray[np.float32]  # (STEPS + 1, classes)


def reference(model: nn.Module, x: Tensor, blurred: Tensor, kind: Kind, report: Progress) -> Reference:
    """The reference of a picture x (1, C, H, W), and of the same picture blurred."""
    height, width = x.shape[2:]
    orders = [
        *(np.random.default_rng(_SEED + number).permutation(height * width) for number in range(RANDOM_ORDERS)),
        order(centre_map(height, width)),
    ]
    found = curves(model, x, blurred, kind, orders, report)
    return Reference(kind, found[:-1], found[-1])


def order(map: NDArray[np.floating], ties: int = TIES) -> NDArray[np.intp]:
    """The pixels of a map (H, W) from the largest value to the smallest: (H·W,), numbered row by row."""
    chance = np.random.default_rng(ties).random(map.size)
    return np.lexsort((chance, -map.ravel()))


def centre_map(height: int, width: int) -> NDArray[np.float64]:
    """A Gaussian hill in the middle of the picture: (height, width). Only its order counts, whatever its width."""
    rows, columns = (np.linspace(-1, 1, side) for side in (height, width))
    return np.exp(-(rows[:, None] ** 2 + columns**2))


def elsewhere(map: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The same square map in other places: turned by 90, 180 and 270 degrees, and moved by half the side both ways.

    It has the same grain as the map, which random orders of single pixels have not: they take a picture apart faster
    than any patch does.
    """
    half = tuple(side // 2 for side in map.shape)
    return [*(np.rot90(map, turns) for turns in (1, 2, 3)), np.roll(map, half, (0, 1))]


def curves(
    model: nn.Module, x: Tensor, blurred: Tensor, kind: Kind, orders: list[NDArray[np.intp]], report: Progress
) -> NDArray[np.float32]:
    """The probabilities of all classes after each step, in each order: (orders, STEPS + 1, classes)."""
    before, after = (x, torch.zeros_like(x)) if kind == "deletion" else (blurred, x)
    count = x.shape[2] * x.shape[3]
    ranks = np.empty((len(orders), count), np.int64)
    for rank, pixels in zip(ranks, orders, strict=True):
        rank[pixels] = np.arange(count)
    places = torch.from_numpy(ranks).reshape(-1, 1, *x.shape[2:])
    limits = torch.tensor([round(step * count / STEPS) for step in range(STEPS + 1)])
    numbers = torch.cartesian_prod(torch.arange(len(orders)), torch.arange(STEPS + 1))
    found = []
    with torch.inference_mode():
        for part in numbers.split(BATCH):
            changed = places[part[:, 0]] < limits[part[:, 1], None, None, None]
            found.append(model(torch.where(changed, after, before)).softmax(1))
            report(min(1.0, sum(map(len, found)) / len(numbers)))
    shares: NDArray[np.float32] = torch.cat(found).reshape(len(orders), STEPS + 1, -1).numpy()
    return shares
