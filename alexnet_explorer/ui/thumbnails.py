"""Pictures as large as there is room: one of its own shape, or small square ones side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from alexnet_explorer.inspection.mosaic import RGB, mosaic

GAP = 2  # pixels


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """A copy of at most so many pixels; of a picture that fits in several times, each pixel several times."""
    if (times := min(width // image.width, height // image.height)) > 1:
        return image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    copy = image.copy()
    copy.thumbnail((width, height))
    return copy


def sheet(images: Sequence[Image.Image], side: int, columns: int) -> RGB:
    """The centres of pictures, `side` pixels on a side, row by row; where it can, a pixel of a small one stays one."""
    return mosaic(np.stack([_square(image, side) for image in images]), columns=columns, gap=GAP)


def _square(image: Image.Image, side: int) -> RGB:
    whole = side % min(image.size) == 0
    method = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    return np.asarray(ImageOps.fit(image, (side, side), method))
