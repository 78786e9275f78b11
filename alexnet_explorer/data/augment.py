"""Random changes of training images [4.1], a whole batch at a time, on the device that holds it.

Every draw belongs to one image in one epoch: it comes from (seed, epoch, image index), never from the batch, so
that a run can be stopped, repeated and spread over processes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import DataConfig

COLOUR_DEVIATION = 0.1  # of α in [4.1]


def seed_of(*key: int) -> int:
    """A seed for each key, such as (seed, epoch, what it is for); near keys give unrelated seeds.

    Keys that differ in zeros at the end alone are one key.
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def generator(*key: int) -> torch.Generator:
    """A random stream of its own for each key."""
    return torch.Generator().manual_seed(seed_of(*key))


@dataclass(frozen=True)
class Draws:
    """One epoch's draws for the images 0 … count − 1 of the packed set; None where an augmentation is off."""

    top: Tensor  # (count,) of the crop, in pixels of the canvas; may lie outside, where the image is mirrored
    left: Tensor
    flip: Tensor | None  # (count,) bool
    angle: Tensor | None  # (count,) radians
    shift: Tensor | None  # (count, 2) down and right, in pixels
    colour: Tensor | None  # (count, 3) added to R, G, B, in grey levels
    blur: Tensor | None  # (count,) 0–1, how much of the image gives way to a softened copy
    zoom: Tensor | None  # (count, 3) share of the side that stays in view; 0–1, how far down and right its edge is

    def of(self, index: Tensor, device: torch.device) -> Draws:
        """The draws of the images `index`, on the device."""
        chosen = (None if part is None else part[index].to(device) for part in vars(self).values())
        return Draws(*chosen)  # type: ignore[arg-type]


def crop_range(canvas: int, size: int) -> tuple[int, int]:
    """First and last offset of a random crop: inside the canvas, if there is room to move by an eighth of the size;
    else with an eighth of the size around it."""
    around = 0 if canvas - size >= size // 8 else size // 8
    return -around, canvas - size + around


def draw(config: DataConfig, seed: int, epoch: int, count: int, canvas: int, size: int, colours: np.ndarray) -> Draws:
    """Draw for `count` images. `colours` is the (3, 3) covariance of the set's RGB pixels in 0–1.

    Each augmentation has a random stream of its own, so that switching one on leaves the others' draws alone.
    """
    wanted = set(config.augmentation)
    centre = torch.full((count,), (canvas - size) // 2)
    low, high = crop_range(canvas, size)
    streams = [generator(seed, epoch, stream) for stream in range(1, 7)]
    crop = "crop" in wanted
    colour = angle = shift = blur = zoom = None
    if "pca-colour" in wanted:
        # pᵢ and λᵢ of the pixels in 0–1, as the covariance is; the sum is then brought to grey levels.
        values, vectors = np.linalg.eigh(colours)
        alpha = torch.randn(count, 3, generator=streams[3]) * COLOUR_DEVIATION
        colour = 255 * (alpha * torch.from_numpy(values).float()) @ torch.from_numpy(vectors).float().T
    if "rotation" in wanted:
        angle = (torch.rand(count, generator=streams[4]) * 2 - 1) * math.radians(config.rotation)
    if "shift" in wanted:
        shift = (torch.rand(count, 2, generator=streams[5]) * 2 - 1) * config.shift * canvas
    if "blur" in wanted:  # half of the images stay as they are
        blur = (torch.rand(count, generator=generator(seed, epoch, 8)) * 2 - 1).clamp(min=0)
    if "zoom" in wanted:
        zoom = torch.rand(count, 3, generator=generator(seed, epoch, 9))
        zoom[:, 0] = 1 - (1 - config.zoom) * zoom[:, 0]
    return Draws(
        top=torch.randint(low, high + 1, (count,), generator=streams[0]) if crop else centre,
        left=torch.randint(low, high + 1, (count,), generator=streams[1]) if crop else centre,
        flip=torch.rand(count, generator=streams[2]) < 0.5 if "flip" in wanted else None,
        angle=angle,
        shift=shift,
        colour=colour,
        blur=blur,
        zoom=zoom,
    )


def window(images: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor | None, size: int) -> Tensor:
    """Cut `size`×`size` windows, some mirrored left to right, out of uint8 images.

    images (N, S, S, 3); index, top, left, flip (B,) → (B, size, size, 3). Beyond its border an image is
    mirrored without repeating the edge. Gathering whole rows first and columns of bytes second is four times
    as fast on a CPU as gathering pixels.
    """
    side = images.shape[1]
    span = torch.arange(size, device=images.device)
    rows = _mirrored(top[:, None] + span, side) + index[:, None] * side
    columns = _mirrored(left[:, None] + span, side)
    if flip is not None:
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    strips = images.view(-1, side * 3).index_select(0, rows.view(-1)).view(len(index), size, side * 3)
    bytes_ = (columns[:, :, None] * 3 + torch.arange(3, device=images.device)).view(len(index), 1, size * 3)
    return strips.gather(2, bytes_.expand(-1, size, -1)).view(len(index), size, size, 3)


def _mirrored(position: Tensor, side: int) -> Tensor:
    position = position.abs()
    return torch.where(position >= side, 2 * (side - 1) - position, position)


def rotate_and_shift(images: Tensor, angle: Tensor | None, shift: Tensor | None) -> Tensor:
    """Turn uint8 images (B, S, S, 3) counter-clockwise by `angle` (B,) and move them by `shift` (B, 2) pixels.

    Bilinear; what comes in from outside is the image mirrored at its border.
    """
    count, side = images.shape[:2]
    angle = torch.zeros(count, device=images.device) if angle is None else angle
    shift = torch.zeros(count, 2, device=images.device) if shift is None else shift
    cos, sin = angle.cos(), angle.sin()
    down, right = shift.T * 2 / side  # grid_sample's units: the image spans −1 … 1
    # The map from a place of the result to its source: first back by the shift, then back by the angle.
    theta = torch.stack(
        [torch.stack([cos, -sin, -right * cos + down * sin], 1), torch.stack([sin, cos, -right * sin - down * cos], 1)],
        1,
    )
    return _sample(images, theta)


def zoom_in(images: Tensor, zoom: Tensor) -> Tensor:
    """Enlarge a square part of uint8 images (B, S, S, 3) to their whole size, bilinear.

    zoom (B, 3): the part's side as a share of the image's, then where its upper and its left edge are, from 0 (at
    the image's own) to 1 (as far from it as there is room).
    """
    share, down, right = zoom.T
    none = torch.zeros_like(share)
    room = 1 - share  # between the middle of the image and that of the part, in grid_sample's units
    rows = [torch.stack([share, none, (2 * right - 1) * room], 1), torch.stack([none, share, (2 * down - 1) * room], 1)]
    return _sample(images, torch.stack(rows, 1))


def _sample(images: Tensor, theta: Tensor) -> Tensor:
    """Images (B, S, S, 3) whose places (x, y, 1) come from theta (B, 2, 3) times them; −1 … 1 spans an image."""
    pixels = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    found = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return found.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def soften(x: Tensor, share: Tensor) -> Tensor:
    """Mix a softened copy, with weights 1-2-1 down and across, into images (B, C, H, W); `share` (B,) of it, 0–1.

    Photographs that were made small with care are softer than those whose pixels were picked, as in Tiny ImageNet;
    a network that shall know both has to see both.
    """
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    softened = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 16
    return torch.lerp(x, softened, share.to(x).view(-1, 1, 1, 1))
