"""A picture cut into patches of like pixels, which are covered as a whole."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

COMPACTNESS = (10.0, 100.0, 1000.0)  # how much place counts beside colour


def superpixels(x: Tensor, count: int) -> Tensor:
    """The number of the patch, from 0, that each pixel of (1, C, H, W) belongs to: (1, 1, H, W), int64.

    SLIC: k-means of colour (in CIELAB, in which equal distances look equal) and place, from a regular grid (Achanta et
    al., 2012, doi:10.1109/TPAMI.2012.120). About `count` patches: the grid decides, and small bits join a neighbour.
    Where this leaves less than half of them, as in noise, place counts for more.
    """
    from skimage.segmentation import slic

    pixels = (x[0].expand(3, -1, -1) if x.shape[1] == 1 else x[0]).permute(1, 2, 0).double().numpy()
    labels = np.zeros(pixels.shape[:2], dtype=np.int64)
    for compactness in COMPACTNESS:
        labels = slic(pixels, count, compactness, start_label=0)
        if labels.max() + 1 >= count / 2:
            break
    return torch.from_numpy(labels)[None, None]
