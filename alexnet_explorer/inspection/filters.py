"""The kernels of the convolutions: what each unit looks for, and what can be measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .mosaic import as_colours

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet

Floats = NDArray[np.float32]
Order = Literal["number", "norm", "hue", "orientation"]
ORDERS: tuple[Order, ...] = get_args(Order)

# Below these a kernel has no clear hue or orientation. Of 2,000 kernels of 5×5 random numbers 3 % have a hue by them,
# and 0.1 % an orientation; of 3×3 numbers a third and 3 %, as few pixels agree by chance.
CLEAR_COLOUR = 0.25  # share of a kernel's energy off the grey axis
CLEAR_HUE = 0.75  # share of that on one line through grey: one colour, or it and its opposite
CLEAR_ORIENTATION = 0.4  # length of the mean of the doubled angles in its spectrum, 0–1

COLOURFUL = 0.5  # share from which a kernel is called colour-specific
DRAWS = 1000  # random deals of the kernels to the towers
_SPECTRUM = 32  # points on a side


def kernels(model: AlexNet, layer: str) -> Floats:
    """A convolution's weights: (K, maps that each kernel sees, kh, kw), signed, a copy.

    Raises KeyError where the layer is not there, ValueError where it is no convolution.
    """
    module = model.get_submodule(model.resolve(layer))
    if not isinstance(module, nn.Conv2d):
        convolutions = [name for name, other in model.layers.items() if other.kind == "conv"]
        raise ValueError(f"{layer} has no kernels to show; the convolutions are {', '.join(convolutions)}")
    return module.weight.detach().float().numpy().copy()


def filters(model: AlexNet, layer: str = "conv1", scale: float | None = None) -> Floats:
    """`as_colours` of the convolution that sees the picture itself: (K, kh, kw, 3).

    Raises ValueError where the layer does not see three colours or one grey: look at `kernels` map by map there.
    """
    weights = kernels(model, layer)
    if model.layers[model.resolve(layer)].number != 1 or weights.shape[1] not in (1, 3):
        raise ValueError(f"{layer} sees {weights.shape[1]} maps, not colours: look at one unit's kernel, map by map")
    return as_colours(weights, scale)


def input_maps(model: AlexNet, layer: str, unit: int) -> range:
    """The numbers of the maps that one unit of a convolution sees: all, or those of its own tower [3.2]."""
    shape = model.layers[model.resolve(layer)]
    seen = shape.input[0] // shape.groups
    tower = unit // (shape.output[0] // shape.groups)
    return range(tower * seen, (tower + 1) * seen)


def norms(weights: Floats) -> Floats:
    """The Euclidean norm of each of K kernels (K, maps, kh, kw): (K,)."""
    lengths: Floats = np.linalg.norm(weights.reshape(len(weights), -1), axis=1)
    return lengths


def map_norms(weights: Floats) -> Floats:
    """The norm of the part of each kernel (K, maps, kh, kw) that lies on each map that it sees: (K, maps)."""
    lengths: Floats = np.linalg.norm(weights.reshape(*weights.shape[:2], -1), axis=2)
    return lengths


def connections(model: AlexNet, layer: str, weights: Floats) -> Floats:
    """`map_norms` over all maps that come in: (K, all maps); NaN where a map is another tower's [3.2]."""
    inputs = model.layers[model.resolve(layer)].input[0]
    found = np.full((len(weights), inputs), np.nan, np.float32)
    for unit, lengths in enumerate(map_norms(weights)):
        maps = input_maps(model, layer, unit)
        found[unit, maps.start : maps.stop] = lengths
    return found


def cosines(weights: Floats, others: Floats) -> Floats:
    """The cosine between each kernel and the one of the same number: both (K, …) → (K,), −1 to 1; 0 for zeros."""
    one, other = weights.reshape(len(weights), -1), others.reshape(len(others), -1)
    products: Floats = (one * other).sum(axis=1)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: Floats = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return found


def sees_colours(model: AlexNet, layer: str) -> bool:
    """Whether a layer's kernels lie on a picture's three colours."""
    return model.layers[model.resolve(layer)].number == 1 and model.config.in_channels == 3


# Colour


def colourfulness(weights: Floats) -> Floats:
    """Of kernels (K, 3, kh, kw), the share of each one's energy that is no grey: (K,), 0–1; noise has 2/3."""
    grey = 3 * (weights.mean(axis=1) ** 2).sum(axis=(1, 2))
    energy = (weights**2).sum(axis=(1, 2, 3))
    shares: Floats = 1 - grey / np.maximum(energy, np.finfo(np.float32).tiny)
    return shares


def hues(weights: Floats) -> Floats:
    """The hue of each kernel's dominant colour, in degrees: (K, 3, kh, kw) → (K,); red 0, green 120, blue 240.

    The colours of its pixels, less their grey, lie in a plane. The hue is the direction of their first principal
    axis through grey, on the side that outweighs the other. NaN where a kernel has no clear one: it is nearly grey,
    or of several colours that are not each other's opposites.
    """
    red, green, blue = np.moveaxis(weights.reshape(len(weights), 3, -1).astype(np.float64), 1, 0)
    plane = np.stack([red - (green + blue) / 2, np.sqrt(0.75) * (green - blue)], axis=2)
    energies, axes = np.linalg.eigh(plane.transpose(0, 2, 1) @ plane)
    axis = axes[:, :, 1]
    axis = axis * np.where((plane @ axis[:, :, None]).sum(axis=(1, 2)) < 0, -1, 1)[:, None]
    clear = (energies[:, 1] > CLEAR_HUE * energies.sum(axis=1)) & (colourfulness(weights) > CLEAR_COLOUR)
    angles = np.rad2deg(np.arctan2(axis[:, 1], axis[:, 0])) % 360
    return np.where(clear, angles, np.nan).astype(np.float32)


class TowerColour(NamedTuple):
    """How the towers' kernels differ in `colourfulness` [6.1]. The towers' order means nothing."""

    means: tuple[float, ...]  # of each tower
    apart: float  # the largest of them less the smallest
    chance: float  # the mean of that where the kernels are dealt to the towers at random
    as_far: float  # the share of such deals that are as far apart, or farther


def tower_colour(shares: Floats, towers: int) -> TowerColour:
    """Of the kernels' shares of colour (K,), the first tower's first, against `DRAWS` random deals."""
    rng = np.random.default_rng(0)
    apart = _apart(shares, towers)
    by_chance = np.array([_apart(rng.permutation(shares), towers) for _ in range(DRAWS)])
    means = tuple(float(mean) for mean in shares.reshape(towers, -1).mean(axis=1))
    return TowerColour(means, apart, float(by_chance.mean()), float((by_chance >= apart).mean()))


def _apart(shares: Floats, towers: int) -> float:
    return float(np.ptp(shares.reshape(towers, -1).mean(axis=1)))


# Orientation


def orientations(weights: Floats) -> Floats:
    """The direction in which the stripes of each kernel run, in degrees: (K, maps, kh, kw) → (K,), 0 to below 180.

    0 is horizontal, 45 rises to the right. It is across the mean direction of the kernel's spectrum, summed over its
    maps: angles are doubled for the mean, as a direction and its opposite are one. NaN where that mean is short: a
    blob, a checkerboard, noise.
    """
    varying = weights - weights.mean(axis=(2, 3), keepdims=True)
    power = (np.abs(np.fft.fft2(varying, (_SPECTRUM, _SPECTRUM))) ** 2).sum(axis=1)
    frequency = np.fft.fftfreq(_SPECTRUM)
    down, right = np.meshgrid(frequency, frequency, indexing="ij")
    # A square of frequencies reaches farther along its diagonals: what lies beyond the circle is left out.
    power *= np.hypot(down, right) < 0.5
    turned = (power * np.exp(2j * np.arctan2(-down, right))).sum(axis=(1, 2))
    total = power.sum(axis=(1, 2))
    angles = (np.rad2deg(np.angle(turned)) / 2 + 90) % 180
    return np.where(np.abs(turned) > CLEAR_ORIENTATION * total, angles, np.nan).astype(np.float32)


def arrange(weights: Floats, by: Order) -> NDArray[np.intp]:
    """The units (K,) in an order: by number, the largest norm first, or by angle; those without a clear one come last.

    Raises ValueError for hues of kernels that do not lie on three colours.
    """
    if by == "number":
        return np.arange(len(weights))
    if by == "norm":
        return np.argsort(-norms(weights), kind="stable")
    if by == "hue" and weights.shape[1] != 3:
        raise ValueError(f"kernels on {weights.shape[1]} maps have no hue: order them by number or norm")
    return np.argsort(hues(weights) if by == "hue" else orientations(weights), kind="stable")  # NaN sorts last
