"""Small square pictures side by side, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from alexnet_explorer.inspection.mosaic import RGB, mosaic

GAP = 2  # pixels


def sheet(images: Sequence[Image.Image], side: int, columns: int) -> RGB:
    """The centres of pictures, `side` pixels on a side, row by row; where it can, a pixel of a small one stays one."""
    return mosaic(np.stack([_fitted(image, side) for image in images]), columns=columns, gap=GAP)


def _fitted(image: Image.Image, side: int) -> RGB:
    whole = side % min(image.size) == 0
    method = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    return np.asarray(ImageOps.fit(image, (side, side), method))
