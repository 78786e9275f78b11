"""Two networks on the same pictures: which unit of one answers as which unit of the other, and how alike layers are.

Units have no order: trained anew, the network of unit 17 has it, if at all, under another number. Units are matched
one to one, so that the sum of the pairs' correlations is the largest there is (Li, Yosinski, Clune, Lipson, Hopcroft:
Convergent Learning, 2015, arXiv:1511.07543). Layers are compared as wholes by linear CKA (Kornblith, Norouzi, Lee,
Hinton: Similarity of Neural Network Representations Revisited, 2019, arXiv:1905.00414), which no rotation of the
units and no common factor changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .picture_sets import PictureSet, scan

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

LEAST_PICTURES = 4  # below, CKA is not defined
_ROUNDING = 1e-5  # of the mean square: what is left of it where a response never changes


@dataclass(frozen=True)
class Match:
    """The partners of one network's units (K,) among another's of the same layer."""

    partners: NDArray[np.intp]  # (K,), −1 where the other network has too few units
    correlations: Floats  # (K,) of the pairs, −1 to 1, NaN without a partner
    chance: float  # the mean correlation of all pairs, which is what a random assignment has on average
    luck: float  # what the best assignment has between responses to different pictures; NaN for one picture
    pooled: bool  # whether a response is a map's mean, as the maps differ in size, and not each of its positions

    @property
    def mean(self) -> float:
        """Of the pairs' correlations."""
        return float(np.nanmean(self.correlations))


@dataclass(frozen=True)
class Likeness:
    """How alike two networks are."""

    matches: dict[str, Match]  # by the convolutions that both have
    layers: tuple[str, ...]  # of the one
    others: tuple[str, ...]  # of the other
    cka: Floats  # (layers, others)
    pictures: int


def compare(
    one: LoadedModel,
    other: LoadedModel,
    pictures: PictureSet,
    progress: Callable[[float], None] = lambda share: None,
) -> Likeness:
    """Both networks look at all pictures once, a batch at a time; `progress` hears the share that is done.

    Raises ValueError where there are fewer than `LEAST_PICTURES`.
    """
    if pictures.count < LEAST_PICTURES:
        raise ValueError(f"{pictures.count} pictures are too few to compare networks on: take {LEAST_PICTURES} or more")
    layers, others = layers_of(one.model), layers_of(other.model)
    correlations = {name: Correlation() for name in layers if name in others and name.startswith("conv")}
    by_luck = {name: Correlation() for name in correlations}
    alike = Cka()
    for first, second in zip(scan(one, pictures, layers), scan(other, pictures, others), strict=True):
        for name in correlations:
            x, y = responses(first.outputs[name], second.outputs[name])
            correlations[name].add(x, y)
            if y.shape[1] > 1:
                by_luck[name].add(x, np.roll(y, 1, axis=1))
        alike.add([first.outputs[name] for name in layers], [second.outputs[name] for name in others])
        progress((first.first + len(first.inputs)) / pictures.count)
    shapes = one.model.layers, other.model.layers
    matches = {
        name: match(
            correlations[name].matrix(),
            by_luck[name].matrix(),
            shapes[0][name].output[1:] != shapes[1][name].output[1:],
        )
        for name in correlations
    }
    return Likeness(matches, tuple(layers), tuple(others), alike.table(), pictures.count)


def layers_of(model: AlexNet) -> list[str]:
    """The layers that are compared: all but dropout, which does nothing to a trained network."""
    return [name for name, layer in model.layers.items() if layer.kind != "dropout"]


def responses(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Two layers' outputs (N, K, …) as units' responses (K, N, positions): each position, or one mean of all.

    Positions can be told apart where both layers' maps are of one size: then they are of the same places.
    """
    maps = [values.reshape(*values.shape[:2], -1).swapaxes(0, 1) for values in (one, other)]
    if one.shape[2:] != other.shape[2:]:
        maps = [values.mean(axis=2, keepdims=True) for values in maps]
    return maps[0], maps[1]


class Correlation:
    """Pearson's correlation between the units of two layers, summed up batch by batch."""

    def __init__(self) -> None:
        self._count = 0
        self._shifts: list[Floats] = []  # about the means, so that the sums of squares lose no digits
        self._sums: list[Doubles] = []
        self._squares: list[Doubles] = []
        self._products: Doubles = np.zeros((0, 0))

    def add(self, one: Floats, other: Floats) -> None:
        """Further responses: (K, …) and (K', …), of the same pictures and places."""
        both = [values.reshape(len(values), -1) for values in (one, other)]
        if not self._shifts:
            self._shifts = [values.mean(axis=1, keepdims=True) for values in both]
            self._sums = [np.zeros(len(values)) for values in both]
            self._squares = [np.zeros(len(values)) for values in both]
            self._products = np.zeros((len(both[0]), len(both[1])))
        both = [values - shift for values, shift in zip(both, self._shifts, strict=True)]
        self._count += both[0].shape[1]
        for place, values in enumerate(both):
            self._sums[place] += values.sum(axis=1)
            self._squares[place] += np.square(values).sum(axis=1)
        self._products += _products(*both)

    def matrix(self) -> Doubles:
        """The correlations (K, K'): 0 for a unit whose response never changes."""
        if not self._count:
            return self._products
        means = [sums / self._count for sums in self._sums]
        covariances = self._products / self._count - np.outer(*means)
        deviations = []
        for squares, mean in zip(self._squares, means, strict=True):
            variances = squares / self._count - mean**2
            steady = variances <= _ROUNDING * squares / self._count
            deviations.append(np.sqrt(np.where(steady, 0, variances)))
        scales = np.outer(*deviations)
        return np.divide(covariances, scales, out=np.zeros_like(covariances), where=scales > 0)


def match(correlations: Doubles, by_luck: Doubles, pooled: bool = False) -> Match:
    """The assignment with the largest sum of correlations (K, K'); `by_luck`: those between different pictures."""
    units, partners = linear_sum_assignment(correlations, maximize=True)
    found = np.full(len(correlations), -1, np.intp)
    values = np.full(len(correlations), np.nan, np.float32)
    found[units], values[units] = partners, correlations[units, partners]
    luck = by_luck[linear_sum_assignment(by_luck, maximize=True)].mean() if by_luck.size else np.nan
    return Match(found, values, float(correlations.mean()), float(luck), pooled)


class Cka:
    """Linear CKA between every layer of one network and every layer of another, batch by batch.

    HSIC is Song et al.'s unbiased estimate (2012), averaged over the batches as in Nguyen, Raghu, Kornblith: Do Wide
    and Deep Networks Learn the Same Things?, 2020, arXiv:2010.15327. So a layer is taken with all its positions, no
    batch is kept, and layers that have nothing in common are at 0 on average, however few the pictures; with the
    plain estimate few pictures look alike.
    """

    def __init__(self) -> None:
        self._between: Doubles | float = 0.0
        self._within: Doubles | float = 0.0
        self._within_others: Doubles | float = 0.0

    def add(self, ones: Sequence[Floats], others: Sequence[Floats]) -> None:
        """The outputs of all layers for further pictures: (N, …) each. Fewer than four pictures are left out."""
        count = len(ones[0])
        if count < LEAST_PICTURES:
            return
        first, second = (np.stack([_centred_gram(values) for values in layers]) for layers in (ones, others))
        # Each batch counts by its pictures.
        weight = count / (count * (count - 3))
        self._between += weight * np.einsum("aij,bij->ab", first, second)
        self._within += weight * np.einsum("aij,aij->a", first, first)
        self._within_others += weight * np.einsum("bij,bij->b", second, second)

    def table(self) -> Floats:
        """(layers of the one, layers of the other), −1 to 1; NaN where a layer is the same for all pictures."""
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt(np.outer(self._within, self._within_others))
            return np.asarray(self._between / scale, dtype=np.float32)


def _centred_gram(values: Floats) -> Doubles:
    """The products of N pictures' outputs (N, …), centred so that their mean product is HSIC without a bias: (N, N).

    The diagonal, a picture with itself, is left out of it (Székely, Rizzo 2014, call this U-centred).
    """
    flat = values.reshape(len(values), -1)
    flat = flat - flat.mean(axis=0)  # changes nothing of the result, and saves its digits
    gram = _products(flat, flat)
    np.fill_diagonal(gram, 0)
    count = len(gram)
    rows = gram.sum(axis=0) / (count - 2)
    gram += rows.sum() / (count - 1) - rows[:, None] - rows[None, :]
    np.fill_diagonal(gram, 0)
    return gram


def _products(one: Floats, other: Floats) -> Doubles:
    """The scalar products of rows: (K, N), (K', N) → (K, K').

    By PyTorch, which keeps to the threads that the app gives it. NumPy takes every core, and where a training keeps
    them busy its threads wait for each other: eight times as long, measured.
    """
    products: Doubles = (torch.from_numpy(one) @ torch.from_numpy(other).T).double().numpy()
    return products
