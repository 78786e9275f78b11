"""What a unit looks for, by optimisation: a picture that raises its response, formed by gradient ascent from noise.

Plain ascent finds a pattern of pixels that answers at one place only, most of it noise to the eye (Simonyan et al.,
2013, arXiv:1312.6034). Two things help: every step looks at the picture a little shifted, turned and scaled, so that
what is found has to bear that (Mordvintsev et al., Inceptionism, 2015; Yosinski et al., 2015, arXiv:1506.06579); and
the gradient is smoothed in the Fourier domain, which is ascent under another measure of distance (Olah et al., Feature
Visualization, Distill 2017, doi:10.23915/distill.00007).

The response is that of the convolution or the fully connected layer before any non-linearity, whose gradient does not
vanish where a ReLU is off; of a map it is the value in the middle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .receptive import Window, window

if TYPE_CHECKING:
    from alexnet_explorer.config import ModelConfig
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel

    from .mosaic import RGB

SHIFT = 8  # pixels, in either direction
VIEWS = 4  # of the picture at each step: the first as it is, the others changed
AS_IS = 0.5  # how much the first one counts beside each other: without it a grating would be as strong half a wave off
ANGLE, ZOOM = 5.0, 0.05  # degrees, and a share of the size: as far as a view is turned and scaled
RATE = 8.0  # grey levels, root mean square over what the unit sees: the first step; the last ones come near to zero
NOISE = 8.0  # grey levels: the standard deviation of what the picture begins with
SMOOTHNESS = 0.3  # a wave of frequency f is taken f^−0.3 times
BELOW_ZERO = 0.5  # of a view whose response is negative the slope: those that answer are made stronger first
_PROBED = 2  # steps that are timed


@dataclass(frozen=True)
class Ascent:
    """How a picture is formed. Equal values give equal pictures, bit for bit, on one machine."""

    steps: int = 64
    seed: int = 0
    plain: bool = False  # no views and no smoothing, from the same noise, with steps of the same size


@dataclass(frozen=True, eq=False)
class Optimised:
    """The picture that a unit responds to."""

    picture: RGB  # (size, size, 3)
    window: Window  # what the unit sees of it, however it is shifted
    response: float  # to the picture as it is
    mean_response: float  # the mean over all shifts by up to 8 pixels
    moved: bool  # False: the gradient was zero from the first step on, and the picture is the noise that it began with


def raised_layer(config: ModelConfig, layer: str) -> str:
    """The convolution or fully connected layer whose units a layer of this network carries on: conv1 for pool1."""
    learned = ""
    for one in config.layers():
        learned = one.name if one.kind in ("conv", "fc") else learned
        if one.name == layer:
            return learned
    raise KeyError(f"this network has no layer {layer!r}")


def seen_from_the_middle(config: ModelConfig, layer: str, margin: int = 0) -> Window:
    """The pixels that the middle of a layer's map can see, and so many more on each side, as far as there are."""
    output = next(one.output for one in config.layers() if one.name == layer)
    row, column = (side // 2 for side in output[1:] or (0, 0))
    top, left, bottom, right = window(config, layer, row, column)
    side = config.input_size
    return Window(
        max(top - margin, 0), max(left - margin, 0), min(bottom + margin, side), min(right + margin, side)
    )  # fmt: skip


def optimise(
    loaded: LoadedModel,
    layer: str,
    unit: int,
    how: Ascent,
    progress: Callable[[int, RGB], None] | None = None,
) -> Optimised:
    """Form the picture to which a unit of `raised_layer` of a layer responds.

    Each step moves the picture along the gradient and keeps it between 0 and 255; `progress` hears the number of the
    step and sees the picture, and an exception of it ends the work. The network is locked a step at a time, and no
    gradient of its weights is taken. Raises KeyError where the layer is not there, IndexError where it has no such
    unit.
    """
    config = loaded.model.config
    layer = raised_layer(config, loaded.model.resolve(layer))
    if not 0 <= unit < loaded.model.layers[layer].output[0]:
        raise IndexError(f"{layer} has {loaded.model.layers[layer].output[0]} units, there is no number {unit}")
    generator = torch.Generator().manual_seed(how.seed)
    pixels = _noise(loaded, generator)
    smoothing = None if how.plain else _smoothing(config.input_size)
    seen = seen_from_the_middle(config, layer)
    moved = False
    for step in range(how.steps):
        gradient = _gradient(loaded, layer, unit, pixels, None if how.plain else generator)
        if smoothing is not None:
            gradient = torch.fft.irfft2(torch.fft.rfft2(gradient) * smoothing, s=gradient.shape[-2:])
        size = gradient[..., seen.top : seen.bottom, seen.left : seen.right].square().mean().sqrt()
        if size > 0:
            rate = RATE * (1 - step / how.steps)
            pixels = (pixels + gradient * (rate / size)).clamp(0, 255)
            moved = True
        if progress:
            progress(step + 1, _as_picture(pixels))
    picture = _as_picture(pixels)
    responses = shifted_responses(loaded, picture, layer, unit)
    middle = len(responses) // 2
    around = seen_from_the_middle(config, layer, SHIFT)
    return Optimised(picture, around, float(responses[middle]), float(responses.mean(dtype=np.float64)), moved)


def shifted_responses(loaded: LoadedModel, picture: RGB, layer: str, unit: int, most: int = SHIFT) -> np.ndarray:
    """A unit's responses to a picture shifted by −`most` to `most` pixels down and across: ((2 `most` + 1)²,).

    What a shift brings in is the picture mirrored at its border. The network is locked for a row of shifts at a time.
    """
    side = len(picture)
    places = [_mirrored(np.arange(side) + shift, side) for shift in range(-most, most + 1)]
    found = []
    for rows in places:
        views = torch.from_numpy(np.stack([picture[rows][:, columns] for columns in places]))
        with loaded.lock, torch.inference_mode():
            found.append(_responses(loaded.model, loaded.preprocessing.normalise(views), layer, unit))
    return torch.cat(found).numpy()


def probe(loaded: LoadedModel, layer: str, how: Ascent) -> float:
    """How many seconds `optimise` will take, from a few of its steps and one row of its shifts."""
    layer = raised_layer(loaded.model.config, loaded.model.resolve(layer))
    generator = torch.Generator().manual_seed(how.seed)
    pixels = _noise(loaded, generator)
    own = None if how.plain else generator
    _gradient(loaded, layer, 0, pixels, own)  # the first one takes longer
    start = time.perf_counter()
    for _ in range(_PROBED):
        _gradient(loaded, layer, 0, pixels, own)
    step = (time.perf_counter() - start) / _PROBED
    with loaded.lock, torch.inference_mode():
        start = time.perf_counter()
        _responses(loaded.model, loaded.preprocessing.normalise(torch.zeros(1, *pixels.shape[2:], 3)), layer, 0)
        look = time.perf_counter() - start
    return step * how.steps + look * (2 * SHIFT + 1) ** 2


def _noise(loaded: LoadedModel, generator: torch.Generator) -> Tensor:
    """The mean colour of the training images with noise on it: (1, C, size, size), grey levels."""
    preprocessing = loaded.preprocessing
    noise = torch.randn(1, preprocessing.channels, preprocessing.size, preprocessing.size, generator=generator)
    return (preprocessing.mean.mean((1, 2), keepdim=True) + NOISE * noise).clamp(0, 255)


def _smoothing(side: int) -> Tensor:
    """By what each wave of `rfft2` is multiplied: (side, side // 2 + 1). The mean counts as the longest wave."""
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    return frequency.clamp(min=1 / side) ** -SMOOTHNESS


def _gradient(loaded: LoadedModel, layer: str, unit: int, pixels: Tensor, generator: torch.Generator | None) -> Tensor:
    """In which direction the response rises: of the picture as it is, or with a generator the mean of several views."""
    preprocessing = loaded.preprocessing
    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        views = pixels if generator is None else _views(pixels, generator)
        with loaded.lock:
            responses = _responses(loaded.model, (views - preprocessing.mean) / preprocessing.std, layer, unit)
            score = responses if generator is None else F.leaky_relu(responses, BELOW_ZERO) * _weights()
            (gradient,) = torch.autograd.grad(score.sum(), pixels)
    return gradient


def _views(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """The picture as it is, and shifted, turned and scaled at random, mirrored at its borders: (VIEWS, C, H, W)."""
    across, down, turn, scale = 2 * torch.rand(4, VIEWS - 1, generator=generator) - 1
    angle, zoom, shift = turn * math.radians(ANGLE), 1 + scale * ZOOM, 2 * SHIFT / pixels.shape[-1]
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    change = torch.stack([cos, -sin, shift * across, sin, cos, shift * down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(change, [VIEWS - 1, *pixels.shape[1:]], align_corners=False)
    changed = F.grid_sample(
        pixels.expand(VIEWS - 1, -1, -1, -1), grid, padding_mode="reflection", align_corners=False
    )  # fmt: skip
    return torch.cat([pixels, changed])


def _weights() -> Tensor:
    return torch.tensor([AS_IS, *[1.0] * (VIEWS - 1)])


def _responses(model: AlexNet, x: Tensor, layer: str, unit: int) -> Tensor:
    """A unit's responses to a batch, in the middle of its map: (N,). Later layers are not computed."""
    for name, module in model.named_children():
        if x.dim() == 4 and model.layers[name].kind in ("fc", "dropout"):
            x = torch.flatten(x, 1)
        x = module(x)
        if name == layer:
            break
    return x[:, unit, x.shape[2] // 2, x.shape[3] // 2] if x.dim() == 4 else x[:, unit]


def _mirrored(places: np.ndarray, side: int) -> np.ndarray:
    """Places beyond either end of 0 … side − 1, counted back from there."""
    around = places % (2 * side)
    return np.where(around < side, around, 2 * side - 1 - around)


def _as_picture(pixels: Tensor) -> RGB:
    """(1, C, H, W) in grey levels → (H, W, 3) uint8."""
    levels = pixels[0].detach().round().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.repeat(levels, 3 // levels.shape[2], axis=2)
