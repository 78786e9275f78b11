"""Where a map is strong: the part of the picture that holds the most of it, as a mask, and in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
ROWS, COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
AREA = 0.1  # of the picture
BLUR = 1 / 16  # side of the square over which a map is averaged first, as a share of the picture's side
_MIDDLE = (5, 95)  # percentiles of the region's pixels, between which it is said to lie


@dataclass(frozen=True)
class Region:
    """The `AREA` of a picture where a map, averaged over small squares, has the largest |values|."""

    mask: NDArray[np.bool_]  # (H, W)
    share: float  # of the sum of all |values|
    place: str  # the ninth of the picture where its middle lies: 'upper left'
    across: tuple[float, float]  # from the left edge, 0, to the right one, 1
    down: tuple[float, float]

    def __str__(self) -> str:
        across, down = (f"{100 * low:.0f} to {100 * high:.0f}%" for low, high in (self.across, self.down))
        return (
            f"strongest in the {self.place} of the picture ({across} from the left, {down} from the top), where a "
            f"tenth of the pixels holds {self.share:.0%} of the total"
        )


def strongest(values: Array) -> Region | None:
    """The region of a map (H, W); None where it is zero everywhere. What is not finite counts as zero."""
    strength = np.where(np.isfinite(values), np.abs(values), 0.0).astype(np.float64)
    total = float(strength.sum())
    if total == 0:
        return None
    blurred = _averaged(strength, max(1, round(BLUR * max(strength.shape))))
    count = max(1, round(AREA * strength.size))
    mask = np.zeros(strength.shape, dtype=bool)
    mask.flat[np.argsort(blurred, axis=None, kind="stable")[-count:]] = True
    middles = [(places + 0.5) / side for places, side in zip(np.nonzero(mask), strength.shape, strict=True)]
    down, across = ((float(np.percentile(at, _MIDDLE[0])), float(np.percentile(at, _MIDDLE[1]))) for at in middles)
    row, column = (min(2, int(3 * np.median(at))) for at in middles)
    return Region(mask, float(strength[mask].sum()) / total, f"{ROWS[row]} {COLUMNS[column]}", across, down)


def in_words(values: Array, name: str, signed: bool) -> str:
    """A map for those who cannot see it: where its strongest region lies, and what share of the total that holds.

    Of a `signed` one what speaks for the class and what speaks against it are told apart.
    """
    if not signed:
        found = strongest(values)
        return f"{name}: {found or 'nothing anywhere'}"
    sides = {"for the class": np.maximum(values, 0), "against it": np.maximum(-values, 0)}
    total = float(np.nansum(np.abs(values)))
    told = [
        f"{np.nansum(side) / total:.0%} of it speaks {which}, {found}"
        for which, side in sides.items()
        if (found := strongest(side))
    ]
    return f"{name}: {'; '.join(told) or 'nothing anywhere'}"


def _averaged(values: Array, side: int) -> Array:
    """The mean over the square of that side around each pixel; beyond the border the edge goes on."""
    before, after = (side - 1) // 2, side // 2
    padded = np.pad(values, ((before + 1, after), (before + 1, after)), mode="edge").astype(np.float64)
    sums = padded.cumsum(0).cumsum(1)
    result: Array = (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2
    return result
