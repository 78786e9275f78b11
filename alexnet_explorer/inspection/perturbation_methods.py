"""Attribution from what happens to the class's logit when parts of the picture are covered."""

from __future__ import annotations

import math

from torch import Tensor

from alexnet_explorer.config import ConfigError

from .attribution import BATCH, Question


def occlusion(question: Question) -> Tensor:
    """The fall of the logit when a window is covered, the mean of all windows that cover the pixel: (1, 1, H, W)."""
    from captum.attr import Occlusion

    channels, size = question.x.shape[1:3]
    window, stride = window_of(question)
    places = (math.ceil((size - window) / stride) + 1) ** 2
    falls: Tensor = Occlusion(question.counting(places + 1)).attribute(
        question.x, (channels, window, window), (channels, stride, stride), question.baseline, question.target,
        perturbations_per_eval=BATCH,
    )  # fmt: skip
    return falls[:, :1]  # a window covers all channels, and each of them has the whole fall


def window_of(question: Question) -> tuple[int, int]:
    """Window and stride of occlusion, in pixels. Raises ConfigError where they are not allowed."""
    size, settings = question.x.shape[2], question.settings
    window = max(1, size // 7) if settings.window is None else settings.window
    if not 1 <= window <= size:
        raise ConfigError(f"window={window}: allowed are 1 to {size} pixels")
    stride = max(1, window // 2) if settings.stride is None else settings.stride
    if not 1 <= stride <= window:
        raise ConfigError(f"stride={stride}: allowed are 1 to {window} pixels, or the window would leave gaps")
    return window, stride
