"""From a picture, or a batch of packed ones, to what a network takes in. The same code trains and predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# ITU-R BT.601, as Pillow converts to greyscale.
LUMA = (0.299, 0.587, 0.114)


def canvas_for(native: int, input_size: int) -> int:
    """The side that images of side `native` are resized to before crops of `input_size` are cut.

    A little larger images stay as they are, far larger ones shrink to the paper's proportion
    (256 for 227 and 224 [4.1]), smaller ones grow to the input's size.
    """
    if native <= input_size:
        return input_size
    return native if native <= input_size * 5 // 4 else round(input_size * 8 / 7)


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """Resize the short side to `canvas`, cut the centre of `size`×`size`, subtract `mean`, divide by `std`.

    `mean` is (C, 1, 1), or (C, size, size) for 2012's mean image; `std` is (C, 1, 1); both in grey levels, 0–255.
    """

    canvas: int
    size: int
    mean: Tensor
    std: Tensor

    @property
    def channels(self) -> int:
        return self.mean.shape[0]

    def crop(self, image: Image.Image) -> Image.Image:
        """What the network sees of an RGB picture, before the mean is subtracted: `size`×`size` pixels."""
        resized = [max(self.size, round(side * self.canvas / min(image.size))) for side in image.size]
        # Only the part that is seen is resized: of a picture of 1024×1 pixels all of it would take a gigabyte.
        first = [(side - self.size) // 2 for side in resized]
        steps = [native / side for native, side in zip(image.size, resized, strict=True)]
        left, top = (start * step for start, step in zip(first, steps, strict=True))
        right, bottom = ((start + self.size) * step for start, step in zip(first, steps, strict=True))
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB picture as a batch of one: (1, C, size, size), float32."""
        pixels = torch.from_numpy(np.asarray(self.crop(image.convert("RGB")), dtype=np.uint8).copy())
        return self.normalise(pixels[None])

    def normalise(self, pixels: Tensor, shift: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, size, size, 3) uint8 → (N, C, size, size); `shift` (N, 3), in grey levels, is added before scaling."""
        shape = pixels.shape[1:] if self.channels == 3 else (*pixels.shape[1:3], 1)
        # Written out for every pixel, mean and scale are read in step with the image, which is four times as fast.
        scale = self.std.to(pixels.device).reciprocal().permute(1, 2, 0).expand(shape).contiguous()
        offset = -self.mean.to(pixels.device).permute(1, 2, 0) * scale
        x = pixels.to(torch.float32)
        if self.channels == 1:
            x = (x * x.new_tensor(LUMA)).sum(-1, keepdim=True)
            shift = None if shift is None else (shift * shift.new_tensor(LUMA)).sum(-1, keepdim=True)
        x = torch.addcmul(offset, x, scale)
        if shift is not None:
            x += (shift / self.std.to(pixels.device).flatten())[:, None, None, :]
        # The permuted view of (N, H, W, C) is a tensor in channels_last order: no copy.
        return x.to(dtype).permute(0, 3, 1, 2)

    def denormalise(self, x: Tensor) -> Tensor:
        """(N, C, size, size) → (N, size, size, 3) in 0–1, for display."""
        pixels = (x.float() * self.std + self.mean).permute(0, 2, 3, 1) / 255
        return pixels.clamp(0, 1).expand(-1, -1, -1, 3)
